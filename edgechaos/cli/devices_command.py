"""`edgechaos devices`: what a model can run on here, and what is missing for the rest."""

from __future__ import annotations

import click

from edgechaos.cli.common import json_option, print_json


@click.command("devices")
@json_option
def command(as_json: bool) -> None:
    """List devices: the host library, emulators, serial ports, plug-ins.

    Example: edgechaos devices
    """
    from dataclasses import asdict

    from edgechaos.devices.registry import list_devices

    rows = list_devices()
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    print(rows)
