"""Interval arithmetic: the proof that no int32 of a graph can overflow, whatever a fault flips.

Enters: a graph whose structure is valid. Leaves: the interval of every tensor, or AccumulatorOverflow. Weights count
with the range of their *stored type*, not with their values, because a flipped bit may make any of them; a signed
overflow is undefined in C, and compilers use that.
"""

from __future__ import annotations

import numpy as np

from edgechaos.errors import AccumulatorOverflow
from edgechaos.graph import DTYPE_RANGE, ArgMax, ChaosLayer, IntegerGraph, MatMul, Node, Readout, Requantize
from edgechaos.random_bits import gaussian_table

Interval = tuple[int, int]
ACCUMULATOR = 2**31 - 1
SHIFTABLE = 2**30 - 1
"""Operands of a rounding shift stay below 2^30."""


def prove_bounds(graph: IntegerGraph) -> dict[str, Interval]:
    """The closed interval of every tensor. Raises AccumulatorOverflow where a sum needs more than its 31 or 30 bits."""
    bounds: dict[str, Interval] = {h.input: DTYPE_RANGE[graph.tensors[h.input].dtype] for h in graph.heads}
    for node in graph.nodes:
        bounds[node.output] = _node_bound(graph, node, bounds[node.input])
    return bounds


def _node_bound(graph: IntegerGraph, node: Node, x: Interval) -> Interval:
    if isinstance(node, MatMul):
        return _sum_bound(graph, node, x)
    if isinstance(node, Requantize):
        _need(node, max(map(abs, x)), SHIFTABLE, "requantized accumulator")
        return node.low, node.high
    if isinstance(node, ChaosLayer):
        noise = noise_bound(graph, node)
        _need(node, noise, SHIFTABLE, "noise product")
        noise_max = ((noise + (1 << node.sigma_shift >> 1)) >> node.sigma_shift) if node.sigma else 0
        _need(node, max(map(abs, x)) + noise_max, ACCUMULATOR, "drive plus noise")
        return 0, 1 if node.emit == "spikes" or node.sampling == "expected" else node.ticks
    assert isinstance(node, ArgMax)
    return 0, graph.tensors[node.input].size - 1


def noise_bound(graph: IntegerGraph, node: ChaosLayer) -> int:
    """The largest |G * sigma| of a layer; 0 without noise."""
    return int(graph.value(node.sigma).max(initial=0)) * int(np.abs(gaussian_table().astype(np.int32)).max())


def _sum_bound(graph: IntegerGraph, node: MatMul, x: Interval) -> Interval:
    weight = graph.constants[node.weight]
    largest = 1 << (weight.bits - 1)
    inputs = weight.value.shape[1]
    reach = inputs * largest * max(abs(x[0]), abs(x[1]))
    gain = node.gain if isinstance(node, Readout) else 1
    bias = int(np.abs(graph.value(node.bias).astype(np.int64)).max(initial=0))
    _need(node, reach * gain + bias, ACCUMULATOR, f"sum of {inputs} stored {weight.bits}-bit weights")
    return -(reach * gain + bias), reach * gain + bias


def _need(node: Node, reach: int, limit: int, what: str) -> None:
    if reach > limit:
        bits, have = reach.bit_length() + 1, limit.bit_length() + 1
        raise AccumulatorOverflow(
            f"node '{node.name}': {what} needs {bits} bits, {have} are there; use fewer inputs or fewer weight bits", node.name
        )
