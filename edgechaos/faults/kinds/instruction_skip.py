"""Instructions that are not executed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from edgechaos.faults.injections import Strike
from edgechaos.faults.machine import MachineFault
from edgechaos.graph.analysis import Analysis


@dataclass(frozen=True, slots=True)
class InstructionSkip(MachineFault):
    """`count` instructions in a row do nothing, as if they were NOPs; each is counted as executed."""

    kind: ClassVar[str] = "instruction_skip"
    title: ClassVar[str] = "Skipped instructions"
    axis: ClassVar[str] = "instructions skipped"
    phrase: ClassVar[str] = "skipped instructions"
    given: ClassVar[str] = ",onset=500"
    swept: ClassVar[str] = "count"
    limits: ClassVar[tuple[float, float]] = (0, 1000)

    count: int = 1

    def resolve(self, analysis: Analysis) -> Iterator[Strike]:
        """Nothing where none is skipped."""
        if self.count:
            yield Strike("skip", value=self.count, **self.moment())
