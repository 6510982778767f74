"""Winners of a k-WTA layer that are lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgechaos.arithmetic.streams import fault_stream
from edgechaos.faults.base import ALL, Fault, explicit
from edgechaos.faults.injections import SetSlot
from edgechaos.faults.sites import carriers, nested_sites
from edgechaos.graph.analysis import Analysis
from edgechaos.support.errors import FaultError


@dataclass(frozen=True, slots=True)
class WinnerDropped(Fault):
    """Permanently dropped winners: the units of these ranks win and send 0, for every item; nobody takes their place.

    layer: the name of a TopK, or "*". Rank 0 is the largest value; of k winners the first 16 can be dropped. Exactly round(rate * n) of
    these n = min(k, 16) ranks, nested over rates; ranks: explicit ones instead of rate and seed.
    """

    kind = "winner_dropped"
    title = "Dropped winners"
    axis = "winners permanently dropped (%)"
    phrase = "permanently dropped winners among"
    uniform = True

    layer: str = ALL
    rate: float = 0.0
    seed: int = 0
    ranks: tuple[int, ...] = explicit()

    def resolve(self, analysis: Analysis) -> Iterator[SetSlot]:
        """One set of ranks per layer, a bit each."""
        for node, slot in carriers(analysis, self.kind, "dropped", self.layer, "k-WTA layer"):
            droppable = slot.high.bit_length()
            wrong = [r for r in self.ranks if not 0 <= r < droppable]
            if wrong:
                raise FaultError(f"{self.kind}: layer '{node.name}' has ranks 0..{droppable - 1}, not {wrong[0]}")
            drawn = nested_sites(self.seed, fault_stream(self.kind, analysis.graph.site(node)), droppable, self.rate)
            bits = sum(1 << int(rank) for rank in {*self.ranks, *drawn.tolist()})
            yield SetSlot(node.name, "dropped", np.zeros(1, np.intp), np.array([bits], np.int64))
