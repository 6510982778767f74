"""The class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgechaos.graph.node import Array, Draws, Graph, Interval, Node
from edgechaos.graph.rules import require


@dataclass(frozen=True, slots=True)
class ArgMax(Node):
    """The class: the index of the largest logit, ties to the lowest index. Output uint16, shape (1,)."""

    is_class: ClassVar[bool] = True

    def check(self, graph: Graph) -> None:
        x, y = self.io(graph)
        require(x.dtype == "int32" and x.ticks == 0 and len(x.shape) == 1, self, "takes an int32 vector")
        require(x.size <= 65536, self, f"{x.size} classes do not fit a uint16 label")
        require((y.dtype, y.shape, y.ticks) == ("uint16", (1,), 0), self, "output must be uint16 (1,)")

    def bound(self, graph: Graph, bounds: Mapping[str, Interval]) -> Interval:
        """An index."""
        return 0, graph.tensors[self.input].size - 1

    def evaluate(self, graph: Graph, tensors: Mapping[str, Array], draws: Draws) -> Array:
        """uint16 (batch, 1)."""
        return np.argmax(tensors[self.input], axis=1).astype(np.uint16)[:, None]
