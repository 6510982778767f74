"""Permanently dead units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from edgechaos.arithmetic.streams import DEAD_STREAM
from edgechaos.faults.injections import SetSlot
from edgechaos.faults.sites import UnitFault
from edgechaos.graph.analysis import Analysis


@dataclass(frozen=True, slots=True)
class DeadNeurons(UnitFault):
    """Permanently dead neurons: they never deliver a spike; dead units of a TopK never win, those of a plain layer send code 0.

    layer: the name of a ChaosLayer, a TopK or the Requantize that finishes a plain layer, or "*": every spiking and k-WTA layer, or every
    plain layer of a graph that has neither.
    """

    kind = "dead"
    title = "Permanent death"
    axis = "neurons permanently dead (%)"
    phrase = "permanently dead"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"SpikeFI:DeadNeuron": {}}

    def resolve(self, analysis: Analysis) -> Iterable[SetSlot]:
        return self.mark(analysis, "dead", DEAD_STREAM, "spiking, k-WTA or plain layer")
