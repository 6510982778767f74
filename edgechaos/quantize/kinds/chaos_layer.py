"""ChaosLayer: spikes, or the count that a readout takes the mean of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from edgechaos.arithmetic import rounding
from edgechaos.arithmetic.random_bits import fail_q
from edgechaos.floatgraph.float_nodes import ChaosLayer, Readout
from edgechaos.graph.kinds.chaos_layer import ChaosLayer as ChaosLayerNode
from edgechaos.graph.kinds.chaos_layer import Sampling
from edgechaos.models.spiking import Conditions, spiking_ticks
from edgechaos.quantize.activations import HEADROOM
from edgechaos.quantize.exact import Evaluation
from edgechaos.quantize.fake_quant import FakeQuantModel
from edgechaos.quantize.graph_builder import GraphBuilder
from edgechaos.quantize.kind import INT16, QuantizedKind, quantizes


@quantizes(ChaosLayer)
class QuantizedChaosLayer(QuantizedKind):
    """Spikes are binary and pass unquantized. The membrane of stateful layers stays float until it is lowered."""

    gives = "spikes"
    takes = frozenset({"products"})

    def step(self, model: FakeQuantModel, node: ChaosLayer) -> NDArray[np.float64]:
        return np.ones(1)

    def fake(self, model: FakeQuantModel, node: ChaosLayer, values: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        return spiking_ticks(values[node.input], node, conditions)

    def exact(self, run: Evaluation, node: ChaosLayer, values: Mapping[str, Tensor]) -> Tensor:
        return spiking_ticks(values[node.input], node, run.conditions)

    def lower(self, builder: GraphBuilder, node: ChaosLayer) -> None:
        drive = builder.values[node.input]
        if node.mode == "stateful":  # one int16 scale of all membranes, never finer than the sums themselves
            scale = max(HEADROOM * builder.peaks[node.name] / INT16[1], float(builder.scales[drive].max()))
            drive = builder.rescaled(f"{node.name}_requantize", drive, f"{node.name}_drive", "int16", scale, INT16, of=node.name)
        scales = np.broadcast_to(builder.scales[drive], (node.neurons,))
        last = all(isinstance(r, Readout) for r in builder.model.described.readers(node.name))
        sampling: Sampling = builder.sampling if last else "ticks"
        sigma, shift = rounding.sigma_multipliers(node.noise_std / scales, node.name)
        noisy = sampling == "ticks" and bool(sigma.any())
        out = builder.tensor(f"{node.name}_{'count' if last else 'spikes'}", "int8", (node.neurons,), np.ones(1), 0 if last else node.ticks)
        builder.nodes.append(
            ChaosLayerNode(
                node.name,
                drive,
                out,
                mode=node.mode,
                ticks=node.ticks,
                threshold=builder.constant(f"{node.name}_threshold", rounding.threshold_codes(node.threshold, scales), 32),
                sigma=builder.constant(f"{node.name}_sigma", sigma, 32) if noisy else None,
                sigma_shift=shift if noisy else 0,
                decay_q15=rounding.q15(node.decay),
                refractory_decay_q15=rounding.q15(node.refractory_decay),
                fail_q=fail_q(node.fail_prob),
                fail_stream=node.fail_stream,
                noise_stream=node.noise_stream,
                sampling=sampling,
                emit="count" if last else "spikes",
            )
        )
        builder.values[node.name] = out
