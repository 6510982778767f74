"""k-WTA layers in which more or fewer win."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgechaos.faults.base import ALL, Fault
from edgechaos.faults.injections import SetSlot
from edgechaos.faults.sites import carriers
from edgechaos.graph.analysis import Analysis


@dataclass(frozen=True, slots=True)
class WinnerCount(Fault):
    """A permanently wrong number of winners: k + delta of the n units of a TopK win, at least 0 and at most n. layer: its name, or "*"."""

    kind: ClassVar[str] = "winner_count"
    title: ClassVar[str] = "Wrong number of winners"
    axis: ClassVar[str] = "winners more (below 0: fewer) than k"
    phrase: ClassVar[str] = "winners more than k, permanently, among"
    swept: ClassVar[str] = "delta"
    limits: ClassVar[tuple[float, float]] = (-65535, 65535)
    neutral: ClassVar[float | None] = 0

    layer: str = ALL
    delta: int = 0

    @property
    def uniform(self) -> bool:
        """Nothing is drawn."""
        return True

    def resolve(self, analysis: Analysis) -> Iterator[SetSlot]:
        """One number per layer."""
        for node, slot in carriers(analysis, self.kind, "k_shift", self.layer, "k-WTA layer"):
            yield SetSlot(node.name, "k_shift", np.zeros(1, np.intp), np.array([min(max(self.delta, slot.low), slot.high)], np.int64))
