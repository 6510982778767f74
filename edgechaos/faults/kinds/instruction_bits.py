"""Instructions that become others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from edgechaos.arithmetic.streams import fault_stream
from edgechaos.faults.injections import Draw, Strike
from edgechaos.faults.machine import LATEST, OPERATIONS, MachineFault, check_choice, check_region
from edgechaos.graph.analysis import Analysis
from edgechaos.support.errors import FaultError


@dataclass(frozen=True, slots=True)
class InstructionBits(MachineFault):
    """Bits of stored instructions are set, cleared, toggled, or overwritten by those of `value`.

    region: a function ("ec_matmul"), or "0xADDRESS:BYTES". flips: so many of its bits are drawn. lifespan: instructions after which they
    are as before, at most to the inference's end; 0: they stay.
    """

    kind: ClassVar[str] = "instruction_bits"
    title: ClassVar[str] = "Changed instructions"
    axis: ClassVar[str] = "bits of instructions that change"
    phrase: ClassVar[str] = "changed bits of instructions of"
    given: ClassVar[str] = ",region=ec_matmul"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ARCHIE:instruction_set0": {"op": "clear"},
        "ARCHIE:instruction_set1": {"op": "set"},
        "ARCHIE:instruction_toggle": {"op": "toggle"},
        "ARCHIE:instruction_overwrite": {"op": "overwrite"},
    }
    swept: ClassVar[str] = "flips"
    limits: ClassVar[tuple[float, float]] = (0, 65536)

    region: str = "run_any"
    flips: int = 0
    op: str = "toggle"
    value: int = 0
    lifespan: int = 0

    @property
    def place(self) -> str:
        """Which instructions."""
        return f"instructions of {self.region}"

    def check(self) -> None:
        """Raises FaultError for a region, an operation or a duration that cannot be."""
        super(InstructionBits, self).check()  # a class with slots has no bare super()
        check_region(self)
        check_choice(self, "op", OPERATIONS)
        for name, high in (("lifespan", LATEST), ("value", 2**32 - 1)):
            if not 0 <= getattr(self, name) <= high:
                raise FaultError(f"{self.kind}: {name} {getattr(self, name)} is outside 0..{high}")

    def resolve(self, analysis: Analysis) -> Iterator[Strike]:
        """One strike, whose bits the device draws: it knows the function."""
        draw = Draw(self.seed, fault_stream(self.kind), self.flips)
        how: Mapping[str, Any] = {"op": self.op, "value": self.value, "lifespan": self.lifespan}
        yield Strike("memory", self.region, draw=draw, **how, **self.moment())
