"""The slots of a graph, numbered: what a fault may set while the model runs. Devices know each by its number."""

from __future__ import annotations

from edgechaos.graph.node import Graph
from edgechaos.graph.tensors import Slot

__all__ = ["Slot", "slot_table"]


def slot_table(graph: Graph) -> tuple[tuple[str, Slot], ...]:
    """(node name, slot) of every slot; the index is the slot's number on the wire.

    By `added`, so that what comes later renumbers nothing; then nodes in execution order, slots in their class's.
    """
    slots = ((node.name, slot) for node in graph.nodes for slot in node.slots(graph))
    return tuple(sorted(slots, key=lambda pair: pair[1].added))
