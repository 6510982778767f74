"""Which nodes have units that can die: spiking layers, k-WTA layers, and the layers of plain networks.

A plain layer is named by the Requantize that finishes it: of that node's output, one entry of axis 0 is a unit (of a convolution, a
channel). Source: docs/semantics.md, "Faults".
"""

from __future__ import annotations

from edgechaos.graph.integer_graph import ChaosLayer, IntegerGraph, Requantize, TopK

UnitNode = ChaosLayer | TopK | Requantize


def unit_nodes(graph: IntegerGraph) -> tuple[UnitNode, ...]:
    """Every node that carries a dead mask: ChaosLayers, then TopKs, then plain layers whose 0 is silence."""
    return tuple(n for n in graph.analysis.unit_nodes if isinstance(n, UnitNode))


def chaos_and_topk(graph: IntegerGraph) -> tuple[ChaosLayer | TopK, ...]:
    """Spiking layers, then k-WTA layers: where a graph has any, a fault of all layers means these."""
    return (*graph.chaos_layers(), *(n for n in graph.nodes if isinstance(n, TopK)))


def plain_layers(graph: IntegerGraph) -> tuple[Requantize, ...]:
    """The Requantize nodes that finish a plain layer, in execution order."""
    return tuple(n for n in graph.nodes if isinstance(n, Requantize) and n.finishes_plain_layer(graph))
