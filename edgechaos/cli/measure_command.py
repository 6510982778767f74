"""`edgechaos measure`: joules per inference of a device on a power meter, with an uncertainty budget."""

from __future__ import annotations

from pathlib import Path

import click

from edgechaos.cli import option
from edgechaos.cli.common import items_for
from edgechaos.cli.show import print_json, print_table

LEAST_WINDOWS = 5


@click.command("measure")
@option.model
@option.head
@option.data
@click.option("--device", "spec", required=True, help="serial:/dev/..., unicorn, fake, or a plug-in's; its marker pin gates the meter.")
@click.option("--meter", "meter_spec", required=True, help="joulescope, joulescope:SERIAL, a plug-in's, or rehearsal (no hardware).")
@click.option(
    "--inferences", type=click.IntRange(1), default=1000, show_default=True, help="Of one item in each window; the link is silent."
)
@click.option("--windows", type=click.IntRange(LEAST_WINDOWS), default=10, show_default=True, help="Runs between two edges of the marker.")
@option.json
def command(
    model: Path,
    head: str | None,
    data_name: str | None,
    spec: str,
    meter_spec: str,
    inferences: int,
    windows: int,
    as_json: bool,
) -> None:
    """Measure joules per inference with a power meter.

    Windows with lost or clipped samples are refused. The drivers are untried on hardware: see docs/energy.md.

    \b
    Example: edgechaos measure pixels.ecm --device fake --meter rehearsal --inferences 100
    """
    from dataclasses import asdict

    from edgechaos.devices.meters.contract import Marked
    from edgechaos.devices.meters.registry import open_meter
    from edgechaos.devices.registry import check_spec, open_device
    from edgechaos.graph import artifact
    from edgechaos.hil.energy.measurement import measure
    from edgechaos.support.errors import ConfigError

    check_spec(spec)
    meter, graph = open_meter(meter_spec), artifact.load(model)
    codes, _ = items_for(graph, data_name, 1, head=head)
    device = open_device(spec, graph)
    if not isinstance(device, Marked):
        raise ConfigError(f"device '{spec}' has no marker pin to gate a meter with; use a board, or unicorn", "device")
    with device, meter:
        found = measure(device, meter, codes, inferences=inferences, windows=windows, name=meter_spec, head=head)
    if as_json:
        print_json({"device": spec, "model_hash": artifact.content_hash(graph), **asdict(found)})
        return
    from rich.table import Table

    used = [w for w in found.windows if not w.refused]
    table = Table(
        "", "", title=f"{graph.name} on {spec}, {found.origin} with {meter_spec}", box=None, show_header=False, title_justify="left"
    )
    table.add_row(
        "energy", f"{1e6 * found.energy_j:.4g} µJ ± {1e6 * found.expanded_j:.2g} per inference above idle ({found.confidence:.0%})"
    )
    table.add_row("with idle", f"{1e6 * found.gross_j:.4g} µJ; idle power {1e3 * found.idle_w:.4g} mW")
    table.add_row("latency", f"{1e3 * found.latency_s:.4g} ms per inference")
    table.add_row("windows", f"{len(used)} of {len(found.windows)} used, {found.inferences:,} inferences each")
    for part in found.budget:
        table.add_row(f"  {part.name}", f"{1e6 * part.standard_j:.2g} µJ, type {part.type}")
    print_table(table)
