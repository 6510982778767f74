"""A program counter that jumps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from edgechaos.faults.injections import Strike
from edgechaos.faults.machine import MachineFault
from edgechaos.graph.analysis import Analysis
from edgechaos.support.errors import FaultError
from edgechaos.support.limits import within


@dataclass(frozen=True, slots=True)
class ProgramCounter(MachineFault):
    """Bits of the program counter are toggled: the core goes on elsewhere. flips: so many of bits 1 to `highest` are drawn; bit: that one
    alone."""

    kind = "program_counter"
    title = "Jumping program counter"
    axis = "bits of the program counter that change"
    phrase = "changed bits of the program counter"
    given = ",onset=500,highest=16"
    swept = "flips"
    limits = (0, 31)

    flips: int = 0
    bit: int = -1
    highest: Annotated[int, within(1, 31)] = 31

    def check(self) -> None:
        """Raises FaultError for a bit that a counter of halfwords does not have."""
        super(ProgramCounter, self).check()  # a class with slots has no bare super()
        if self.bit != -1 and not 1 <= self.bit <= 31:
            raise FaultError(f"{self.kind}: bit {self.bit} is outside 1..31")
        if self.flips > self.highest:
            raise FaultError(f"{self.kind}: {self.flips} bits are not among bits 1..{self.highest}")

    def resolve(self, analysis: Analysis) -> Iterator[Strike]:
        """Nothing where no bit changes."""
        mask = 1 << self.bit if self.bit >= 1 else self.drawn_mask(self.flips, tuple(range(1, self.highest + 1)))
        if mask:
            yield Strike("register", "pc", "toggle", mask, **self.moment())
