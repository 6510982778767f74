"""`edgechaos harden`: measures that make a model stand more faults, what they cost, and the same campaign before and after."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgechaos.cli.common import codes_of, data_option, dataset_for, destination, head_option, json_option, model_argument, output_option
from edgechaos.cli.file_kinds import CAMPAIGN, Output
from edgechaos.cli.interrupts import kept
from edgechaos.cli.show import print_json, print_table, progress_bar, say

if TYPE_CHECKING:
    from edgechaos.hil.harden.before_after import BeforeAfter

MASKS, IMAGES = 30, 50
CALIBRATION_ITEMS = 5000
"""Training items over which ranges are observed."""


@click.command("harden")
@model_argument
@head_option
@data_option
@click.option("--with", "wanted", multiple=True, metavar="KIND=PLACE", help="A measure, such as secded=readout_weight; repeatable.")
@click.option("--spread", type=click.IntRange(1, 1000), default=1, show_default=True, help="Inferences over which guards check once.")
@click.option("--try", "folder", type=Output(folder=True), metavar="FOLDER", help="Run one campaign before and after, into FOLDER.")
@click.option("--campaign", "file", type=CAMPAIGN, help="That campaign; by default the faults that the measures are against.")
@click.option("--masks", type=click.IntRange(2), default=MASKS, show_default=True, help="Of the default campaign.")
@click.option("--images", type=click.IntRange(1), default=IMAGES, show_default=True, help="Of the default campaign.")
@click.option("--workers", type=click.IntRange(1), help="Worker processes; by default one per core.")
@click.option("--resume", is_flag=True, help="Go on with what is in FOLDER.")
@json_option
@output_option("the hardened model (default: beside the model, .hardened.ecm)")
def command(
    model: Path,
    head: str | None,
    data_name: str | None,
    wanted: tuple[str, ...],
    spread: int,
    folder: Path | None,
    file: Path | None,
    masks: int,
    images: int,
    workers: int | None,
    resume: bool,
    as_json: bool,
    output: Path | None,
) -> None:
    """Harden a model, and show by a campaign what that is worth and costs.

    Without --with: the measures there are, and their places in this model. The hardened model is an artifact of its own: its clean
    integers are those of the model.

    \b
    Example: edgechaos harden pixels.ecm --with secded=readout_weight --try hardening
    """
    from edgechaos import reference
    from edgechaos.graph import artifact
    from edgechaos.harden.base import harden, hardening_kinds, parse_hardening
    from edgechaos.harden.guards import spread_over

    if folder is None and (file is not None or resume):
        raise click.UsageError("--campaign and --resume mean something with --try alone")
    graph = artifact.load(model)
    if not wanted:
        places = {name: list(kind.places(graph)) for name, kind in hardening_kinds().items()}
        if as_json:
            print_json({"model": graph.name, "places": places})
            return
        for name, kind in hardening_kinds().items():
            say(f"{name}: {kind.effect}")
            say(f"  {', '.join(places[name]) or 'no place in this model'}")
        return
    measures = [parse_hardening(text) for text in wanted]
    observed = {}
    if any(measure.observes for measure in measures):
        data = dataset_for(graph, data_name, head)
        observed = {graph.head(head).name: reference.encode(graph, data.train_items[:CALIBRATION_ITEMS], head)}
    hardened = harden(graph, measures, observed)
    hardened = spread_over(hardened, spread) if spread > 1 else hardened
    path = destination(output, model.with_suffix(".hardened.ecm"))
    digest = artifact.save(hardened, path)
    document = {"model": graph.name, "artifact": str(path), "model_hash": digest, "measures": list(map(str, measures))}
    if folder is None:
        print_json(document) if as_json else say(f"{path}: {', '.join(map(str, measures))}; {digest[:12]}")
        return
    from edgechaos.hil.campaign.reading import read_campaign
    from edgechaos.hil.execute.evaluate import EvaluationSet
    from edgechaos.hil.harden.before_after import before_after, usual_campaign

    usual = usual_campaign(graph, measures, masks=masks, images=images) if file is None else read_campaign(file)
    campaign = replace(usual, artifact=str(model), head=head or usual.head)
    data = dataset_for(graph, data_name or campaign.images.dataset or None, campaign.head or None)
    codes, labels = codes_of(graph, data, campaign.image_count, head=campaign.head or None)
    items = EvaluationSet(data.name, codes, labels, campaign.head or None, source=data.content_hash)
    with kept(lambda: f"what is finished is kept in {folder}; the same command with --resume runs the rest"), progress_bar("harden") as bar:
        found = before_after(
            *(campaign, (graph, hardened), measures, items, folder),
            resume=resume,
            workers=workers,
            progress=lambda side: lambda done, total: bar(done, total, side),
        )
    written = found.write(folder)
    if as_json:
        print_json(document | {"trial": found.to_json()})
        return
    _show(found)
    say(f"{path} {' '.join(map(str, written))}")


def _show(found: BeforeAfter) -> None:
    from rich.table import Table

    from edgechaos.hil.harden.before_after import HEADINGS

    for heads, rows in ((("cost", "before", "after", "difference"), found.cost_rows()), (HEADINGS, found.rows())):
        table = Table(box=None, pad_edge=False)
        for k, name in enumerate(heads):
            table.add_column(name, justify="left" if k == 0 or name == "place" else "right")
        for row in rows:
            table.add_row(*row)
        print_table(table)
