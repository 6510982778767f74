"""Where a model's fault slots live on a device, and the checksum by which host and device know that they mean the same table.

A slot's number on the wire is its index in `edgechaos.graph.analysis.Analysis.slot_table`. On a device every slot begins at a word of its
own: a bool slot as bits, low first, any other as one word an entry. One that its node refuses keeps its number and has no memory.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.tensors import Slot

WIDTHS = {"bool": 0, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4}
"""Bytes of an entry on the wire; 0: a bit."""


@dataclass(frozen=True, slots=True)
class PlacedSlot:
    """A slot of the node `node`. number: on the wire. at: its first word in the device's memory of slots. low: as the device checks it."""

    number: int
    node: str
    slot: Slot
    at: int
    low: int

    @property
    def width(self) -> int:
        """Bytes of an entry on the wire; 0: a bit."""
        return WIDTHS[self.slot.dtype]

    @property
    def words(self) -> int:
        """Of the device's memory."""
        if self.slot.refused is not None:
            return 0
        return self.slot.length if self.width else (self.slot.length + 31) // 32


def placed_slots(graph: IntegerGraph) -> tuple[PlacedSlot, ...]:
    """Every slot in the order of its number."""
    placed: list[PlacedSlot] = []
    for number, (name, slot) in enumerate(graph.analysis.slot_table):
        at = placed[-1].at + placed[-1].words if placed else 0
        low = graph.node(name).lowest(graph, graph.analysis.bounds, slot)
        placed.append(PlacedSlot(number, name, slot, at, low))
    return tuple(placed)


def slots_crc(placed: tuple[PlacedSlot, ...]) -> int:
    """CRC-32 over names, types, lengths and limits: a host refuses a device of another table."""
    lines = (f"{p.node}.{p.slot.name} {p.slot.dtype} {p.slot.length} {p.low} {p.slot.high} {p.slot.refused is None}\n" for p in placed)
    return zlib.crc32("".join(lines).encode())
