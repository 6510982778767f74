"""`edgechaos report`: the JSON files of campaign, verify and build to one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from edgechaos.cli.common import output_option, print_table


@click.command("report")
@click.argument("inputs", type=click.Path(path_type=Path), nargs=-1, required=True)
@output_option("the page", default="report.html")
def command(inputs: tuple[Path, ...], output: Path) -> None:
    """Write one self-contained HTML page of results.

    INPUTS: a folder, or the JSON files of campaign, verify and build.

    \b
    Example: edgechaos report results -o report.html
    """
    from edgechaos.hil.headline import headline_table
    from edgechaos.hil.report import load_inputs, write_report

    figures = write_report(load_inputs(inputs), output)
    print_table(headline_table(figures))
    click.echo(f"report: {output.resolve()}")
