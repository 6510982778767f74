"""MaxPool and AveragePool in C."""

from __future__ import annotations

from edgechaos.firmware_gen.compilers.c.lowering import CALL, Lowering, lowers
from edgechaos.firmware_gen.compilers.c.source import Fields, Source
from edgechaos.firmware_gen.compilers.c.writer import Writer
from edgechaos.graph.images import Pool
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.average_pool import AveragePool
from edgechaos.graph.kinds.max_pool import MaxPool
from edgechaos.graph.node import Node

WINDOWS = ("channels", "height", "width", "rows", "columns", "kernel_rows", "kernel_columns")
STEPS = ("stride_rows", "stride_columns", "pad_rows", "pad_columns")


def windows(graph: IntegerGraph, node: Node, moves: tuple[int, ...]) -> Fields:
    """The members of an ec_windows. moves: kernel, stride and pad, rows before columns."""
    x, y = node.io(graph)
    return dict(zip(WINDOWS + STEPS, (*x.shape, *y.shape[1:], *moves), strict=True))


class PoolInC(Lowering):
    """One call of `function`."""

    header = "ec_pool.h"
    function: str

    def describe(self, source: Source, w: Writer, node: Pool) -> None:
        """How its windows move."""
        source.fields(w, "ec_windows", node, windows(source.graph, node, (*node.kernel, *node.stride, 0, 0)))

    def call(self, source: Source, w: Writer, node: Pool) -> None:
        """<function>(about, x, out)."""
        w.line(f"{self.function}(&{source.description(node)}, {source.at(node.input)}, {source.at(node.output)});")

    def instructions(self, graph: IntegerGraph, node: Pool) -> int:
        """Every code of every window."""
        return CALL + graph.tensors[node.output].size * (24 + node.kernel[0] * (16 + 8 * node.kernel[1]))


@lowers(MaxPool)
class MaxPoolInC(PoolInC):
    """The largest code."""

    function = "ec_max_pool"


@lowers(AveragePool)
class AveragePoolInC(PoolInC):
    """The sum of codes."""

    function = "ec_average_pool"
