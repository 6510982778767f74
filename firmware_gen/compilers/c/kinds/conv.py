"""Conv in C."""

from __future__ import annotations

from edgechaos.firmware_gen.compilers.c.kinds.pools import windows
from edgechaos.firmware_gen.compilers.c.lowering import CALL, Lowering, lowers
from edgechaos.firmware_gen.compilers.c.matrix import matrix, matrix_instructions, up
from edgechaos.firmware_gen.compilers.c.source import Source
from edgechaos.firmware_gen.compilers.c.writer import Writer
from edgechaos.firmware_gen.plan.memory import Scratch
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.conv import Conv

BLOCK = 4
"""Positions that a dense convolution takes at a time, and inputs that it takes together (ec_conv_dense.h)."""


@lowers(Conv)
class ConvInC(Lowering):
    """One call; dense weights have a kernel of their own, all others take every window as one input of the matrix."""

    header = "ec_conv.h"
    matrix = ".matrix"

    def scratch(self, graph: IntegerGraph, node: Conv, dense: bool) -> Scratch:
        """A window, its active inputs and its sums; or a block, whose sums go straight to their places unless it is wider than a row."""
        outputs, _, columns = graph.tensors[node.output].shape
        if dense:
            return Scratch(sums=BLOCK * outputs if columns < BLOCK else 0, block=BLOCK * up(node.terms(graph), BLOCK))
        return Scratch(events=node.terms(graph), sums=outputs, window=node.terms(graph))

    def describe(self, source: Source, w: Writer, node: Conv) -> None:
        """An ec_matrix and how it moves."""
        kernel = source.graph.value(node.weight).shape[2:]
        moves = windows(source.graph, node, (*kernel, *node.stride, *node.pad))
        source.fields(w, "ec_conv_layer", node, {"matrix": matrix(source, w, node, BLOCK, "ec_conv_layer"), "windows": (moves,)})

    def call(self, source: Source, w: Writer, node: Conv) -> None:
        """ec_conv(about, run, x, acc)."""
        w.line(f"ec_conv({source.in_use(node, 'ec_conv_layer')}, run, {source.at(node.input)}, {source.at(node.output)});")

    def instructions(self, graph: IntegerGraph, node: Conv) -> int:
        """Every window, four at a time or one by one, whichever costs more."""
        channels, kernel_rows, kernel_columns = graph.value(node.weight).shape[1:]
        outputs, rows, columns = graph.tensors[node.output].shape
        gathered = channels * kernel_rows * (24 + 10 * kernel_columns)
        one_by_one = rows * columns * (gathered + 16 * outputs + matrix_instructions(node.terms(graph), outputs))
        block = CALL + 4 * gathered + outputs * (60 + 8 * up(node.terms(graph), BLOCK))
        return CALL + max(one_by_one, rows * (up(columns, BLOCK) // BLOCK) * block)

    def row_instructions(self, graph: IntegerGraph, node: Conv) -> int:
        """At every position."""
        _, rows, columns = graph.tensors[node.output].shape
        return 80 + rows * (20 + 16 * columns)
