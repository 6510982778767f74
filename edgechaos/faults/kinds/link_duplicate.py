"""Requests that arrive twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from edgechaos.faults.link import LinkFault


@dataclass(frozen=True, slots=True)
class LinkDuplicate(LinkFault):
    """Each request arrives twice with probability `rate`."""

    kind: ClassVar[str] = "link_duplicate"
    title: ClassVar[str] = "Doubled requests"
    axis: ClassVar[str] = "requests that arrive twice (%)"
    phrase: ClassVar[str] = "intermittently doubled"
    what: ClassVar[Literal["bits", "drop", "duplicate", "delay", "reset"]] = "duplicate"
