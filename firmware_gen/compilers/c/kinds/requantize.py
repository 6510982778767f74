"""Requantize in C."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgechaos.firmware_gen.compilers.c.lowering import CALL, Lowering, lowers
from edgechaos.firmware_gen.compilers.c.source import Source
from edgechaos.firmware_gen.compilers.c.writer import Writer
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.requantize import Requantize

FORMS = {
    ("int32", "int8", -128, 127): "EC_WORDS_INT8",
    ("int32", "int8", 0, 127): "EC_WORDS_RELU",
    ("int32", "int16", -32768, 32767): "EC_WORDS_INT16",
    ("int16", "int8", -128, 127): "EC_HALVES_INT8",
}
"""From what to what, and the lowest and highest code."""
LEAST_SHIFT = 33
"""From here on the high word of a product is enough (ec_rescale.c)."""


@lowers(Requantize)
class RequantizeInC(Lowering):
    """One call; where it finishes a plain layer, a second one overwrites the codes of dead and stuck units."""

    header = "ec_requantize.h"

    def describe(self, source: Source, w: Writer, node: Requantize) -> None:
        """An ec_rescaling where its form is one of FORMS, else an ec_scaling; and the units that may be dead."""
        shape = source.graph.tensors[node.input].shape
        channels = source.graph.value(node.multiplier).size
        span, form = math.prod(shape) // channels, _form(source.graph, node)
        if form:
            terms = _terms(source.graph.value(node.multiplier), source.graph.value(node.shift))
            fields: dict[str, object] = {
                "terms": source.table(w, node.multiplier, "terms", terms, "int32", "[two channels][term][channel]")
            }
            source.fields(w, "ec_rescaling", node, fields | {"channels": channels, "span": span, "form": form})
        else:
            fields = {"channels": channels, "span": span, "low": node.low, "high": node.high}
            source.fields(w, "ec_scaling", node, source.rescaling(w, node.multiplier, node.shift) | fields)
        slots = source.slots_at(node)
        if "stuck_code_at" in slots:
            about = f"{slots.get('dead_at', 'EC_NOWHERE')}, {math.prod(shape[1:])}, {slots['stuck_code_at']}, {shape[0]}, {node.low}"
            w.lines("#if EC_FAULTS", f"static const ec_units {source.name(node, 'units')} = {{{about}}};", "#endif", "")

    def call(self, source: Source, w: Writer, node: Requantize) -> None:
        """ec_rescale or ec_requantize_<in>_<out>(about, ticks, x, out)."""
        read, written = node.io(source.graph)
        ticks, y = max(written.ticks, 1), source.at(node.output)
        function = "ec_rescale" if _form(source.graph, node) else f"ec_requantize_{read.dtype}_{written.dtype}"
        w.line(f"{function}(&{source.description(node)}, {ticks}, {source.at(node.input)}, {y});")
        if "stuck_code_at" in source.slots_at(node):
            w.lines("#if EC_FAULTS", f"ec_faults_silence(run->faults, &{source.name(node, 'units')}, {ticks}, {y});", "#endif")

    def instructions(self, graph: IntegerGraph, node: Requantize) -> int:
        """Every value, and every unit's mask."""
        shape, ticks = graph.tensors[node.input].shape, max(graph.tensors[node.output].ticks, 1)
        return CALL + ticks * (24 * graph.value(node.multiplier).size + 128 * shape[0] + 48 * math.prod(shape))


def _form(graph: IntegerGraph, node: Requantize) -> str:
    """The constant of ec_rescale.h; "" where it has none for this node."""
    read, written = node.io(graph)
    form = FORMS.get((read.dtype, written.dtype, node.low, node.high), "")
    several = graph.value(node.multiplier).size > 1
    return "" if graph.value(node.shift).min() < LEAST_SHIFT or (several and read.dtype == "int16") else form


def _terms(multiplier: NDArray[np.int32], shift: NDArray[np.int32]) -> NDArray[np.int64]:
    """(pairs of channels, 3, 2): multiplier, 2^(shift - 33), shift - 32; channels beyond the last are zeros."""
    terms = np.zeros((-(-multiplier.size // 2), 2, 3), np.int64)
    flat = terms.reshape(-1, 3)[: multiplier.size]
    flat[:, 0], flat[:, 1], flat[:, 2] = (
        multiplier.reshape(-1),
        1 << (shift.reshape(-1).astype(np.int64) - LEAST_SHIFT),
        shift.reshape(-1) - 32,
    )
    return terms.swapaxes(1, 2)
