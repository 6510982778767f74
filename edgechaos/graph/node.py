"""What a node of an integer graph is, and the graph that it is asked about: the base of every kind of node.

A kind's class says what it means: its fields, and what its methods below return. It asks its neighbors by what they are, never by
their class, so that a new kind changes no other. What a target makes of a kind stands in that target's table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgechaos.graph.heads import Head
from edgechaos.graph.tensors import DTYPE_RANGE, Constant, Slot, Tensor, fault_constant
from edgechaos.support.errors import ConfigError, FaultError, GraphError
from edgechaos.support.suggest import suggestion

Array = NDArray[Any]
Interval = tuple[int, int]
"""The least and the largest value that a tensor can hold."""


@dataclass(frozen=True, slots=True)
class Draws:
    """What a run depends on besides graph and codes: seed, the caller's sample ids (batch,) uint32, run-time parameters."""

    seed: int
    samples: NDArray[np.uint32]
    parameters: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes and what stands between them. `nodes` are in execution order; a node reads only what stands before it.

    Several heads may share nodes' constants by name (a shared cortex); each head's path is its own run of nodes.
    `metadata` is JSON: data set, training facts, accuracies, float parameters, for people and reports.
    """

    name: str
    tensors: Mapping[str, Tensor]
    constants: Mapping[str, Constant]
    nodes: tuple[Node, ...]
    heads: tuple[Head, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def _producers(self) -> Mapping[str, Node]:
        return {node.output: node for node in reversed(self.nodes)}

    @cached_property
    def _readers(self) -> Mapping[str, tuple[Node, ...]]:
        readers: dict[str, tuple[Node, ...]] = {}
        for node in self.nodes:
            for tensor in dict.fromkeys(node.inputs()):
                readers[tensor] = (*readers.get(tensor, ()), node)
        return readers

    @cached_property
    def _paths(self) -> dict[str, tuple[Node, ...]]:
        return {}

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
        return self._readers.get(tensor, ())

    def room(self, tensor: str, bounds: Mapping[str, Interval]) -> int:
        """The largest |value| of an int32 tensor with which every proof of what reads it holds."""
        return min((node.room(self, bounds) for node in self.readers(tensor)), default=DTYPE_RANGE["int32"][1])

    def site(self, node: Node) -> int:
        """The number by which a node's fault sites are drawn: as stored, or its index."""
        return self.nodes.index(node) if node.site is None else node.site

    def producer(self, tensor: str) -> Node | None:
        """The node that writes a tensor; None for an input."""
        return self._producers.get(tensor)

    def path(self, head: str | None = None) -> tuple[Node, ...]:
        """The nodes that one head needs, in execution order."""
        spec = self.head(head)
        if spec.name not in self._paths:
            wanted, path = {spec.label, spec.logits}, []
            for node in reversed(self.nodes):
                if node.output in wanted:
                    wanted.update(node.inputs())
                    path.append(node)
            self._paths[spec.name] = tuple(reversed(path))
        return self._paths[spec.name]


