"""Bits of the state of neurons that flip or are overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from edgechaos.arithmetic.streams import fault_stream
from edgechaos.faults.injections import SetSlot
from edgechaos.faults.sites import STATES, UnitFault, carriers
from edgechaos.graph.analysis import Analysis
from edgechaos.graph.rules import MAX_TICKS
from edgechaos.support.errors import FaultError
from edgechaos.support.limits import among, within


@dataclass(frozen=True, slots=True)
class StateFault(UnitFault):
    """A fault of what stateful neurons keep from tick to tick. layer: the name of a stateful ChaosLayer, or "*".

    of: "membrane" or "refractoriness". onset: the first tick before which it strikes. lifespan: ticks; 0: every one that follows.
    """

    persistence = "transient"

    of: Annotated[str, among(*STATES)] = STATES[0]
    onset: Annotated[int, within(0, MAX_TICKS)] = 0
    lifespan: Annotated[int, within(0, MAX_TICKS)] = 1

    def bits(self) -> tuple[int, int]:
        """The 16 bits that are cleared, then those that are inverted."""
        raise NotImplementedError

    def resolve(self, analysis: Analysis) -> Iterator[SetSlot]:
        """The bits of the chosen neurons of each layer, and when they strike; nothing where no neuron is chosen."""
        what = "stateful spiking layer (parallel ticks keep no state)"
        for node, slot in carriers(analysis, self.kind, "state_clear", self.layer, what):
            chosen = self.units(node, fault_stream(self.kind, analysis.graph.site(node)), slot.length)
            when = {"state_from": self.onset, "state_ticks": self.lifespan or MAX_TICKS, "state_of": STATES.index(self.of)}
            clear, flip = (np.full(len(chosen), bits) for bits in self.bits())
            entries = {"state_clear": (chosen, clear), "state_flip": (chosen, flip)}
            entries |= {name: (np.zeros(1, np.intp), np.array([value])) for name, value in when.items()}
            for name, (at, values) in entries.items() if len(chosen) else ():
                yield SetSlot(node.name, name, at, values.astype(np.int64))


@dataclass(frozen=True, slots=True)
class StateFlip(StateFault):
    """One bit of the state of neurons is inverted before each tick from `onset` on, `lifespan` ticks long. bit: 0..15."""

    kind = "state_flip"
    title = "Flipped neuron states"
    axis = "neurons whose state is flipped (%)"
    phrase = "with a flipped bit of state"

    bit: Annotated[int, within(0, 15)] = 15

    def bits(self) -> tuple[int, int]:
        """None cleared, one flipped."""
        return 0, 1 << self.bit


@dataclass(frozen=True, slots=True)
class StateSet(StateFault):
    """The state of neurons becomes `value` before each tick from `onset` on, `lifespan` ticks long.

    value: -32768..32767, of refractoriness 0..32768.
    """

    kind = "state_set"
    title = "Overwritten neuron states"
    axis = "neurons whose state is overwritten (%)"
    phrase = "with an overwritten state"

    value: int = 0

    def check(self) -> None:
        """Raises FaultError for what the state cannot hold, too."""
        super(StateSet, self).check()  # a class with slots has no bare super()
        low, high = (-(1 << 15), (1 << 15) - 1) if self.of == "membrane" else (0, 1 << 15)
        if not low <= self.value <= high:
            raise FaultError(f"{self.kind}: value {self.value} is outside {low}..{high}, what a {self.of} holds")

    def bits(self) -> tuple[int, int]:
        """All cleared, those of the value flipped."""
        return 0xFFFF, self.value & 0xFFFF
