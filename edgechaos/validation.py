"""Every rule of a graph that the targets rely on, except the accumulators' bounds (`edgechaos.bounds`).

Enters: an IntegerGraph from anywhere: built in Python, or read from a file that may be hostile. Leaves: nothing, or a
GraphError that names the node and the rule. Source: docs/semantics.md.
"""

from __future__ import annotations

import math

import numpy as np

from edgechaos.errors import GraphError
from edgechaos.graph import (
    DTYPE_RANGE,
    IDENTIFIER,
    MAX_TICKS,
    Q15,
    ArgMax,
    ChaosLayer,
    Constant,
    Head,
    IntegerGraph,
    MatMul,
    Node,
    Readout,
    Requantize,
    Tensor,
    expected_gain,
)
from edgechaos.random_bits import FAIL_ONE

MAX_ELEMENTS = 1 << 26


def check(graph: IntegerGraph) -> None:
    """Raises GraphError at the first rule that the graph breaks."""
    _check_names(graph)
    for tensor in graph.tensors.values():
        _check_tensor(tensor)
    for name, constant in graph.constants.items():
        _check_constant(name, constant)
    _check_order(graph)
    for node in graph.nodes:
        _CHECKS[type(node)](graph, node)
    for head in graph.heads:
        _check_head(graph, head)


def _fail(node: Node | None, message: str) -> GraphError:
    return GraphError(f"node '{node.name}': {message}" if node else message, node.name if node else None)


def _require(condition: bool, node: Node | None, message: str) -> None:
    if not condition:
        raise _fail(node, message)


def _check_names(graph: IntegerGraph) -> None:
    names = [graph.name, *graph.tensors, *graph.constants, *(n.name for n in graph.nodes), *(h.name for h in graph.heads)]
    for name in names:
        _require(bool(IDENTIFIER.fullmatch(name)), None, f"name {name!r} is not of the form [a-z_][a-z0-9_]* (63 at most)")
    _require(len({n.name for n in graph.nodes}) == len(graph.nodes), None, "two nodes share a name")
    _require(len({h.name for h in graph.heads}) == len(graph.heads), None, "two heads share a name")
    _require(bool(graph.nodes) and bool(graph.heads), None, "a graph needs at least one node and one head")
    for key, tensor in graph.tensors.items():
        _require(key == tensor.name, None, f"tensor '{key}' is filed under another name than its own, '{tensor.name}'")


def _check_tensor(tensor: Tensor) -> None:
    _require(tensor.dtype in DTYPE_RANGE, None, f"tensor '{tensor.name}': unknown dtype {tensor.dtype!r}")
    good = len(tensor.shape) > 0 and all(d > 0 for d in tensor.shape) and 0 <= tensor.ticks <= MAX_TICKS
    _require(good and tensor.size <= MAX_ELEMENTS, None, f"tensor '{tensor.name}': shape {tensor.shape} is not acceptable")
    good = tensor.scale is None or (math.isfinite(tensor.scale) and tensor.scale > 0)
    _require(good, None, f"tensor '{tensor.name}': scale {tensor.scale} is not a positive number")


def _check_constant(name: str, constant: Constant) -> None:
    value = constant.value
    good = value.dtype in (np.int8, np.int16, np.int32, np.uint32) and value.ndim > 0 and 0 < value.size <= MAX_ELEMENTS
    _require(good, None, f"constant '{name}': {value.dtype} {value.shape} is not acceptable")
    packed = value.dtype == np.int8 and constant.bits in (2, 4)
    _require(
        packed or constant.bits == 8 * value.dtype.itemsize,
        None,
        f"constant '{name}': {constant.bits} stored bits do not go with {value.dtype}; int8 may be stored in 8, 4 or 2",
    )
    if packed:
        # The overflow proof takes the stored width at its word.
        reach = 1 << (constant.bits - 1)
        _require(bool(((value >= -reach) & (value < reach)).all()), None, f"constant '{name}': a value does not fit {constant.bits} bits")
    _require(all(math.isfinite(s) and s > 0 for s in constant.scale), None, f"constant '{name}': a scale is not a positive number")


def _check_order(graph: IntegerGraph) -> None:
    written: set[str] = set()
    inputs = {h.input for h in graph.heads}
    for node in graph.nodes:
        _require(type(node) in _CHECKS, node, f"kind {type(node).__name__} is not known")
        for tensor_name in (node.input, node.output):
            _require(tensor_name in graph.tensors, node, f"tensor '{tensor_name}' is not declared")
        for f, constant_name in node.constants():
            _require(constant_name in graph.constants, node, f"{f} '{constant_name}' is not declared")
        _require(node.input in written or node.input in inputs, node, f"reads '{node.input}' before it is written")
        _require(node.output not in written and node.output not in inputs, node, f"writes '{node.output}' a second time")
        written.add(node.output)


