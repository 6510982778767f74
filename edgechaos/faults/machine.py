"""What the kinds of fault share that strike a device's core or memory while it runs: when, for how long, and which bits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.streams import fault_stream
from edgechaos.faults.base import Fault
from edgechaos.faults.injections import ON_INJECTION, Strike
from edgechaos.graph.analysis import Analysis
from edgechaos.support.limits import Wrong, among, within

LATEST = 2**40
"""Instructions: longer than any inference."""
PLACE = re.compile(r"0x[0-9a-fA-F]{1,8}|[A-Za-z_.][A-Za-z0-9_.$]{0,126}(\+(0x[0-9a-fA-F]{1,8}|[0-9]{1,8}))?")


def _no_trigger(trigger: str) -> str:
    return "" if not trigger or PLACE.fullmatch(trigger) else "is no address; write 0x1c4, or a symbol with an offset: main+0x10"


def _no_region(region: str) -> str:
    known = re.fullmatch(r"0x[0-9a-fA-F]{1,8}:[1-9][0-9]{0,7}", region) or PLACE.fullmatch(region)
    return "" if known else "is no section or symbol; write .bss, state, or 0x20000000:4096"


Region = Annotated[str, Wrong(_no_region)]
"""A section or a symbol, or 0xADDRESS:BYTES."""
Operation = Annotated[str, among("set", "clear", "toggle", "overwrite")]
"""How bits change."""
Instructions = Annotated[int, within(0, LATEST)]


@dataclass(frozen=True, slots=True)
class MachineFault(Fault):
    """A fault that strikes an inference. seed: of what is drawn.

    onset: so many instructions after it began, -1: at once, when the plan is injected; with `span`, drawn from onset..onset + span - 1.
    trigger: in place of an onset, the instruction before which it strikes, an address or "symbol+0x10", at its `hits`-th execution.
    inference: the n-th after the injection, 0: each.
    """

    level = "machine"
    persistence = "transient"
    uniform = True

    onset: Annotated[int, within(ON_INJECTION, LATEST)] = 0
    span: Instructions = 0
    trigger: Annotated[str, Wrong(_no_trigger)] = ""
    hits: Annotated[int, within(1, 2**32 - 1)] = 1
    inference: Instructions = 0
    seed: int = 0

    @property
    def place(self) -> str:
        """Where it strikes, in words."""
        return "of the core"

    def moment(self) -> dict[str, Any]:
        """The fields of a Strike that say when."""
        onset = self.onset
        if self.span:
            onset += (self.drawn("onset") * self.span) >> 32
        return {"onset": onset, "at": self.trigger or None, "hits": self.hits, "inference": self.inference}

    def drawn(self, what: str) -> int:
        """A word of the kind's own for one purpose, uint32."""
        return int(random_bits.words(self.seed, fault_stream(f"{self.kind} {what}"), [0], 1, 1)[0, 0, 0])

    def drawn_mask(self, count: int, bits: tuple[int, ...]) -> int:
        """`count` of these bits, the first of a drawn order: fewer are among more."""
        order = random_bits.words(self.seed, fault_stream(f"{self.kind} bits"), [0], 1, len(bits))[0, 0].argsort(kind="stable")
        return sum(1 << bits[k] for k in order[:count])

    def resolve(self, analysis: Analysis) -> Iterator[Strike]:
        """What strikes."""
        raise NotImplementedError
