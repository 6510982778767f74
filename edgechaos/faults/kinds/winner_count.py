"""k-WTA layers in which more or fewer win."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgechaos.faults.base import ALL, Fault
from edgechaos.faults.injections import SetSlot
from edgechaos.faults.sites import carriers
from edgechaos.graph.analysis import Analysis


@dataclass(frozen=True, slots=True)
class WinnerCount(Fault):
    """A permanently wrong number of winners: k + delta of the n units of a TopK win, at least 0 and at most n. layer: its name, or "*"."""

    kind = "winner_count"
    title = "Wrong number of winners"
    axis = "winners more (below 0: fewer) than k"
    phrase = "winners more than k, permanently, among"
    swept = "delta"
    limits = (-65535, 65535)
    neutral = 0
    uniform = True

    layer: str = ALL
    delta: int = 0

    def resolve(self, analysis: Analysis) -> Iterator[SetSlot]:
        for node, slot in carriers(analysis, self.kind, "k_shift", self.layer, "k-WTA layer"):
            yield SetSlot(node.name, "k_shift", np.zeros(1, np.intp), np.array([min(max(self.delta, slot.low), slot.high)], np.int64))