def _check_head(graph: IntegerGraph, head: Head) -> None:
    where = f"head '{head.name}'"
    _require(head.input in graph.tensors, None, f"{where}: input '{head.input}' is not declared")
    entry = graph.tensors[head.input]
    _require((entry.dtype, entry.ticks) == ("int8", 0), None, f"{where}: its input must be int8 without ticks, not {entry.dtype}")
    label = graph.producer(head.label)
    _require(
        isinstance(label, ArgMax) and label.input == head.logits,
        None,
        f"{where}: its class must be the ArgMax of '{head.logits}'",
    )
    path = graph.path(head.name)
    _require(path[0].input == head.input, None, f"{where}: its logits come from '{path[0].input}', not from its input '{head.input}'")
    count = graph.tensors[head.logits].size
    _require(len(head.classes) == count, None, f"{where}: {len(head.classes)} classes for {count} logits")
    used: dict[int, str] = {}
    for node in path:
        for stream in _streams(node):
            _require(stream not in used, node, f"draws from stream {stream}, which '{used.get(stream)}' uses: their draws would be equal")
            used[stream] = node.name


def _streams(node: Node) -> tuple[int, ...]:
    if not isinstance(node, ChaosLayer):
        return ()
    return (node.fail_stream,) if node.sigma is None else (node.fail_stream, node.noise_stream)


def _io(graph: IntegerGraph, node: Node) -> tuple[Tensor, Tensor]:
    return graph.tensors[node.input], graph.tensors[node.output]


def _check_matmul(graph: IntegerGraph, node: Node) -> None:
    assert isinstance(node, MatMul)
    x, y = _io(graph, node)
    weight = graph.value(node.weight)
    _require(x.dtype == "int8" and len(x.shape) == 1, node, f"input must be an int8 vector, not {x.dtype} {x.shape}")
    _require(
        weight.dtype == np.int8 and weight.shape == (*y.shape, *x.shape), node, f"weight {weight.shape} does not map {x.shape} to {y.shape}"
    )
    _require(y.dtype == "int32" and y.ticks == x.ticks, node, "output must be int32 with the input's ticks")
    if node.bias is not None:
        bias = graph.value(node.bias)
        _require(bias.dtype == np.int32 and bias.shape == y.shape, node, f"bias {bias.shape} does not match {y.shape}")
    if node.patch is not None:
        patch = graph.value(node.patch)
        _require(patch.dtype == np.int32 and patch.ndim == 2 and patch.shape[1] == 3, node, "patch must be (k, 3) int32")
        inside = (patch[:, 0] >= 0) & (patch[:, 0] < y.shape[0]) & (patch[:, 1] >= 0) & (patch[:, 1] < x.shape[0])
        _require(bool(inside.all()), node, "patch names a weight outside the matrix")
        _check_patch(graph, node)


def _check_patch(graph: IntegerGraph, node: MatMul) -> None:
    """Each flipped word once and within its stored type: what the overflow proof counts with."""
    constant, patch = graph.constants[node.weight], graph.value(node.patch).astype(np.int64)
    distinct = len(np.unique(patch[:, :2], axis=0)) == len(patch)
    _require(distinct, node, "patch names a weight twice")
    flipped, reach = constant.value[patch[:, 0], patch[:, 1]] + patch[:, 2], 1 << (constant.bits - 1)
    _require(bool(((flipped >= -reach) & (flipped < reach)).all()), node, f"patch takes a weight out of its {constant.bits} stored bits")


def _check_readout(graph: IntegerGraph, node: Node) -> None:
    assert isinstance(node, Readout)
    _check_matmul(graph, node)
    _require(
        len(graph.constants[node.weight].scale) <= 1, node, "a readout compares across channels: its weights need one scale (per tensor)"
    )
    layer = graph.producer(node.input)
    sampled = isinstance(layer, ChaosLayer) and layer.sampling == "expected"
    gain = expected_gain(layer.ticks, layer.fail_q) if isinstance(layer, ChaosLayer) and sampled else 1
    _require(node.gain == gain, node, f"gain {node.gain} is not {gain}, which the layer before it calls for")


def _check_requantize(graph: IntegerGraph, node: Node) -> None:
    assert isinstance(node, Requantize)
    x, y = _io(graph, node)
    _require(x.dtype == "int32" and y.dtype in ("int8", "int16"), node, f"requantizes int32 to int8 or int16, not {x.dtype} to {y.dtype}")
    _require((x.shape, x.ticks) == (y.shape, y.ticks), node, "input and output must have the same shape")
    multiplier, shift = graph.value(node.multiplier), graph.value(node.shift)
    for what, array, low, high in (("multiplier", multiplier, 2**30, 2**31 - 1), ("shift", shift, 31, 61)):
        _require(array.dtype == np.int32 and array.shape in ((1,), (x.shape[0],)), node, f"{what} must be int32, one or one per channel")
        _require(bool(((array >= low) & (array <= high)).all()), node, f"{what} is outside {low}..{high}")
    _require(multiplier.shape == shift.shape, node, "multiplier and shift must have the same shape")
    low, high = DTYPE_RANGE[y.dtype]
    _require(low <= node.low < node.high <= high, node, f"clip {node.low}..{node.high} does not fit {y.dtype}")


