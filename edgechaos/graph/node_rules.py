"""The rules of each kind of node: dtypes, shapes, ranges of constants.

Enters: a graph whose names and order are sound, and one of its nodes. Leaves: nothing, or a GraphError that names the node and
the rule. Source: docs/semantics.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from edgechaos.arithmetic.random_bits import FAIL_ONE
from edgechaos.arithmetic.windows import output_size
from edgechaos.graph.integer_graph import (
    DTYPE_RANGE,
    MAX_TICKS,
    Q15,
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
    Tensor,
    ThermalNoise,
    TopK,
    Weighted,
    expected_gain,
)
from edgechaos.graph.nodes import DROPPABLE, FINER_BITS, LUT_ENTRIES
from edgechaos.graph.units import finishes_plain_layer, loud
from edgechaos.support.errors import GraphError

MAX_VOCABULARY = 1 << 16
"""Token ids are uint16."""
MAX_GATHERED = 1 << 26
"""Codes that one item's windows or token vectors take in all: a file must not ask for more memory than its words."""


def require(condition: bool, node: Node | None, message: str) -> None:
    """Raises GraphError with the message and the node's name unless the condition holds."""
    if not condition:
        raise GraphError(f"node '{node.name}': {message}" if node else message, node.name if node else None)


def _io(graph: IntegerGraph, node: Node) -> tuple[Tensor, Tensor]:
    return graph.tensors[node.input], graph.tensors[node.output]


def _check_matmul(graph: IntegerGraph, node: Node) -> None:
    assert isinstance(node, MatMul)
    x, y = _io(graph, node)
    weight = graph.value(node.weight)
    require(x.dtype == "int8", node, f"input must be int8, not {x.dtype}")
    mapped = weight.shape == (*y.shape, math.prod(x.shape)) and len(y.shape) == 1
    require(weight.dtype == np.int8 and mapped, node, f"weight {weight.shape} does not map {x.shape} to {y.shape}")
    require(y.dtype == "int32" and y.ticks == x.ticks, node, "output must be int32 with the input's ticks")
    _check_bias(graph, node, y.shape[0])
    _check_patch(graph, node)


def _check_bias(graph: IntegerGraph, node: MatMul | Conv, outputs: int) -> None:
    if node.bias is not None:
        bias = graph.value(node.bias)
        require(bias.dtype == np.int32 and bias.shape == (outputs,), node, f"bias {bias.shape} does not match ({outputs},)")


def _check_patch(graph: IntegerGraph, node: Weighted) -> None:
    """Each flipped word once and within its stored type: what the overflow proof counts with."""
    if node.patch is None:
        return
    constant, patch = graph.constants[node.weight], graph.value(node.patch)
    require(patch.dtype == np.int32 and patch.ndim == 2 and patch.shape[1] == 3, node, "patch must be (k, 3) int32")
    weight, patch = constant.value.reshape(len(constant.value), -1), patch.astype(np.int64)
    inside = (patch[:, :2] >= 0) & (patch[:, :2] < weight.shape)
    require(bool(inside.all()), node, "patch names a weight outside the matrix")
    words = np.sort(patch[:, 0] * weight.shape[1] + patch[:, 1])  # sorted already where a plan was resolved
    require(bool((np.diff(words) > 0).all()), node, "patch names a weight twice")
    flipped, reach = weight[patch[:, 0], patch[:, 1]] + patch[:, 2], 1 << (constant.bits - 1)
    require(bool(((flipped >= -reach) & (flipped < reach)).all()), node, f"patch takes a weight out of its {constant.bits} stored bits")


def _check_readout(graph: IntegerGraph, node: Node) -> None:
    assert isinstance(node, Readout)
    _check_matmul(graph, node)
    require(
        len(graph.constants[node.weight].scale) <= 1, node, "a readout compares across channels: its weights need one scale (per tensor)"
    )
    layer = graph.producer(node.input)
    sampled = isinstance(layer, ChaosLayer) and layer.sampling == "expected"
    gain = expected_gain(layer.ticks, layer.fail_q) if isinstance(layer, ChaosLayer) and sampled else 1
    require(node.gain == gain, node, f"gain {node.gain} is not {gain}, which the layer before it calls for")


