"""ArgMax in C: the class is returned, not stored."""

from __future__ import annotations

from edgechaos.firmware_gen.compilers.c.lowering import CALL, Lowering, lowers
from edgechaos.firmware_gen.compilers.c.source import Source
from edgechaos.firmware_gen.compilers.c.writer import Writer
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.argmax import ArgMax


@lowers(ArgMax)
class ArgMaxInC(Lowering):
    """The last statement of a head."""

    header = "ec_matmul.h"

    def call(self, source: Source, w: Writer, node: ArgMax) -> None:
        """return ec_argmax(logits, count)."""
        w.line(f"return ec_argmax({source.at(node.input)}, {source.graph.tensors[node.input].size});")

    def instructions(self, graph: IntegerGraph, node: ArgMax) -> int:
        """A comparison per logit."""
        return CALL + 10 * graph.tensors[node.input].size
