"""IntegerGraph: the one description of a model that every target runs.

Enters: nodes, constants and heads, made by `edgechaos.quantize` or read by `edgechaos.artifact`. Leaves: a frozen,
validated graph. Nodes are named as in ONNX where ONNX has the operation. Scales are documentary: nothing at run time
multiplies by a float. The meaning of every node is `docs/semantics.md`; `edgechaos.reference` executes it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgechaos.errors import GraphError
from edgechaos.random_bits import FAIL_ONE

IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")
"""Names reach C, file names and tables: nothing else is accepted."""

Dtype = Literal["int8", "int16", "uint16", "int32"]
DTYPE_RANGE: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"int8": (-128, 127), "int16": (-32768, 32767), "uint16": (0, 65535), "int32": (-(2**31), 2**31 - 1)}
)
MAX_ELEMENTS = 1 << 26
MAX_TICKS = 127
"""Spike counts are int8."""
Q15 = 32768


@dataclass(frozen=True, slots=True)
class Tensor:
    """What one sample of a value looks like. `ticks` > 0: there is one such value per tick, on a leading axis."""

    name: str
    dtype: Dtype
    shape: tuple[int, ...]
    scale: float | None = None
    ticks: int = 0

    @property
    def size(self) -> int:
        """Elements of one sample, ticks included."""
        return math.prod(self.shape) * max(self.ticks, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """Read-only integers. `bits` is the stored width of a code: 8, 16 or 32, or 4 and 2 for packed weights."""

    value: NDArray[Any]
    bits: int
    scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        self.value.flags.writeable = False


@dataclass(frozen=True, slots=True)
class Node:
    """One operation: reads the tensor `input`, writes the tensor `output`; both are named in the graph."""

    name: str
    input: str
    output: str

    def constants(self) -> Iterator[tuple[str, str]]:
        """(field, constant name) of every constant this node reads."""
        for f in fields(self):
            if f.metadata.get("constant") and getattr(self, f.name) is not None:
                yield f.name, getattr(self, f.name)


def _constant(default: Any = ...) -> Any:
    return field(metadata={"constant": True}) if default is ... else field(default=default, metadata={"constant": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class MatMul(Node):
    """acc[o] = bias[o] + sum_i weight[o, i] * x[i], int8 x int8 -> int32, per tick where the input has ticks.

    weight: (out, in) int8; bias: (out,) int32. patch: (k, 3) int32 rows (out, in, delta) of flipped weight words,
    `acc[out] += delta * x[in]`, added after the sum; set by faults alone.
    """

    weight: str = _constant()
    bias: str | None = _constant(None)
    patch: str | None = _constant(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout(MatMul):
    """logits = gain * (weight @ count) + bias, int32. The last layer: one weight scale for all outputs.

    gain is 1, or `count_q8` where the ChaosLayer before it is sampled as `expected` (then the logits are times 256).
    """

    gain: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Requantize(Node):
    """q = clip((int64(acc) * multiplier + 2^(shift-1)) >> shift, low, high); |acc| < 2^30 is proved.

    multiplier, shift: (1,) or (channels,) int32; 2^30 <= multiplier < 2^31, 31 <= shift <= 61.
    """

    multiplier: str = _constant()
    shift: str = _constant()
    low: int = -128
    high: int = 127


TickMode = Literal["parallel", "stateful"]
Sampling = Literal["ticks", "binomial", "expected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosLayer(Node):
    """`ticks` ticks of n spiking neurons with intermittent spike loss (order of operations: docs/semantics.md).

    parallel: every tick starts from zero state, spike iff acc + noise > threshold; input int32.
    stateful: membrane int16 and refractoriness uint16 carry over; input int16.
    The input may have ticks (one drive per tick) or not (the same drive at every tick).
    emit: "spikes" writes (ticks, n) int8 0/1, "count" writes (n,) int8, the spikes delivered over all ticks.
    sampling: "ticks" is the definition. "binomial" draws each count at once. "expected" writes 0/1 (would spike), and
    the readout's gain holds the mean count times 256, `expected_gain`.
    threshold: (n,) int32. sigma: (n,) int32 noise multipliers, noise = (G * sigma + 2^(sigma_shift-1)) >> sigma_shift.
    dead, stuck: (n,) int8 0/1 masks of permanently dead and stuck-at-1 neurons, set by faults alone.
    """

    mode: TickMode = "parallel"
    ticks: int = 1
    threshold: str = _constant()
    sigma: str | None = _constant(None)
    sigma_shift: int = 0
    decay_q15: int = 0
    refractory_decay_q15: int = 0
    fail_q: int = 0
    fail_stream: int = 0
    noise_stream: int = 1
    sampling: Sampling = "ticks"
    emit: Literal["spikes", "count"] = "count"
    dead: str | None = _constant(None)
    stuck: str | None = _constant(None)


def expected_gain(ticks: int, fail_q: int) -> int:
    """count_q8 = (ticks * (65536 - fail_q) + 128) >> 8: the mean delivered spikes of a neuron that fires, times 256."""
    return (ticks * (FAIL_ONE - fail_q) + 128) >> 8


@dataclass(frozen=True, slots=True)
class ArgMax(Node):
    """The class: the index of the largest logit, ties to the lowest index. Output uint16, shape (1,)."""


NODE_KINDS: Mapping[str, type[Node]] = MappingProxyType({kind.__name__: kind for kind in (MatMul, Readout, Requantize, ChaosLayer, ArgMax)})


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the host turns one raw item into the codes that enter a head.

    "pixels": uint8 0..255 enter as x >> 1, int8, so that 0 stays 0. "codes": the item is int8 codes already.
    """

    kind: Literal["pixels", "codes"] = "codes"


