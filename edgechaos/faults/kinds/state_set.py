"""States of neurons that are set to a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgechaos.faults.sites import StateFault
from edgechaos.support.errors import FaultError


@dataclass(frozen=True, slots=True)
class StateSet(StateFault):
    """The state of neurons becomes `value` before each tick from `onset` on, `lifespan` ticks long.

    value: -32768..32767, of refractoriness 0..32768.
    """

    kind: ClassVar[str] = "state_set"
    title: ClassVar[str] = "Overwritten neuron states"
    axis: ClassVar[str] = "neurons whose state is overwritten (%)"
    phrase: ClassVar[str] = "with an overwritten state"

    value: int = 0

    def check(self) -> None:
        """Raises FaultError for what the state cannot hold, too."""
        super(StateSet, self).check()  # a class with slots has no bare super()
        low, high = (-(1 << 15), (1 << 15) - 1) if self.of == "membrane" else (0, 1 << 15)
        if not low <= self.value <= high:
            raise FaultError(f"{self.kind}: value {self.value} is outside {low}..{high}, what a {self.of} holds")

    def bits(self) -> tuple[int, int]:
        """All cleared, those of the value flipped."""
        return 0xFFFF, self.value & 0xFFFF