_KINDS: dict[str, type[Node]] = {}
NODE_KINDS: Mapping[str, type[Node]] = MappingProxyType(_KINDS)
"""Every kind that was imported, by the name under which files hold it."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation: reads the tensor `input`, writes the tensor `output`; both are named in the graph.

    site: what its fault sites are drawn by, where a pass moved the node; None: its index in the graph.
    """

    is_readout: ClassVar[bool] = False
    """Whether its output is logits, compared across channels."""
    is_class: ClassVar[bool] = False
    """Whether its output is the index of the largest logit."""
    keeps_units: ClassVar[bool] = False
    """Whether entry n of axis 0 of its output is made of the entries n of its inputs: where all of them are removed, so may it be."""
    unit_kind: ClassVar[Literal["", "spiking", "k-WTA", "plain"]] = ""
    """What its units are, where it has a `dead` slot."""

    set_by_faults: ClassVar[tuple[str, ...]] = ()
    """Fields that are set by faults alone."""

    name: str
    input: str
    output: str
    site: int | None = field(default=None, kw_only=True)

    def __init_subclass__(cls) -> None:
        if cls.evaluate is not Node.evaluate:  # what several kinds share is no kind
            known = _KINDS.setdefault(cls.__name__, cls)
            if known.__module__ != cls.__module__:
                raise TypeError(f"two kinds of node are called {cls.__name__}: in {known.__module__} and in {cls.__module__}")
            _KINDS[cls.__name__] = cls  # a dataclass with slots is made twice

    def check(self, graph: Graph) -> None:
        """Raises GraphError where a rule of docs/semantics.md is broken; names and order of the graph are sound already."""
        raise NotImplementedError

    def bound(self, graph: Graph, bounds: Mapping[str, Interval]) -> Interval:
        """The interval of the output from those before it. Raises AccumulatorOverflow where a sum needs more than its 31 or 30 bits.

        Weights count with the range of their stored type, since a flipped bit may make any of them.
        """
        raise NotImplementedError

    def evaluate(self, graph: Graph, tensors: Mapping[str, Array], draws: Draws) -> Array:
        """The output, batch first, in the dtype that the graph declares: the definition that every target repeats."""
        raise NotImplementedError

    def streams(self) -> tuple[int, ...]:
        """The random words that it draws."""
        return ()

    def draws(self) -> bool:
        """Whether these words decide what it gives."""
        return bool(self.streams())

    def parameter(self) -> tuple[int, int] | None:
        """Its run-time parameter as stored, and the largest there may be; None without one."""
        return None

    def parameter_at(self, graph: Graph, temperature: float) -> int:
        """Its run-time parameter at a temperature. Raises GraphError where it has none, or where the temperature is beyond its limit."""
        raise GraphError(f"node '{self.name}' is a {type(self).__name__}, not a ThermalNoise: it has no temperature", self.name)

    def io(self, graph: Graph) -> tuple[Tensor, Tensor]:
        """The tensors of `input` and `output`."""
        return graph.tensors[self.input], graph.tensors[self.output]

    def inputs(self) -> tuple[str, ...]:
        """Every tensor this node reads, `input` first."""
        return (self.input, *(getattr(self, f.name) for f in fields(self) if f.metadata.get("tensor")))

    def constants(self) -> Iterator[tuple[str, str]]:
        """(field, constant name) of every constant this node reads."""
        for f in fields(self):
            if f.metadata.get("constant") and getattr(self, f.name) is not None:
                yield f.name, getattr(self, f.name)

    def slots(self, graph: Graph) -> tuple[Slot, ...]:
        """What a fault may set in this node, in its graph: the same list whatever faults hold."""
        return ()

    def slot(self, graph: Graph, name: str) -> Slot:
        """The slot of that name. Raises FaultError where the node has none."""
        for slot in self.slots(graph):
            if slot.name == name:
                return slot
        raise FaultError(f"node '{self.name}': a {type(self).__name__} has no '{name}' that a fault could set")

    def slot_value(self, graph: Graph, name: str) -> NDArray[Any]:
        """What a slot holds in this graph, (length,) of the slot's dtype; an absent mask is zeros."""
        slot, held = self.slot(graph, name), getattr(self, name)
        values = np.zeros(slot.length) if held is None else graph.value(held) if isinstance(held, str) else np.array([held])
        return values.astype(slot.dtype)

    def with_slot(self, graph: Graph, name: str, values: ArrayLike) -> tuple[Node, dict[str, Constant]]:
        """The node with a slot set to (length,) values, and the constants that it then reads besides its own.

        What follows from it in other nodes is theirs: `settled`. Raises FaultError for values of another length, beyond the limits, or
        that this node refuses.
        """
        slot, entries = self.slot(graph, name), np.asarray(values)
        if entries.shape != (slot.length,) or int(entries.min()) < slot.low or int(entries.max()) > slot.high:
            raise FaultError(
                f"node '{self.name}': '{name}' takes {slot.length} integers in {slot.low}..{slot.high}; resolve the plan for this graph"
            )
        if slot.refused is not None and (entries != self.slot_value(graph, name)).any():
            raise FaultError(f"node '{self.name}': {slot.refused}")
        changes: dict[str, Any] = {name: None}
        of = next(f for f in fields(self) if f.name == name)
        if not of.metadata.get("constant"):
            return replace(self, **changes | {name: int(entries[0])}), {}
        if of.default is None and not entries.any():
            return replace(self, **changes), {}
        stored = entries.astype("int8" if slot.dtype == "bool" else slot.dtype)
        changes[name] = fault_constant(self.name, name)
        return replace(self, **changes), {changes[name]: Constant(stored, 8 * stored.dtype.itemsize)}

    def settled(self, graph: Graph) -> Node:
        """This node with what follows from its neighbors: after a slot of one of them was set."""
        return self

    def finishes(self, graph: Graph) -> bool:
        """Whether a Requantize of its output to int8 finishes a plain layer, one unit per entry of axis 0."""
        return False

    def maps_zero_to_zero(self, graph: Graph) -> bool:
        """Whether code 0 of its input adds nothing to its output: what a dead unit sends must be silence."""
        return True

    def background(self, graph: Graph) -> int:
        """The code that a 0 of its input becomes everywhere, where no input becomes a lower one; 0 in any other case."""
        return 0

    def sums_over(self, tensor: str) -> bool:
        """Whether it reads a tensor only as one sum or norm of all entries: removing entries of code 0 changes nothing, nor any weight."""
        return False

    def unit_constants(self, graph: Graph) -> tuple[str, ...]:
        """Its constants with one entry, or row, per entry of axis 0 of its output."""
        return tuple(name for _, name in self.constants() if len(graph.value(name)) == graph.tensors[self.output].shape[0])

    def words(self, graph: Graph) -> Constant | None:
        """Its stored weights, of which a fault may flip any bit; None without."""
        return None

    def macs(self, graph: Graph) -> int:
        """Products of stored weights with codes, per sample, ticks included."""
        return 0

    def steps(self, graph: Graph) -> int:
        """How many times it computes for one sample: once per tick, where there are any."""
        return max(graph.tensors[self.input].ticks, 1)

    def state_bytes(self, graph: Graph) -> int:
        """What it must remember from one tick to the next."""
        return 0

    def matrix_scale(self, graph: Graph) -> tuple[float, ...] | None:
        """The scales of the weights where each output is a product of one row with the whole input vector; None elsewhere."""
        return None

    def vocabulary(self, graph: Graph) -> int | None:
        """How many token ids it knows; None where it reads no tokens."""
        return None

    def readout_gain(self) -> int:
        """The gain that a Readout of its output needs."""
        return 1

    def largest_gain(self, graph: Graph, bounds: Mapping[str, Interval]) -> int:
        """The same under any fault that keeps the Readout's proof."""
        return self.readout_gain()

    def gain_room(self, graph: Graph, bounds: Mapping[str, Interval]) -> int:
        """The largest gain of its products with which its own sums hold; 1 where it has none."""
        return 1

    def room(self, graph: Graph, bounds: Mapping[str, Interval]) -> int:
        """The largest |input|, where that is int32, with which every proof holds: a faulty bias before it may use what is left."""
        return DTYPE_RANGE["int32"][1]

    def lowest(self, graph: Graph, bounds: Mapping[str, Interval], slot: Slot) -> int:
        """The least entry of one of its slots with which every proof holds."""
        return slot.low

    def most_active(self, graph: Graph) -> float | None:
        """The share of its output that is not 0 at most, whatever the input; None where that may be all of it."""
        return None


def constant_field(default: Any = ...) -> Any:
    """A field that names a constant; with a default of None, one that may be absent."""
    return field(metadata={"constant": True}) if default is ... else field(default=default, metadata={"constant": True})


def tensor_field() -> Any:
    """A field that names a tensor read besides `input`."""
    return field(metadata={"tensor": True})
