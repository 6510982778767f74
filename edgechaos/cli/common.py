"""What several commands share: option types, progress bars, data for a model, tables."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgechaos.errors import ConfigError, DataError

if TYPE_CHECKING:  # NumPy alone would double the time that --help takes
    import numpy as np
    from numpy.typing import NDArray
    from rich.table import Table

    from edgechaos.data import Dataset
    from edgechaos.faults import FaultPlan
    from edgechaos.graph import IntegerGraph

Progress = Callable[[int, int], None]
"""Called with (done, total); total may change between calls."""

model_argument = click.argument("model", type=click.Path(dir_okay=False, path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
data_option = click.option(
    "--data",
    "data_name",
    metavar="NAME|FILE.npz",
    help="A data set by name, or your own arrays 'items' and 'labels'. Default: the model's.",
)


def output_option(what: str, default: str | None = None, required: bool = False) -> Callable[[Any], Any]:
    """The `-o` of a command that writes `what`."""
    return click.option(
        "-o", "--output", type=click.Path(path_type=Path), default=default, required=required, help=f"Where to write {what}."
    )


@contextmanager
def progress_bar(description: str) -> Iterator[Progress]:
    """A bar on stderr, fed by calls (done, total)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_table(table: Table) -> None:
    """A rich table on stdout; at least 120 columns wide where stdout is no terminal."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=max(120, console.width))
    console.print(table)


def print_json(document: Any) -> None:
    """JSON on stdout, keys in the order given."""
    click.echo(json.dumps(document, indent=2))


def dataset_for(graph: IntegerGraph, data_name: str | None) -> Dataset:
    """The data set of that name, or the one that the model was trained on.

    Raises DataError where the model names no data set that can be loaded by name, and none is given.
    """
    from edgechaos.data import load

    recorded = graph.metadata.get("dataset")
    name = data_name or (recorded.get("name") if isinstance(recorded, dict) else None)
    if not isinstance(name, str):
        raise DataError(f"model '{graph.name}' does not name its data set; give one with --data NAME or --data FILE.npz")
    data, head = load(name), graph.head()
    return data.tokenized(head.encoding.text, graph.tensors[head.input].size) if head.encoding.text is not None else data


def items_for(
    graph: IntegerGraph, data_name: str | None, count: int | None, default: int | None = None
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The first `count` test items as codes for the graph's first head, and their labels.

    Without a count: `default` of them, or all where there are fewer or there is no default.
    Raises DataError where there is no data set, or it has fewer test items than were asked for.
    """
    from edgechaos.reference import encode

    data = dataset_for(graph, data_name)
    if count is not None and len(data.test_items) < count:
        raise DataError(
            f"data set '{data.name}' has {len(data.test_items):,} test items, fewer than the {count:,} asked for; lower the count"
        )
    items = data.test_items[: count or default]
    return encode(graph, items), data.test_labels[: len(items)]


def identifier(text: str) -> str:
    """A model's name from a file's: it reaches C, so it is lower case, digits and underscores."""
    name = re.sub(r"[^a-z0-9_]+", "_", text.lower()).strip("_")[:48]
    return name if name[:1].isalpha() else f"model_{name}"


def save_named(graph: IntegerGraph, path: Path) -> tuple[IntegerGraph, str]:
    """Save an artifact under the name of its file; returns the renamed graph and its content hash."""
    from dataclasses import replace

    from edgechaos import artifact

    named = replace(graph, name=identifier(path.stem))
    return named, artifact.save(named, path)


FAULT_OPTION = re.compile(r"(?P<kind>[a-z_0-9]+)=(?P<rate>[0-9.eE+-]+)(?:@(?P<seed>\d+))?")


def parse_faults(options: tuple[str, ...]) -> FaultPlan:
    """`kind=rate` or `kind=rate@seed`, any number of times, as one plan.

    Raises ConfigError with the kinds there are.
    """
    from dataclasses import fields

    from edgechaos.faults import FAULT_KINDS, FaultPlan

    faults = []
    for text in options:
        match = FAULT_OPTION.fullmatch(text)
        if match is None or match["kind"] not in FAULT_KINDS:
            raise ConfigError(f"--fault {text!r}: expected KIND=RATE or KIND=RATE@SEED with KIND one of {', '.join(FAULT_KINDS)}", "fault")
        kind = FAULT_KINDS[match["kind"]]
        try:
            rate = float(match["rate"])
        except ValueError as error:
            raise ConfigError(f"--fault {text!r}: '{match['rate']}' is not a number", "fault") from error
        settings: dict[str, Any] = {"rate": rate}
        if match["seed"] is not None:
            if "seed" not in {f.name for f in fields(kind)}:
                raise ConfigError(
                    f"--fault {text!r}: {match['kind']} draws from the run's seed and takes none of its own; use --seed", "fault"
                )
            settings["seed"] = int(match["seed"])
        faults.append(kind(**settings))
    return FaultPlan(tuple(faults))


fault_option = click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="KIND=RATE[@SEED]",
    help="Inject a fault; repeatable. Kinds: dead, stuck_at_1, omission, weight_bit_flip. Seed: of the sites, default 0.",
)
