"""Permanently stuck-at-1 neurons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from edgechaos.arithmetic.streams import STUCK_STREAM
from edgechaos.faults.injections import SetSlot
from edgechaos.faults.sites import UnitFault
from edgechaos.graph.analysis import Analysis


@dataclass(frozen=True, slots=True)
class StuckAtOne(UnitFault):
    """Permanently stuck-at-1 neurons: they deliver a spike at every tick. layer: the name of a ChaosLayer, or "*"."""

    kind = "stuck_at_1"
    title = "Permanently stuck at 1"
    axis = "neurons permanently stuck at 1 (%)"
    phrase = "permanently stuck-at-1"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"SpikeFI:SaturatedNeuron": {}}

    def resolve(self, analysis: Analysis) -> Iterable[SetSlot]:
        return self.mark(analysis, "stuck", STUCK_STREAM, "spiking layer")
