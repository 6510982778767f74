"""Neurons that recover faster or slower."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from edgechaos.faults.injections import SetSlot
from edgechaos.faults.sites import LayerScale
from edgechaos.graph.analysis import Analysis


@dataclass(frozen=True, slots=True)
class RefractoryScale(LayerScale):
    """Permanently scaled refractoriness: of a stateful ChaosLayer, the share kept from tick to tick, refractory_decay_q15, becomes
    floor(factor * it + 1/2), at most 2^15."""

    kind: ClassVar[str] = "refractory_scale"
    title: ClassVar[str] = "Scaled refractoriness"
    axis: ClassVar[str] = "factor of the refractoriness kept"
    phrase: ClassVar[str] = "of the refractoriness kept from tick to tick, permanently, of"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"SpikeFI:RefractoryFaultNeuron": {}}

    def resolve(self, analysis: Analysis) -> Iterable[SetSlot]:
        """One share per layer."""
        return self.scaled(analysis, "refractory_decay_q15")
