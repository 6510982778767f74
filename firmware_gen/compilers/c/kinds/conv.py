"""Conv in C."""

from __future__ import annotations

import numpy as np

from edgechaos.firmware_gen.compilers.c.kinds.pools import windows
from edgechaos.firmware_gen.compilers.c.lowering import CALL, Lowering, lowers
from edgechaos.firmware_gen.compilers.c.matrix import hooks, matrix, matrix_instructions, members, up
from edgechaos.firmware_gen.compilers.c.source import Fields, Source
from edgechaos.firmware_gen.compilers.c.writer import Writer
from edgechaos.firmware_gen.plan.kernels import MOST_EVENTS
from edgechaos.firmware_gen.plan.memory import Scratch
from edgechaos.firmware_gen.plan.pairs import TAPS, paired_weights
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.conv import Conv

FUNCTIONS = {"dense": "ec_conv_dense", "pairs": "ec_conv_pairs"}
"""Of dense weights; all others take every window as one input of the matrix."""
NARROW = 14
"""Columns of an output whose strip of codes is 16 words wide, not 32 (ec_conv_pairs.c)."""
BLOCK = 4
"""Positions that a dense convolution takes at a time, and inputs that it takes together (ec_conv_dense.h)."""


@lowers(Conv)
class ConvInC(Lowering):
    """One call, by kernel."""

    header = "ec_conv.h"
    matrix = ".matrix"

    def scratch(self, graph: IntegerGraph, node: Conv, kernel: str) -> Scratch:
        """A window, its active inputs and its sums; or what a kernel for dense weights sees of the image."""
        outputs, _, columns = graph.tensors[node.output].shape
        if kernel == "pairs":
            words = 16 if columns <= NARROW else 32
            rows = up(node.terms(graph) // TAPS, 2)
            return Scratch(sums=4 * words if outputs % 4 else 0, block=rows * words)
        if kernel == "dense":
            return Scratch(sums=BLOCK * outputs if columns < BLOCK else 0, block=BLOCK * up(node.terms(graph), BLOCK))
        return Scratch(events=min(node.terms(graph), MOST_EVENTS), sums=outputs, window=node.terms(graph))

    def describe(self, source: Source, w: Writer, node: Conv) -> None:
        """An ec_matrix and how it moves."""
        if source.kernels[node.name].kernel == "pairs":
            about = self._paired(source, w, node)
        else:
            about = matrix(source, w, node, BLOCK, "ec_conv_layer")
        kernel = source.graph.value(node.weight).shape[2:]
        moves = windows(source.graph, node, (*kernel, *node.stride, *node.pad))
        source.fields(w, "ec_conv_layer", node, {"matrix": about, "windows": (moves,)})

    def _paired(self, source: Source, w: Writer, node: Conv) -> tuple[Fields, Fields]:
        """The members of an ec_matrix whose weights share half words; a bias for every output, those of the padding too."""
        weight = source.graph.value(node.weight)
        outputs, inputs = len(weight), node.terms(source.graph)
        w.comment(f"{node.name}: {outputs} outputs <- {inputs} inputs, 8-bit weights; {source.kernels[node.name]}")
        table = source.table(w, node.weight, "pairs", paired_weights(weight), "int16", "[4 outputs][2 rows][3][2 outputs][row]")
        bias = np.zeros(up(outputs, 4), np.int32)
        if node.bias is not None:
            bias[:outputs] = source.graph.value(node.bias)
        padded = source.table(w, node.bias or node.weight, "" if node.bias and not outputs % 4 else "fours", bias, "int32")
        fields = members(source, node, f"(const int8_t *){table}", True, padded, (outputs, inputs, 0))
        return fields, {**hooks(source, node), "paired": 1}

    def call(self, source: Source, w: Writer, node: Conv) -> None:
        """ec_conv<_kernel>(about, run, x, acc)."""
        function = FUNCTIONS.get(source.kernels[node.name].kernel, "ec_conv")
        w.line(f"{function}({source.in_use(node, 'ec_conv_layer')}, run, {source.at(node.input)}, {source.at(node.output)});")

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
