"""`edgechaos inspect`: layers, bits, operations and memory of an artifact."""

from __future__ import annotations

from pathlib import Path

import click

from edgechaos.cli import option
from edgechaos.cli.show import print_json, print_table


@click.command("inspect")
@option.model
@option.json
def command(model: Path, as_json: bool) -> None:
    """Show the layers, bits, operations and memory of a model.

    Synaptic operations are MACs at the activity measured on training items; flash and RAM are counted from the graph.

    \b
    Example: edgechaos inspect pixels.ecm
    """
    from edgechaos.graph import artifact
    from edgechaos.graph.inspect import inspect, rich_table

    inspection = inspect(artifact.load(model))
    if as_json:
        print_json(inspection.to_json())
    else:
        print_table(rich_table(inspection))
