"""Bits of RAM, stack or flash that change while a model runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from edgechaos.arithmetic.streams import fault_stream
from edgechaos.faults.injections import ON_INJECTION, Draw, Strike
from edgechaos.faults.machine import LATEST, Instructions, MachineFault, Operation, Region
from edgechaos.graph.analysis import Analysis
from edgechaos.support.errors import FaultError
from edgechaos.support.limits import Uint32, within


@dataclass(frozen=True, slots=True)
class MemoryBits(MachineFault):
    """Bits of a device's RAM, stack or flash are set, cleared, toggled, or overwritten by those of `value`.

    region: a section (.text with the constants, .data, .bss, .stack), a symbol ("logits_weight_rows"), or "0xADDRESS:BYTES". flips: so many
    places of it are drawn, each a run of `burst` neighboring bits. held: 1, the bits stay what they became, whatever is stored: stuck.
    lifespan: instructions after which they are as before, 0: what is stored next decides. By default at once, when the plan is injected.
    """

    kind = "memory_bits"
    title = "Changed memory bits"
    axis = "places of the memory that change"
    phrase = "changed places of the"
    given = ",region=.stack"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ARCHIE:data_set0": {"op": "clear"},
        "ARCHIE:data_set1": {"op": "set"},
        "ARCHIE:data_toggle": {"op": "toggle"},
        "ARCHIE:data_overwrite": {"op": "overwrite"},
    }
    swept = "flips"
    limits = (0, 65536)

    onset: Annotated[int, within(ON_INJECTION, LATEST)] = ON_INJECTION
    region: Region = ".bss"
    flips: int = 0
    burst: Annotated[int, within(1, 65536)] = 1
    op: Operation = "toggle"
    value: Uint32 = 0
    held: Annotated[int, within(0, 1)] = 0
    lifespan: Instructions = 0

    @property
    def place(self) -> str:
        return f"memory in {self.region}"

    def check(self) -> None:
        """Raises FaultError for a region, an operation or a duration that cannot be."""
        super(MemoryBits, self).check()  # a class with slots has no bare super()
        if self.held and self.lifespan:
            raise FaultError(f"{self.kind}: held bits have no lifespan; give one of the two")

    def resolve(self, analysis: Analysis) -> Iterator[Strike]:
        """One strike, whose bits the device draws: it knows the region."""
        draw = Draw(self.seed, fault_stream(self.kind), self.flips, self.burst)
        how: Mapping[str, Any] = {"op": self.op, "value": self.value, "held": bool(self.held), "lifespan": self.lifespan}
        yield Strike("memory", self.region, draw=draw, **how, **self.moment())
