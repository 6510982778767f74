"""`edgechaos verify`: the same integers on every backend, clean and under faults, or exit code 1."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgechaos.cli import option
from edgechaos.cli.common import items_for, parameters_for
from edgechaos.cli.show import print_json, print_table, progress_bar

if TYPE_CHECKING:
    from edgechaos.export.verify import Backend, Verification
    from edgechaos.graph.integer_graph import IntegerGraph

DEFAULT_BACKENDS = ("onnxruntime-off", "onnxruntime-on", "onnx-reference", "host", "unicorn")


@contextmanager
def opened_backends(names: tuple[str, ...], graph: IntegerGraph) -> Iterator[dict[str, Backend]]:
    """The backends of those names: export engines, and devices that stay open until the end."""
    from edgechaos.devices.registry import open_device
    from edgechaos.export.engines import ENGINES
    from edgechaos.export.verify import device_backend, engine_backend

    with ExitStack() as stack:
        yield {
            name: engine_backend(name) if name in ENGINES else device_backend(stack.enter_context(open_device(name, graph)))
            for name in names
        }


def _check_backends(names: tuple[str, ...]) -> None:
    """Raises ConfigError for a name that is neither an engine nor a device, or stands there twice; MissingExtra."""
    from edgechaos.devices.registry import DEVICES, check_specs
    from edgechaos.export.engines import ENGINES
    from edgechaos.support.errors import ConfigError
    from edgechaos.support.suggest import suggestion

    known = (*ENGINES, *DEVICES)
    for k, name in enumerate(names):
        if name not in ENGINES and name.partition(":")[0] not in known:
            raise ConfigError(f"no back-end '{name}'{suggestion(name, known)}; there are {', '.join(known)}", "backend")
        if name in names[:k]:
            raise ConfigError(f"back-end '{name}' stands there twice; name it once", "backend")
    check_specs(name for name in names if name not in ENGINES)


@click.command("verify")
@option.model
@click.option("--head", help="Which task of a model with several; by default all.")
@option.data
@click.option(
    "--items", type=click.IntRange(1), help="Test items compared on the clean model; by default 1000, or all where there are fewer."
)
@click.option(
    "--fault-items", type=click.IntRange(0), default=100, show_default=True, help="Test items compared under each of 20 fault plans."
)
@click.option("--backend", "backends", multiple=True, help=f"Repeatable; default: {', '.join(DEFAULT_BACKENDS)}. Also tvm and any device.")
@click.option("--seed", type=option.SEED, default=1, show_default=True, help="Of the random words.")
@option.temperature
@option.json
@option.output("the result as JSON, for the report")
@click.pass_context
def command(
    context: click.Context,
    model: Path,
    head: str | None,
    data_name: str | None,
    items: int | None,
    fault_items: int,
    backends: tuple[str, ...],
    seed: int,
    temperature: float | None,
    as_json: bool,
    output: Path | None,
) -> None:
    """Prove that every backend gives the same integers.

    Each is compared with the NumPy reference on test items, clean and under 20 fault plans.

    \b
    Example: edgechaos verify pixels.ecm --backend host --backend onnxruntime-on
    """
    from edgechaos.export.plans import standard_plans
    from edgechaos.export.verify import combine, verify
    from edgechaos.faults.plan import apply
    from edgechaos.graph import artifact
    from edgechaos.support.files import write_atomic

    backends = backends or DEFAULT_BACKENDS
    _check_backends(backends)
    graph = artifact.load(model)
    parameters = parameters_for(graph, temperature)
    heads = [head] if head is not None else [h.name for h in graph.heads]
    if data_name is not None and len(heads) > 1:
        raise click.UsageError(f"--data is of one task, but the model has {', '.join(heads)}; choose one with --head")
    plans = standard_plans(graph) if fault_items else ()
    run = chain([graph], (apply(graph, plan) for _, plan in plans))
    option.refuse_idle_seed(context, (node for one in run for name in heads for node in one.path(name)))
    inputs = {name: items_for(graph, data_name, items, default=1000, head=name)[0] for name in heads}
    runs: list[Verification] = []
    with opened_backends(backends, graph) as opened, progress_bar("verify") as bar:
        for name, codes in inputs.items():
            settings: dict[str, Any] = {
                "seed": seed,
                "head": name,
                "parameters": parameters,
                "progress": lambda done, total, _: bar(done, total),
            }
            runs.append(verify(graph, codes, opened, **settings))
            if plans:
                runs.append(verify(graph, codes[:fault_items], opened, plans, **settings))
    result = combine(*runs)
    if output is not None:
        write_atomic(output, json.dumps(result.to_json(), indent=2))
    if as_json:
        print_json(result.to_json())
    else:
        _print(result)
    result.require()


def _print(result: Verification) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        "backend", "plans", "items", "integers compared", "mismatches", title=f"{result.model} against the NumPy reference", box=None
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for backend in dict.fromkeys(c.backend for c in result.comparisons):
        rows = [c for c in result.comparisons if c.backend == backend]
        wrong = sum(c.mismatches for c in rows)
        table.add_row(
            backend,
            str(len(rows)),
            f"{sum(c.items for c in rows):,}",
            f"{sum(c.integers for c in rows):,}",
            Text(f"{wrong:,}", "red" if wrong else "green"),
        )
    print_table(table)
