"""Requests that arrive after their time-out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from edgechaos.faults.link import LinkFault


@dataclass(frozen=True, slots=True)
class LinkDelay(LinkFault):
    """Each request is held up with probability `rate`, and arrives with the next one, after its time-out."""

    kind: ClassVar[str] = "link_delay"
    title: ClassVar[str] = "Late requests"
    axis: ClassVar[str] = "requests that arrive late (%)"
    phrase: ClassVar[str] = "intermittently late"
    what: ClassVar[Literal["bits", "drop", "duplicate", "delay", "reset"]] = "delay"
