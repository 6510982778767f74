"""Bits of a register that change while a model runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from edgechaos.faults.injections import REGISTERS, Strike
from edgechaos.faults.machine import LATEST, OPERATIONS, MachineFault, check_choice
from edgechaos.graph.analysis import Analysis
from edgechaos.support.errors import FaultError


@dataclass(frozen=True, slots=True)
class RegisterBits(MachineFault):
    """Bits of a core's register are set, cleared, toggled, or overwritten by those of `value`.

    register: r0 to r12, sp, lr, xpsr (flags and state), or "*": one of r0 to r12, drawn. flips: so many of its bits are drawn; bit: that
    one alone. lifespan: instructions after which they are as before, 0: what is written next decides.
    """

    kind: ClassVar[str] = "register_bits"
    title: ClassVar[str] = "Changed register bits"
    axis: ClassVar[str] = "bits of a register that change"
    phrase: ClassVar[str] = "changed bits of a register"
    given: ClassVar[str] = ",register=r4,span=20000"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ARCHIE:register_set0": {"op": "clear"},
        "ARCHIE:register_set1": {"op": "set"},
        "ARCHIE:register_toggle": {"op": "toggle"},
        "ARCHIE:register_overwrite": {"op": "overwrite"},
    }
    swept: ClassVar[str] = "flips"
    limits: ClassVar[tuple[float, float]] = (0, 32)

    register: str = "*"
    flips: int = 0
    bit: int = -1
    op: str = "toggle"
    value: int = 0
    lifespan: int = 0

    def check(self) -> None:
        """Raises FaultError for a register, bit, operation or duration that cannot be."""
        super(RegisterBits, self).check()  # a class with slots has no bare super()
        check_choice(self, "register", tuple(r for r in ("*", *REGISTERS) if r != "pc"))
        check_choice(self, "op", OPERATIONS)
        for name, low, high in (("bit", -1, 31), ("lifespan", 0, LATEST), ("value", 0, 2**32 - 1)):
            if not low <= getattr(self, name) <= high:
                raise FaultError(f"{self.kind}: {name} {getattr(self, name)} is outside {low}..{high}")

    def resolve(self, analysis: Analysis) -> Iterator[Strike]:
        """One register, nothing where no bit of it changes."""
        register = REGISTERS[self.drawn("register") * 13 >> 32] if self.register == "*" else self.register
        mask = 1 << self.bit if self.bit >= 0 else self.drawn_mask(self.flips, tuple(range(32)))
        if mask:
            yield Strike("register", register, self.op, mask, self.value, lifespan=self.lifespan, **self.moment())  # type: ignore[arg-type]
