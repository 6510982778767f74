"""What several commands take: their options, and how an option that would change nothing is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from click.core import ParameterSource

from edgechaos.arithmetic.seeds import MAX_SEED
from edgechaos.cli.file_kinds import ARTIFACT, DATA, Output

if TYPE_CHECKING:
    from edgechaos.graph.node import Node

SEED = click.IntRange(0, MAX_SEED)
model = click.argument("model", type=ARTIFACT)
json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, instead of text and tables.")
data = click.option(
    "--data",
    "data_name",
    type=DATA,
    help="A data set by name, or your own .npz, .csv or folder of images. Default: the model's.",
)
head = click.option("--head", help="Which task of a model with several; by default the first.")
device = click.option("--device", "spec", default="host", show_default=True, help="host, unicorn, serial:/dev/..., or a plug-in's.")
seed = click.option("--seed", type=SEED, default=0, show_default=True, help="Of the random words.")
workers = click.option("--workers", type=click.IntRange(1), help="Worker processes; by default one per core.")
epochs = click.option("--epochs", type=click.IntRange(1), default=5, show_default=True, help="Of fine-tuning (qat).")
fine_tuning_seed = click.option("--seed", type=SEED, default=0, show_default=True, help="Of the fine-tuning.")
per_channel = click.option(
    "--per-channel/--per-tensor", default=True, show_default=True, help="One weight scale per neuron or channel, or one per layer."
)
sampling = click.option(
    "--sampling",
    type=click.Choice(["ticks", "binomial", "expected"]),
    default="ticks",
    show_default=True,
    help="How the last spiking layer draws its counts.",
)


def picture(what: str) -> Callable[[Any], Any]:
    """The picture that a command draws."""
    return click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help=f"{what}, .png or .svg.")


def output(what: str, default: str | None = None, required: bool = False, folder: bool = False) -> Callable[[Any], Any]:
    """The `-o` of a command that writes `what`, a file or a folder of files; a place that takes none is refused before the work."""
    return click.option("-o", "--output", type=Output(folder), default=default, required=required, help=f"Where to write {what}.")


def given_options(context: click.Context) -> set[str]:
    """The parameters that the user gave, rather than left at their default."""
    names = {str(p.name) for p in context.command.params}
    return {name for name in names if context.get_parameter_source(name) is not ParameterSource.DEFAULT}


def refuse_without_effect(context: click.Context, reasons: Mapping[str, str]) -> None:
    """Refuse options that the user gave and that would change nothing. reasons: {parameter: why}, whether given or not.

    Raises UsageError that names all of them.
    """
    given = given_options(context)
    wrong = [f"{p.get_error_hint(context)}: {reasons[p.name]}" for p in context.command.params if p.name in given & reasons.keys()]
    if wrong:
        raise click.UsageError("; ".join(wrong))


def refuse_idle_seed(context: click.Context, nodes: Iterable[Node]) -> None:
    """Refuse a --seed of random words that none of the nodes draws. Raises UsageError."""
    if "seed" in given_options(context) and not any(node.draws() for node in nodes):
        refuse_without_effect(context, {"seed": "nothing that runs here draws a random word; leave it out"})


class WeightBits(click.ParamType):  # type: ignore[type-arg]  # generic in newer releases alone
    """`4`, or `4,conv0=8`: of all weights, and of the nodes that are named. Leaves an int or a mapping as of `quantize`."""

    name = "BITS[,NODE=BITS]"
    widths = ("8", "4", "2")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | dict[str, int]:
        """Names are checked against the model later; widths here."""
        if not isinstance(value, str):
            return cast("int | dict[str, int]", value)
        found: dict[str, int] = {}
        for part in value.split(","):
            node, _, width = part.strip().rpartition("=")
            if width not in self.widths or (node or "*") in found:
                self.fail(f"{part.strip()!r} in {value!r} is not 8, 4 or 2, or NODE=8, 4 or 2, once each", param, ctx)
            found[node or "*"] = int(width)
        return found["*"] if list(found) == ["*"] else found


weight_bits = click.option(
    "--weight-bits",
    type=WeightBits(),
    default="8",
    show_default=True,
    help="8, 4 or 2 (ternary) of all weights, and of nodes by name (4,conv0=8).",
)
temperature = click.option("--temperature", type=click.FloatRange(0), help="Of a DLM's weights, in its own units.  [default: the model's]")
