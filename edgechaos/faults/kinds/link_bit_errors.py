"""Bit errors on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from edgechaos.faults.link import LinkFault


@dataclass(frozen=True, slots=True)
class LinkBitErrors(LinkFault):
    """Each bit that passes, either way, is inverted with probability `rate`."""

    kind: ClassVar[str] = "link_bit_errors"
    title: ClassVar[str] = "Bit errors of the link"
    axis: ClassVar[str] = "bits of the link inverted (%)"
    phrase: ClassVar[str] = "intermittently inverted"
    what: ClassVar[Literal["bits", "drop", "duplicate", "delay", "reset"]] = "bits"
