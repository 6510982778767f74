"""`edgechaos continual`: tasks one after another, by strategies that forget more or less."""

from __future__ import annotations

from pathlib import Path

import click

from edgechaos.cli import option
from edgechaos.cli.file_kinds import DATA
from edgechaos.cli.interrupts import kept
from edgechaos.cli.show import print_json, print_table, progress_bar, say


@click.command("continual")
@click.option("--data", "data_name", type=DATA, default="mnist5k", show_default=True, help="Images, as for train.")
@click.option("--download", is_flag=True, help="Fetch the files into the cache, where EDGECHAOS_DATA is not set.")
@click.option(
    "--stream", type=click.Choice(["split", "permuted"]), default="split", show_default=True, help="Classes in groups, or pixels reordered."
)
@click.option("--tasks", type=click.IntRange(2), default=5, show_default=True, help="How many.")
@click.option(
    "--strategy",
    "strategies",
    type=click.Choice(["plain", "sparse", "ewc", "sparse+ewc", "sparse+sleep", "sparse+ewc+sleep"]),
    multiple=True,
    help="Repeat for several.  [default: plain, sparse, ewc, sparse+ewc]",
)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Runs of every strategy.")
@click.option("--epochs", type=click.IntRange(1), default=10, show_default=True, help="Per task.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=3e-4, show_default=True, help="At the start of a task.")
@click.option("--hidden", type=click.IntRange(1), multiple=True, default=(256,), show_default=True, help="Units of a layer; repeat.")
@click.option("--sparsity", type=click.FloatRange(0, 1, min_open=True), default=0.05, show_default=True, help="Share of winners (sparse).")
@click.option("--ewc-lambda", type=click.FloatRange(0), default=1e5, show_default=True, help="How firmly EWC holds.")
@option.picture("The accuracy matrices")
@option.json
@option.output("results, checkpoints and artifacts: a folder", default="continual", folder=True)
@click.pass_context
def command(
    context: click.Context,
    /,
    data_name: str,
    download: bool,
    stream: str,
    tasks: int,
    strategies: tuple[str, ...],
    seeds: int,
    epochs: int,
    learning_rate: float,
    hidden: tuple[int, ...],
    sparsity: float,
    ewc_lambda: float,
    picture: Path | None,
    as_json: bool,
    output: Path,
) -> None:
    """Learn tasks one after another, and measure what is forgotten.

    Every strategy and seed leaves a checkpoint and its integer artifact. An interrupted comparison goes on after the last whole task.

    \b
    Example: edgechaos continual --data mnist --stream split --epochs 1 --picture split.png -o split
    """
    from dataclasses import replace
    from typing import cast

    from edgechaos.continual import show
    from edgechaos.continual.recipe import COMPARED, RECIPE, Settings, compare
    from edgechaos.continual.tasks import StreamKind, TaskStream
    from edgechaos.data import load
    from edgechaos.support.pictures import picture_format

    _refuse_mixed(context, strategies or COMPARED)
    if picture is not None:
        picture_format(picture)  # before the work, not after
    task_stream = TaskStream(cast(StreamKind, stream), load(data_name, download=download), tasks)
    recipe = replace(RECIPE, epochs=epochs, learning_rate=learning_rate)
    settings = Settings(hidden, sparsity, ewc_lambda, recipe=recipe)
    going_on = f"the tasks that were learned are kept in {output}; the same command goes on with the others"
    with kept(lambda: going_on if output.exists() else "no task was learned"), progress_bar(f"continual, {stream}") as bar:
        result = compare(task_stream, output, strategies=strategies or COMPARED, seeds=seeds, settings=settings, progress=bar)
    written = [output / "results.json"] + ([] if picture is None else [show.save_picture(result, picture)])
    if as_json:
        print_json(result)
        return
    print_table(show.rich_table(result))
    say(" ".join(map(str, written)))


def _refuse_mixed(context: click.Context, strategies: tuple[str, ...]) -> None:
    """Settings of a part that no strategy has are refused. Raises UsageError."""
    parts = {part for strategy in strategies for part in strategy.split("+")}
    reasons = {} if "sparse" in parts else {"sparsity": "of sparse strategies, and none is compared"}
    reasons |= {} if "ewc" in parts else {"ewc_lambda": "of strategies with ewc, and none is compared"}
    option.refuse_without_effect(context, reasons)
