"""Bits of a register that change while a model runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from edgechaos.faults.injections import REGISTERS, Strike
from edgechaos.faults.machine import Instructions, MachineFault, Operation
from edgechaos.graph.analysis import Analysis
from edgechaos.support.limits import Uint32, among, within


@dataclass(frozen=True, slots=True)
class RegisterBits(MachineFault):
    """Bits of a core's register are set, cleared, toggled, or overwritten by those of `value`.

    register: r0 to r12, sp, lr, xpsr (flags and state), or "*": one of r0 to r12, drawn. flips: so many of its bits are drawn; bit: that
    one alone. lifespan: instructions after which they are as before, 0: what is written next decides.
    """

    kind = "register_bits"
    title = "Changed register bits"
    axis = "bits of a register that change"
    phrase = "changed bits of a register"
    given = ",register=r4,span=20000"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ARCHIE:register_set0": {"op": "clear"},
        "ARCHIE:register_set1": {"op": "set"},
        "ARCHIE:register_toggle": {"op": "toggle"},
        "ARCHIE:register_overwrite": {"op": "overwrite"},
    }
    swept = "flips"
    limits = (0, 32)

    register: Annotated[str, among("*", *(r for r in REGISTERS if r != "pc"))] = "*"
    flips: int = 0
    bit: Annotated[int, within(-1, 31)] = -1
    op: Operation = "toggle"
    value: Uint32 = 0
    lifespan: Instructions = 0

    def resolve(self, analysis: Analysis) -> Iterator[Strike]:
        """One register, nothing where no bit of it changes."""
        register = REGISTERS[self.drawn("register") * 13 >> 32] if self.register == "*" else self.register
        mask = 1 << self.bit if self.bit >= 0 else self.drawn_mask(self.flips, tuple(range(32)))
        if mask:
            yield Strike("register", register, self.op, mask, self.value, lifespan=self.lifespan, **self.moment())  # type: ignore[arg-type]
