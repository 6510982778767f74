"""Requests that never arrive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from edgechaos.faults.link import LinkFault


@dataclass(frozen=True, slots=True)
class LinkDrop(LinkFault):
    """Each request is lost on its way with probability `rate`."""

    kind: ClassVar[str] = "link_drop"
    title: ClassVar[str] = "Lost requests"
    axis: ClassVar[str] = "requests lost (%)"
    phrase: ClassVar[str] = "intermittently lost"
    what: ClassVar[Literal["bits", "drop", "duplicate", "delay", "reset"]] = "drop"
