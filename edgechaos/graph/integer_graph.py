"""IntegerGraph: the one description of a model that every target runs.

Enters: nodes, constants and heads, made by `edgechaos.quantize` or read by `edgechaos.graph.artifact`. Leaves: a frozen,
validated graph. Nodes are named as in ONNX where ONNX has the operation. Scales are documentary: nothing at run time
multiplies by a float. The meaning of every node is `docs/semantics.md`; `edgechaos.reference` executes it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgechaos.graph import signals
from edgechaos.graph.nodes import (
    MAX_TICKS,
    NODE_KINDS,
    ArgMax,
    AveragePool,
    ChaosLayer,
    Conv,
    EmbeddingBag,
    Lut,
    MatMul,
    MaxPool,
    Node,
    Readout,
    Requantize,
    Sampling,
    ThermalNoise,
    TickMode,
    TopK,
    Weighted,
    expected_gain,
)
from edgechaos.graph.tokenizer import Text
from edgechaos.support.errors import ConfigError, GraphError
from edgechaos.support.shown import html_table
from edgechaos.support.suggest import suggestion

__all__ = [
    "DTYPE_RANGE",
    "FAULT_CONSTANT",
    "IDENTIFIER",
    "MAX_TICKS",
    "NODE_KINDS",
    "Q15",
    "ArgMax",
    "AveragePool",
    "ChaosLayer",
    "Constant",
    "Conv",
    "Dtype",
    "EmbeddingBag",
    "Encoding",
    "Head",
    "IntegerGraph",
    "Lut",
    "MatMul",
    "MaxPool",
    "Node",
    "Readout",
    "Requantize",
    "Sampling",
    "Tensor",
    "Text",
    "ThermalNoise",
    "TickMode",
    "TopK",
    "Weighted",
    "expected_gain",
    "fault_constant",
]

IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")
"""Names reach C, file names and tables: nothing else is accepted."""

FAULT_CONSTANT = re.compile(rf"(?P<node>{IDENTIFIER.pattern})\.(?P<field>dead|stuck|patch|bias)")
"""What `edgechaos.faults.plan` calls the constants that it makes. A dot is in no name of a graph's own, and a constant of this form
may be read by that field of that node alone: so a fault overwrites nothing but an earlier fault of the same place."""


def fault_constant(node: str, field: str) -> str:
    """The name of the constant that a fault puts into a field of a node."""
    return f"{node}.{field}"


Dtype = Literal["int8", "int16", "uint16", "int32"]
DTYPE_RANGE: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"int8": (-128, 127), "int16": (-32768, 32767), "uint16": (0, 65535), "int32": (-(2**31), 2**31 - 1)}
)
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
class Encoding:
    """How the host turns one raw item into the codes that enter a head.

    "pixels": uint8 0..255 enter as x >> 1, int8, so that 0 stays 0. "codes": the item is the input's codes already.
    "tokens": the item is a text; `text` turns it into uint16 ids. Ids themselves are accepted too.
    "signals": sensor samples, float32 or int16, (channels, time); mean and reach, one float32 per channel (`edgechaos.graph.signals`).
    """

    kind: Literal["pixels", "codes", "tokens", "signals"] = "codes"
    text: Text | None = None
    mean: tuple[float, ...] = ()
    reach: tuple[float, ...] = ()

    def codes(self, items: NDArray[Any]) -> NDArray[Any]:
        """The codes of raw arrays, shape kept: int8 x >> 1 of uint8 pixels, scaled signals, or the items themselves."""
        if self.kind == "signals":
            samples = items.astype(np.float32).reshape(len(items), len(self.mean), -1)
            return signals.codes(samples, self.mean, self.reach).reshape(items.shape)
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


@dataclass(frozen=True, slots=True, eq=False, repr=False)
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

    def __repr__(self) -> str:
        heads = ", ".join(f"{h.name}: {self._shape(h.input)} -> {len(h.classes)} classes" for h in self.heads)
        return f"<IntegerGraph {self.name!r}: {heads}; {len(self.nodes)} nodes, {self._words():,} weights>"

    def _repr_html_(self) -> str:
        rows = [(n.name, type(n).__name__, self._shape(n.input), self._shape(n.output)) for n in self.nodes]
        return html_table(repr(self)[1:-1], rows, ("node", "kind", "reads", "writes"))

    def _shape(self, tensor: str) -> str:
        t = self.tensors[tensor]
        return f"{t.dtype} {'x'.join(map(str, t.shape))}{f' x {t.ticks} ticks' if t.ticks else ''}"

    def _words(self) -> int:
        """Stored weight words; shared ones count once."""
        return sum(self.constants[name].value.size for name in {n.weight for n in self.weighted()})

    def node(self, name: str) -> Node:
        """The node of that name. Raises GraphError with the names there are."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise GraphError(f"graph '{self.name}' has no node '{name}'; it has {', '.join(n.name for n in self.nodes)}", name)

    def head(self, name: str | None = None) -> Head:
        """The head of that name, or the first. Raises ConfigError with the heads there are."""
        for head in self.heads:
            if name is None or head.name == name:
                return head
        names = [h.name for h in self.heads]
        raise ConfigError(f"model '{self.name}' has no head '{name}'{suggestion(name or '', names)}; it has {', '.join(names)}", "head")

    def value(self, constant: str | None) -> NDArray[Any]:
        """The integers of a constant; an empty int32 array for None (an absent optional constant)."""
        return self.constants[constant].value if constant is not None else np.zeros(0, np.int32)

    def readers(self, tensor: str) -> tuple[Node, ...]:
        """The nodes that read a tensor, in execution order."""
        return tuple(n for n in self.nodes if tensor in n.inputs())

    def producer(self, tensor: str) -> Node | None:
        """The node that writes a tensor; None for an input."""
        return next((n for n in self.nodes if n.output == tensor), None)

    def path(self, head: str | None = None) -> tuple[Node, ...]:
        """The nodes that one head needs, in execution order."""
        wanted, path = {self.head(head).label, self.head(head).logits}, []
        for node in reversed(self.nodes):
            if node.output in wanted:
                wanted.update(node.inputs())
                path.append(node)
        return tuple(reversed(path))

    def chaos_layers(self) -> tuple[ChaosLayer, ...]:
        """The spiking layers, in execution order."""
        return tuple(n for n in self.nodes if isinstance(n, ChaosLayer))

    def weighted(self) -> tuple[Weighted, ...]:
        """The nodes with stored weights, in execution order."""
        return tuple(n for n in self.nodes if isinstance(n, Weighted))

    def validate(self) -> IntegerGraph:
        """Check every rule that the targets rely on and prove every accumulator's bound; returns self.

        Raises GraphError (a rule), AccumulatorOverflow (a bound), naming node and rule.
        """
        from edgechaos.graph.bounds import prove_bounds
        from edgechaos.graph.validation import check

        check(self)
        prove_bounds(self)
        return self
