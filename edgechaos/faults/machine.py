"""What the kinds of fault share that strike a device's core or memory while it runs: when, for how long, and which bits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.streams import fault_stream
from edgechaos.faults.base import Fault, Level, Persistence
from edgechaos.faults.injections import ON_INJECTION, Strike
from edgechaos.graph.analysis import Analysis
from edgechaos.support.errors import FaultError

LATEST = 2**40
"""Instructions: longer than any inference."""
PLACE = re.compile(r"0x[0-9a-fA-F]{1,8}|[A-Za-z_.][A-Za-z0-9_.$]{0,126}(\+(0x[0-9a-fA-F]{1,8}|[0-9]{1,8}))?")
OPERATIONS = ("set", "clear", "toggle", "overwrite")


@dataclass(frozen=True, slots=True)
class MachineFault(Fault):
    """A fault that strikes an inference. seed: of what is drawn.

    onset: so many instructions after it began, -1: at once, when the plan is injected; with `span`, drawn from onset..onset + span - 1.
    trigger: in place of an onset, the instruction before which it strikes, an address or "symbol+0x10", at its `hits`-th execution.
    inference: the n-th after the injection, 0: each.
    """

    level: ClassVar[Level] = "machine"
    persistence: ClassVar[Persistence] = "transient"

    onset: int = 0
    span: int = 0
    trigger: str = ""
    hits: int = 1
    inference: int = 0
    seed: int = 0

    @property
    def place(self) -> str:
        """Where it strikes, in words."""
        return "of the core"

    @property
    def uniform(self) -> bool:
        """What is drawn does not matter."""
        return True

    def check(self) -> None:
        """Raises FaultError for a moment that cannot be."""
        super(MachineFault, self).check()  # a class with slots has no bare super()
        for name, low, high in (("onset", ON_INJECTION, LATEST), ("span", 0, LATEST), ("hits", 1, 2**32 - 1), ("inference", 0, LATEST)):
            if not low <= getattr(self, name) <= high:
                raise FaultError(f"{self.kind}: {name} {getattr(self, name)} is outside {low}..{high}")
        if self.trigger and not PLACE.fullmatch(self.trigger):
            raise FaultError(f"{self.kind}: trigger '{self.trigger}' is no address; write 0x1c4, or a symbol with an offset: main+0x10")

    def moment(self) -> dict[str, Any]:
        """The fields of a Strike that say when."""
        onset = self.onset
        if self.span:
            onset += (self.drawn("onset") * self.span) >> 32
        return {"onset": onset, "at": self.trigger or None, "hits": self.hits, "inference": self.inference}

    def drawn(self, what: str) -> int:
        """A word of the kind's own for one purpose, uint32."""
        return int(random_bits.words(self.seed, fault_stream(f"{self.kind} {what}"), [0], 1, 1)[0, 0, 0])

    def drawn_mask(self, count: int, bits: tuple[int, ...]) -> int:
        """`count` of these bits, the first of a drawn order: fewer are among more."""
        order = random_bits.words(self.seed, fault_stream(f"{self.kind} bits"), [0], 1, len(bits))[0, 0].argsort(kind="stable")
        return sum(1 << bits[k] for k in order[:count])

    def resolve(self, analysis: Analysis) -> Iterator[Strike]:
        """What strikes."""
        raise NotImplementedError


def check_choice(fault: Fault, name: str, choices: tuple[str, ...]) -> None:
    """Raises FaultError where a field is none of the choices."""
    if getattr(fault, name) not in choices:
        raise FaultError(f"{fault.kind}: {name} '{getattr(fault, name)}' is none of {', '.join(choices)}")


def check_region(fault: Any) -> None:
    """Raises FaultError for a region that has no name of a section or symbol, nor the form 0xADDRESS:BYTES."""
    if not re.fullmatch(r"0x[0-9a-fA-F]{1,8}:[1-9][0-9]{0,7}", fault.region) and not PLACE.fullmatch(fault.region):
        raise FaultError(f"{fault.kind}: region '{fault.region}' is no section or symbol; write .bss, state, or 0x20000000:4096")
