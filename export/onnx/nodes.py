"""The feed-forward nodes in integer ONNX operations.

No float enters. ConvInteger is not used, because TVM imports none: windows are gathered, and summed by the same MatMulInteger as
everything else.
Source: docs/semantics.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgechaos.arithmetic.windows import window_index
from edgechaos.export.onnx.lowering import SAMPLE, SEED, lowers
from edgechaos.export.onnx.random_words import Words, gaussian, rounded_shift
from edgechaos.export.onnx.writer import OnnxWriter
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.argmax import ArgMax
from edgechaos.graph.kinds.average_pool import AveragePool
from edgechaos.graph.kinds.conv import Conv
from edgechaos.graph.kinds.embedding_bag import EmbeddingBag
from edgechaos.graph.kinds.lut import LUT_ENTRIES, Lut
from edgechaos.graph.kinds.matmul import MatMul
from edgechaos.graph.kinds.max_pool import MaxPool
from edgechaos.graph.kinds.readout import Readout
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from edgechaos.graph.kinds.topk import DEAD_RANK, TopK
from edgechaos.graph.thermal import AMPLITUDE_MAX
from edgechaos.graph.tokenizer import PAD, UNKNOWN


@lowers(MatMul, Readout)
def _matmul(w: OnnxWriter, graph: IntegerGraph, node: MatMul) -> None:
    shape = graph.tensors[node.input].shape
    x = node.input if len(shape) == 1 else w.reshape(node.input, graph.tensors[node.input].size)
    terms = [w.op("MatMulInteger", x, w.constant("weight", graph.value(node.weight).T))]
    if node.patch is not None:
        terms.append(_patched(w, graph, node, x))
    acc = terms[0] if len(terms) == 1 else w.op("Add", *terms)
    if node.product_gain() != 1:
        acc = w.op("Mul", acc, w.constant("gain", np.int32(node.product_gain())))
    if node.bias is not None:
        acc = w.op("Add", acc, w.constant("bias", graph.value(node.bias)))
    w.name(node.output, acc)


def _patched(w: OnnxWriter, graph: IntegerGraph, node: MatMul, x: str) -> str:
    """sum of delta * x[in] per output, over the input columns that a flipped word reads; deltas span 9 bits, so int32."""
    out, inputs, delta = graph.value(node.patch).T
    columns, position = np.unique(inputs, return_inverse=True)
    matrix = np.zeros((len(columns), len(graph.value(node.weight))), np.int32)
    np.add.at(matrix, (position, out), delta)
    read = w.op("Gather", x, w.constant("patch_columns", columns.astype(np.int64)), axis=-1)
    return w.op("MatMul", w.cast(read, "int32"), w.constant("patch", matrix))


@lowers(Conv)
def _conv(w: OnnxWriter, graph: IntegerGraph, node: Conv) -> None:
    """Windows (batch, channels, positions, kernel) -> (batch, positions, channels * kernel) -> one MatMulInteger."""
    weight = node.faulty_weight(graph)
    channels, height, width = graph.tensors[node.input].shape
    rows, columns = node.pad
    x = node.input
    if rows or columns:
        pads = w.constant("pads", np.array([0, 0, rows, columns] * 2, np.int64))
        x = w.op("Pad", x, pads, w.constant("zero", np.int8(0)))
    padded = (channels, height + 2 * rows, width + 2 * columns)
    windows = _windows(w, x, padded, (weight.shape[2], weight.shape[3]), node.stride)
    positions = graph.tensors[node.output].size // len(weight)
    patches = w.reshape(w.op("Transpose", windows, perm=[0, 2, 1, 3]), positions, weight[0].size)
    acc = w.op("MatMulInteger", patches, w.constant("weight", weight.reshape(len(weight), -1).T))
    if node.bias is not None:
        acc = w.op("Add", acc, w.constant("bias", graph.value(node.bias)))
    w.name(node.output, w.reshape(w.op("Transpose", acc, perm=[0, 2, 1]), *graph.tensors[node.output].shape))


@lowers(MaxPool, AveragePool)
def _pool(w: OnnxWriter, graph: IntegerGraph, node: MaxPool | AveragePool) -> None:
    windows = w.cast(_windows(w, node.input, graph.tensors[node.input].shape, node.kernel, node.stride), "int32")
    pooled = w.sum(windows, 3) if isinstance(node, AveragePool) else w.cast(w.max(windows, 3), "int8")
    w.name(node.output, w.reshape(pooled, *graph.tensors[node.output].shape))


def _windows(w: OnnxWriter, x: str, shape: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int]) -> str:
    """(batch, channels, positions, kernel): every position of every window, gathered from the flat image."""
    flat = w.reshape(x, shape[0], shape[1] * shape[2])
    return w.op("Gather", flat, w.constant("windows", window_index(shape, kernel, stride)), axis=2)


@lowers(EmbeddingBag)
def _embedding_bag(w: OnnxWriter, graph: IntegerGraph, node: EmbeddingBag) -> None:
    """Rows of the ids, that of padding made zero; the multiplier and shift of the count, (batch, 1) each."""
    weight = node.faulty_weight(graph).copy()
    weight[PAD] = 0
    raw = w.cast(node.input, "int32")
    known = w.op("Less", raw, w.constant("vocabulary", np.int32(len(weight))))
    ids = w.op("Where", known, raw, w.constant("unknown", np.int32(UNKNOWN)))
    total = w.sum(w.cast(w.op("Gather", w.constant("weight", weight), ids, axis=0), "int32"), 1)
    present = w.cast(w.op("Greater", ids, w.constant("padding", np.int32(PAD))), "int32")
    count = w.unsqueeze(w.sum(present, 1), 1)
    factors = (w.op("Gather", w.constant(what, array), count, axis=0) for what, array in _rescaling(graph, node).items())
    w.name(node.output, w.cast(_rescaled(w, node, total, *factors), "int8"))


@lowers(Requantize)
def _requantize(w: OnnxWriter, graph: IntegerGraph, node: Requantize) -> None:
    trailing = (1,) * (len(graph.tensors[node.input].shape) - 1)
    factors = (w.constant(what, array.reshape(-1, *trailing)) for what, array in _rescaling(graph, node).items())
    codes = _rescaled(w, node, node.input, *factors)
    if node.dead is not None:
        codes = w.op("Mul", codes, w.constant("alive", 1 - graph.value(node.dead).astype(np.int64).reshape(-1, *trailing)))
    if node.stuck_code is not None:
        stuck = graph.value(node.stuck_code).astype(np.int64).reshape(-1, *trailing)
        codes = w.op("Where", w.constant("is_stuck", stuck > 0), w.constant("stuck", node.low + stuck - 1), codes)
    w.name(node.output, w.cast(codes, graph.tensors[node.output].dtype))


def _rescaling(graph: IntegerGraph, node: Requantize | EmbeddingBag) -> Mapping[str, np.ndarray]:
    """In int64: |acc * multiplier| < 2^61, so that + 2^62 is positive and the shift of the unsigned word is exact."""
    shift = graph.value(node.shift).astype(np.int64)
    return {
        "multiplier": graph.value(node.multiplier).astype(np.int64),
        "offset": np.int64(1 << 62) + (np.int64(1) << (shift - 1)),
        "shift": shift.astype(np.uint64),
        "offset_shifted": np.int64(1) << (62 - shift),
    }


def _rescaled(w: OnnxWriter, node: Requantize | EmbeddingBag, acc: str, multiplier: str, offset: str, shift: str, shifted: str) -> str:
    positive = w.op("Add", w.op("Mul", w.cast(acc, "int64"), multiplier), offset)
    scaled = w.op("Sub", w.cast(w.op("BitShift", w.cast(positive, "uint64"), shift, direction="RIGHT"), "int64"), shifted)
    return w.op("Clip", scaled, w.constant("low", np.int64(node.low)), w.constant("high", np.int64(node.high)))


@lowers(Lut)
def _lut(w: OnnxWriter, graph: IntegerGraph, node: Lut) -> None:
    """One flat table; a channel's codes start 256 entries after those of the one before it."""
    table, shape = graph.value(node.table), graph.tensors[node.input].shape
    start = LUT_ENTRIES // 2 + LUT_ENTRIES * np.arange(len(table) if table.ndim == 2 else 1, dtype=np.int32)
    start = start.reshape(-1, *(1,) * (len(shape) - 1))
    index = w.op("Add", w.cast(node.input, "int32"), w.constant("start", start))
    w.name(node.output, w.op("Gather", w.constant("table", table.reshape(-1)), index, axis=0))


