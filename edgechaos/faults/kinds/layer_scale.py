"""Membranes that leak, and neurons that recover, faster or slower."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from edgechaos.faults.base import ALL, Fault
from edgechaos.faults.injections import SetSlot
from edgechaos.faults.sites import carriers
from edgechaos.graph.analysis import Analysis


@dataclass(frozen=True, slots=True)
class LayerScale(Fault):
    """A fault that scales one number of a stateful layer. layer: the name of a stateful ChaosLayer, or "*"."""

    swept = "factor"
    limits = (0.0, 16.0)
    neutral = 1.0
    uniform = True

    layer: str = ALL
    factor: float = 1.0

    def scaled(self, analysis: Analysis, slot: str) -> Iterator[SetSlot]:
        """The number of each layer, floor(factor * number + 1/2) in float64, saturated to the limits of its slot."""
        what = "stateful spiking layer (parallel ticks keep no state, so nothing leaks or recovers)"
        for node, s in carriers(analysis, self.kind, slot, self.layer, what):
            held = float(node.slot_value(analysis.graph, slot)[0])
            yield SetSlot(node.name, slot, np.zeros(1, np.intp), np.array([min(int(held * self.factor + 0.5), s.high)], np.int64))


@dataclass(frozen=True, slots=True)
class LeakScale(LayerScale):
    """A permanently scaled leak: decay_q15 of a stateful ChaosLayer becomes floor(factor * it + 1/2), at most 2^15."""

    kind = "leak_scale"
    title = "Scaled leak"
    axis = "factor of the leak"
    phrase = "of the leak, permanently, of"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"SpikeFI:IntegrationFaultNeuron": {}}

    def resolve(self, analysis: Analysis) -> Iterable[SetSlot]:
        return self.scaled(analysis, "decay_q15")


@dataclass(frozen=True, slots=True)
class RefractoryScale(LayerScale):
    """Permanently scaled refractoriness: of a stateful ChaosLayer, the share kept from tick to tick, refractory_decay_q15, becomes
    floor(factor * it + 1/2), at most 2^15."""

    kind = "refractory_scale"
    title = "Scaled refractoriness"
    axis = "factor of the refractoriness kept"
    phrase = "of the refractoriness kept from tick to tick, permanently, of"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"SpikeFI:RefractoryFaultNeuron": {}}

    def resolve(self, analysis: Analysis) -> Iterable[SetSlot]:
        return self.scaled(analysis, "refractory_decay_q15")
