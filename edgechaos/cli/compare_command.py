"""`edgechaos compare`: two campaigns, paired mask by mask, with intervals; or why they cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edgechaos.cli import option
from edgechaos.cli.file_kinds import CAMPAIGN_RESULTS
from edgechaos.cli.gate_options import conclude, gate_options, gates_json, point_cases, policy_of
from edgechaos.cli.show import note, print_json, print_table, say


@click.command("compare")
@click.argument("first", type=CAMPAIGN_RESULTS)
@click.argument("second", type=CAMPAIGN_RESULTS)
@click.option("--across-devices", is_flag=True, help="Match curves although their devices differ.")
@gate_options
@option.json
@option.output("the comparison as JSON")
def command(
    first: Path,
    second: Path,
    across_devices: bool,
    gates: tuple[str, ...],
    policy: Path | None,
    junit: Path | None,
    as_json: bool,
    output: Path | None,
) -> None:
    """Compare two campaigns: SECOND minus FIRST, paired by mask.

    FIRST, SECOND: results.json of a campaign, or its folder. Runs that cannot be compared are refused with the reasons (exit code 2); a
    gate that does not hold ends in exit code 1.

    \b
    Example: edgechaos compare before after --gate "change>=-1%,fault=dead"
    """
    from edgechaos.hil.analysis.compare import compare
    from edgechaos.hil.analysis.documents import campaign_document
    from edgechaos.hil.analysis.gates import OF_SAMPLE, check_run, judge, judge_samples, shares_of, unlike
    from edgechaos.hil.report.terminal import comparison_table
    from edgechaos.support.files import write_atomic

    demanded = policy_of(policy, gates, compares=True)
    documents = [campaign_document(path / "results.json" if path.is_dir() else path) for path in (first, second)]
    comparison = compare(*documents, margin=demanded.margin, across_devices=across_devices)
    verdicts = (
        *judge([g for g in demanded.gate if g.compares], comparison.curves),
        *judge([g for g in demanded.gate if not g.compares and g.quantity not in OF_SAMPLE], documents[1].curves),
        *judge_samples(demanded.gate, shares_of(documents[1].samples)),
    )
    problems = [*unlike(demanded, comparison.first, comparison.second), *check_run(demanded, documents[1].curves)]
    document = comparison.to_json() | {"verdict": gates_json(verdicts, problems)}
    if output is not None:
        write_atomic(output, json.dumps(document, indent=1) + "\n")
    if as_json:
        print_json(document)
    else:
        print_table(comparison_table(comparison))
    for text in comparison.unmatched:
        note(f"note: not compared: {text}")
    about = {
        f"{place} {key}": f"{side[key]}" for place, side in (("first", comparison.first), ("second", comparison.second)) for key in side
    }
    cases = point_cases(comparison.curves, comparison.statements())
    conclude("compare", cases, verdicts, problems, about, junit, quiet=as_json)
    if output is not None and not as_json:
        say(f"comparison: {output}")
