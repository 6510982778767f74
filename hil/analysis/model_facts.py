"""What a report says of the model itself: its layers, widths, size, and the accuracies that were measured when it was quantized."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgechaos.graph.inspect import LayerInfo, inspect
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import ChaosLayer
from edgechaos.graph.kinds.topk import TopK
from edgechaos.graph.weighted import Weighted


def model_facts(graph: IntegerGraph, head: str | None = None) -> dict[str, Any]:
    """Plain JSON of one head: `architecture` in one line, `weight_bits` that occur, `parameters`, `macs`, and `accuracy`.

    accuracy: float_model, integer_model, items, as the artifact's metadata have them; fields that are no share or count are left out.
    """
    path = {node.name for node in graph.path(head)}
    layers = [layer for layer in inspect(graph).layers if layer.name in path]
    return {
        "architecture": _architecture(graph, layers, head),
        "weight_bits": sorted({layer.weight_bits for layer in layers if layer.weight_bits}),
        "parameters": sum(layer.parameters for layer in layers),
        "macs": sum(layer.macs for layer in layers),
        "accuracy": _accuracy(graph, head),
    }


def _architecture(graph: IntegerGraph, layers: list[LayerInfo], head: str | None) -> str:
    """`784 → MatMul 64 → ChaosLayer 64, 10 ticks → Readout 10`: the layers with weights, those that spike and those that choose."""
    steps = ["×".join(map(str, graph.tensors[graph.head(head).input].shape))]
    for layer in layers:
        node = graph.node(layer.name)
        if isinstance(node, Weighted | ChaosLayer | TopK):
            ticks = f", {node.ticks} ticks" if isinstance(node, ChaosLayer) else ""
            chosen = f", {node.k} win" if isinstance(node, TopK) else ""
            steps.append(f"{layer.kind} {'×'.join(map(str, layer.output_shape))}{ticks}{chosen}")
    return " → ".join(steps)


def _accuracy(graph: IntegerGraph, head: str | None) -> dict[str, float]:
    """What of the metadata can be shown: they are free JSON, and may come from anywhere."""
    found: Any = graph.metadata.get("accuracy", {})
    heads: Any = found.get("heads") if isinstance(found, Mapping) else None
    found = heads.get(graph.head(head).name, {}) if isinstance(heads, Mapping) else found
    if not isinstance(found, Mapping):
        return {}
    shares = {f"{key}_model": found[key] for key in ("float", "integer") if type(found.get(key)) in (int, float) and 0 <= found[key] <= 1}
    items = found.get("items")
    return {**shares, "items": items} if type(items) is int and 0 < items < 2**53 else {}
