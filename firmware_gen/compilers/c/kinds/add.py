"""Add in C."""

from __future__ import annotations

from edgechaos.firmware_gen.compilers.c.lowering import CALL, Lowering, lowers
from edgechaos.firmware_gen.compilers.c.source import Source
from edgechaos.firmware_gen.compilers.c.writer import Writer
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.add import Add


@lowers(Add)
class AddInC(Lowering):
    """One call; the gains are its arguments."""

    header = "ec_add.h"

    def call(self, source: Source, w: Writer, node: Add) -> None:
        """ec_add(size, gain, x, other_gain, other, out)."""
        x, other, out = map(source.at, (node.input, node.other, node.output))
        w.line(f"ec_add({source.graph.tensors[node.output].size}, {node.gain}, {x}, {node.other_gain}, {other}, {out});")

    def instructions(self, graph: IntegerGraph, node: Add) -> int:
        """Two loads, two products, a store."""
        return CALL + 12 * graph.tensors[node.output].size
