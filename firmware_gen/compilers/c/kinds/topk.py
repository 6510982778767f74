"""TopK in C."""

from __future__ import annotations

from edgechaos.firmware_gen.compilers.c.lowering import CALL, Lowering, lowers
from edgechaos.firmware_gen.compilers.c.source import Source
from edgechaos.firmware_gen.compilers.c.writer import Writer
from edgechaos.firmware_gen.plan.memory import Scratch
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.topk import DROPPABLE, TopK


@lowers(TopK)
class TopKInC(Lowering):
    """One call."""

    header = "ec_activate.h"

    def scratch(self, graph: IntegerGraph, node: TopK, kernel: str) -> Scratch:
        """A list of units."""
        return Scratch(block=graph.tensors[node.input].size)

    def describe(self, source: Source, w: Writer, node: TopK) -> None:
        """An ec_topk."""
        fields = {"units": source.graph.tensors[node.input].size, "k": node.k}
        source.fields(w, "ec_topk", node, fields, source.slots_at(node))

    def call(self, source: Source, w: Writer, node: TopK) -> None:
        """ec_topk_select(about, run, x, out)."""
        w.line(f"ec_topk_select(&{source.description(node)}, run, {source.at(node.input)}, {source.at(node.output)});")

    def instructions(self, graph: IntegerGraph, node: TopK) -> int:
        """Two histograms, and a search per winner that can be dropped."""
        return CALL + 4096 + (80 + 20 * min(node.k, DROPPABLE)) * graph.tensors[node.input].size
