"""What the kinds of fault of the link share: a rate, drawn anew for every bit or request after the plan is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from edgechaos.arithmetic.streams import fault_stream
from edgechaos.faults.base import Fault, Level, Persistence
from edgechaos.faults.injections import Wire
from edgechaos.graph.analysis import Analysis


@dataclass(frozen=True, slots=True)
class LinkFault(Fault):
    """A fault between host and device. rate: of each bit, or of each request; seed: of the draws."""

    level: ClassVar[Level] = "link"
    persistence: ClassVar[Persistence] = "intermittent"
    what: ClassVar[Literal["bits", "drop", "duplicate", "delay", "reset"]]

    rate: float = 0.0
    seed: int = 0

    @property
    def place(self) -> str:
        """Of what."""
        return "bits on the link" if self.what == "bits" else "requests on the link"

    @property
    def uniform(self) -> bool:
        """What is drawn does not matter."""
        return True

    def resolve(self, analysis: Analysis) -> Iterator[Wire]:
        """One rate for the whole link."""
        yield Wire(self.what, self.rate, self.seed, fault_stream(self.kind))
