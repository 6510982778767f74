"""`edgechaos report`: the JSON files of campaign, verify and build to one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from edgechaos.cli.common import json_option, output_option
from edgechaos.cli.file_kinds import RESULTS
from edgechaos.cli.show import print_json, print_table, say


@click.command("report")
@click.argument("inputs", type=RESULTS, nargs=-1, required=True)
@json_option
@output_option("the page", default="report.html")
def command(inputs: tuple[Path, ...], as_json: bool, output: Path) -> None:
    """Write one self-contained HTML page of results.

    INPUTS: a folder, or the JSON files of campaign, verify and build.

    \b
    Example: edgechaos report results -o report.html
    """
    from dataclasses import asdict

    from edgechaos.hil.report.page import load_inputs, write_report
    from edgechaos.hil.report.summary import summary_table

    figures = write_report(load_inputs(inputs), output)
    if as_json:
        print_json({"report": str(output.resolve()), "figures": [asdict(figure) for figure in figures]})
        return
    print_table(summary_table(figures))
    say(f"report: {output.resolve()}")
