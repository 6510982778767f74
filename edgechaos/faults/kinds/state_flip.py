"""Flipped bits of the state of neurons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgechaos.faults.sites import StateFault
from edgechaos.support.errors import FaultError


@dataclass(frozen=True, slots=True)
class StateFlip(StateFault):
    """One bit of the state of neurons is inverted before each tick from `onset` on, `lifespan` ticks long. bit: 0..15."""

    kind: ClassVar[str] = "state_flip"
    title: ClassVar[str] = "Flipped neuron states"
    axis: ClassVar[str] = "neurons whose state is flipped (%)"
    phrase: ClassVar[str] = "with a flipped bit of state"

    bit: int = 15

    def check(self) -> None:
        """Raises FaultError for what the state cannot hold, too."""
        super(StateFlip, self).check()  # a class with slots has no bare super()
        if not 0 <= self.bit < 16:
            raise FaultError(f"{self.kind}: bit {self.bit} is outside 0..15")

    def bits(self) -> tuple[int, int]:
        """None cleared, one flipped."""
        return 0, 1 << self.bit
