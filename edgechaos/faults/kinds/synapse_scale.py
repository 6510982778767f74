"""Synapses whose weight drifted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from edgechaos.faults.injections import SetWords
from edgechaos.faults.sites import SynapseFault
from edgechaos.graph.analysis import Analysis


@dataclass(frozen=True, slots=True)
class SynapseScale(SynapseFault):
    """Permanently scaled synapses: weight' = floor(factor * weight + 1/2) in float64, saturated to its stored bits; by default all.

    Every weight that changes is a word of a device's patch memory: give a rate.
    """

    kind: ClassVar[str] = "synapse_scale"
    title: ClassVar[str] = "Scaled synapses"
    axis: ClassVar[str] = "factor of the weights"
    phrase: ClassVar[str] = "of the weight, permanently, of"
    given: ClassVar[str] = ",rate=0.01"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"SpikeFI:PerturbedSynapse": {}}
    swept: ClassVar[str] = "factor"
    limits: ClassVar[tuple[float, float]] = (0.0, 16.0)
    neutral: ClassVar[float | None] = 1.0

    rate: float = 1.0
    factor: float = 1.0

    def resolve(self, analysis: Analysis) -> Iterator[SetWords]:
        """The chosen words of each constant."""
        for constant, words, held, bits in self.chosen(analysis):
            reach = 1 << (bits - 1)
            scaled = np.floor(held * self.factor + 0.5)
            yield SetWords(constant, words, np.clip(scaled, -reach, reach - 1).astype(np.int64))
