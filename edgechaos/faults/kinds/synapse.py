"""Synapses that are dead, hold one weight, or drifted: stored weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic.streams import fault_stream
from edgechaos.faults.base import ALL, Fault, explicit
from edgechaos.faults.injections import SetWords
from edgechaos.faults.sites import nested_sites, weighted_words
from edgechaos.graph.analysis import Analysis
from edgechaos.support.errors import FaultError
from edgechaos.support.limits import Share


@dataclass(frozen=True, slots=True)
class SynapseFault(Fault):
    """A fault of stored weights, words of a MatMul, Readout, Conv or EmbeddingBag: a synapse is one word. node: such a node, or "*".

    Exactly round(rate * n) words, nested over rates; synapses: explicit flat indices instead of rate and seed. Words that several nodes
    read fail for all of them.
    """

    uniform = True  # overflow is proved for every word that a weight may hold

    node: str = ALL
    rate: Share = 0.0
    seed: int = 0
    synapses: tuple[int, ...] = explicit()

    @property
    def place(self) -> str:
        return "synapses, all layers" if self.node == ALL else f"synapses of {self.node}"

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


@dataclass(frozen=True, slots=True)
class SynapseDead(SynapseFault):
    """Permanently dead synapses: the stored weight is 0."""

    kind = "synapse_dead"
    title = "Dead synapses"
    axis = "synapses permanently dead (%)"
    phrase = "permanently dead"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"SpikeFI:DeadSynapse": {}, "MRFI:SetZero": {}}

    def resolve(self, analysis: Analysis) -> Iterator[SetWords]:
        for constant, words, _, _ in self.chosen(analysis):
            yield SetWords(constant, words, np.zeros(len(words), np.int64))


@dataclass(frozen=True, slots=True)
class SynapseStuck(SynapseFault):
    """Permanently stuck synapses: the stored weight is `code`, by default 127, the largest of 8 bits: a saturated synapse."""

    kind = "synapse_stuck"
    title = "Stuck synapses"
    axis = "synapses permanently stuck (%)"
    phrase = "permanently stuck"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"SpikeFI:SaturatedSynapse": {}, "SpikeFI:StuckSynapse": {}, "MRFI:SetValue": {}}

    code: int = 127

    def resolve(self, analysis: Analysis) -> Iterator[SetWords]:
        """The chosen words of each constant. Raises FaultError for a code that its stored bits cannot hold."""
        for constant, words, _, bits in self.chosen(analysis):
            reach = 1 << (bits - 1)
            if not -reach <= self.code < reach:
                raise FaultError(
                    f"{self.kind}: '{constant}' stores {bits} bits, codes {-reach}..{reach - 1}, not {self.code}; add code=..."
                )
            yield SetWords(constant, words, np.full(len(words), self.code, np.int64))


@dataclass(frozen=True, slots=True)
class SynapseScale(SynapseFault):
    """Permanently scaled synapses: weight' = floor(factor * weight + 1/2) in float64, saturated to its stored bits; by default all.

    Every weight that changes is a word of a device's patch memory: give a rate.
    """

    kind = "synapse_scale"
    title = "Scaled synapses"
    axis = "factor of the weights"
    phrase = "of the weight, permanently, of"
    given = ",rate=0.01"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"SpikeFI:PerturbedSynapse": {}}
    swept = "factor"
    limits = (0.0, 16.0)
    neutral = 1.0

    rate: Share = 1.0
    factor: float = 1.0

    def resolve(self, analysis: Analysis) -> Iterator[SetWords]:
        for constant, words, held, bits in self.chosen(analysis):
            reach = 1 << (bits - 1)
            scaled = np.floor(held * self.factor + 0.5)
            yield SetWords(constant, words, np.clip(scaled, -reach, reach - 1).astype(np.int64))
