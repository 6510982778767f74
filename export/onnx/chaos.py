"""The ChaosLayer in integer ONNX operations: random words, lost spikes, table-Gaussian noise, both tick modes.

All words of a layer are computed at once, (batch, ticks, neurons). Parallel ticks are one comparison over that array; stateful
ticks are unrolled, because ONNX loops are not carried by every importer.
Source: docs/semantics.md, "Random words" and "ChaosLayer".
"""

from __future__ import annotations

import numpy as np

from edgechaos.arithmetic.random_bits import binomial_table
from edgechaos.export.onnx.lowering import SAMPLE, SEED, lowers
from edgechaos.export.onnx.random_words import Words, gaussian, rounded_shift, shift_right
from edgechaos.export.onnx.writer import OnnxWriter
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import Q15, ChaosLayer


@lowers(ChaosLayer)
def _layer(w: OnnxWriter, graph: IntegerGraph, node: ChaosLayer) -> None:
    w.name(node.output, _chaos(w, graph, node))


def _chaos(w: OnnxWriter, graph: IntegerGraph, node: ChaosLayer) -> str:
    """Write one layer; returns its output, int8 spikes (batch, ticks, neurons) or counts (batch, neurons)."""
    draw = Words(w, node, SAMPLE, SEED, graph.tensors[node.input].shape[0])
    if node.sampling != "ticks":
        return _sampled(w, graph, node, draw)
    drive = node.input if graph.tensors[node.input].ticks else w.unsqueeze(node.input, 1)
    kept = _kept(w, node, draw)
    if node.mode == "parallel":
        fired = w.op("Greater", _with_noise(w, graph, node, drive, draw), w.constant("threshold", graph.value(node.threshold)))
        spikes = _deliver(w, graph, node, fired, kept or w.constant("every_tick", np.ones((node.ticks, 1), bool)))
    else:
        spikes = _stateful(w, graph, node, _with_noise(w, graph, node, w.cast(drive, "int32"), draw), kept)
    # Summed in int32: runtimes sum no int8.
    return w.cast(spikes if node.emit == "spikes" else w.sum(w.cast(spikes, "int32"), 1), "int8")


def _kept(w: OnnxWriter, node: ChaosLayer, draw: Words) -> str | None:
    """Which spikes are not lost, bool (batch, ticks, neurons); None where none ever is."""
    if node.fail_q == 0:
        return None
    low = w.op("BitwiseAnd", draw.stream(node.fail_stream, node.ticks), w.constant("low_half", np.uint32(0xFFFF)))
    return w.op("GreaterOrEqual", w.cast(low, "int32"), w.constant("fail_q", np.int32(node.fail_q)))


def _with_noise(w: OnnxWriter, graph: IntegerGraph, node: ChaosLayer, drive: str, draw: Words) -> str:
    """drive + ((G[word >> 22] * sigma, rounded) >> sigma_shift), int32."""
    if node.sigma is None:
        return drive
    product = w.op("Mul", gaussian(w, draw.stream(node.noise_stream, node.ticks)), w.constant("sigma", graph.value(node.sigma)))
    return w.op("Add", drive, rounded_shift(w, product, node.sigma_shift))


def _deliver(w: OnnxWriter, graph: IntegerGraph, node: ChaosLayer, fired: str, kept: str | None) -> str:
    """Fired and kept and not dead, or stuck at 1; bool."""
    if kept is not None:
        fired = w.op("And", fired, kept)
    if node.dead is not None:
        fired = w.op("And", fired, w.constant("alive", graph.value(node.dead) == 0))
    if node.stuck is not None:
        fired = w.op("Or", fired, w.constant("stuck", graph.value(node.stuck) == 1))
    return fired


