"""MatMul and Readout in C."""

from __future__ import annotations

from edgechaos.firmware_gen.compilers.c.lowering import Lowering, lowering_of, lowers
from edgechaos.firmware_gen.compilers.c.matrix import matrix, matrix_instructions, up
from edgechaos.firmware_gen.compilers.c.source import Source
from edgechaos.firmware_gen.compilers.c.writer import Writer
from edgechaos.firmware_gen.plan.kernels import MOST_EVENTS
from edgechaos.firmware_gen.plan.memory import Scratch
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.matmul import MatMul
from edgechaos.graph.kinds.readout import Readout

FUNCTIONS = {"dense": "ec_matmul_dense", "pairs": "ec_matmul_quads", "spikes": "ec_matmul_spikes"}
CODES = 512
"""Inputs that a matrix in quads takes at a time (ec_quads.h)."""
SPIKES = 240
"""Words of a list (ec_spikes.h)."""


@lowers(MatMul)
class MatMulInC(Lowering):
    """One call, or one per tick."""

    header = "ec_matmul.h"

    def scratch(self, graph: IntegerGraph, node: MatMul, kernel: str) -> Scratch:
        """The list of active inputs, of spikes a word each, or inputs spread to 16 bits."""
        if kernel == "pairs":
            return Scratch(block=up(min(node.terms(graph), CODES), 8))
        if kernel == "spikes":
            return Scratch(events=up(min(node.terms(graph), SPIKES), 8) // 2)
        return Scratch(events=0 if kernel == "dense" else min(node.terms(graph), MOST_EVENTS))

    def describe(self, source: Source, w: Writer, node: MatMul) -> None:
        """An ec_matrix."""
        source.fields(w, "ec_matrix", node, *matrix(source, w, node, kind="ec_matrix"))

    def gain(self, source: Source, node: MatMul) -> str:
        """The C expression of what the products are multiplied with."""
        return "1"

    def call(self, source: Source, w: Writer, node: MatMul) -> None:
        """ec_matmul<_kernel>(about, run, gain, x, acc)."""
        function = FUNCTIONS.get(source.kernels[node.name].kernel, "ec_matmul")
        about = f"{source.in_use(node, 'ec_matrix')}, run, {self.gain(source, node)}"
        x, y = source.at(node.input), source.at(node.output)
        t = source.graph.tensors[node.output]
        if t.ticks:
            with w.block(f"for (uint32_t t = 0; t < {t.ticks}; t++)"):
                w.line(f"{function}({about}, {x} + {node.terms(source.graph)} * t, {y} + {t.shape[0]} * t);")
        else:
            w.line(f"{function}({about}, {x}, {y});")

    def instructions(self, graph: IntegerGraph, node: MatMul) -> int:
        """A vector per tick."""
        written = graph.tensors[node.output]
        return max(written.ticks, 1) * matrix_instructions(node.terms(graph), written.shape[0])

    def row_instructions(self, graph: IntegerGraph, node: MatMul) -> int:
        """Once per tick."""
        return 24 * max(graph.tensors[node.output].ticks, 1)


@lowers(Readout)
class ReadoutInC(MatMulInC):
    """Its gain is that of the layer before it."""

    def gain(self, source: Source, node: MatMul) -> str:
        """As the layer before it says."""
        layer = source.graph.producer(node.input)
        return "1" if layer is None else lowering_of(layer).readout_gain(source, layer)
