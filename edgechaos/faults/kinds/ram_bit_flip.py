"""Flipped bits of a device's memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from edgechaos.arithmetic.streams import fault_stream
from edgechaos.faults.base import Fault, explicit
from edgechaos.faults.injections import Poke
from edgechaos.faults.sites import nested_sites
from edgechaos.graph.analysis import Analysis
from edgechaos.support.errors import FaultError
from edgechaos.support.limits import within

MAX_WORDS = 1 << 20


@dataclass(frozen=True, slots=True)
class RamBitFlip(Fault):
    """Transient bit flips in a device's memory: each chosen bit is toggled once, when the plan is injected; what runs may overwrite it.

    address: of the first of `words` 32-bit words, a multiple of 4, in RAM or flash as the device numbers them. Exactly
    round(rate * 32 * words) distinct bits, nested over rates; or `bits`, explicit (word, bit) pairs.
    """

    kind = "ram_bit_flip"
    title = "Flipped memory bits"
    axis = "bits of the region flipped once (%)"
    phrase = "flipped once of the"
    given = ",address=0x20000000,words=256"
    persistence = "transient"
    level = "memory"
    uniform = True

    address: int
    words: Annotated[int, within(1, MAX_WORDS)] = 1
    rate: float = 0.0
    seed: int = 0
    bits: tuple[tuple[int, int], ...] = explicit()

    @property
    def place(self) -> str:
        return f"memory bits at {self.address:#010x}, {self.words} words"

    def check(self) -> None:
        """Raises FaultError for a rate beyond 0..1, and a region or bits that there cannot be."""
        super(RamBitFlip, self).check()  # a class with slots has no bare super()
        if self.address % 4 or not 0 <= self.address <= 2**32 - 4 * self.words:
            raise FaultError(f"{self.kind}: address {self.address:#x} is not that of {self.words} words; give a multiple of 4 below 2^32")
        for word, bit in self.bits:
            if not (0 <= word < self.words and 0 <= bit < 32):
                raise FaultError(f"{self.kind}: the region has words 0..{self.words - 1} of 32 bits, not word {word} bit {bit}")

    def resolve(self, analysis: Analysis) -> Iterator[Poke]:
        """One per word that changes, in order of address."""
        drawn = nested_sites(self.seed, fault_stream(self.kind), 32 * self.words, self.rate)
        masks: dict[int, int] = {}
        for word, bit in {*self.bits, *(divmod(int(site), 32) for site in drawn)}:
            masks[word] = masks.get(word, 0) | 1 << bit
        for word, mask in sorted(masks.items()):
            yield Poke(self.address + 4 * word, mask)
