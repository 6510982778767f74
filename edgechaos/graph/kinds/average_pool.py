"""The sum of each window."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgechaos.graph.images import Pool
from edgechaos.graph.node import Array, Draws, Graph, Interval
from edgechaos.graph.rules import ACCUMULATOR, need


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragePool(Pool):
    """The int32 *sum* of each window of int8 codes, shapes as for MaxPool; the Requantize after it divides."""

    pooled_dtype: ClassVar[str] = "int32"

    def bound(self, graph: Graph, bounds: Mapping[str, Interval]) -> Interval:
        """Of the windows' codes."""
        count, x = math.prod(self.kernel), bounds[self.input]
        need(self, count * max(map(abs, x)), ACCUMULATOR, f"sum of {count} codes")
        return count * x[0], count * x[1]

    def evaluate(self, graph: Graph, tensors: Mapping[str, Array], draws: Draws) -> Array:
        """(batch, channels, height, width)."""
        pooled = self.windows(graph, tensors).sum(axis=3, dtype=np.int32)
        return pooled.reshape(len(pooled), *graph.tensors[self.output].shape)
