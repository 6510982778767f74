"""`edgechaos diagnose`: which units of a device are dead or stuck."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgechaos.cli import option
from edgechaos.cli.common import items_for
from edgechaos.cli.fault_option import damage_option, parse_faults
from edgechaos.cli.show import print_json, print_table, say

if TYPE_CHECKING:
    from edgechaos.devices.contract import Device
    from edgechaos.faults.plan import FaultPlan
    from edgechaos.graph.integer_graph import IntegerGraph
    from edgechaos.hil.repair.diagnosis import Diagnosis

PROBES = 64
SHOWN = 12
"""Units that a cell of the table lists."""


@click.command("diagnose")
@option.model
@option.head
@option.data
@option.device
@click.option("--items", type=click.IntRange(2), default=PROBES, show_default=True, help="Test items; half of them confirm the diagnosis.")
@option.seed
@damage_option
@option.json
@click.pass_context
def command(
    context: click.Context,
    model: Path,
    head: str | None,
    data_name: str | None,
    spec: str,
    items: int,
    seed: int,
    faults: tuple[str, ...],
    as_json: bool,
) -> None:
    """Find the dead and stuck units of a device, without opening it.

    From logits alone where they are enough; by changed words where the device has fault hooks. Exit code 1 where what was found does not
    explain the device's logits.

    \b
    Example: edgechaos diagnose pixels.ecm --device unicorn --fault dead=0.5
    """
    from edgechaos.devices.registry import check_spec
    from edgechaos.faults.plan import apply
    from edgechaos.graph import artifact
    from edgechaos.hil.repair.diagnose import diagnose

    check_spec(spec)
    graph = artifact.load(model)
    damage = parse_faults(faults)
    option.refuse_idle_seed(context, apply(graph, damage).path(head))
    codes, _ = items_for(graph, data_name, items, head=head)
    device = damaged_device(spec, graph, damage)
    try:
        found = diagnose(device, device.open(), graph, codes, head=head, seed=seed)
    finally:
        device.close()
    if as_json:
        print_json({"device": spec, "model_hash": artifact.content_hash(graph), "damage": damage.to_json(), **found.to_json()})
    else:
        show(found, f"{graph.name} on {spec}")
    if not found.explains:
        raise click.exceptions.Exit(1)


def damaged_device(spec: str, graph: IntegerGraph, damage: FaultPlan) -> Device:
    """The device of a spec, not yet open, with the damage that is practised on, if there is any."""
    from edgechaos.devices.registry import open_device
    from edgechaos.faults.plan import resolve
    from edgechaos.hil.repair.damaged import DamagedDevice

    device = open_device(spec, graph)
    return DamagedDevice(device, resolve(graph, damage)) if damage.faults else device


def show(found: Diagnosis, title: str) -> None:
    """A table, a row per layer, and what is known, in words."""
    from rich.table import Table

    table = Table("layer", "units", "dead", "stuck", "cannot tell", "by", title=title, box=None, pad_edge=False, title_justify="left")
    for layer in found.layers:
        stuck = [f"{unit} at {code}" for unit, code in layer.stuck.items()]
        cells = (_listed(map(str, layer.dead)), _listed(stuck), _listed(map(str, layer.unknown)))
        table.add_row(layer.layer, str(layer.units), *cells, layer.why or layer.method)
    print_table(table)
    say(f"{found.confidence}; {found.inferences} inferences")


def _listed(found: Iterable[str]) -> str:
    listed = list(found)
    more = f" ... ({len(listed)})" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more or "-"
