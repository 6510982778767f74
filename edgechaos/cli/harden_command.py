"""`edgechaos harden`: which measures a model would gain most from, the hardened model, and the same campaign before and after."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgechaos.cli import option
from edgechaos.cli.common import codes_of, dataset_for, destination
from edgechaos.cli.file_kinds import CAMPAIGN, CAMPAIGN_RESULTS, Output
from edgechaos.cli.interrupts import kept
from edgechaos.cli.show import note, print_json, print_table, progress_bar, say

if TYPE_CHECKING:
    from edgechaos.graph.integer_graph import IntegerGraph
    from edgechaos.harden.base import Advice, Hardening
    from edgechaos.hil.harden.before_after import BeforeAfter

MASKS, IMAGES, ADVICE_ITEMS = 30, 50, 100
CALIBRATION_ITEMS = 5000
"""Training items over which ranges are observed."""


@click.command("harden")
@option.model
@option.head
@option.data
@click.option("--with", "wanted", multiple=True, metavar="KIND=PLACE", help="A measure, such as secded=readout_weight; repeatable.")
@click.option("--list", "listing", is_flag=True, help="The measures there are, and their places in this model.")
@click.option(
    "--from", "results", type=CAMPAIGN_RESULTS, help="Results of a campaign whose samples rank words and units; else the host does."
)
@click.option("--goal", type=click.FloatRange(0, 1), help="Share of the harm that chosen measures take away.  [default: 0.9]")
@click.option("--apply", "applies", is_flag=True, help="Take the measures that are advised.")
@click.option("--spread", type=click.IntRange(1, 1000), default=1, show_default=True, help="Inferences over which guards check once.")
@click.option("--try", "folder", type=Output(folder=True), metavar="FOLDER", help="Run one campaign before and after, into FOLDER.")
@click.option("--campaign", "file", type=CAMPAIGN, help="That campaign; by default the faults that the measures are against.")
@click.option("--masks", type=click.IntRange(2), default=MASKS, show_default=True, help="Of the default campaign.")
@click.option("--images", type=click.IntRange(1), default=IMAGES, show_default=True, help="Of the default campaign.")
@option.workers
@click.option("--resume", is_flag=True, help="Go on with what is in FOLDER.")
@option.json
@option.output("the hardened model (default: beside the model, .hardened.ecm)")
def command(
    model: Path,
    head: str | None,
    data_name: str | None,
    wanted: tuple[str, ...],
    listing: bool,
    results: Path | None,
    goal: float | None,
    applies: bool,
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
    """Advise how to harden a model, harden it, and show by a campaign what that is worth and costs.

    Without --with: for each measure the harm that it takes away and its cost, modelled; those with a star are advised. The hardened model
    is an artifact of its own: its clean integers are those of the model.

    \b
    Example: edgechaos harden pixels.ecm --apply --try hardening
    """
    from edgechaos import reference
    from edgechaos.graph import artifact
    from edgechaos.harden.base import harden, hardening_kinds, parse_hardening
    from edgechaos.harden.guards import spread_over
    from edgechaos.support.errors import ConfigError

    if folder is None and (file is not None or resume):
        raise click.UsageError("--campaign and --resume mean something with --try alone")
    if listing + applies + bool(wanted) > 1:
        raise click.UsageError("--list, --apply and --with are given alone: show places, take what is advised, or take what you name")
    if folder is not None and not (wanted or applies):
        raise click.UsageError("--try needs measures: name them by --with, or take those that are advised by --apply")
    graph = artifact.load(model)
    if listing:
        places = {name: list(kind.places(graph)) for name, kind in hardening_kinds().items()}
        for name, kind in hardening_kinds().items() if not as_json else ():
            say(f"{name}: {kind.effect}")
            say(f"  {', '.join(places[name]) or 'no place in this model'}")
        if as_json:
            print_json({"model": graph.name, "places": places})
        return
    document: dict[str, Any] = {"model": graph.name}
    measures = [parse_hardening(text) for text in wanted]
    if not wanted:
        advice = _advice(graph, head, data_name, results, goal)
        document["advice"] = [asdict(a) for a in advice]
        measures = [parse_hardening(a.measure) for a in advice if a.chosen]
        if not as_json:
            _show_advice(advice)
        if not applies:
            if as_json:
                print_json(document)
            return
        if not measures:
            raise ConfigError("no measure would take any harm away: nothing is applied", "harden")
    observed = {}
    if any(measure.observes for measure in measures):
        data = dataset_for(graph, data_name, head)
        observed = {graph.head(head).name: reference.encode(graph, data.train_items[:CALIBRATION_ITEMS], head)}
    hardened = harden(graph, measures, observed)
    hardened = spread_over(hardened, spread) if spread > 1 else hardened
    path = destination(output, model.with_suffix(".hardened.ecm"))
    digest = artifact.save(hardened, path)
    document |= {"artifact": str(path), "model_hash": digest, "measures": list(map(str, measures))}
    if folder is not None:
        options: Any = {"resume": resume, "workers": workers}
        found = _try(model, (graph, hardened), measures, head, data_name, folder, file, (masks, images), options)
        document["trial"] = found.to_json()
        written = found.write(folder)
        if not as_json:
            _show(found)
            note(f"results: {' '.join(map(str, written))}")
    print_json(document) if as_json else say(f"{path}: {', '.join(map(str, measures))}; {digest[:12]}")


def _advice(graph: IntegerGraph, head: str | None, data_name: str | None, results: Path | None, goal: float | None) -> tuple[Advice, ...]:
    """By the rankings of a campaign as far as they go, and by an analysis on the host beyond."""
    from edgechaos.harden.advice import GOAL, advise
    from edgechaos.harden.sensitivity import Sensitivity, measure
    from edgechaos.hil.analysis.documents import campaign_document
    from edgechaos.hil.harden.rankings import table_harms, unit_harms

    codes, labels = codes_of(graph, dataset_for(graph, data_name, head), None, default=ADVICE_ITEMS, head=head)
    known = Sensitivity(graph, graph.head(head).name, codes, labels)
    if results is not None:
        samples = campaign_document(results / "results.json" if results.is_dir() else results).samples
        known = replace(known, tables=table_harms(graph, samples), units=unit_harms(graph, samples))
    return advise(measure(known), GOAL if goal is None else goal)


def _try(
    model: Path,
    sides: tuple[IntegerGraph, IntegerGraph],
    measures: list[Hardening],
    head: str | None,
    data_name: str | None,
    folder: Path,
    file: Path | None,
    size: tuple[int, int],
    options: Any,
) -> BeforeAfter:
    from edgechaos.hil.campaign.reading import read_campaign
    from edgechaos.hil.execute.evaluate import EvaluationSet
    from edgechaos.hil.harden.before_after import before_after, usual_campaign

    usual = usual_campaign(sides[0], measures, masks=size[0], images=size[1]) if file is None else read_campaign(file)
    campaign = replace(usual, artifact=str(model), head=head or usual.head)
    task = campaign.head or None
    data = dataset_for(sides[0], data_name or campaign.images.dataset or None, task)
    codes, labels = codes_of(sides[0], data, campaign.image_count, head=task)
    items = EvaluationSet(data.name, codes, labels, task, source=data.content_hash)
    with kept(lambda: f"what is finished is kept in {folder}; the same command with --resume runs the rest"), progress_bar("harden") as bar:
        shown = lambda side: lambda done, total: bar(done, total, side)  # noqa: E731
        return before_after(campaign, sides, measures, items, folder, progress=shown, **options)


def _show_advice(advice: tuple[Advice, ...]) -> None:
    rows = [
        (
            f"{'* ' if a.chosen else '  '}{a.measure}",
            *(
                a.against,
                f"{100 * a.before:.3g}",
                f"{100 * a.after:.3g}",
                f"{a.flash_bytes:+,}",
                f"{a.ram_bytes:+,}",
                f"{a.instructions:+,.0f}",
            ),
            a.note,
        )
        for a in advice
    ]
    heads = ("measure", "under", "harm (%)", "then", "flash", "RAM", "instructions", "note")
    _table((heads, rows), left=("measure", "under", "note"))
    say("harm: share of items whose right answer becomes wrong under one such fault; all figures are modelled; * advised")


def _show(found: BeforeAfter) -> None:
    from edgechaos.hil.harden.before_after import COST_HEADINGS, HEADINGS

    _table((COST_HEADINGS, found.cost_rows()), left=("",))
    _table((HEADINGS, found.rows()), left=("fault", "place"))


def _table(content: tuple[Any, Any], left: tuple[str, ...]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in content[0]:
        table.add_column(name, justify="left" if name in left else "right")
    for row in content[1]:
        table.add_row(*row)
    print_table(table)
