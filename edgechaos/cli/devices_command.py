"""`edgechaos devices`: what a model can run on here, and what is missing for the rest."""

from __future__ import annotations

import click

from edgechaos.cli import option
from edgechaos.cli.show import checklist, mark, print_json, print_table


@click.command("devices")
@option.json
def command(as_json: bool) -> None:
    """List what a model can run on here.

    \b
    Example: edgechaos devices
    """
    from dataclasses import asdict

    from edgechaos.devices.registry import list_devices

    rows = list_devices()
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    table = checklist("device", "kind", "what", "to get it")
    for row in rows:
        table.add_row(mark(row.available), row.spec, row.kind, row.title, row.remedy)
    print_table(table)
