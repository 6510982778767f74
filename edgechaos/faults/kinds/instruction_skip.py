"""Instructions that are not executed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgechaos.faults.injections import Strike
from edgechaos.faults.machine import MachineFault
from edgechaos.graph.analysis import Analysis


@dataclass(frozen=True, slots=True)
class InstructionSkip(MachineFault):
    """`count` instructions in a row do nothing, as if they were NOPs; each is counted as executed."""

    kind = "instruction_skip"
    title = "Skipped instructions"
    axis = "instructions skipped"
    phrase = "skipped instructions"
    given = ",onset=500"
    swept = "count"
    limits = (0, 1000)

    count: int = 1

    def resolve(self, analysis: Analysis) -> Iterator[Strike]:
        """Nothing where none is skipped."""
        if self.count:
            yield Strike("skip", value=self.count, **self.moment())
