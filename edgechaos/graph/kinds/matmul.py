"""A matrix times a vector."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgechaos.graph.node import Array, Draws, Graph
from edgechaos.graph.rules import require
from edgechaos.graph.weighted import Summing, product


@dataclass(frozen=True, slots=True, kw_only=True)
class MatMul(Summing):
    """acc[o] = bias[o] + sum_i weight[o, i] * x[i], int8 x int8 -> int32, per tick where the input has ticks.

    weight: (out, in) int8; bias: (out,) int32. An input (C, H, W) is read as a row-major vector: there is no Flatten.
    patch rows are (out, in, delta).
    """

    def check(self, graph: Graph) -> None:
        x, y = self.io(graph)
        weight = graph.value(self.weight)
        require(x.dtype == "int8", self, f"input must be int8, not {x.dtype}")
        mapped = weight.shape == (*y.shape, math.prod(x.shape)) and len(y.shape) == 1
        require(weight.dtype == np.int8 and mapped, self, f"weight {weight.shape} does not map {x.shape} to {y.shape}")
        require(y.dtype == "int32" and y.ticks == x.ticks, self, "output must be int32 with the input's ticks")
        self.check_bias(graph, y.shape[0])
        self.check_patch(graph)

    def evaluate(self, graph: Graph, tensors: Mapping[str, Array], draws: Draws) -> Array:
        """int32 (batch, [ticks,] outputs)."""
        x = tensors[self.input]
        weight = self.faulty_weight(graph)
        leading = x.shape[:2] if graph.tensors[self.input].ticks else x.shape[:1]
        acc = product(x.reshape(*leading, weight.shape[1]), weight)
        acc *= np.int32(self.product_gain())
        return acc + graph.value(self.bias) if self.bias is not None else acc

    def matrix_scale(self, graph: Graph) -> tuple[float, ...] | None:
        """One, or one per output."""
        return graph.constants[self.weight].scale
