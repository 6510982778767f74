"""The last layer: logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgechaos.graph.kinds.matmul import MatMul
from edgechaos.graph.node import Graph, Interval, Node
from edgechaos.graph.rules import ACCUMULATOR, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout(MatMul):
    """logits = gain * (weight @ count) + bias, int32. The last layer: one weight scale for all outputs.

    gain is 1, or `count_q8` where the ChaosLayer before it is sampled as `expected` (then the logits are times 256).
    """

    is_readout: ClassVar[bool] = True

    gain: int = 1

    def settled(self, graph: Graph) -> Node:
        """With the gain that the layer before it calls for."""
        layer = graph.producer(self.input)
        return replace(self, gain=layer.readout_gain() if layer is not None else 1)

    def product_gain(self) -> int:
        """As stored."""
        return self.gain

    def largest_product_gain(self, graph: Graph, bounds: Mapping[str, Interval]) -> int:
        """Of the layer before it, at the lowest loss that a fault may set."""
        layer = graph.producer(self.input)
        return 1 if layer is None else layer.largest_gain(graph, bounds)

    def gain_room(self, graph: Graph, bounds: Mapping[str, Interval]) -> int:
        """What the bias leaves, by what the products reach."""
        bias = int(np.abs(graph.value(self.bias).astype(np.int64)).max(initial=0))
        return (ACCUMULATOR - bias) // self.reach(graph, max(map(abs, bounds[self.input])))

    def check(self, graph: Graph) -> None:
        super(Readout, self).check(graph)
        one_scale = len(graph.constants[self.weight].scale) <= 1
        require(one_scale, self, "a readout compares across channels: its weights need one scale (per tensor)")
        layer = graph.producer(self.input)
        gain = 1 if layer is None else layer.readout_gain()
        require(self.gain == gain, self, f"gain {self.gain} is not {gain}, which the layer before it calls for")
