"""`edgechaos profile`: instructions, modelled cycles and joules, and memory traffic by layer and by function."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edgechaos.cli import option
from edgechaos.cli.common import items_for, parameters_for
from edgechaos.cli.file_kinds import BOARD
from edgechaos.cli.run_command import DEFAULT_ENERGY_BOARD
from edgechaos.cli.show import print_json, print_table


@click.command("profile")
@option.model
@option.head
@option.data
@click.option("--device", "spec", default="unicorn", show_default=True, help="One that counts instructions, or a plug-in's.")
@click.option("--items", type=click.IntRange(1), help="Test items to run; by default 20, or all where there are fewer.")
@option.seed
@click.option("--board", type=BOARD, default=DEFAULT_ENERGY_BOARD, show_default=True, help="Whose energy per cycle and clock are taken.")
@option.temperature
@option.json
@option.output("the profile as JSON, for the report")
def command(
    model: Path,
    head: str | None,
    data_name: str | None,
    spec: str,
    items: int | None,
    seed: int,
    board: str,
    temperature: float | None,
    as_json: bool,
    output: Path | None,
) -> None:
    """Show where instructions, cycles, joules and memory traffic go.

    Of the firmware without fault hooks. Counts are exact, by layer and by function, cycles and joules modelled.

    \b
    Example: edgechaos profile pixels.ecm --items 10
    """
    from edgechaos.devices.contract import Profiled
    from edgechaos.devices.registry import check_spec, open_device
    from edgechaos.graph import artifact
    from edgechaos.hil.energy.model import board_energy
    from edgechaos.hil.energy.profile import document
    from edgechaos.support.errors import ConfigError
    from edgechaos.support.files import write_atomic

    check_spec(spec)
    energy_board, graph = board_energy(board), artifact.load(model)
    codes, _ = items_for(graph, data_name, items, default=20, head=head)
    device = open_device(spec, graph)
    if not isinstance(device, Profiled):
        raise ConfigError(f"device '{spec}' does not know what its instructions are for; use unicorn", "device")
    profile = device.profile(codes, seed=seed, head=head, parameters=parameters_for(graph, temperature))
    about = {"device": spec, "model": graph.name, "model_hash": artifact.content_hash(graph), "head": graph.head(head).name}
    found = document(profile, energy_board, about)
    if output is not None:
        write_atomic(output, json.dumps(found, indent=2))
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    from rich.table import Table

    count, total = found["inferences"], found["total"]
    title = f"{found['model']} on {found['device']}, per inference, mean of {count:,}; µJ on {found['board']}, {found['origin']}"
    for name, rows in (("layer", found["layers"]), ("function", found["functions"])):
        table = Table(
            name,
            *("instructions", "share", "cycles", "µJ", "bytes read", "written"),
            title=title if name == "layer" else None,
            box=None,
            title_justify="left",
        )
        for column in table.columns[1:]:
            column.justify = "right"
        for row in (*rows, {**total, "layer": "all", "function": "all"}):
            table.add_row(
                row[name],
                f"{row['instructions'] / count:,.0f}",
                f"{row['instructions'] / total['instructions']:.1%}",
                f"{row['cycles'] / count:,.0f} [{row['cycles_low'] / count:,.0f}, {row['cycles_high'] / count:,.0f}]",
                f"{1e6 * row['energy_j'] / count:.3g}",
                f"{row['bytes_read'] / count:,.0f}",
                f"{row['bytes_written'] / count:,.0f}",
            )
        print_table(table)
    table = Table("hot line", "function", "instructions", "share", box=None)
    for hot in found["hot_lines"][:10]:
        share = f"{hot['instructions'] / total['instructions']:.1%}"
        table.add_row(hot["line"], hot["function"], f"{hot['instructions'] / count:,.0f}", share)
    print_table(table)
