"""`edgechaos campaign`: a campaign file to a ledger and results; interrupt it and resume it at will."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgechaos.cli import option
from edgechaos.cli.common import codes_of, dataset_for, parameters_for
from edgechaos.cli.file_kinds import ARTIFACT, CAMPAIGN, DATA
from edgechaos.cli.gate_options import conclude, gate_options, gates_json, point_cases, policy_of
from edgechaos.cli.interrupts import kept
from edgechaos.cli.show import note, print_json, print_table, progress_bar, say

if TYPE_CHECKING:
    from edgechaos.graph.integer_graph import IntegerGraph
    from edgechaos.hil.campaign.config import Campaign
    from edgechaos.hil.execute.evaluate import EvaluationSet


@click.command("campaign")
@click.argument("file", type=CAMPAIGN)
@click.option("--artifact", "model", type=ARTIFACT, help="Instead of the campaign's own.")
@click.option("--data", "data_name", type=DATA, help="Instead of the campaign's own data set.")
@option.workers
@click.option("--executor", metavar="NAME", help="Where trials run, if not in worker processes here: dask:tcp://host:8786, or a plug-in's.")
@click.option("--resume", is_flag=True, help="Go on with a ledger that is there; nothing in it is run again.")
@click.option("--estimate", is_flag=True, help="Say what it would cost, from a few inferences on each device, and run nothing.")
@click.option("--parquet", is_flag=True, help="Write the tables as Parquet too.")
@gate_options
@option.json
@option.output("ledger and results", default="campaign", folder=True)
def command(
    file: Path,
    model: Path | None,
    data_name: str | None,
    workers: int | None,
    executor: str | None,
    resume: bool,
    estimate: bool,
    parquet: bool,
    gates: tuple[str, ...],
    policy: Path | None,
    junit: Path | None,
    as_json: bool,
    output: Path,
) -> None:
    """Run or resume a fault campaign.

    Every trial is seeded and its outcome recorded; trials run on all cores. A gate that does not hold, or a run in which nothing has
    a result, ends in exit code 1.

    \b
    Example: edgechaos campaign examples/demo.toml --artifact pixels.ecm -o results
    """
    from edgechaos.graph import artifact
    from edgechaos.hil.analysis.gates import OF_SAMPLE, check_run, judge, judge_samples, refuse_unanswerable, shares_of
    from edgechaos.hil.analysis.live import Live
    from edgechaos.hil.analysis.sampled import sample_statement
    from edgechaos.hil.campaign.reading import read_campaign
    from edgechaos.hil.execute.evaluate import EvaluationSet
    from edgechaos.hil.report.terminal import results_table
    from edgechaos.hil.runner import run_campaign
    from edgechaos.support.errors import ConfigError
    from edgechaos.support.extras import check_installed

    if executor is not None and workers is not None:
        raise click.UsageError("--workers means nothing with --executor, which has its own; leave one of them out")
    demanded = policy_of(policy, gates, compares=False)
    if parquet:
        check_installed((("pyarrow", "parquet"),))
    campaign = read_campaign(file)
    asked = [gate for gate in demanded.gate if not gate.compares]
    refuse_unanswerable(asked, campaign)
    path = model or (file.parent / campaign.artifact if campaign.artifact else None)
    if path is None:
        raise ConfigError(f'{file}: names no artifact; set artifact = "model.ecm" there, or give --artifact', "artifact")
    campaign = replace(campaign, artifact=str(path))
    if data_name is not None:
        campaign = replace(campaign, images=replace(campaign.images, dataset=data_name))
    graph = artifact.load(path)
    heads = [head.name for head in graph.heads]
    if len(heads) > 1 and campaign.head not in heads:
        raise ConfigError(f'{file}: {path} has heads {", ".join(heads)}, and a campaign measures one; set head = "{heads[0]}"', "head")
    head = campaign.head or None
    data = dataset_for(graph, campaign.images.dataset or None, head)
    codes, labels = codes_of(graph, data, campaign.image_count, head=head)
    items = EvaluationSet(data.name, codes, labels, head, parameters_for(graph, campaign.temperature), data.content_hash)
    if estimate:
        _print_cost(campaign, graph, items, workers, as_json)
        return
    live = Live(1 - campaign.alpha)
    ledger, trials = output / "ledger.sqlite", {"done": 0, "all": 0}

    def kept_so_far() -> str:
        if not trials["all"]:
            return "no trial was finished"
        return f"{trials['done']:,} of {trials['all']:,} trials are kept in {ledger}; the same command with --resume runs the others"

    with kept(kept_so_far), progress_bar("campaign") as bar:

        def progress(done: int, total: int) -> None:
            trials.update(done=done, all=total)
            bar(done, total, live.text())

        results = run_campaign(
            campaign,
            graph,
            items,
            ledger,
            resume=resume,
            workers=workers,
            executor=executor,
            progress=progress,
            watch=live,
            notice=lambda text: note(f"note: {text}"),
        )
    if campaign.energy is not None:
        _record_memory(graph, campaign.energy.board, output / "memory.json")
    written = results.write(output, parquet=parquet)
    of_curves = [gate for gate in asked if gate.quantity not in OF_SAMPLE]
    verdicts, problems = (
        (*judge(of_curves, results.curves), *judge_samples(asked, shares_of(results.samples))),
        [*check_run(demanded, results.curves, results.samples)],
    )
    if as_json:
        held = gates or policy or problems
        print_json(results.to_json() | ({"verdict": gates_json(verdicts, problems)} if held else {}))
    else:
        if results.curves:
            print_table(results_table(results))
        for sample in results.samples:
            say(sample_statement(sample))
        say(f"every rate, with sentences to quote: {', '.join(map(str, written))}")
    about = {"model": results.about["model"]["hash"], "data": results.about["data"]["name"], "seed": str(campaign.seed)}
    cases = point_cases(results.curves, results.statements())
    conclude(f"campaign {campaign.name}", cases, verdicts, problems, about, junit, quiet=as_json)


def _print_cost(campaign: Campaign, graph: IntegerGraph, items: EvaluationSet, workers: int | None, as_json: bool) -> None:
    """The table of --estimate."""
    from dataclasses import asdict

    from rich.table import Table

    from edgechaos.devices.registry import open_device
    from edgechaos.hil.analysis.quantities import size
    from edgechaos.hil.analysis.stopping import first_plan, whole_plan
    from edgechaos.hil.campaign.plan import check_plan
    from edgechaos.hil.execute.estimate import estimate_cost
    from edgechaos.hil.execute.pool import default_workers

    whole = whole_plan(campaign, graph)
    check_plan(whole, graph)
    cost = estimate_cost(campaign, graph, items, (first_plan(campaign, graph, whole), whole), open_device, workers or default_workers())
    if as_json:
        print_json(asdict(cost))
        return
    table = Table("device", "trials", "inferences", "workers", "per item", "about", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for c in cost.devices:
        counts = [_span(*(f"{n:,}" for n in pair)) for pair in (c.trials, c.inferences)]
        table.add_row(c.device, *counts, str(c.workers), f"{c.item_s * 1e3:.3g} ms", _span(*map(_duration, c.seconds)))
    print_table(table)
    for c in cost.devices:
        if campaign.prune:
            say(f"{c.device}: of the first trials {100 * c.inferred:.0f} % need not be run, what they give is inferred")
    say(f"in all about {_span(*map(_duration, cost.seconds))} here, and a ledger of at most {size(cost.ledger_bytes)}; nothing was run")


def _span(least: str, most: str) -> str:
    return least if least == most else f"{least} to {most}"


def _duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`."""
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _record_memory(graph: IntegerGraph, board: str, path: Path) -> None:
    """What the model takes of the board whose joules are shown, for the report; a note where it cannot be built here."""
    from edgechaos.firmware_gen.board import load_board
    from edgechaos.firmware_gen.compilers.c.generate import generate
    from edgechaos.firmware_gen.projects.elf import build, record
    from edgechaos.support.errors import EdgeChaosError
    from edgechaos.support.files import write_atomic

    try:
        firmware = generate(graph, load_board(board))
        with tempfile.TemporaryDirectory(prefix="edgechaos-memory-") as scratch:
            document = record(firmware, build(firmware, scratch))
    except EdgeChaosError as error:
        note(f"note: the report will not say what the model takes of {board}: {error.args[0]}")
        return
    write_atomic(path, json.dumps(document, indent=2))
