"""Lut in C."""

from __future__ import annotations

from edgechaos.firmware_gen.compilers.c.lowering import CALL, Lowering, lowers
from edgechaos.firmware_gen.compilers.c.source import Source
from edgechaos.firmware_gen.compilers.c.writer import Writer
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.lut import LUT_ENTRIES, Lut


@lowers(Lut)
class LutInC(Lowering):
    """One call."""

    header = "ec_activate.h"

    def describe(self, source: Source, w: Writer, node: Lut) -> None:
        """An ec_lut."""
        values = source.graph.value(node.table)
        channels = values.size // LUT_ENTRIES
        span = source.graph.tensors[node.input].size // channels
        table = source.table(w, node.table, "", values, "int8")
        source.fields(w, "ec_lut", node, {"table": table, "channels": channels, "span": span})

    def call(self, source: Source, w: Writer, node: Lut) -> None:
        """ec_lut_map(about, x, out)."""
        w.line(f"ec_lut_map(&{source.description(node)}, {source.at(node.input)}, {source.at(node.output)});")

    def instructions(self, graph: IntegerGraph, node: Lut) -> int:
        """Every code, every channel."""
        read = graph.tensors[node.input]
        return CALL + 10 * read.size + 24 * read.shape[0]
