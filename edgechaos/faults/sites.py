"""Where faults fall: nodes by slot, nested random entries, units of a layer, and the words of weights and biases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.streams import UNIT_STREAM, fault_stream
from edgechaos.faults.base import ALL, Fault
from edgechaos.faults.injections import SetSlot
from edgechaos.graph.analysis import UNIT_KINDS, Analysis
from edgechaos.graph.node import Graph, Node
from edgechaos.graph.tensors import Slot
from edgechaos.graph.weighted import Weighted
from edgechaos.support.errors import FaultError


def nested_sites(seed: int, stream: int, count: int, rate: float) -> NDArray[np.intp]:
    """The round(rate * count) sites of lowest random word, ties to the lowest index: a lower rate's are among them."""
    chosen = int(rate * count + 0.5)
    if chosen == 0:
        return np.zeros(0, np.intp)
    word = random_bits.words(seed, stream, [0], 1, count)[0, 0]
    # Not sorted: a campaign draws a few of some hundred thousand bits, trial after trial.
    highest = np.partition(word, chosen - 1)[chosen - 1]
    below, equal = np.flatnonzero(word < highest), np.flatnonzero(word == highest)
    return np.sort(np.concatenate([below, equal[: chosen - len(below)]]))


def carriers(analysis: Analysis, kind: str, slot: str, name: str = ALL, what: str = "layer") -> tuple[tuple[Node, Slot], ...]:
    """The nodes with a slot, by UNIT_KINDS, then in execution order: the one of that name, or all; all of them means the spiking and
    k-WTA layers where there are any. what: such a node in words. Raises FaultError where there is none, or where one refuses."""
    graph = analysis.graph
    able = [(graph.node(node), s) for node, s in analysis.slot_table if s.name == slot]
    able.sort(key=lambda pair: UNIT_KINDS.index(pair[0].unit_kind or "plain"))
    everywhere = [pair for pair in able if pair[0].unit_kind in UNIT_KINDS[:2]] or able
    found = everywhere if name == ALL else [pair for pair in able if pair[0].name == name]
    if not found:
        have = ", ".join(node.name for node, _ in able) or "none"
        raise FaultError(f"{kind}: graph '{graph.name}' has no {what} '{name}'; it has {have}")
    for node, s in found:
        if s.refused is not None:
            raise FaultError(f"{kind}: layer '{node.name}' cannot have its '{slot}' set: {s.refused}; name another layer")
    return tuple(found)


def stored_words(node: Node, target: str) -> str | None:
    """The constant that holds the words of a target, "weight" or "bias"; None where the node has no such words."""
    found = getattr(node, target, None)
    return None if found is None else str(found)


def weighted_words(analysis: Analysis, kind: str, name: str = ALL, target: str = "weight") -> dict[str, Node]:
    """Constant -> the first node that reads it, of every weight or bias at the node of that name, or at all: a shared word fails once.

    Raises FaultError with the matrices that there are.
    """
    weighted = [n for n in analysis.graph.nodes if isinstance(n, Weighted)]
    named = {stored_words(n, target) for n in weighted if name in (ALL, n.name)} - {None}
    if not named:
        have = ", ".join(n.name for n in weighted) or "none"
        raise FaultError(f"{kind}: graph '{analysis.graph.name}' has no {target} at '{name}'; its matrices are {have}")
    readers = {stored_words(n, target): n for n in reversed(weighted)}
    return {str(constant): node for constant, node in reversed(readers.items()) if constant in named}


@dataclass(frozen=True, slots=True)
class SynapseFault(Fault):
    """A fault of stored weights, words of a MatMul, Readout, Conv or EmbeddingBag: a synapse is one word. node: such a node, or "*".

    Exactly round(rate * n) words, nested over rates; synapses: explicit flat indices instead of rate and seed. Words that several nodes
    read fail for all of them.
    """

    node: str = ALL
    rate: float = 0.0
    seed: int = 0
    synapses: tuple[int, ...] = ()

    @property
    def place(self) -> str:
        """Which stored words."""
        return "synapses, all layers" if self.node == ALL else f"synapses of {self.node}"

    @property
    def uniform(self) -> bool:
        """Overflow is proved for every word that a weight may hold."""
        return True

    def check(self) -> None:
        """Raises FaultError for a value beyond its limits, or a rate besides explicit synapses."""
        super(SynapseFault, self).check()  # a class with slots has no bare super()
        check_rate(self)
        refuse_both(self, "synapses")

    def chosen(self, analysis: Analysis) -> Iterator[tuple[str, NDArray[np.intp], NDArray[np.int64], int]]:
        """Of each constant: its name, the words that fail, what they hold, and their stored bits."""
        for constant, node in weighted_words(analysis, self.kind, self.node).items():
            stored = analysis.graph.constants[constant]
            words, size = np.unique(np.array(self.synapses, np.intp)), stored.value.size
            if not len(words):
                words = nested_sites(self.seed, fault_stream(self.kind, analysis.graph.site(node)), size, self.rate)
            elif words[0] < 0 or words[-1] >= size:
                wrong = words[0] if words[0] < 0 else words[-1]
                raise FaultError(f"{self.kind}: '{node.name}' has synapses 0..{size - 1}, not {wrong}")
            yield constant, words, stored.value.reshape(-1)[words].astype(np.int64), stored.bits