def _check_chaos(graph: IntegerGraph, node: Node) -> None:
    assert isinstance(node, ChaosLayer)
    x, y = _io(graph, node)
    wanted = {"parallel": "int32", "stateful": "int16"}.get(node.mode)
    _require(wanted is not None, node, f"unknown tick mode {node.mode!r}; use 'parallel' or 'stateful'")
    _require(x.dtype == wanted and len(x.shape) == 1, node, f"{node.mode} ticks take an {wanted} vector, not {x.dtype} {x.shape}")
    _require(1 <= node.ticks <= MAX_TICKS, node, f"ticks {node.ticks} is outside 1..{MAX_TICKS}")
    _require(x.ticks in (0, node.ticks), node, f"input has {x.ticks} ticks, the layer {node.ticks}")
    _require(node.emit in ("spikes", "count"), node, f"unknown output {node.emit!r}; use 'spikes' or 'count'")
    ticks_out = node.ticks if node.emit == "spikes" else 0
    _require((y.dtype, y.shape, y.ticks) == ("int8", x.shape, ticks_out), node, f"output must be int8 {x.shape} with {ticks_out} ticks")
    for what in ("threshold", "sigma"):
        name = getattr(node, what)
        if name is not None:
            array = graph.value(name)
            _require(array.dtype == np.int32 and array.shape == x.shape, node, f"{what} must be int32 {x.shape}")
    for what in ("dead", "stuck"):
        name = getattr(node, what)
        if name is not None:
            array = graph.value(name)
            _require(
                array.dtype == np.int8 and array.shape == x.shape and bool(np.isin(array, (0, 1)).all()),
                node,
                f"{what} must be an int8 0/1 mask {x.shape}",
            )
    if node.dead is not None and node.stuck is not None:
        both = graph.value(node.dead) & graph.value(node.stuck)
        _require(not both.any(), node, f"neuron {int(both.argmax())} is both dead and stuck at 1")
    _require(0 <= node.fail_q <= FAIL_ONE, node, f"fail_q {node.fail_q} is outside 0..{FAIL_ONE}")
    _require(0 <= node.decay_q15 <= Q15 and 0 <= node.refractory_decay_q15 <= Q15, node, "decays are outside 0..32768")
    streams = (node.fail_stream, node.noise_stream)
    _require(all(0 <= s < 2**16 for s in streams) and streams[0] != streams[1], node, "stream ids must differ and lie in 0..65535")
    if node.sigma is not None:
        sigma = graph.value(node.sigma)
        _require(
            1 <= node.sigma_shift <= 30 and bool(((sigma >= 0) & (sigma < 2**15)).all()),
            node,
            "sigma must be 0..32767 with a shift in 1..30",
        )
    if node.sampling != "ticks":
        _check_sampling(graph, node)


def _check_sampling(graph: IntegerGraph, node: ChaosLayer) -> None:
    _require(node.sampling in ("binomial", "expected"), node, f"unknown sampling {node.sampling!r}; use 'ticks', 'binomial' or 'expected'")
    readers = [n for n in graph.nodes if n.input == node.output]
    last = node.emit == "count" and all(isinstance(n, Readout) for n in readers)
    rule = f"sampling '{node.sampling}' is allowed only for"
    _require(last, node, f"{rule} the last ChaosLayer; use sampling 'ticks'")
    _require(
        node.mode == "parallel" and graph.tensors[node.input].ticks == 0,
        node,
        f"{rule} parallel ticks with one drive; use sampling 'ticks'",
    )
    _require(node.sigma is None, node, f"{rule} layers whose noise is declared dropped (sigma absent); use sampling 'ticks'")
    _require(node.stuck is None, node, f"{rule} plans without stuck-at-1 neurons; use sampling 'ticks'")


def _check_argmax(graph: IntegerGraph, node: Node) -> None:
    x, y = _io(graph, node)
    _require(x.dtype == "int32" and x.ticks == 0 and len(x.shape) == 1, node, "takes an int32 vector")
    _require(x.size <= 65536, node, f"{x.size} classes do not fit a uint16 label")
    _require((y.dtype, y.shape, y.ticks) == ("uint16", (1,), 0), node, "output must be uint16 (1,)")


_CHECKS = {MatMul: _check_matmul, Readout: _check_readout, Requantize: _check_requantize, ChaosLayer: _check_chaos, ArgMax: _check_argmax}