@lowers(TopK)
def _topk(w: OnnxWriter, graph: IntegerGraph, node: TopK) -> None:
    """Ranked by unique keys `value * n + (n - 1 - index)`, so that no two are equal and the lowest index of a tie wins."""
    n, k = graph.tensors[node.input].shape[0], node.k + node.k_shift
    value = w.cast(node.input, "int64")
    if node.dead is not None:
        value = w.op("Where", w.constant("alive", graph.value(node.dead) == 0), value, w.constant("dead_rank", np.int64(DEAD_RANK)))
    scaled = w.op("Mul", value, w.constant("n", np.int64(n)))
    key = w.op("Add", scaled, w.constant("order", np.arange(n - 1, -1, -1, dtype=np.int64)))
    largest = w.largest(key, max(k, 1))
    last = w.op("Gather", largest, w.constant("last", np.array([max(k, 1) - 1], np.int64)), axis=1)
    kept = w.op("GreaterOrEqual" if k else "Greater", key, last)  # nothing is greater than the largest
    for rank in (r for r in range(k) if node.dropped >> r & 1):
        dropped = w.op("Gather", largest, w.constant(f"rank_{rank}", np.array([rank], np.int64)), axis=1)
        kept = w.op("And", kept, w.op("Not", w.op("Equal", key, dropped)))
    if node.dead is not None:
        kept = w.op("And", kept, w.constant("alive", graph.value(node.dead) == 0))
    winners = w.op("Mul", w.cast(node.input, "int32"), w.cast(kept, "int32"))
    w.name(node.output, w.cast(winners, "int16"))


