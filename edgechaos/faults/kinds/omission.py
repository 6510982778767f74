"""Intermittent omission of spikes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgechaos.arithmetic.random_bits import fail_q
from edgechaos.faults.base import ALL, Fault
from edgechaos.faults.injections import SetSlot
from edgechaos.faults.sites import carriers
from edgechaos.graph.analysis import Analysis


@dataclass(frozen=True, slots=True)
class Omission(Fault):
    """Intermittent omission: each spike is lost with probability `rate`, afresh per sample, tick and neuron.

    Replaces the layer's own loss probability on the same stream: what a lower rate loses, a higher one loses too.
    """

    kind = "omission"
    title = "Intermittent omission"
    axis = "spikes lost afresh at every tick (%)"
    phrase = "intermittent spike omission in"
    persistence = "intermittent"
    neutral = None  # a rate of 0 still replaces the loss that the model was deployed with
    uniform = True

    layer: str = ALL
    rate: float = 0.0

    def resolve(self, analysis: Analysis) -> Iterator[SetSlot]:
        for node, _ in carriers(analysis, self.kind, "fail_q", self.layer, "spiking layer"):
            yield SetSlot(node.name, "fail_q", np.zeros(1, np.intp), np.array([fail_q(self.rate)], np.int64))
