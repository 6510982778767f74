"""Thresholds that drifted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from edgechaos.arithmetic.streams import fault_stream
from edgechaos.faults.base import ALL, Fault
from edgechaos.faults.injections import SetSlot
from edgechaos.faults.sites import carriers, nested_sites
from edgechaos.graph.analysis import Analysis
from edgechaos.support.limits import Share


@dataclass(frozen=True, slots=True)
class ThresholdScale(Fault):
    """Permanently scaled thresholds: threshold' = floor(factor * threshold + 1/2) in float64, saturated to int32.

    layer: the name of a ChaosLayer, or "*". Exactly round(rate * n) of its neurons, nested over rates; by default all of them.
    """

    kind = "threshold_scale"
    title = "Scaled thresholds"
    axis = "factor of the thresholds"
    phrase = "of the threshold, permanently, of"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"SpikeFI:ThresholdFaultNeuron": {}}
    swept = "factor"
    limits = (0.0, 16.0)
    neutral = 1.0
    uniform = True

    layer: str = ALL
    factor: float = 1.0
    rate: Share = 1.0
    seed: int = 0

    def resolve(self, analysis: Analysis) -> Iterator[SetSlot]:
        for node, slot in carriers(analysis, self.kind, "threshold", self.layer, "spiking layer"):
            stream = fault_stream(self.kind, analysis.graph.site(node))
            chosen = nested_sites(self.seed, stream, slot.length, self.rate)
            scaled = np.floor(node.slot_value(analysis.graph, "threshold")[chosen] * self.factor + 0.5)
            yield SetSlot(node.name, "threshold", chosen, np.clip(scaled, slot.low, slot.high).astype(np.int64))
