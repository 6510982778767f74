"""Weights of two outputs in one half word, 256 B + A: one 16-bit product then adds to the sums of both (runtime/core/ec_conv_pairs.c, and
ec_quads.c of matrices).

What that needs is proved here for each layer; where it does not hold, the dense kernel takes the weights one by one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgechaos.firmware_gen.core import Core
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.weighted import Summing
from edgechaos.harden.guards import guards_of

KERNEL, MATRIX_KERNEL = "ec_conv_quads.S", "ec_dot_quads.S"
NIBBLE_KERNELS = ("ec_add_nibbles.S", "ec_add_rows.S")
SPIKE_KERNELS = ("ec_add_spikes.S", "ec_list_spikes.S")
"""The assembly of cores that have the products: without it one weight at a time is as fast."""
TAPS = 3
"""Columns of a window: the loop is unrolled for them."""
MOST_SUM = 1 << 23
"""Sums of B: eight bits above them are lost."""


def may_pair(graph: IntegerGraph, node: Summing, core: Core) -> bool:
    """Whether the core has the kernel, it fits the windows, every 256 B + A is an int16 and no sum of B reaches MOST_SUM.

    A matrix's sums are taken apart after 512 inputs each: 127 * 128 * 512 is less.
    """
    kernels = {path.name for path in core.kernels}
    if not node.slides:
        return MATRIX_KERNEL in kernels and _in_flash(graph, node) and bool((graph.value(node.weight)[1::2] >= -127).all())
    if KERNEL not in kernels:
        return False
    weight, columns = graph.value(node.weight), graph.tensors[node.output].shape[2]
    if weight.shape[3] != TAPS or node.strides()[1] != 1 or columns < 2:
        return False
    bias = 0 if node.bias is None else np.abs(graph.value(node.bias).astype(np.int64))[1::2]
    sums = np.abs(weight[1::2].astype(np.int64)).sum(axis=(1, 2, 3)) * 128 + bias
    return bool((_words(weight) >= np.iinfo(np.int16).min).all() and (sums < MOST_SUM).all())


def may_spike(graph: IntegerGraph, node: Summing, core: Core) -> bool:
    """Whether the core has the kernels and all inputs of a matrix are 0 or 1, whatever fails; those of a tick are whole words."""
    there = {path.name for path in core.kernels}.issuperset(SPIKE_KERNELS)
    if not there or node.slides or not _in_flash(graph, node):
        return False
    low, high = graph.analysis.bounds[node.input]
    return low >= 0 and high <= 1 and (graph.tensors[node.input].ticks == 0 or node.terms(graph) % 4 == 0)


def may_offset(graph: IntegerGraph, core: Core) -> bool:
    """Whether the core has the kernel of 4-bit weights that are stored as code + 8, and none of them may change."""
    four = [n for n in graph.nodes if isinstance(n, Summing) and graph.constants[n.weight].bits == 4]
    return {path.name for path in core.kernels}.issuperset(NIBBLE_KERNELS) and all(_in_flash(graph, n) for n in four)


def spike_rows(inputs: int) -> NDArray[np.intp]:
    """Where the row of each input stands, as `ec_spike_row` of ec_layers.h says."""
    i = np.arange(inputs)
    return np.where(i < inputs // 32 * 32, i // 32 * 32 + 31 - 8 * (i % 4) - i // 4 % 8, i)


def _in_flash(graph: IntegerGraph, node: Summing) -> bool:
    """Whether its words stay there in another order: those that a guard corrects would lie in RAM."""
    code = guards_of(graph).codes.get(node.weight)
    return code is None or not code.corrects


def paired_weights(weight: NDArray[np.int8]) -> NDArray[np.int16]:
    """(outputs, channels, rows, 3) to (outputs / 4, channels * rows / 2, 3, 2, 2), both rounded up, as ec_layers.h says."""
    return _words(weight).astype(np.int16)


def quad_weights(weight: NDArray[np.int8]) -> NDArray[np.int16]:
    """(outputs, inputs) to (outputs / 4, inputs / 8, 4, 2, 2), both rounded up, as ec_layers.h says."""
    outputs, inputs = weight.shape
    padded = np.zeros((-(-outputs // 4) * 4, -(-inputs // 8) * 8), np.int16)
    padded[:outputs, :inputs] = weight
    words = 256 * padded[1::2] + padded[0::2]
    apart = words.reshape(len(padded) // 4, 2, -1, 2, 2, 2)  # quad, pair of outputs, eight, four, input / 2, input % 2
    return apart.transpose(0, 2, 3, 5, 1, 4).reshape(len(padded) // 4, -1, 4, 2, 2)


def _words(weight: NDArray[np.int8]) -> NDArray[np.int64]:
    outputs, channels, rows, taps = weight.shape
    padded = np.zeros((-(-outputs // 4) * 4, -(-channels * rows // 2) * 2, taps), np.int64)
    padded[:outputs, : channels * rows] = weight.reshape(outputs, -1, taps)
    even, odd = padded[0::2], padded[1::2]
    words = (256 * odd + even).reshape(len(padded) // 4, 2, -1, 2, taps)  # quad, pair of outputs, pair of rows, row, tap
    return words.transpose(0, 2, 4, 1, 3)
