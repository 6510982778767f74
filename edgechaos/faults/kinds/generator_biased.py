"""Random words with bits that never change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from edgechaos.faults.injections import SetSlot
from edgechaos.faults.sites import GeneratorFault
from edgechaos.graph.analysis import Analysis
from edgechaos.support.errors import FaultError


@dataclass(frozen=True, slots=True)
class GeneratorBiased(GeneratorFault):
    """A permanently biased generator: the highest `bits` bits of both halves of every word are `value`, 0 or 1.

    The low half decides what is lost, the high one how large noise is: with 0 more is lost, with 1 less.
    """

    kind: ClassVar[str] = "generator_biased"
    title: ClassVar[str] = "Biased random generator"
    axis: ClassVar[str] = "bits of each half-word that are stuck"
    phrase: ClassVar[str] = "bits stuck in both halves of the"
    swept: ClassVar[str] = "bits"
    limits: ClassVar[tuple[float, float]] = (0, 16)
    neutral: ClassVar[float | None] = 0

    bits: int = 0
    value: int = 0

    def check(self) -> None:
        """Raises FaultError for another value, too."""
        super(GeneratorBiased, self).check()  # a class with slots has no bare super()
        if self.value not in (0, 1):
            raise FaultError(f"{self.kind}: value {self.value} is neither 0 nor 1")

    def resolve(self, analysis: Analysis) -> Iterable[SetSlot]:
        """Both halves of each word."""
        mask = ((0xFFFF << 16 - self.bits) & 0xFFFF) * 0x10001
        return self.broken(analysis, **{"set" if self.value else "clear": mask})
