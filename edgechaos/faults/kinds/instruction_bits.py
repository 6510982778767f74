"""Instructions that become others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from edgechaos.arithmetic.streams import fault_stream
from edgechaos.faults.injections import Draw, Strike
from edgechaos.faults.machine import Instructions, MachineFault, Operation, Region
from edgechaos.graph.analysis import Analysis
from edgechaos.support.limits import Uint32


@dataclass(frozen=True, slots=True)
class InstructionBits(MachineFault):
    """Bits of stored instructions are set, cleared, toggled, or overwritten by those of `value`.

    region: a function ("ec_matmul"), or "0xADDRESS:BYTES". flips: so many of its bits are drawn. lifespan: instructions after which they
    are as before, at most to the inference's end; 0: they stay.
    """

    kind = "instruction_bits"
    title = "Changed instructions"
    axis = "bits of instructions that change"
    phrase = "changed bits of instructions of"
    given = ",region=ec_matmul"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ARCHIE:instruction_set0": {"op": "clear"},
        "ARCHIE:instruction_set1": {"op": "set"},
        "ARCHIE:instruction_toggle": {"op": "toggle"},
        "ARCHIE:instruction_overwrite": {"op": "overwrite"},
    }
    swept = "flips"
    limits = (0, 65536)

    region: Region = "run_any"
    flips: int = 0
    op: Operation = "toggle"
    value: Uint32 = 0
    lifespan: Instructions = 0

    @property
    def place(self) -> str:
        return f"instructions of {self.region}"

    def resolve(self, analysis: Analysis) -> Iterator[Strike]:
        """One strike, whose bits the device draws: it knows the function."""
        draw = Draw(self.seed, fault_stream(self.kind), self.flips)
        how: Mapping[str, Any] = {"op": self.op, "value": self.value, "lifespan": self.lifespan}
        yield Strike("memory", self.region, draw=draw, **how, **self.moment())
