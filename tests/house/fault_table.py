"""The table of faults and devices in docs/faults.md, made from the classes: `python -m tests.house.fault_table` writes it anew."""

from __future__ import annotations

from edgechaos.devices.registry import DEVICES, carriers
from edgechaos.faults.base import fault_kinds
from tests.helpers.places import ROOT

PAGE = ROOT / "docs" / "faults.md"
BEGIN, END = "<!-- made by tests/house/fault_table.py: begin -->", "<!-- end -->"


def table() -> str:
    """Markdown, a row per kind, a column per device."""
    devices = sorted(place.name for place in DEVICES.places() if not place.package)
    head = ["kind", "what", "persistence", *devices, "example", "called elsewhere"]
    rows = [head, ["---"] * len(head)]
    for name, kind in fault_kinds().items():
        if kind.__module__.startswith("edgechaos."):
            carried = ["yes" if device in carriers(kind.level) else "" for device in devices]
            aliases = ", ".join(f"`{alias}`" for alias in kind.aliases)
            rows.append([f"`{name}`", kind.title, kind.persistence, *carried, f"`--fault {kind.example()}`", aliases])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def page() -> str:
    """The whole page with its table anew."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page())
