"""ThermalNoise in C."""

from __future__ import annotations

from edgechaos.firmware_gen.compilers.c.lowering import BROKEN, CALL, Lowering, lowers
from edgechaos.firmware_gen.compilers.c.source import Source
from edgechaos.firmware_gen.compilers.c.writer import Writer
from edgechaos.graph.drawing import GENERATOR
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.thermal_noise import ThermalNoise


@lowers(ThermalNoise)
class ThermalNoiseInC(Lowering):
    """One call."""

    header = "ec_thermal.h"

    def noisy(self, node: ThermalNoise) -> bool:
        """Always."""
        return True

    def describe(self, source: Source, w: Writer, node: ThermalNoise) -> None:
        """An ec_thermal."""
        tensors = source.graph.tensors
        fields = {"inputs": tensors[node.codes].size, "outputs": tensors[node.input].size}
        fields |= {name: getattr(node, name) for name in ("stream", "shift_a", "shift_b")} | {"index": source.parameters.index(node)}
        source.fields(w, "ec_thermal", node, fields, {"draw_at": source.slots_at(node)[f"{GENERATOR[0]}_at"]})

    def call(self, source: Source, w: Writer, node: ThermalNoise) -> None:
        """ec_thermal_noise(about, run, codes, x, out)."""
        codes, x, y = map(source.at, (node.codes, node.input, node.output))
        w.line(f"ec_thermal_noise(&{source.description(node)}, run, {codes}, {x}, {y});")

    def instructions(self, graph: IntegerGraph, node: ThermalNoise) -> int:
        """A square per code, a word per output."""
        return 2 * CALL + 10 * graph.tensors[node.codes].size + (60 + BROKEN) * graph.tensors[node.input].size
