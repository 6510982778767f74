"""k-WTA: the largest values win."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from edgechaos.graph.node import Array, Draws, Graph, Interval, Node, constant_field
from edgechaos.graph.rules import check_mask, require
from edgechaos.graph.tensors import Slot

DROPPABLE = 16
"""Winners that a fault can drop, by rank: one bit each."""
DEAD_RANK = -32769
"""Below every int16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopK(Node):
    """The k largest values keep their value, which may be negative; the others are 0. int16 (n,) -> int16 (n,).

    Among equals the lowest index wins. Set by faults alone: dead, (n,) int8 0/1 mask of units that rank below every value and leave
    as 0; dropped, bit r set: the winner of rank r (0 the largest) leaves as 0; k_shift: k + k_shift win, 0..n.
    """

    keeps_units: ClassVar[bool] = True
    unit_kind: ClassVar[Literal["k-WTA"]] = "k-WTA"

    set_by_faults: ClassVar[tuple[str, ...]] = ("dead", "dropped")

    k: int = 1
    dead: str | None = constant_field(None)
    dropped: int = 0
    k_shift: int = 0

    def slots(self, graph: Graph) -> tuple[Slot, ...]:
        """Units may be dead; each of the first 16 winners may be dropped; more or fewer may win."""
        n = graph.tensors[self.input].shape[0]
        return (
            Slot("dead", "bool", n),
            Slot("dropped", "uint16", 1, 0, (1 << min(self.k, DROPPABLE)) - 1),
            Slot("k_shift", "int32", 1, -self.k, n - self.k, added=1),
        )

    def most_active(self, graph: Graph) -> float:
        """k of n."""
        return self.k / graph.tensors[self.input].size

    def check(self, graph: Graph) -> None:
        x, y = self.io(graph)
        good = (x.dtype, len(x.shape), x.ticks) == ("int16", 1, 0) and (y.dtype, y.shape, y.ticks) == ("int16", x.shape, 0)
        require(good, self, "ranks an int16 vector without ticks and writes one of the same size")
        require(1 <= self.k <= x.shape[0], self, f"k {self.k} is outside 1..{x.shape[0]}")
        most = (1 << min(self.k, DROPPABLE)) - 1
        require(0 <= self.dropped <= most, self, f"dropped {self.dropped} names winners beyond its {self.k}: 0..{most}")
        require(0 <= self.k + self.k_shift <= x.shape[0], self, f"k_shift {self.k_shift} makes {self.k + self.k_shift} of {x.shape[0]} win")
        check_mask(graph, self, "dead", self.dead, x.shape)

    def bound(self, graph: Graph, bounds: Mapping[str, Interval]) -> Interval:
        """Losers are 0."""
        low, high = bounds[self.input]
        return min(low, 0), max(high, 0)

    def evaluate(self, graph: Graph, tensors: Mapping[str, Array], draws: Draws) -> Array:
        """int16 (batch, n) with at most k + k_shift entries that are not 0."""
        x = tensors[self.input]
        dead = graph.value(self.dead) == 1 if self.dead is not None else np.zeros(x.shape[1], bool)
        rank = np.where(dead, DEAD_RANK, x.astype(np.int32))
        winners = np.argsort(-rank, axis=1, kind="stable")[:, : self.k + self.k_shift]  # stable: among equals the lowest index comes first
        kept = np.zeros(x.shape, bool)
        np.put_along_axis(kept, winners, self.dropped >> np.arange(winners.shape[1]) & 1 == 0, axis=1)
        return np.where(kept & ~dead, x, np.int16(0))