def _check_requantize(graph: IntegerGraph, node: Node) -> None:
    assert isinstance(node, Requantize)
    x, y = _io(graph, node)
    good = x.dtype in ("int32", "int16") and y.dtype in ("int8", "int16")
    require(good, node, f"requantizes int32 or int16 to int8 or int16, not {x.dtype} to {y.dtype}")
    require((x.shape, x.ticks) == (y.shape, y.ticks), node, "input and output must have the same shape")
    _check_rescaling(graph, node, y, ((1,), (x.shape[0],)), "one or one per channel")
    _check_mask(graph, node, "dead", node.dead, x.shape[:1])
    if node.dead is not None:
        require(finishes_plain_layer(graph, node), node, "only the int8 codes of a MatMul or Conv have units that can be dead")
        why = loud(graph, node)
        require(why is None, node, f"has dead units, but {why}")


def _check_rescaling(
    graph: IntegerGraph, node: Requantize | EmbeddingBag, y: Tensor, shapes: tuple[tuple[int], ...], how_many: str
) -> None:
    multiplier, shift = graph.value(node.multiplier), graph.value(node.shift)
    least = 31 - FINER_BITS if isinstance(node, EmbeddingBag) else 31
    for what, array, low, high in (("multiplier", multiplier, 2**30, 2**31 - 1), ("shift", shift, least, 61)):
        require(array.dtype == np.int32 and array.shape in shapes, node, f"{what} must be int32, {how_many}")
        require(bool(((array >= low) & (array <= high)).all()), node, f"{what} is outside {low}..{high}")
    require(multiplier.shape == shift.shape, node, "multiplier and shift must have the same shape")
    low, high = DTYPE_RANGE[y.dtype]
    require(low <= node.low < node.high <= high, node, f"clip {node.low}..{node.high} does not fit {y.dtype}")


def _check_chaos(graph: IntegerGraph, node: Node) -> None:
    assert isinstance(node, ChaosLayer)
    x, y = _io(graph, node)
    wanted = {"parallel": "int32", "stateful": "int16"}.get(node.mode)
    require(wanted is not None, node, f"unknown tick mode {node.mode!r}; use 'parallel' or 'stateful'")
    require(x.dtype == wanted and len(x.shape) == 1, node, f"{node.mode} ticks take an {wanted} vector, not {x.dtype} {x.shape}")
    require(1 <= node.ticks <= MAX_TICKS, node, f"ticks {node.ticks} is outside 1..{MAX_TICKS}")
    require(x.ticks in (0, node.ticks), node, f"input has {x.ticks} ticks, the layer {node.ticks}")
    require(node.emit in ("spikes", "count"), node, f"unknown output {node.emit!r}; use 'spikes' or 'count'")
    ticks_out = node.ticks if node.emit == "spikes" else 0
    require((y.dtype, y.shape, y.ticks) == ("int8", x.shape, ticks_out), node, f"output must be int8 {x.shape} with {ticks_out} ticks")
    for what in ("threshold", "sigma"):
        name = getattr(node, what)
        if name is not None:
            array = graph.value(name)
            require(array.dtype == np.int32 and array.shape == x.shape, node, f"{what} must be int32 {x.shape}")
    _check_mask(graph, node, "dead", node.dead, x.shape)
    _check_mask(graph, node, "stuck", node.stuck, x.shape)
    if node.dead is not None and node.stuck is not None:
        both = graph.value(node.dead) & graph.value(node.stuck)
        require(not both.any(), node, f"neuron {int(both.argmax())} is both dead and stuck at 1")
    require(0 <= node.fail_q <= FAIL_ONE, node, f"fail_q {node.fail_q} is outside 0..{FAIL_ONE}")
    require(0 <= node.decay_q15 <= Q15 and 0 <= node.refractory_decay_q15 <= Q15, node, "decays are outside 0..32768")
    streams = (node.fail_stream, node.noise_stream)
    require(all(0 <= s < 2**16 for s in streams) and streams[0] != streams[1], node, "stream ids must differ and lie in 0..65535")
    if node.sigma is not None:
        sigma = graph.value(node.sigma)
        require(
            1 <= node.sigma_shift <= 30 and bool(((sigma >= 0) & (sigma < 2**15)).all()),
            node,
            "sigma must be 0..32767 with a shift in 1..30",
        )
    if node.sampling != "ticks":
        _check_sampling(graph, node)


