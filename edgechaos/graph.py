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

    def codes(self, items: NDArray[Any]) -> NDArray[Any]:
        """The codes of raw items, shape kept: int8 x >> 1 of uint8 pixels, or the items themselves."""
        return (items >> 1).astype(np.int8) if self.kind == "pixels" else items


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
        from edgechaos.validation import check

        check(self)
        prove_bounds(self)
        return self