@lowers(ThermalNoise)
def _thermal_noise(w: OnnxWriter, graph: IntegerGraph, node: ThermalNoise) -> None:
    """`<node>_k`: (1,) int32. The root is found bit by bit, from the highest of 16: the largest whose square is not above the sum."""
    codes = w.cast(w.reshape(node.codes, graph.tensors[node.codes].size), "int64")
    square = w.unsqueeze(w.sum(w.op("Mul", codes, codes), 1), 1)
    root = w.op("Mul", square, w.constant("none", np.int64(0)))
    for bit in range(15, -1, -1):
        step = w.constant(f"bit_{bit}", np.int64(1 << bit))
        tried = w.op("Add", root, step)
        fits = w.cast(w.op("LessOrEqual", w.op("Mul", tried, tried), square), "int64")
        root = w.op("Add", root, w.op("Mul", fits, step))
    wide = rounded_shift(w, w.op("Mul", w.cast(root, "int32"), f"{node.name}_k"), node.shift_a)
    amplitude = w.op("Clip", wide, w.constant("least", np.int32(0)), w.constant("most", np.int32(AMPLITUDE_MAX)))
    words = w.op(
        "Squeeze",
        Words(w, node, SAMPLE, SEED, graph.tensors[node.input].shape[0]).stream(node.stream, 1),
        w.constant("axis_1", np.array([1], np.int64)),
    )
    noise = rounded_shift(w, w.op("Mul", gaussian(w, words), amplitude), node.shift_b)
    w.name(node.output, w.op("Add", node.input, noise))


@lowers(ArgMax)
def _argmax(w: OnnxWriter, graph: IntegerGraph, node: ArgMax) -> None:
    w.name(node.output, w.cast(w.op("ArgMax", node.input, axis=1, keepdims=1, select_last_index=0), "uint16"))