def _stateful(w: OnnxWriter, graph: IntegerGraph, node: ChaosLayer, drive: str, kept: str | None) -> str:
    """The ticks one after another; membrane int32 within int16, refractoriness uint32 (its product may reach 2^30 exactly).

    Every value keeps a tick axis of length 1. At the first tick the state is zero: what would multiply it is not written.
    """
    one_drive = not graph.tensors[node.input].ticks and node.sigma is None
    drives = [drive] * node.ticks if one_drive else w.split(drive, node.ticks)
    keeps = w.split(kept, node.ticks) if kept else [None] * node.ticks
    one, half = w.constant("q15_i32", np.int32(Q15)), w.constant("half", np.uint32(1 << 14))
    low, high = w.constant("membrane_low", np.int32(-Q15)), w.constant("membrane_high", np.int32(Q15 - 1))
    membrane = refractory = None
    spikes = []
    for t, (now, keep) in enumerate(zip(drives, keeps, strict=True)):
        if 0 <= t - node.state_from < node.state_ticks and node.state_of:
            refractory = w.op("Min", _broken(w, graph, node, refractory), w.cast(one, "uint32"))
        elif 0 <= t - node.state_from < node.state_ticks:
            sign = w.constant("sign", np.int32(Q15))
            unsigned = w.op("BitwiseXor", _broken(w, graph, node, membrane), w.constant("sign_bit", np.uint32(Q15)))
            membrane = w.op("Sub", w.cast(unsigned, "int32"), sign)
        membrane = w.op("Clip", w.op("Add", membrane, now) if membrane else now, low, high)
        if refractory:
            ready = w.op("Sub", one, w.cast(refractory, "int32"))
            membrane = rounded_shift(w, w.op("Mul", membrane, ready), 15)
        fired = w.op("Greater", membrane, w.constant("threshold", graph.value(node.threshold)))
        spike = w.cast(_deliver(w, graph, node, fired, keep), "int32")
        spikes.append(spike)
        refill = w.op("Mul", spike, one)
        if refractory:
            decayed = w.op("Mul", refractory, w.constant("refractory_decay", np.uint32(node.refractory_decay_q15)))
            refill = w.op("Add", w.cast(shift_right(w, w.op("Add", decayed, half), 15), "int32"), refill)
        refractory = w.cast(w.op("Clip", refill, w.constant("zero", np.int32(0)), one), "uint32")
        membrane = rounded_shift(w, w.op("Mul", membrane, w.constant("leak", np.int32(Q15 - node.decay_q15))), 15)
    return w.op("Concat", *spikes, axis=1)


def _broken(w: OnnxWriter, graph: IntegerGraph, node: ChaosLayer, state: str | None) -> str:
    """The low 16 bits of a state, zeros before the first tick, under the layer's fault; uint32."""
    clear, flip = (node.slot_value(graph, name).astype(np.uint32) for name in ("state_clear", "state_flip"))
    if state is None:
        return w.constant("state_flip", flip)
    kept = w.op("BitwiseAnd", w.cast(state, "uint32"), w.constant("state_kept", ~clear & np.uint32(0xFFFF)))
    return w.op("BitwiseXor", kept, w.constant("state_flip", flip))


def _sampled(w: OnnxWriter, graph: IntegerGraph, node: ChaosLayer, draw: Words) -> str:
    """One comparison for all ticks; "binomial" counts the table entries <= word >> 1, in int64 since an entry may be 2^31."""
    fires = _deliver(w, graph, node, w.op("Greater", node.input, w.constant("threshold", graph.value(node.threshold))), None)
    if node.sampling == "expected":
        return w.cast(fires, "int8")
    word = w.op("Squeeze", draw.stream(node.fail_stream, 1), w.constant("axis_1", np.array([1], np.int64)))
    draws = w.unsqueeze(w.cast(shift_right(w, word, 1), "int64"), 2)
    passed = w.op("GreaterOrEqual", draws, w.constant("binomial", binomial_table(node.ticks, node.fail_q).astype(np.int64)))
    return w.cast(w.op("Mul", w.sum(w.cast(passed, "int32"), 2), w.cast(fires, "int32")), "int8")
