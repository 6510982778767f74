"""`edgechaos report`: the JSON files of campaign, verify and build to one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from edgechaos.cli.common import output_option


@click.command("report")
@click.argument("inputs", type=click.Path(path_type=Path), nargs=-1, required=True)
@output_option("the page", default="report.html")
def command(inputs: tuple[Path, ...], output: Path) -> None:
    """Write one self-contained HTML page of results.

    INPUTS: a folder, or the JSON files of campaign, verify and build.

    \b
    Example: edgechaos report results -o report.html
    """
    from edgechaos.hil.report import load_inputs, write_report

    path = write_report(load_inputs(inputs), output)
    click.echo(f"report: {path.resolve()}")
