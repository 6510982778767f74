"""A supply that dips: RAM forgets in part, and the core starts again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgechaos.arithmetic.streams import fault_stream
from edgechaos.faults.injections import Draw, Strike
from edgechaos.faults.machine import MachineFault, Region
from edgechaos.graph.analysis import Analysis


@dataclass(frozen=True, slots=True)
class BrownOut(MachineFault):
    """The supply dips in the middle of an inference: a share `rate` of the region's bits flips, and the core is reset with what RAM holds
    then. region: a section, by default .noinit, which alone survives a start; a symbol; or "0xADDRESS:BYTES"."""

    kind = "brown_out"
    title = "Brown-out"
    axis = "bits of RAM lost (%)"
    phrase = "lost of the bits of RAM, with a reset, of"
    given = ",onset=500"
    neutral = None

    region: Region = ".noinit"
    rate: float = 0.0

    @property
    def place(self) -> str:
        return f"memory in {self.region}"

    def resolve(self, analysis: Analysis) -> Iterator[Strike]:
        """The flipped bits, then the reset."""
        when = self.moment()
        if self.rate:
            yield Strike("memory", self.region, draw=Draw(self.seed, fault_stream(self.kind), rate=self.rate), **when)
        yield Strike("reset", **when)
