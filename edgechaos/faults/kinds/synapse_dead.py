"""Synapses that conduct nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from edgechaos.faults.injections import SetWords
from edgechaos.faults.sites import SynapseFault
from edgechaos.graph.analysis import Analysis


@dataclass(frozen=True, slots=True)
class SynapseDead(SynapseFault):
    """Permanently dead synapses: the stored weight is 0."""

    kind: ClassVar[str] = "synapse_dead"
    title: ClassVar[str] = "Dead synapses"
    axis: ClassVar[str] = "synapses permanently dead (%)"
    phrase: ClassVar[str] = "permanently dead"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"SpikeFI:DeadSynapse": {}, "MRFI:SetZero": {}}

    def resolve(self, analysis: Analysis) -> Iterator[SetWords]:
        """The chosen words of each constant."""
        for constant, words, _, _ in self.chosen(analysis):
            yield SetWords(constant, words, np.zeros(len(words), np.int64))
