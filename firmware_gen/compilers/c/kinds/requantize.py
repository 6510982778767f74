"""Requantize in C."""

from __future__ import annotations

import math

from edgechaos.firmware_gen.compilers.c.lowering import CALL, Lowering, lowers
from edgechaos.firmware_gen.compilers.c.source import Source
from edgechaos.firmware_gen.compilers.c.writer import Writer
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.requantize import Requantize


@lowers(Requantize)
class RequantizeInC(Lowering):
    """One call; where it finishes a plain layer, a second one overwrites the codes of dead and stuck units."""

    header = "ec_requantize.h"

    def describe(self, source: Source, w: Writer, node: Requantize) -> None:
        """An ec_scaling, and the units that may be dead."""
        shape = source.graph.tensors[node.input].shape
        channels = source.graph.value(node.multiplier).size
        span = {"channels": channels, "span": math.prod(shape) // channels, "low": node.low, "high": node.high}
        source.fields(w, "ec_scaling", node, source.rescaling(w, node.multiplier, node.shift) | span)
        slots = source.slots_at(node)
        if "stuck_code_at" in slots:
            about = f"{slots.get('dead_at', 'EC_NOWHERE')}, {math.prod(shape[1:])}, {slots['stuck_code_at']}, {shape[0]}, {node.low}"
            w.lines("#if EC_FAULTS", f"static const ec_units {source.name(node, 'units')} = {{{about}}};", "#endif", "")

    def call(self, source: Source, w: Writer, node: Requantize) -> None:
        """ec_requantize_<in>_<out>(about, ticks, x, out)."""
        read, written = node.io(source.graph)
        ticks, y = max(written.ticks, 1), source.at(node.output)
        w.line(f"ec_requantize_{read.dtype}_{written.dtype}(&{source.description(node)}, {ticks}, {source.at(node.input)}, {y});")
        if "stuck_code_at" in source.slots_at(node):
            w.lines("#if EC_FAULTS", f"ec_faults_silence(run->faults, &{source.name(node, 'units')}, {ticks}, {y});", "#endif")

    def instructions(self, graph: IntegerGraph, node: Requantize) -> int:
        """Every value, and every unit's mask."""
        shape, ticks = graph.tensors[node.input].shape, max(graph.tensors[node.output].ticks, 1)
        return CALL + ticks * (24 * graph.value(node.multiplier).size + 128 * shape[0] + 48 * math.prod(shape))
