"""A table of codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgechaos.graph.node import Array, Draws, Graph, Interval, Node, constant_field
from edgechaos.graph.rules import require
from edgechaos.graph.tensors import DTYPE_RANGE

LUT_ENTRIES = 256
"""One per int8 code; code c stands at index c + 128."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lut(Node):
    """q = table[x + 128], int8 -> int8, same shape. table: (256,), or (channels, 256) with channels on axis 0, int8."""

    keeps_units: ClassVar[bool] = True

    table: str = constant_field()

    def maps_zero_to_zero(self, graph: Graph) -> bool:
        """In every channel."""
        return not graph.value(self.table)[..., LUT_ENTRIES // 2].any()

    def background(self, graph: Graph) -> int:
        """The table's code for 0, where it is its least and that of every channel."""
        table = graph.value(self.table)
        code, least = int(table[..., LUT_ENTRIES // 2].max()), int(table.min())
        return code if code == least else 0

    def unit_constants(self, graph: Graph) -> tuple[str, ...]:
        """The table, where each channel has its own."""
        return (self.table,) if graph.value(self.table).ndim == 2 else ()

    def most_active(self, graph: Graph) -> float | None:
        """As before it where 0 stays 0."""
        source = graph.producer(self.input)
        return source.most_active(graph) if source is not None and self.maps_zero_to_zero(graph) else None

    def check(self, graph: Graph) -> None:
        x, y = self.io(graph)
        table = graph.value(self.table)
        require(
            (x.dtype, x.ticks) == ("int8", 0) and (y.dtype, y.shape, y.ticks) == ("int8", x.shape, 0),
            self,
            "maps int8 to int8, shape kept, without ticks",
        )
        good = table.dtype == np.int8 and table.shape in ((LUT_ENTRIES,), (x.shape[0], LUT_ENTRIES))
        require(good, self, f"table must be int8 ({LUT_ENTRIES},) or one such row per channel, not {table.dtype} {table.shape}")

    def bound(self, graph: Graph, bounds: Mapping[str, Interval]) -> Interval:
        """Any code."""
        return DTYPE_RANGE["int8"]

    def evaluate(self, graph: Graph, tensors: Mapping[str, Array], draws: Draws) -> Array:
        x = tensors[self.input]
        table, index = graph.value(self.table), x.astype(np.intp) + LUT_ENTRIES // 2
        if table.ndim == 1:
            return table[index]
        channel = np.arange(len(table)).reshape(-1, *(1,) * (x.ndim - 2))
        return table[channel, index]
