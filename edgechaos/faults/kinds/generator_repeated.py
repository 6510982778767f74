"""Random words that other items have had."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from edgechaos.faults.injections import SetSlot
from edgechaos.faults.sites import GeneratorFault
from edgechaos.graph.analysis import Analysis


@dataclass(frozen=True, slots=True)
class GeneratorRepeated(GeneratorFault):
    """A permanently repeated seed: only `seeds` different ones are ever given, item by item in turn, and 1 gives every item the same
    words. 0: as many as there are items."""

    kind: ClassVar[str] = "generator_repeated"
    title: ClassVar[str] = "Repeated seeds of the random generator"
    axis: ClassVar[str] = "different seeds"
    phrase: ClassVar[str] = "different seeds of the"
    swept: ClassVar[str] = "seeds"
    limits: ClassVar[tuple[float, float]] = (0, 2**32 - 1)
    neutral: ClassVar[float | None] = 0

    seeds: int = 0

    def resolve(self, analysis: Analysis) -> Iterable[SetSlot]:
        """One number per node."""
        return self.broken(analysis, repeat=self.seeds)
