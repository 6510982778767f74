"""Interval arithmetic: the proof that no int32 of a graph can overflow, whatever a fault flips.

Enters: a graph whose structure is valid. Leaves: the interval of every tensor, or AccumulatorOverflow. Weights count
with the range of their *stored type*, not with their values, because a flipped bit may make any of them; a signed
overflow is undefined in C, and compilers use that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from edgechaos.arithmetic.random_bits import gaussian_table
from edgechaos.graph.evaluate_nodes import AMPLITUDE_MAX
from edgechaos.graph.integer_graph import (
    DTYPE_RANGE,
    ArgMax,
    AveragePool,
    ChaosLayer,
    Conv,
    EmbeddingBag,
    IntegerGraph,
    Lut,
    MatMul,
    MaxPool,
    Node,
    Readout,
    Requantize,
    ThermalNoise,
    TopK,
    Weighted,
)
from edgechaos.graph.nodes import FINER_BITS
from edgechaos.support.errors import AccumulatorOverflow

Interval = tuple[int, int]
ACCUMULATOR = 2**31 - 1
SHIFTABLE = 2**30 - 1
"""Operands of a rounding shift stay below 2^30."""
GAUSSIAN_MAX = int(np.abs(gaussian_table().astype(np.int32)).max())


def prove_bounds(graph: IntegerGraph) -> dict[str, Interval]:
    """The closed interval of every tensor. Raises AccumulatorOverflow where a sum needs more than its 31 or 30 bits."""
    bounds: dict[str, Interval] = {h.input: DTYPE_RANGE[graph.tensors[h.input].dtype] for h in graph.heads}
    for node in graph.nodes:
        bounds[node.output] = _node_bound(graph, node, bounds)
    return bounds


def _node_bound(graph: IntegerGraph, node: Node, bounds: Mapping[str, Interval]) -> Interval:
    x = bounds[node.input]
    if isinstance(node, MatMul | Conv):
        reach = weight_reach(graph, node, max(map(abs, x))) * (node.gain if isinstance(node, Readout) else 1)
        reach += int(np.abs(graph.value(node.bias).astype(np.int64)).max(initial=0))
        _need(node, reach, ACCUMULATOR, f"sum of {_terms(graph, node)} stored {graph.constants[node.weight].bits}-bit weights")
        return -reach, reach
    if isinstance(node, EmbeddingBag):
        reach = weight_reach(graph, node, 1)
        _need(node, reach, SHIFTABLE, f"sum of {_terms(graph, node)} token vectors")
        _need(node, reach << FINER_BITS, ACCUMULATOR, f"{1 << FINER_BITS} times the sum of {_terms(graph, node)} token vectors")
        return node.low, node.high
    if isinstance(node, Requantize):
        _need(node, max(map(abs, x)), SHIFTABLE, "requantized accumulator")
        return node.low, node.high
    if isinstance(node, AveragePool):
        count = node.kernel[0] * node.kernel[1]
        _need(node, count * max(map(abs, x)), ACCUMULATOR, f"sum of {count} codes")
        return count * x[0], count * x[1]
    if isinstance(node, MaxPool):
        return x
    if isinstance(node, Lut):
        return DTYPE_RANGE["int8"]
    if isinstance(node, TopK):
        return min(x[0], 0), max(x[1], 0)
    if isinstance(node, ThermalNoise):
        reach = _thermal_bound(graph, node, bounds)
        return x[0] - reach, x[1] + reach
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
    return int(graph.value(node.sigma).max(initial=0)) * GAUSSIAN_MAX


def weight_reach(graph: IntegerGraph, node: Weighted, largest_input: int) -> int:
    """The largest |sum of weight * input| that any stored words can make, with |input| <= largest_input."""
    return _terms(graph, node) * (1 << (graph.constants[node.weight].bits - 1)) * largest_input


def _terms(graph: IntegerGraph, node: Weighted) -> int:
    """How many products one output sums."""
    weight = graph.value(node.weight)
    return graph.tensors[node.input].size if isinstance(node, EmbeddingBag) else weight.size // len(weight)


def _thermal_bound(graph: IntegerGraph, node: ThermalNoise, bounds: Mapping[str, Interval]) -> int:
    """The largest |noise| at any k up to k_max; what is summed on the way is proved too."""
    square = graph.tensors[node.codes].size * max(map(abs, bounds[node.codes])) ** 2
    _need(node, square, ACCUMULATOR, "sum of squared codes")
    product = math.isqrt(square) * node.k_max
    _need(node, product, SHIFTABLE, "norm times k_max")
    amplitude = min(AMPLITUDE_MAX, (product + (1 << node.shift_a - 1)) >> node.shift_a)
    noise = (GAUSSIAN_MAX * amplitude + (1 << node.shift_b - 1)) >> node.shift_b
    _need(node, max(map(abs, bounds[node.input])) + noise, ACCUMULATOR, "accumulator plus thermal noise")
    return noise


def _need(node: Node, reach: int, limit: int, what: str) -> None:
    if reach > limit:
        bits, have = reach.bit_length() + 1, limit.bit_length() + 1
        raise AccumulatorOverflow(
            f"node '{node.name}': {what} needs {bits} bits, {have} are there; use fewer inputs or fewer weight bits", node.name
        )
