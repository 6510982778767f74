"""A core that starts again in the middle of an inference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgechaos.faults.injections import Strike
from edgechaos.faults.machine import MachineFault
from edgechaos.graph.analysis import Analysis


@dataclass(frozen=True, slots=True)
class Reset(MachineFault):
    """The core is reset `onset` instructions after an inference began. ram_lost: 0, RAM is kept; 1, it holds zeros then."""

    kind = "reset"
    title = "Reset in the middle of an inference"
    axis = "instructions before the reset"
    phrase = "instructions before a reset"
    swept = "onset"
    limits = (0, 2**40)
    neutral = None

    ram_lost: int = 0

    def resolve(self, analysis: Analysis) -> Iterator[Strike]:
        yield Strike("reset", value=int(bool(self.ram_lost)), **self.moment())
