"""Random words that begin anew too soon."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from edgechaos.faults.injections import SetSlot
from edgechaos.faults.sites import GeneratorFault
from edgechaos.graph.analysis import Analysis


@dataclass(frozen=True, slots=True)
class GeneratorPeriod(GeneratorFault):
    """A generator with a permanently short period: after `period` words of an inference, tick by tick and neuron by neuron, the first
    follows again. 0: never."""

    kind: ClassVar[str] = "generator_period"
    title: ClassVar[str] = "Short period of the random generator"
    axis: ClassVar[str] = "words after which the generator begins anew"
    phrase: ClassVar[str] = "words until they begin anew, of the"
    swept: ClassVar[str] = "period"
    limits: ClassVar[tuple[float, float]] = (0, 2**32 - 1)
    neutral: ClassVar[float | None] = 0

    period: int = 0

    def resolve(self, analysis: Analysis) -> Iterable[SetSlot]:
        """One period per node."""
        return self.broken(analysis, period=self.period)