def check_rate(fault: Any) -> None:
    """Raises FaultError where a rate that is not the swept field is beyond 0..1."""
    if not 0 <= fault.rate <= 1:
        raise FaultError(f"{fault.kind}: rate {fault.rate} is outside 0..1")


def refuse_both(fault: Any, sites: str) -> None:
    """Raises FaultError for a rate besides explicit sites, which the field `sites` holds; a rate that has its default is none."""
    if getattr(fault, sites) and fault.rate != next(f.default for f in fields(fault) if f.name == "rate"):
        raise FaultError(f"{fault.kind}: has a rate and explicit {sites}; give one of them")


@dataclass(frozen=True, slots=True)
class UnitFault(Fault):
    """A fault of units that a mask names. layer: a node that has the mask, or "*".

    Exactly round(rate * n) units, nested over rates; neurons: explicit indices instead of rate and seed.
    """

    layer: str = ALL
    rate: float = 0.0
    seed: int = 0
    neurons: tuple[int, ...] = ()

    @property
    def uniform(self) -> bool:
        """A layer that may have dead units may have any."""
        return True

    def check(self) -> None:
        """Raises FaultError for a rate beyond 0..1, or one besides explicit units."""
        super(UnitFault, self).check()  # a class with slots has no bare super()
        refuse_both(self, "neurons")

    def mark(self, analysis: Analysis, slot: str, stream: int, what: str) -> Iterator[SetSlot]:
        """The mask `slot` of each layer with its units; a spiking layer's are drawn from `stream` and its own, others' by their site."""
        for node, mask in carriers(analysis, self.kind, slot, self.layer, what):
            entries = self._units(analysis.graph, node, stream, mask.length)
            yield SetSlot(node.name, slot, entries, np.ones(len(entries), np.int64))

    def _units(self, graph: Graph, node: Node, stream: int, count: int) -> NDArray[np.intp]:
        if self.neurons:
            chosen = np.array(self.neurons, np.intp)
            if chosen.min() < 0 or chosen.max() >= count:
                wrong = int(chosen[(chosen < 0) | (chosen >= count)][0])
                raise FaultError(f"{self.kind}: layer '{node.name}' has neurons 0..{count - 1}, not {wrong}")
            return chosen
        drawn = stream | node.streams()[0] if node.unit_kind == "spiking" else UNIT_STREAM + graph.site(node)
        return nested_sites(self.seed, drawn, count, self.rate)


@dataclass(frozen=True, slots=True)
class LayerScale(Fault):
    """A fault that scales one number of a stateful layer. layer: the name of a stateful ChaosLayer, or "*"."""

    swept: ClassVar[str] = "factor"
    limits: ClassVar[tuple[float, float]] = (0.0, 16.0)
    neutral: ClassVar[float | None] = 1.0

    layer: str = ALL
    factor: float = 1.0

    @property
    def uniform(self) -> bool:
        """Nothing is drawn."""
        return True

    def scaled(self, analysis: Analysis, slot: str) -> Iterator[SetSlot]:
        """The number of each layer, floor(factor * number + 1/2) in float64, saturated to the limits of its slot."""
        what = "stateful spiking layer (parallel ticks keep no state, so nothing leaks or recovers)"
        for node, s in carriers(analysis, self.kind, slot, self.layer, what):
            held = float(node.slot_value(analysis.graph, slot)[0])
            yield SetSlot(node.name, slot, np.zeros(1, np.intp), np.array([min(int(held * self.factor + 0.5), s.high)], np.int64))
