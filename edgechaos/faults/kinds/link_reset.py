"""Devices that restart while a request arrives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from edgechaos.faults.link import LinkFault


@dataclass(frozen=True, slots=True)
class LinkReset(LinkFault):
    """Each request finds the device pulled down by its reset line, with probability `rate`, when half of it has arrived."""

    kind: ClassVar[str] = "link_reset"
    title: ClassVar[str] = "Resets in the middle of a request"
    axis: ClassVar[str] = "requests that meet a reset (%)"
    phrase: ClassVar[str] = "resets among"
    what: ClassVar[Literal["bits", "drop", "duplicate", "delay", "reset"]] = "reset"