def _check_mask(graph: IntegerGraph, node: Node, what: str, constant: str | None, shape: tuple[int, ...]) -> None:
    if constant is not None:
        mask = graph.value(constant)
        good = mask.dtype == np.int8 and mask.shape == shape and bool(np.isin(mask, (0, 1)).all())
        require(good, node, f"{what} must be an int8 0/1 mask {shape}")


def _check_sampling(graph: IntegerGraph, node: ChaosLayer) -> None:
    require(node.sampling in ("binomial", "expected"), node, f"unknown sampling {node.sampling!r}; use 'ticks', 'binomial' or 'expected'")
    last = node.emit == "count" and all(isinstance(n, Readout) for n in graph.readers(node.output))
    rule = f"sampling '{node.sampling}' is allowed only for"
    require(last, node, f"{rule} the last ChaosLayer; use sampling 'ticks'")
    require(
        node.mode == "parallel" and graph.tensors[node.input].ticks == 0,
        node,
        f"{rule} parallel ticks with one drive; use sampling 'ticks'",
    )
    require(node.sigma is None, node, f"{rule} layers whose noise is declared dropped (sigma absent); use sampling 'ticks'")
    require(node.stuck is None, node, f"{rule} plans without stuck-at-1 neurons; use sampling 'ticks'")


def _check_argmax(graph: IntegerGraph, node: Node) -> None:
    x, y = _io(graph, node)
    require(x.dtype == "int32" and x.ticks == 0 and len(x.shape) == 1, node, "takes an int32 vector")
    require(x.size <= 65536, node, f"{x.size} classes do not fit a uint16 label")
    require((y.dtype, y.shape, y.ticks) == ("uint16", (1,), 0), node, "output must be uint16 (1,)")


def _check_windows(node: Conv | MaxPool | AveragePool, x: Tensor, kernel: tuple[int, int], pad: tuple[int, int]) -> tuple[int, int]:
    """The (height, width) of the output."""
    image = x.dtype == "int8" and x.ticks == 0 and len(x.shape) == 3
    require(image, node, f"takes int8 (channels, height, width) without ticks, not {x.dtype} {x.shape}")
    good = min(*kernel, *node.stride) >= 1 and all(0 <= p < k for p, k in zip(pad, kernel, strict=True))
    require(good, node, f"kernel {kernel}, stride {node.stride} and pad {pad} must be at least 1, and pad smaller than the kernel")
    size = output_size(x.shape, kernel, node.stride, pad)
    require(min(size) >= 1, node, f"kernel {kernel} is larger than its padded input {x.shape}")
    gathered = x.shape[0] * math.prod(size) * math.prod(kernel)
    require(gathered <= MAX_GATHERED, node, f"its windows read {gathered} codes, more than {MAX_GATHERED}")
    return size


def _check_conv(graph: IntegerGraph, node: Node) -> None:
    assert isinstance(node, Conv)
    x, y = _io(graph, node)
    weight = graph.value(node.weight)
    good = weight.dtype == np.int8 and weight.ndim == 4 and len(x.shape) == 3 and weight.shape[1] == x.shape[0]
    require(good, node, f"weight {weight.shape} is not int8 (outputs, {x.shape[0]}, height, width)")
    wanted = (weight.shape[0], *_check_windows(node, x, weight.shape[2:], node.pad))
    require((y.dtype, y.shape, y.ticks) == ("int32", wanted, 0), node, f"output must be int32 {wanted}, not {y.dtype} {y.shape}")
    _check_bias(graph, node, weight.shape[0])
    _check_patch(graph, node)


def _check_pool(graph: IntegerGraph, node: Node) -> None:
    assert isinstance(node, MaxPool | AveragePool)
    x, y = _io(graph, node)
    wanted, dtype = (x.shape[0], *_check_windows(node, x, node.kernel, (0, 0))), "int8" if isinstance(node, MaxPool) else "int32"
    require((y.dtype, y.shape, y.ticks) == (dtype, wanted, 0), node, f"output must be {dtype} {wanted}, not {y.dtype} {y.shape}")


