"""Faults between host and device: a rate, drawn anew for every bit or request after the plan is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from edgechaos.arithmetic.streams import fault_stream
from edgechaos.faults.base import Fault
from edgechaos.faults.injections import OnWire, Wire
from edgechaos.graph.analysis import Analysis


@dataclass(frozen=True, slots=True)
class LinkFault(Fault):
    """What they share. rate: of each bit, or of each request; seed: of the draws."""

    level = "link"
    persistence = "intermittent"
    uniform = True
    what: ClassVar[OnWire]

    rate: float = 0.0
    seed: int = 0

    @property
    def place(self) -> str:
        return "bits on the link" if self.what == "bits" else "requests on the link"

    def resolve(self, analysis: Analysis) -> Iterator[Wire]:
        yield Wire(self.what, self.rate, self.seed, fault_stream(self.kind))


@dataclass(frozen=True, slots=True)
class LinkBitErrors(LinkFault):
    """Each bit that passes, either way, is inverted with probability `rate`."""

    kind = "link_bit_errors"
    title = "Bit errors of the link"
    axis = "bits of the link inverted (%)"
    phrase = "intermittently inverted"
    what = "bits"


@dataclass(frozen=True, slots=True)
class LinkDrop(LinkFault):
    """Each request is lost on its way with probability `rate`."""

    kind = "link_drop"
    title = "Lost requests"
    axis = "requests lost (%)"
    phrase = "intermittently lost"
    what = "drop"


@dataclass(frozen=True, slots=True)
class LinkDuplicate(LinkFault):
    """Each request arrives twice with probability `rate`."""

    kind = "link_duplicate"
    title = "Doubled requests"
    axis = "requests that arrive twice (%)"
    phrase = "intermittently doubled"
    what = "duplicate"


@dataclass(frozen=True, slots=True)
class LinkDelay(LinkFault):
    """Each request is held up with probability `rate`, and arrives with the next one, after its time-out."""

    kind = "link_delay"
    title = "Late requests"
    axis = "requests that arrive late (%)"
    phrase = "intermittently late"
    what = "delay"


@dataclass(frozen=True, slots=True)
class LinkReset(LinkFault):
    """Each request finds the device pulled down by its reset line, with probability `rate`, when half of it has arrived."""

    kind = "link_reset"
    title = "Resets in the middle of a request"
    axis = "requests that meet a reset (%)"
    phrase = "resets among"
    what = "reset"
