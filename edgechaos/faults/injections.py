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


ON_INJECTION = -1
"""An onset: at once, between two inferences."""
REGISTERS = (*(f"r{k}" for k in range(13)), "sp", "lr", "pc", "xpsr")
Operation = Literal["set", "clear", "toggle", "overwrite"]


@dataclass(frozen=True, slots=True)
class Strike:
    """What happens to a device's core or memory while it runs.

    what: "memory": bits of the 32-bit word `where` (an address, a multiple of 4, or the name of a symbol or section, of whose bits `draw`
    says which); "register": of the register `where`; "skip": the next `value` instructions do nothing; "reset": the core starts again,
    and has lost its RAM where value is 1. op, mask, value: as the bits change. held: they keep that against whatever is stored.
    When: before the `hits`-th execution of the instruction at `at` (an address, or a symbol with an offset: "main+0x10"), or `onset`
    instructions after an inference began; of the `inference`-th after the injection, 0: of each. lifespan: instructions until it is
    undone, at most to the inference's end; 0: it stays.
    """

    what: Literal["memory", "register", "skip", "reset"]
    where: int | str = 0
    op: Operation = "toggle"
    mask: int = 0
    value: int = 0
    held: bool = False
    onset: int = ON_INJECTION
    at: int | str | None = None
    hits: int = 1
    inference: int = 0
    lifespan: int = 0
    draw: Draw | None = None


@dataclass(frozen=True, slots=True)
class Draw:
    """Bits of a region whose size the device knows: `count` distinct runs of `burst` neighbors, or the round(rate * n) of lowest word."""

    seed: int
    stream: int
    count: int = 0
    burst: int = 1
    rate: float = 0.0


OnWire = Literal["bits", "drop", "duplicate", "delay", "reset"]


@dataclass(frozen=True, slots=True)
class Wire:
    """What happens to bytes between host and device, once the plan is loaded. rate: "bits": of each bit, both ways; else of each request.

    "drop": it is lost; "duplicate": it arrives twice; "delay": it arrives with the next one, after its time-out; "reset": the device
    restarts when half of it has arrived.
    """

    what: OnWire
    rate: float
    seed: int
    stream: int


Injection = SetSlot | FlipBits | SetWords | Poke | Strike | Wire


@dataclass(frozen=True, slots=True, eq=False)
class ResolvedPlan:
    """What a plan means for one graph, in integers; what goes over the wire.

    slots: (node, slot) -> all of its entries, (length,) of the slot's dtype. patch: weighted node -> (k, 3) int32 rows (row, column,
    delta), column = -1 for the bias. pokes, strikes, wires: in the order of the plan.
    """

    slots: Mapping[tuple[str, str], NDArray[np.generic]] = field(default_factory=dict)
    patch: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    pokes: tuple[Poke, ...] = ()
    strikes: tuple[Strike, ...] = ()
    wires: tuple[Wire, ...] = ()

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
        others = {"memory": self.pokes, "machine": self.strikes, "link": self.wires}
        return frozenset(model | {level for level, injections in others.items() if injections})


CLEAN = ResolvedPlan()
