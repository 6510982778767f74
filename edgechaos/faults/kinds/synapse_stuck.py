"""Synapses that hold one weight whatever was stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from edgechaos.faults.injections import SetWords
from edgechaos.faults.sites import SynapseFault
from edgechaos.graph.analysis import Analysis
from edgechaos.support.errors import FaultError


@dataclass(frozen=True, slots=True)
class SynapseStuck(SynapseFault):
    """Permanently stuck synapses: the stored weight is `code`, by default 127, the largest of 8 bits: a saturated synapse."""

    kind: ClassVar[str] = "synapse_stuck"
    title: ClassVar[str] = "Stuck synapses"
    axis: ClassVar[str] = "synapses permanently stuck (%)"
    phrase: ClassVar[str] = "permanently stuck"
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
