"""What is computed of a graph once and passed along: bounds, units, slots.

The bounds are the proof that no int32 of a graph can overflow, whatever a fault flips: a signed overflow is undefined in C, and
compilers use that.
"""

from __future__ import annotations

from functools import cached_property

from edgechaos.graph.node import Graph, Interval, Node
from edgechaos.graph.tensors import DTYPE_RANGE, Slot

UNIT_KINDS = ("spiking", "k-WTA", "plain")
"""In the order in which dead masks number their layers; where a graph has units of the first two, a fault of all layers means these."""


class Analysis:
    """Facts of one graph, each computed when it is first asked for."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    @cached_property
    def bounds(self) -> dict[str, Interval]:
        """The closed interval of every tensor. Raises AccumulatorOverflow where a sum needs more than its 31 or 30 bits."""
        graph = self.graph
        bounds: dict[str, Interval] = {h.input: DTYPE_RANGE[graph.tensors[h.input].dtype] for h in graph.heads}
        for node in graph.nodes:
            bounds[node.output] = node.bound(graph, bounds)
        return bounds

    @cached_property
    def slot_table(self) -> tuple[tuple[str, Slot], ...]:
        """(node name, slot) of every slot; the index is the slot's number on the wire.

        By `added`, so that what comes later renumbers nothing; then nodes in execution order, slots in their class's.
        """
        slots = ((node.name, slot) for node in self.graph.nodes for slot in node.slots(self.graph))
        return tuple(sorted(slots, key=lambda pair: pair[1].added))

    @cached_property
    def unit_nodes(self) -> tuple[Node, ...]:
        """Every node whose units may be dead, by UNIT_KINDS, then in execution order."""
        able = [n for n in self.graph.nodes if any(s.name == "dead" and s.refused is None for s in n.slots(self.graph))]
        return tuple(sorted(able, key=lambda node: UNIT_KINDS.index(node.unit_kind or "plain")))
