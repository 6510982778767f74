"""`edgechaos devices`: what a model can run on here, and what is missing for the rest."""

from __future__ import annotations

import click

from edgechaos.cli.common import json_option, print_json, print_table


@click.command("devices")
@json_option
def command(as_json: bool) -> None:
    """List what a model can run on here.

    \b
    Example: edgechaos devices
    """
    from dataclasses import asdict

    from rich.markup import escape

    from edgechaos.devices.registry import list_devices

    rows = list_devices()
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    from rich.table import Table

    table = Table("", "device", "kind", "what", "to get it", box=None, header_style="bold")
    for row in rows:
        mark = "[green]✓[/]" if row.available else "[yellow]–[/]"
        table.add_row(mark, row.spec, row.kind, row.title, escape(row.remedy))
    print_table(table)