@dataclass(frozen=True, slots=True)
class Head:
    """One task of the graph: where its input enters, where its logits and its class leave."""

    name: str
    input: str
    logits: str
    label: str
    classes: tuple[str, ...]
    encoding: Encoding = Encoding()


@dataclass(frozen=True, slots=True, eq=False)
class IntegerGraph:
    """A whole model. `nodes` are in execution order; a node reads only what stands before it.

    Several heads may share nodes' constants by name (a shared cortex); each head's path is its own run of nodes.
    `metadata` is JSON: data set, training facts, accuracies, float parameters, for people and reports.
    """

    name: str
    tensors: Mapping[str, Tensor]
    constants: Mapping[str, Constant]
    nodes: tuple[Node, ...]
    heads: tuple[Head, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def node(self, name: str) -> Node:
        """The node of that name. Raises GraphError with the names there are."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise GraphError(f"graph '{self.name}' has no node '{name}'; it has {', '.join(n.name for n in self.nodes)}", name)

    def head(self, name: str | None = None) -> Head:
        """The head of that name, or the first."""
        for head in self.heads:
            if name is None or head.name == name:
                return head
        raise GraphError(f"graph '{self.name}' has no head '{name}'; it has {', '.join(h.name for h in self.heads)}")

    def value(self, constant: str | None) -> NDArray[Any]:
        """The integers of a constant; an empty int32 array for None (an absent optional constant)."""
        return self.constants[constant].value if constant is not None else np.zeros(0, np.int32)

    def producer(self, tensor: str) -> Node | None:
        """The node that writes a tensor; None for an input."""
        return next((n for n in self.nodes if n.output == tensor), None)

    def path(self, head: str | None = None) -> tuple[Node, ...]:
        """The nodes that one head needs, in execution order."""
        wanted, path = {self.head(head).label, self.head(head).logits}, []
        for node in reversed(self.nodes):
            if node.output in wanted:
                wanted.add(node.input)
                path.append(node)
        return tuple(reversed(path))

    def chaos_layers(self) -> tuple[ChaosLayer, ...]:
        """The spiking layers, in execution order."""
        return tuple(n for n in self.nodes if isinstance(n, ChaosLayer))

    def validate(self) -> IntegerGraph:
        """Check every rule that the targets rely on and prove every accumulator's bound; returns self.

        Raises GraphError (a rule), AccumulatorOverflow (a bound), naming node and rule.
        """
        from edgechaos.bounds import prove_bounds

        _check_structure(self)
        for node in self.nodes:
            _CHECKS[type(node)](self, node)
        prove_bounds(self)
        return self


def _fail(node: Node | None, message: str) -> GraphError:
    return GraphError(f"node '{node.name}': {message}" if node else message, node.name if node else None)


def _require(condition: bool, node: Node | None, message: str) -> None:
    if not condition:
        raise _fail(node, message)


def _check_structure(graph: IntegerGraph) -> None:
    names = [graph.name, *graph.tensors, *graph.constants, *(n.name for n in graph.nodes), *(h.name for h in graph.heads)]
    for name in names:
        _require(bool(IDENTIFIER.fullmatch(name)), None, f"name {name!r} is not of the form [a-z_][a-z0-9_]* (63 at most)")
    _require(len({n.name for n in graph.nodes}) == len(graph.nodes), None, "two nodes share a name")
    _require(bool(graph.nodes) and bool(graph.heads), None, "a graph needs at least one node and one head")
    for key, tensor in graph.tensors.items():
        _require(key == tensor.name, None, f"tensor '{key}' is filed under another name than its own, '{tensor.name}'")
        _require(tensor.dtype in DTYPE_RANGE, None, f"tensor '{key}': unknown dtype {tensor.dtype!r}")
        good = len(tensor.shape) > 0 and all(d > 0 for d in tensor.shape) and 0 <= tensor.ticks <= MAX_TICKS
        _require(good and tensor.size <= MAX_ELEMENTS, None, f"tensor '{key}': shape {tensor.shape} is not acceptable")
    for key, constant in graph.constants.items():
        good = constant.value.dtype in (np.int8, np.int16, np.int32, np.uint32) and constant.value.size <= MAX_ELEMENTS
        _require(good, None, f"constant '{key}': {constant.value.dtype} {constant.value.shape} is not acceptable")
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
    for head in graph.heads:
        _require(head.input in graph.tensors, None, f"head '{head.name}': input '{head.input}' is not declared")
        _require({head.logits, head.label} <= written, None, f"head '{head.name}': no node writes its logits or its class")
        count = graph.tensors[head.logits].size
        _require(len(head.classes) == count, None, f"head '{head.name}': {len(head.classes)} classes for {count} logits")


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


def _check_readout(graph: IntegerGraph, node: Node) -> None:
    assert isinstance(node, Readout)
    _check_matmul(graph, node)
    _require(
        len(graph.constants[node.weight].scale) <= 1, node, "a readout compares across channels: its weights need one scale (per tensor)"
    )
    _require(0 <= node.gain <= MAX_TICKS * 256, node, f"gain {node.gain} is outside 0..{MAX_TICKS * 256}")


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
    _require((y.dtype, y.shape, y.ticks) == ("uint16", (1,), 0), node, "output must be uint16 (1,)")


_CHECKS = {MatMul: _check_matmul, Readout: _check_readout, Requantize: _check_requantize, ChaosLayer: _check_chaos, ArgMax: _check_argmax}
