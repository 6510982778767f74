"""One function per kind of feed-forward node: what the interpreter computes, vectorised over the batch.

Enters: the graph, a node, and its input, batch first. Leaves: its output, in the dtype that the graph declares.
Spiking layers are in `edgechaos.reference`, which calls these. Source: docs/semantics.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.rounding import requantize, rounded_shift
from edgechaos.arithmetic.windows import window_index
from edgechaos.graph.integer_graph import (
    AveragePool,
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
from edgechaos.graph.nodes import LUT_ENTRIES
from edgechaos.graph.tokenizer import PAD, UNKNOWN

Array = NDArray[Any]
AMPLITUDE_MAX = 32767
DEAD_RANK = -32769
"""Below every int16."""


def faulty_weight(graph: IntegerGraph, node: Weighted) -> Array:
    """The int8 weights with the flips of the node's patch: the same integers as delta times input after the sum."""
    weight = graph.value(node.weight)
    if node.patch is None:
        return weight
    row, column, delta = graph.value(node.patch).T
    flipped = weight.astype(np.int32)
    flipped.reshape(len(flipped), -1)[row, column] += delta
    return flipped.astype(np.int8)  # a flipped word stays within its stored type


def matmul(graph: IntegerGraph, node: Node, x: Array) -> Array:
    """int32 (batch, [ticks,] outputs)."""
    assert isinstance(node, MatMul)
    weight = faulty_weight(graph, node)
    leading = x.shape[:2] if graph.tensors[node.input].ticks else x.shape[:1]
    acc = _product(x.reshape(*leading, weight.shape[1]), weight)
    if isinstance(node, Readout):
        acc *= np.int32(node.gain)
    return acc + graph.value(node.bias) if node.bias is not None else acc


def conv(graph: IntegerGraph, node: Node, x: Array) -> Array:
    """int32 (batch, outputs, height, width)."""
    assert isinstance(node, Conv)
    weight = faulty_weight(graph, node)
    rows, columns = node.pad
    padded = np.pad(x, ((0, 0), (0, 0), (rows, rows), (columns, columns)))
    windows = _windows(padded, weight.shape[2:], node.stride).transpose(0, 2, 1, 3)  # (batch, positions, channels, kernel)
    acc = _product(windows.reshape(*windows.shape[:2], weight[0].size), weight.reshape(len(weight), -1))
    if node.bias is not None:
        acc += graph.value(node.bias)
    return np.ascontiguousarray(acc.swapaxes(1, 2)).reshape(len(x), *graph.tensors[node.output].shape)


def pool(graph: IntegerGraph, node: Node, x: Array) -> Array:
    """int8 largest codes, or int32 sums, (batch, channels, height, width)."""
    assert isinstance(node, MaxPool | AveragePool)
    windows = _windows(x, node.kernel, node.stride)
    pooled = windows.max(axis=3) if isinstance(node, MaxPool) else windows.sum(axis=3, dtype=np.int32)
    return pooled.reshape(len(x), *graph.tensors[node.output].shape)


def embedding_bag(graph: IntegerGraph, node: Node, x: Array) -> Array:
    """int8 (batch, vector)."""
    assert isinstance(node, EmbeddingBag)
    weight = faulty_weight(graph, node)
    ids = np.where(x < len(weight), x, np.uint16(UNKNOWN))
    told = ids != PAD
    total = (weight[ids] * told[:, :, None]).sum(axis=1, dtype=np.int32)
    count = told.sum(axis=1)
    multiplier, shift = (graph.value(name)[count][:, None] for name in (node.multiplier, node.shift))
    return requantize(total, multiplier, shift, node.low, node.high).astype(np.int8)


def requantized(graph: IntegerGraph, node: Node, x: Array) -> Array:
    """int8 or int16, shape kept; constants run along the first axis of the tensor's shape."""
    assert isinstance(node, Requantize)
    trailing = (1,) * (len(graph.tensors[node.input].shape) - 1)
    multiplier, shift = (graph.value(name).reshape(-1, *trailing) for name in (node.multiplier, node.shift))
    codes = requantize(x, multiplier, shift, node.low, node.high).astype(graph.tensors[node.output].dtype)
    return codes if node.dead is None else np.where(graph.value(node.dead).reshape(-1, *trailing) == 1, codes.dtype.type(0), codes)


def lut(graph: IntegerGraph, node: Node, x: Array) -> Array:
    """int8, shape kept."""
    assert isinstance(node, Lut)
    table, index = graph.value(node.table), x.astype(np.intp) + LUT_ENTRIES // 2
    if table.ndim == 1:
        return table[index]
    channel = np.arange(len(table)).reshape(-1, *(1,) * (x.ndim - 2))
    return table[channel, index]


def topk(graph: IntegerGraph, node: Node, x: Array) -> Array:
    """int16 (batch, n) with at most k entries that are not 0."""
    assert isinstance(node, TopK)
    dead = graph.value(node.dead) == 1 if node.dead is not None else np.zeros(x.shape[1], bool)
    rank = np.where(dead, DEAD_RANK, x.astype(np.int32))
    winners = np.argsort(-rank, axis=1, kind="stable")[:, : node.k]  # stable: among equals the lowest index comes first
    kept = np.zeros(x.shape, bool)
    np.put_along_axis(kept, winners, node.dropped >> np.arange(node.k) & 1 == 0, axis=1)
    return np.where(kept & ~dead, x, np.int16(0))


def thermal_noise(node: ThermalNoise, x: Array, codes: Array, k: int, seed: int, samples: NDArray[np.uint32]) -> Array:
    """int32 (batch, n)."""
    square = np.square(codes.astype(np.int64)).sum(axis=tuple(range(1, codes.ndim)))
    norm = np.sqrt(square).astype(np.int32)  # exact: below 2^53, a float64 root rounds up to an integer only where it is one
    amplitude = np.minimum(AMPLITUDE_MAX, rounded_shift(norm * np.int32(k), node.shift_a))
    word = random_bits.words(seed, node.stream, samples, 1, x.shape[1])[:, 0]
    return x + rounded_shift(random_bits.gaussian(word).astype(np.int32) * amplitude[:, None], node.shift_b)


def argmax(graph: IntegerGraph, node: Node, x: Array) -> Array:
    """uint16 (batch, 1)."""
    return np.argmax(x, axis=1).astype(np.uint16)[:, None]


def _windows(x: Array, kernel: tuple[int, ...], stride: tuple[int, int]) -> Array:
    """(batch, channels, positions, kernel): what every window of a padded image reads."""
    index = window_index(x.shape[1:], (kernel[0], kernel[1]), stride)
    return x.reshape(*x.shape[:2], x.shape[2] * x.shape[3])[:, :, index]


def _product(x: Array, weight: Array) -> NDArray[np.int32]:
    """x @ weight.T over int8 in int32. Float products use BLAS; they are exact in float32 below 2^24, else in float64."""
    real = np.float32 if weight.shape[1] * 2**14 < 2**24 else np.float64
    return np.rint(x.astype(real) @ weight.T.astype(real)).astype(np.int32)
