"""Where faults fall: nodes by slot, nested random entries, units of a layer, and the words of weights and biases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.streams import UNIT_STREAM, fault_stream
from edgechaos.faults.base import ALL, Fault, Persistence
from edgechaos.faults.injections import SetSlot
from edgechaos.graph.analysis import UNIT_KINDS, Analysis
from edgechaos.graph.node import Node
from edgechaos.graph.rules import MAX_TICKS
from edgechaos.graph.tensors import Slot
from edgechaos.graph.weighted import Weighted
from edgechaos.support.errors import FaultError

STATES = ("membrane", "refractoriness")
"""What a stateful neuron keeps, by the number that a slot has for it."""


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


def carriers(
    analysis: Analysis, kind: str, slot: str, name: str = ALL, what: str = "layer", plain: bool = False
) -> tuple[tuple[Node, Slot], ...]:
    """The nodes with a slot, by UNIT_KINDS, then in execution order: the one of that name, or all; all of them means the spiking and
    k-WTA layers where there are any, unless `plain`. what: such a node in words. Raises FaultError where there is none, or one refuses."""
    graph = analysis.graph
    able = [(graph.node(node), s) for node, s in analysis.slot_table if s.name == slot]
    able.sort(key=lambda pair: UNIT_KINDS.index(pair[0].unit_kind or "plain"))
    everywhere = [pair for pair in able if pair[0].unit_kind in UNIT_KINDS[:2] and not plain] or able
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
            drawn = stream | node.streams()[0] if node.unit_kind == "spiking" else UNIT_STREAM + analysis.graph.site(node)
            entries = self.units(node, drawn, mask.length)
            yield SetSlot(node.name, slot, entries, np.ones(len(entries), np.int64))

    def units(self, node: Node, stream: int, count: int) -> NDArray[np.intp]:
        """Those named, or those drawn from a stream."""
        if self.neurons:
            chosen = np.array(self.neurons, np.intp)
            if chosen.min() < 0 or chosen.max() >= count:
                wrong = int(chosen[(chosen < 0) | (chosen >= count)][0])
                raise FaultError(f"{self.kind}: layer '{node.name}' has neurons 0..{count - 1}, not {wrong}")
            return chosen
        return nested_sites(self.seed, stream, count, self.rate)


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


@dataclass(frozen=True, slots=True)
class StateFault(UnitFault):
    """A fault of what stateful neurons keep from tick to tick. layer: the name of a stateful ChaosLayer, or "*".

    of: "membrane" or "refractoriness". onset: the first tick before which it strikes. lifespan: ticks; 0: every one that follows.
    """

    persistence: ClassVar[Persistence] = "transient"

    of: str = STATES[0]
    onset: int = 0
    lifespan: int = 1

    def bits(self) -> tuple[int, int]:
        """The 16 bits that are cleared, then those that are inverted."""
        raise NotImplementedError

    def check(self) -> None:
        """Raises FaultError for another state, or a tick beyond 0..127."""
        super(StateFault, self).check()
        if self.of not in STATES:
            raise FaultError(f"{self.kind}: unknown state '{self.of}'; use 'membrane' or 'refractoriness'")
        for name in ("onset", "lifespan"):
            if not 0 <= getattr(self, name) <= MAX_TICKS:
                raise FaultError(f"{self.kind}: {name} {getattr(self, name)} is outside 0..{MAX_TICKS} ticks")

    def resolve(self, analysis: Analysis) -> Iterator[SetSlot]:
        """The bits of the chosen neurons of each layer, and when they strike; nothing where no neuron is chosen."""
        what = "stateful spiking layer (parallel ticks keep no state)"
        for node, slot in carriers(analysis, self.kind, "state_clear", self.layer, what):
            chosen = self.units(node, fault_stream(self.kind, analysis.graph.site(node)), slot.length)
            when = {"state_from": self.onset, "state_ticks": self.lifespan or MAX_TICKS, "state_of": STATES.index(self.of)}
            clear, flip = (np.full(len(chosen), bits) for bits in self.bits())
            entries = {"state_clear": (chosen, clear), "state_flip": (chosen, flip)}
            entries |= {name: (np.zeros(1, np.intp), np.array([value])) for name, value in when.items()}
            for name, (at, values) in entries.items() if len(chosen) else ():
                yield SetSlot(node.name, name, at, values.astype(np.int64))


@dataclass(frozen=True, slots=True)
class GeneratorFault(Fault):
    """A fault of the generator of random words. layer: the name of a node that draws, a ChaosLayer or a ThermalNoise, or "*": all."""

    layer: str = ALL

    @property
    def place(self) -> str:
        """Whose words."""
        return "random words, all layers" if self.layer == ALL else f"random words of {self.layer}"

    @property
    def uniform(self) -> bool:
        """Nothing is drawn."""
        return True

    def broken(self, analysis: Analysis, **words: int) -> Iterator[SetSlot]:
        """Words of the generator of each node, by slot without its "draw_"."""
        for slot, value in words.items():
            for node, _ in carriers(analysis, self.kind, f"draw_{slot}", self.layer, "node that draws random words", plain=True):
                yield SetSlot(node.name, f"draw_{slot}", np.zeros(1, np.intp), np.array([value], np.int64))
