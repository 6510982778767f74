"""Ticks of spiking layers: 256 neurons, 10 ticks, one drive for all of them, no noise, spikes lost with a probability of 0.3."""

from __future__ import annotations

import numpy as np
from kernels import Row

from edgechaos.graph.heads import Encoding
from edgechaos.graph.kinds.readout import Readout
from tests.helpers.mixed_graphs import Builder

INPUTS, NEURONS, TICKS = 64, 256, 10


def ticks(mode: str, goal: float, floor: float) -> Row:
    """About half of the neurons fire."""
    b = Builder(np.random.default_rng(0))
    spikes = b.chaos(b.matmul(b.tensor("x", "int8", (INPUTS,)), "sums", NEURONS), "cortex", TICKS, mode, 0, 30000.0)
    b.head("main", "x", b.matmul(spikes, "readout", 2, Readout), Encoding("codes"))
    codes = np.random.default_rng(1).integers(-128, 128, INPUTS).astype(np.int8)
    layer = next(n.name for n in b.nodes if n.name.startswith("chaoslayer"))
    return Row(f"chaos tick, {mode}", b.graph(), (layer,), codes, NEURONS * TICKS, "neuron and tick", goal, floor)


def rows() -> list[Row]:
    """Both modes."""
    return [ticks("stateful", 28.0, 18.0), ticks("parallel", 7.0, 4.5)]
