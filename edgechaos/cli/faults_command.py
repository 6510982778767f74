"""`edgechaos faults`: the kinds of fault there are, those of plug-ins among them, and what each takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgechaos.cli import option
from edgechaos.cli.show import print_json, print_table

if TYPE_CHECKING:
    from edgechaos.faults.base import Fault


@click.command("faults")
@option.json
def command(as_json: bool) -> None:
    """List the kinds of fault: the devices that carry each, what a sweep of it changes, the fields that `--fault` and campaigns may set,
    and what SpikeFI, MRFI and ARCHIE call it, which is accepted too. With --json also an example of each.

    \b
    Example: edgechaos faults
    """
    from rich.table import Table

    from edgechaos.faults.base import fault_kinds

    rows = [_facts(kind) for kind in fault_kinds().values()]
    if as_json:
        print_json(rows)
        return
    table = Table("kind", "what", "persistence", "devices", "swept", "other fields", "elsewhere called", box=None, pad_edge=False)
    for row in rows:
        swept = f"{row['swept']} {row['limits'][0]:g}..{row['limits'][1]:g}"
        named = (row["kind"], row["title"], row["persistence"], ", ".join(row["devices"]), swept, ", ".join(row["fields"]))
        table.add_row(*named, ", ".join(row["aliases"]))
    print_table(table)


def _facts(kind: type[Fault]) -> dict[str, Any]:
    from edgechaos.devices.registry import carriers

    others = [name for name in kind.settings() if name != kind.swept]
    return {
        "kind": kind.kind,
        "title": kind.title,
        "persistence": kind.persistence,
        "level": kind.level,
        "devices": carriers(kind.level),
        "swept": kind.swept,
        "limits": list(kind.limits),
        "fields": others,
        "aliases": list(kind.aliases),
        "example": f"--fault {kind.example()}",
    }
