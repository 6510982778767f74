"""A program counter that jumps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from edgechaos.faults.injections import Strike
from edgechaos.faults.machine import MachineFault
from edgechaos.graph.analysis import Analysis
from edgechaos.support.errors import FaultError


@dataclass(frozen=True, slots=True)
class ProgramCounter(MachineFault):
    """Bits of the program counter are toggled: the core goes on elsewhere. flips: so many of bits 1 to `highest` are drawn; bit: that one
    alone."""

    kind: ClassVar[str] = "program_counter"
    title: ClassVar[str] = "Jumping program counter"
    axis: ClassVar[str] = "bits of the program counter that change"
    phrase: ClassVar[str] = "changed bits of the program counter"
    given: ClassVar[str] = ",onset=500,highest=16"
    swept: ClassVar[str] = "flips"
    limits: ClassVar[tuple[float, float]] = (0, 31)

    flips: int = 0
    bit: int = -1
    highest: int = 31

    def check(self) -> None:
        """Raises FaultError for a bit that a counter of halfwords does not have."""
        super(ProgramCounter, self).check()  # a class with slots has no bare super()
        if self.bit != -1 and not 1 <= self.bit <= 31:
            raise FaultError(f"{self.kind}: bit {self.bit} is outside 1..31")
        if not 1 <= self.highest <= 31 or self.flips > self.highest:
            raise FaultError(f"{self.kind}: {self.flips} bits are not among bits 1..{self.highest}")

    def resolve(self, analysis: Analysis) -> Iterator[Strike]:
        """Nothing where no bit changes."""
        mask = 1 << self.bit if self.bit >= 1 else self.drawn_mask(self.flips, tuple(range(1, self.highest + 1)))
        if mask:
            yield Strike("register", "pc", "toggle", mask, **self.moment())
