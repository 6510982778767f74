"""The largest code of each window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgechaos.graph.images import Pool
from edgechaos.graph.node import Array, Draws, Graph, Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool(Pool):
    """The largest code of each window, int8 (C, H, W) -> int8 (C, (H - kernel[0]) // stride[0] + 1, likewise); no padding."""

    def bound(self, graph: Graph, bounds: Mapping[str, Interval]) -> Interval:
        """Of the windows' codes."""
        return bounds[self.input]

    def evaluate(self, graph: Graph, tensors: Mapping[str, Array], draws: Draws) -> Array:
        """(batch, channels, height, width)."""
        pooled = self.windows(graph, tensors).max(axis=3)
        return pooled.reshape(len(pooled), *graph.tensors[self.output].shape)
