"""`edgechaos prune`: what pruning costs, by share and criterion, before a share is given to `edgechaos quantize`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgechaos.cli import option
from edgechaos.cli.common import destination
from edgechaos.cli.fault_option import fault_option, parse_faults
from edgechaos.cli.file_kinds import CHECKPOINT, DATA
from edgechaos.cli.interrupts import kept
from edgechaos.cli.quantize_command import CRITERIA, SHARE, model_and_data, no_fine_tuning, refuse_sampling
from edgechaos.cli.show import print_json, print_table, progress_bar, say

if TYPE_CHECKING:
    from edgechaos.faults.base import Fault
    from edgechaos.sweeps.pruning import Curve


@click.command("prune")
@click.argument("checkpoint", type=CHECKPOINT)
@click.option("--data", "data_name", type=DATA, help="A data set by name, or your own arrays. Default: the one trained on.")
@click.option("--what", type=click.Choice(["neurons", "weights"]), default="neurons", show_default=True, help="Remove, or set to 0.")
@click.option(
    "--criterion",
    "criteria",
    type=click.Choice(CRITERIA),
    multiple=True,
    help="What decides who goes first; repeatable. Default: all, of weights all but reconstruction. random is the control.",
)
@click.option("--share", "shares", type=SHARE, multiple=True, help="To remove; repeatable. Default: 0, 0.1 .. 0.9.")
@fault_option
@click.option("--masks", type=click.IntRange(2), default=10, show_default=True, help="Per fault: sites and random words.")
@click.option("--items", type=click.IntRange(1), help="The first of the test items. Default: all.")
@click.option(
    "--method",
    type=click.Choice(["qat", "ptq"]),
    default="ptq",
    show_default=True,
    help="Calibrate only, or fine-tune with quantized weights at every point.",
)
@option.epochs
@option.per_channel
@option.sampling
@click.option("--weight-bits", type=click.Choice(["8", "4", "2"]), default="8", show_default=True, help="Of all weights; 2 is ternary.")
@option.fine_tuning_seed
@option.picture("Accuracy against the share")
@option.json
@option.output("the curve (default: beside the checkpoint, .prune.json)")
@click.pass_context
def command(
    context: click.Context,
    /,
    checkpoint: Path,
    data_name: str | None,
    weight_bits: str,
    shares: tuple[float, ...],
    faults: tuple[str, ...],
    picture: Path | None,
    as_json: bool,
    output: Path | None,
    **options: Any,
) -> None:
    """Measure accuracy against the share pruned, clean and under faults.

    Without --fault: half of all spikes omitted, and a quarter of all neurons dead, where the model has such. Every point is kept
    as soon as it is measured: the same command goes on where it was stopped.

    \b
    Example: edgechaos prune pixels.safetensors --share 0 --share 0.5 --fault dead=0.25 --picture pixels.png
    """
    from edgechaos.support import pictures
    from edgechaos.support.files import write_atomic
    from edgechaos.sweeps import pruning as prune_curve
    from edgechaos.sweeps import pruning_report as prune_report

    option.refuse_without_effect(context, no_fine_tuning(options["method"]))
    if picture is not None:
        pictures.picture_format(picture)  # before the work, not after
    path = destination(output, checkpoint.with_suffix(".prune.json"))
    model, data = model_and_data(checkpoint, data_name)
    refuse_sampling(context, model)
    points = 0

    def save(curve: Curve) -> None:
        nonlocal points
        write_atomic(path, json.dumps(curve.to_json(), indent=2) + "\n")
        points = len(curve.points)

    def kept_so_far() -> str:
        return (
            f"{points} measured points are kept in {path}; the same command goes on with the others"
            if points
            else "no new point was measured"
        )

    options |= {
        "weight_bits": int(weight_bits),
        "criteria": options["criteria"] or None,
        "shares": shares or prune_curve.SHARES,
        "faults": _conditions(faults),
        "before": _before(path),
    }
    with kept(kept_so_far), progress_bar("prune") as bar:
        curve = prune_curve.prune_curve(model, data, save=save, progress=bar, **options)
    if picture is not None:
        prune_report.save_picture(curve, picture)
    if as_json:
        print_json(curve.to_json())
        return
    print_table(prune_report.rich_table(curve))
    say(" ".join(map(str, (path, picture) if picture else (path,))))


def _before(path: Path) -> Curve | None:
    """What an earlier run left. Raises DataError for a file that holds something else: it is not ours to overwrite."""
    from edgechaos.support.errors import DataError
    from edgechaos.support.files import read_file
    from edgechaos.sweeps.pruning import from_json

    if not path.exists():
        return None
    try:
        return from_json(json.loads(read_file(path, "pruning curve")))
    except (ValueError, RecursionError, DataError) as error:
        raise DataError(f"{path} is no pruning curve; give another file with -o") from error


def _conditions(options: tuple[str, ...]) -> tuple[Fault, ...] | None:
    """One condition per --fault; None without. Raises UsageError for a seed, which is the mask's."""
    if any("@" in text or ",seed=" in text for text in options):
        raise click.UsageError("--fault: every mask has a seed of its own; give KIND=VALUE without @SEED")
    return parse_faults(options).faults if options else None
