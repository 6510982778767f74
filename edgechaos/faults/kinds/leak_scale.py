"""Membranes that leak faster or slower."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from edgechaos.faults.injections import SetSlot
from edgechaos.faults.sites import LayerScale
from edgechaos.graph.analysis import Analysis


@dataclass(frozen=True, slots=True)
class LeakScale(LayerScale):
    """A permanently scaled leak: decay_q15 of a stateful ChaosLayer becomes floor(factor * it + 1/2), at most 2^15."""

    kind: ClassVar[str] = "leak_scale"
    title: ClassVar[str] = "Scaled leak"
    axis: ClassVar[str] = "factor of the leak"
    phrase: ClassVar[str] = "of the leak, permanently, of"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"SpikeFI:IntegrationFaultNeuron": {}}

    def resolve(self, analysis: Analysis) -> Iterable[SetSlot]:
        """One share per layer."""
        return self.scaled(analysis, "decay_q15")
