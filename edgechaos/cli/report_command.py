"""`edgechaos report`: the JSON files of campaign, verify, build and profile to one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from edgechaos.cli import option
from edgechaos.cli.file_kinds import RESULTS
from edgechaos.cli.show import print_json, print_table, say


@click.command("report")
@click.argument("inputs", type=RESULTS, nargs=-1, required=True)
@option.json
@option.output("the page", default="report.html")
def command(inputs: tuple[Path, ...], as_json: bool, output: Path) -> None:
    """Write one self-contained HTML page of results, and the same as Markdown and JSON beside it.

    INPUTS: a folder, or the JSON files of campaign, verify, build and profile. Several campaigns are set side by side.

    \b
    Example: edgechaos report results -o report.html
    """
    from dataclasses import asdict

    from edgechaos.hil.report.page import compose
    from edgechaos.hil.report.several import compose_several, load_several
    from edgechaos.hil.report.summary import summary_table

    several = load_several(inputs)
    report = compose(several[0]) if len(several) == 1 else compose_several(several)
    page, *twins = report.write(output)
    if as_json:
        print_json({"report": str(page.resolve()), "figures": [asdict(figure) for figure in report.figures]})
        return
    print_table(summary_table(report.figures))
    say(f"report: {page.resolve()}, and beside it {' and '.join(twin.name for twin in twins)}")