def _check_embedding_bag(graph: IntegerGraph, node: Node) -> None:
    assert isinstance(node, EmbeddingBag)
    x, y = _io(graph, node)
    weight = graph.value(node.weight)
    require(
        x.dtype == "uint16" and x.ticks == 0 and len(x.shape) == 1, node, f"takes a uint16 vector of token ids, not {x.dtype} {x.shape}"
    )
    good = weight.dtype == np.int8 and weight.ndim == 2 and 2 <= len(weight) <= MAX_VOCABULARY
    require(good, node, f"weight {weight.shape} is not int8 (2..{MAX_VOCABULARY} ids, vector)")
    require((y.dtype, y.shape, y.ticks) == ("int8", weight.shape[1:], 0), node, f"output must be int8 {weight.shape[1:]}")
    require(x.size * y.size <= MAX_GATHERED, node, f"its vectors take {x.size * y.size} codes, more than {MAX_GATHERED}")
    _check_rescaling(graph, node, y, ((x.shape[0] + 1,),), f"one per count of tokens, 0..{x.shape[0]}")
    require(node.low <= 0 <= node.high, node, f"clip {node.low}..{node.high} must hold 0, the vector of a text without tokens")
    _check_patch(graph, node)


def _check_lut(graph: IntegerGraph, node: Node) -> None:
    assert isinstance(node, Lut)
    x, y = _io(graph, node)
    table = graph.value(node.table)
    require(
        (x.dtype, x.ticks) == ("int8", 0) and (y.dtype, y.shape, y.ticks) == ("int8", x.shape, 0),
        node,
        "maps int8 to int8, shape kept, without ticks",
    )
    good = table.dtype == np.int8 and table.shape in ((LUT_ENTRIES,), (x.shape[0], LUT_ENTRIES))
    require(good, node, f"table must be int8 ({LUT_ENTRIES},) or one such row per channel, not {table.dtype} {table.shape}")


def _check_topk(graph: IntegerGraph, node: Node) -> None:
    assert isinstance(node, TopK)
    x, y = _io(graph, node)
    good = (x.dtype, len(x.shape), x.ticks) == ("int16", 1, 0) and (y.dtype, y.shape, y.ticks) == ("int16", x.shape, 0)
    require(good, node, "ranks an int16 vector without ticks and writes one of the same size")
    require(1 <= node.k <= x.shape[0], node, f"k {node.k} is outside 1..{x.shape[0]}")
    most = (1 << min(node.k, DROPPABLE)) - 1
    require(0 <= node.dropped <= most, node, f"dropped {node.dropped} names winners beyond its {node.k}: 0..{most}")
    _check_mask(graph, node, "dead", node.dead, x.shape)


def _check_thermal(graph: IntegerGraph, node: Node) -> None:
    assert isinstance(node, ThermalNoise)
    x, y = _io(graph, node)
    matrix = graph.producer(node.input)
    good = isinstance(matrix, MatMul) and matrix.input == node.codes and x.ticks == 0
    require(good, node, "its input must come from a MatMul without ticks, and codes must be what that MatMul reads")
    assert isinstance(matrix, MatMul)
    require(
        len(graph.constants[matrix.weight].scale) <= 1,
        node,
        f"one norm serves all outputs: '{matrix.name}' needs one weight scale (per tensor)",
    )
    require((y.dtype, y.shape, y.ticks) == ("int32", x.shape, 0), node, f"output must be int32 {x.shape}")
    require(0 <= node.k <= node.k_max < 2**30, node, f"k {node.k} is outside 0..k_max, or k_max {node.k_max} outside 0..2^30-1")
    require(1 <= node.shift_a <= 30 and 1 <= node.shift_b <= 30, node, "shifts must lie in 1..30")
    require(0 <= node.stream < 2**16, node, "the stream id must lie in 0..65535")


CHECKS: Mapping[type[Node], Callable[[IntegerGraph, Node], None]] = {
    MatMul: _check_matmul,
    Readout: _check_readout,
    Conv: _check_conv,
    MaxPool: _check_pool,
    AveragePool: _check_pool,
    EmbeddingBag: _check_embedding_bag,
    Requantize: _check_requantize,
    Lut: _check_lut,
    TopK: _check_topk,
    ThermalNoise: _check_thermal,
    ChaosLayer: _check_chaos,
    ArgMax: _check_argmax,
}
"""The rule of every kind of node."""
