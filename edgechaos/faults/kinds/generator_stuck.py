"""Random words that are all the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from edgechaos.faults.injections import SetSlot
from edgechaos.faults.sites import GeneratorFault
from edgechaos.graph.analysis import Analysis


@dataclass(frozen=True, slots=True)
class GeneratorStuck(GeneratorFault):
    """A permanently stuck generator: every word it gives is `value`."""

    kind: ClassVar[str] = "generator_stuck"
    title: ClassVar[str] = "Stuck random generator"
    axis: ClassVar[str] = "the word that it gives"
    phrase: ClassVar[str] = "as every one of the"
    swept: ClassVar[str] = "value"
    limits: ClassVar[tuple[float, float]] = (0, 2**32 - 1)
    neutral: ClassVar[float | None] = None

    value: int = 0

    def resolve(self, analysis: Analysis) -> Iterable[SetSlot]:
        """All bits of each word."""
        return self.broken(analysis, clear=~self.value & 0xFFFFFFFF, set=self.value)
