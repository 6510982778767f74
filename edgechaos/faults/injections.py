"""What faults come down to: entries of slots, flipped bits of stored words, and words of a device's memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, eq=False)
class SetSlot:
    """Entries of a node's slot: entries, values (k,) integers. Where two faults set one entry, they must agree."""

    node: str
    slot: str
    entries: NDArray[np.intp]
    values: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class FlipBits:
    """Bits of a constant that weights or biases are read from: sites (k,) int64, word * width + bit, distinct. Two flips of one cancel."""

    constant: str
    sites: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class SetWords:
    """Words of a constant that weights are read from: words (k,) flat indices, distinct; values (k,) int64 of its stored bits."""

    constant: str
    words: NDArray[np.intp]
    values: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Poke:
    """Bits of one 32-bit word of a device's memory, changed once when the plan is injected. address: a multiple of 4."""

    address: int
    mask: int
    op: Literal["set", "clear", "toggle"] = "toggle"


Injection = SetSlot | FlipBits | SetWords | Poke


@dataclass(frozen=True, slots=True, eq=False)
class ResolvedPlan:
    """What a plan means for one graph, in integers; what goes over the wire.

    slots: (node, slot) -> all of its entries, (length,) of the slot's dtype. patch: weighted node -> (k, 3) int32 rows (row, column,
    delta), column = -1 for the bias. pokes: in the order of the plan.
    """

    slots: Mapping[tuple[str, str], NDArray[np.generic]] = field(default_factory=dict)
    patch: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    pokes: tuple[Poke, ...] = ()

    @classmethod
    def of(cls, patch: Mapping[str, NDArray[np.int32]] | None = None, **slots: Mapping[str, ArrayLike]) -> ResolvedPlan:
        """A plan by slot: of(dead={"layer": mask}, fail_q={"layer": 3})."""
        entries = {(node, slot): np.atleast_1d(np.asarray(v)) for slot, by_node in slots.items() for node, v in by_node.items()}
        return cls(entries, patch or {})

    def slot(self, name: str) -> dict[str, NDArray[np.generic]]:
        """Node -> entries, of the slots of one name."""
        return {node: values for (node, slot), values in self.slots.items() if slot == name}

    @property
    def levels(self) -> frozenset[str]:
        """What a device must give access to."""
        model = {"model"} if self.slots or self.patch else set()
        return frozenset(model | ({"memory"} if self.pokes else set()))


CLEAN = ResolvedPlan()
