"""ChaosLayer in C."""

from __future__ import annotations

from edgechaos.arithmetic.random_bits import FAIL_ONE
from edgechaos.firmware_gen.compilers.c.lowering import BROKEN, CALL, Lowering, lowers
from edgechaos.firmware_gen.compilers.c.source import Source
from edgechaos.firmware_gen.compilers.c.writer import Writer
from edgechaos.firmware_gen.plan.memory import Scratch
from edgechaos.graph.drawing import GENERATOR
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import ChaosLayer


@lowers(ChaosLayer)
class ChaosLayerInC(Lowering):
    """One call, by mode and sampling."""

    header = "ec_chaos.h"

    def noisy(self, node: ChaosLayer) -> bool:
        """With a sigma."""
        return node.sigma is not None

    def scratch(self, graph: IntegerGraph, node: ChaosLayer, kernel: str) -> Scratch:
        """Per neuron; stateful ticks keep membrane and refractoriness; two words of prefixes a tick."""
        neurons = graph.tensors[node.input].shape[0]
        return Scratch(
            neurons=neurons, stateful=neurons if node.mode == "stateful" else 0, sums=2 * node.ticks if node.sampling == "ticks" else 0
        )

    def describe(self, source: Source, w: Writer, node: ChaosLayer) -> None:
        """An ec_chaos_layer."""
        read = source.graph.tensors[node.input]
        loss = f"fail_prob {node.fail_q}/{FAIL_ONE} = {node.fail_q / FAIL_ONE:.6g}"
        w.comment(f"{node.name}: {read.shape[0]} neurons, {node.ticks} {node.mode} ticks, sampled as {node.sampling}, {loss}")
        threshold, sigma = source.int32(w, node.threshold), source.int32(w, node.sigma)
        table = "NULL"
        if node.sampling == "binomial":
            table = source.table(w, node.name, "table", node.slot_value(source.graph, "table"), "uint32")
        fields = {
            "threshold": threshold,
            "sigma": sigma,
            "table": table,
            "fail_q": f"{node.fail_q}u",
            "neurons": read.shape[0],
            **{
                name: getattr(node, name)
                for name in ("fail_stream", "noise_stream", "decay_q15", "refractory_decay_q15", "ticks", "sigma_shift")
            },
            "ticked_drive": int(read.ticks > 0),
            "emit_spikes": int(node.emit == "spikes"),
            "sampling": f"EC_SAMPLE_{node.sampling.upper()}",
        }
        at = source.slots_at(node)
        hooks = {f"{slot.name}_at": at[f"{slot.name}_at"] for slot in node.slots(source.graph) if slot.refused is None and not slot.added}
        hooks.setdefault("stuck_at", hooks["dead_at"])  # refused: one mask stands for both
        hooks |= {"state_at": at["state_clear_at"]} if node.mode == "stateful" else {}
        hooks["draw_at"] = at[f"{GENERATOR[0]}_at"]
        source.fields(w, "ec_chaos_layer", node, fields, hooks)

    def call(self, source: Source, w: Writer, node: ChaosLayer) -> None:
        """ec_chaos_<mode or sampled>(about, run, x, out)."""
        kind = node.mode if node.sampling == "ticks" else "sampled"
        w.line(f"ec_chaos_{kind}(&{source.description(node)}, run, {source.at(node.input)}, {source.at(node.output)});")

    def readout_gain(self, source: Source, node: ChaosLayer) -> str:
        """Of an `expected` layer it follows the loss."""
        return f"ec_chaos_expected_gain(&{source.description(node)}, run)" if node.sampling == "expected" else "1"

    def instructions(self, graph: IntegerGraph, node: ChaosLayer) -> int:
        """Every neuron is a candidate, has its noise and its loss drawn from a generator with faults, fires and is stuck."""
        neurons = graph.tensors[node.input].shape[0]
        if node.sampling != "ticks":
            return CALL + neurons * (60 + BROKEN + 8 * node.ticks)
        return CALL + node.ticks * (200 + ((150 if node.mode == "parallel" else 200) + 2 * BROKEN) * neurons)
