"""Write the test vectors from the package: `python -m tests.vectors.make`.

tests/core/test_vectors.py checks them against tests/helpers/scalar.py. The files are committed. They change only when
docs/semantics.md does, and then the format version does too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.rounding import requantize, rounded_shift
from edgechaos.faults.base import Fault
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.faults.sites import nested_sites
from edgechaos.graph.artifact import FORMAT_VERSION
from edgechaos.graph.drawing import GENERATOR
from edgechaos.graph.heads import Head
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import ChaosLayer, ChaosState
from edgechaos.graph.kinds.matmul import MatMul
from edgechaos.graph.kinds.readout import Readout
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from edgechaos.graph.kinds.topk import TopK
from edgechaos.graph.node import Draws
from edgechaos.graph.tensors import Constant
from edgechaos.graph.weighted import Weighted
from tests.helpers.edges import SAMPLES, SEED, edge_graph, edge_items
from tests.helpers.graphs import chaos_graph, codes_for
from tests.helpers.mixed_graphs import Mixed, items_for, mixed_graph
from tests.helpers.places import VECTOR_FOLDER

TOP = 2**32 - 1
NOWHERE = IntegerGraph("nowhere", {}, {}, (), ())
"""For kinds that ask their graph for nothing."""


def random_words() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    corners = [
        (0, 0, 0, 0, 0),
        (TOP, TOP, 126, 65535, 65535),
        (1, 0, 0, 0, 0),
        (0, 1, 0, 0, 0),
        (0, 0, 1, 0, 0),
        (0, 0, 0, 1, 0),
        (0, 0, 0, 0, 1),
    ]
    drawn = [tuple(int(rng.integers(limit)) for limit in (TOP, TOP, 127, 65536, 4096)) for _ in range(200)]
    words = [[*key, int(random_bits.words(key[0], key[3], [key[1]], key[2] + 1, key[4] + 1)[0, key[2], key[4]])] for key in corners + drawn]
    mixed = [0, 1, 2**31, TOP, 0x9E3779B9, *(int(x) for x in rng.integers(TOP, size=20))]
    table = random_bits.gaussian_table()
    losses = [
        [q, [int(v) for v in random_bits.lost(np.array([0, 1, 0xFFFF, 0x10000, 0x12345678], np.uint32), q)]]
        for q in (0, 1, 2, 0x5678, 0x5679, 65535, 65536)
    ]
    return {
        "mix": [[x, int(random_bits.mix(np.array([x], np.uint32))[0])] for x in mixed],
        "words": words,
        "lost": {"words": [0, 1, 0xFFFF, 0x10000, 0x12345678], "by_fail_q": losses},
        "fail_q": [[p, random_bits.fail_q(p)] for p in (0.0, 1e-6, 7.7e-6, 0.001, 0.01, 0.5, 0.999999, 1.0)],
        "gaussian": {
            "sha256_le16": hashlib.sha256(table.astype("<i2").tobytes()).hexdigest(),
            "entries": [[i, int(table[i])] for i in (0, 1, 255, 256, 511, 512, 767, 1022, 1023)],
        },
        "binomial": [
            {"ticks": t, "fail_q": q, "table": [int(v) for v in random_bits.binomial_table(t, q)]}
            for t, q in ((1, 0), (1, 65536), (1, 32768), (4, 655), (10, 32768), (10, 65535), (127, 1), (127, 40000))
        ],
    }


def arithmetic() -> dict[str, Any]:
    rng = np.random.default_rng(2)
    rows = []
    edges = [0, 1, -1, 2, -2, 3, -3, 2**30 - 1, -(2**30 - 1)]
    settings = [
        (2**30, 31, -128, 127),
        (2**30, 32, -128, 127),
        (2**31 - 1, 31, -32768, 32767),
        (2**30, 61, -128, 127),
        (1518500250, 40, 0, 127),
        (2**31 - 1, 61, -32768, 32767),
    ]
    for multiplier, shift, low, high in settings:
        for acc in edges + [int(v) for v in rng.integers(-(2**20), 2**20, 8)]:
            q = requantize(np.array([acc], np.int32), np.array([multiplier], np.int32), np.array([shift], np.int32), low, high)
            rows.append([acc, multiplier, shift, low, high, int(q[0])])
    shifts = [
        [x, k, int(rounded_shift(np.array([x], np.int32), k)[0])]
        for k in (1, 2, 15, 29, 30)
        for x in (0, 1, -1, 1 << (k - 1), -(1 << (k - 1)), (1 << (k - 1)) - 1, -(1 << (k - 1)) - 1, 2**30 - 1, -(2**30))
        if -(2**30) <= x < 2**30
    ]
    noises = []
    for word in (0, 1 << 22, 0x7FFFFFFF, 0x80000000, TOP):
        for sigma, shift in ((0, 1), (1, 1), (32767, 13), (32767, 30), (12345, 20)):
            noises.append(
                [
                    word,
                    sigma,
                    shift,
                    int(rounded_shift(random_bits.gaussian(np.array([word], np.uint32)).astype(np.int32) * np.int32(sigma), shift)[0]),
                ]
            )
    thresholds = [
        [13.7, 14, True],
        [13.7, 13, False],
        [13.0, 13, False],
        [13.0, 14, True],
        [-0.5, 0, True],
        [-0.5, -1, False],
        [-1.0, -1, False],
    ]
    return {
        "requantize": rows,
        "rounded_shift": shifts,
        "noise": noises,
        "threshold": thresholds,
        "topk": ties(),
        "amplitude": amplitudes(),
    }


def ties() -> list[list[Any]]:
    """Equal values, both ends of int16, dead units: [values, k, dead units, output]."""
    cases = [
        ([5, 5, 5, 5], 2, []),
        ([1, 7, 7, 7], 2, []),
        ([-3, -1, -2, -32768], 2, []),
        ([-32768, -32768, -32768], 1, []),
        ([32767, -32768, 32767], 2, []),
        ([0, 0, -1], 1, []),
        ([9, 8, 8, 6], 2, [0]),
        ([9, -32768, 7, 6], 2, [0, 2, 3]),
    ]
    rows: list[list[Any]] = []
    for values, k, dead in cases:
        graph = mixed_graph(family="kwta", hidden=len(values), k=k)
        node = next(n for n in graph.nodes if isinstance(n, TopK))
        graph = apply(graph, FaultPlan((DeadNeurons(node.name, neurons=tuple(dead)),)))
        found = graph.node(node.name).evaluate(graph, {node.input: np.array([values], np.int16)}, Draws(0, np.zeros(1, np.uint32), {}))
        rows.append([values, k, dead, found[0].tolist()])
    return rows


def amplitudes() -> list[list[Any]]:
    """The width of thermal noise up to saturation, seen where the Gaussian is largest: [codes, k, shift_a, shift_b, noise]."""
    seed = next(s for s in range(10**5) if random_bits.words(s, 0, [0], 1, 1)[0, 0, 0] >> 22 == 1023)
    rows: list[list[Any]] = []
    for codes in ([0], [1], [1, 1], [3, 4], [127, -128], [-128] * 9):
        for k, shift_a, shift_b in ((0, 1, 1), (1, 1, 1), (3, 1, 13), (1000, 10, 13), (100000, 1, 13)):
            node = ThermalNoise("noise", "acc", "noisy", codes="codes", k=k, k_max=k, shift_a=shift_a, shift_b=shift_b)
            zero, item = np.zeros((1, 1), np.int32), np.array([codes], np.int8)
            draws = Draws(seed, np.array([0], np.uint32), {node.name: k})
            noise = node.evaluate(NOWHERE, {node.input: zero, node.codes: item}, draws)
            rows.append([codes, k, shift_a, shift_b, int(noise[0, 0])])
    return rows


def stateful() -> list[dict[str, Any]]:
    """Single neurons: drives, noises and losses in, state after every tick out; each through a graph of one neuron."""
    cases = []
    for k, (drive, sigma, threshold, decay, refractory_decay, fail_q) in enumerate(
        [
            (32767, 0, 20000, 655, 31130, 0),
            (-32768, 0, 0, 655, 31130, 0),
            (9000, 0, 20000, 655, 31130, 0),
            (32767, 0, -1, 0, 32768, 0),
            (20000, 0, 100, 32768, 0, 30000),
            (5000, 16000, 4000, 3000, 20000, 20000),
            (-200, 32767, 100, 1, 1, 32768),
        ]
    ):
        seed, sample, ticks, shift = 1000 + k, 77 * k, 12, 14
        cases.append(_one_neuron(seed, sample, ticks, drive, sigma, shift, threshold, decay, refractory_decay, fail_q))
    return cases


def _one_neuron(
    seed: int, sample: int, ticks: int, drive: int, sigma: int, shift: int, threshold: int, decay: int, refractory_decay: int, fail_q: int
) -> dict[str, Any]:
    graph = chaos_graph(sizes=(1, 1, 2), mode="stateful", ticks=ticks)
    graph = replace(graph, constants={**graph.constants, "cortex0_threshold": Constant(np.array([threshold], np.int32), 32)})
    node = replace(graph.chaos_layers()[0], decay_q15=decay, refractory_decay_q15=refractory_decay)
    draws = random_bits.gaussian(random_bits.words(seed, 1, [sample], ticks, 1)).astype(np.int32)
    noise = rounded_shift(draws * np.int32(sigma), shift)[0]
    lost = random_bits.lost(random_bits.words(seed, 0, [sample], ticks, 1), fail_q)[0]
    state, states = ChaosState(np.zeros((1, 1), np.int32), np.zeros((1, 1), np.int32)), []
    for t in range(ticks):
        spike = node.tick(graph, state, drive + noise[None, t], lost[None, t])
        states.append([int(state.membrane[0, 0]), int(state.refractory[0, 0]), int(spike[0, 0])])
    return {
        "seed": seed,
        "sample": sample,
        "fail_stream": 0,
        "noise_stream": 1,
        "ticks": ticks,
        "drive": drive,
        "sigma": sigma,
        "sigma_shift": shift,
        "threshold": threshold,
        "decay_q15": decay,
        "refractory_decay_q15": refractory_decay,
        "fail_q": fail_q,
        "noise": noise[:, 0].tolist(),
        "lost": lost[:, 0].astype(int).tolist(),
        "states": states,
    }


def sites() -> dict[str, Any]:
    """Which sites a rate draws: nested over rates, exactly floor(rate * count + 1/2) of them."""
    drawn = [
        {"seed": seed, "stream": stream, "count": count, "rate": rate, "sites": nested_sites(seed, stream, count, rate).tolist()}
        for seed, stream, count in ((0, 0x10000, 64), (TOP, 0x20002, 33), (7, 0x30000, 100))
        for rate in (0.0, 0.01, 0.1, 0.25, 0.5, 1.0)
    ]
    flips = [
        [v, b, w, flipped]
        for v, b, w in ((0, 0x80, 8), (127, 0x80, 8), (-1, 1, 8), (-128, 0xFF, 8), (5, 6, 8))
        for flipped in [_flip(v, b)]
    ]
    return {"drawn": drawn, "flips": flips}


def _flip(value: int, bits: int) -> int:
    """Through a plan: the delta of a patch row plus the word it changes."""
    graph = chaos_graph(sizes=(1, 1, 2))
    graph = replace(graph, constants={**graph.constants, "cortex0_weight": Constant(np.array([[value]], np.int8), 8)})
    chosen = tuple((0, bit) for bit in range(8) if bits >> bit & 1)
    rows = resolve(graph, FaultPlan((WeightBitFlip("cortex0_matmul", bits=chosen),))).patch["cortex0_matmul"]
    return value + int(rows[0, 2])


def _model(graph: IntegerGraph) -> dict[str, Any]:
    """A graph of one spiking layer in the vectors' own notation."""
    by_kind = {type(node): node for node in graph.nodes}
    cortex, requantizer = by_kind[ChaosLayer], by_kind.get(Requantize)
    assert isinstance(cortex, ChaosLayer)
    model: dict[str, Any] = {}
    for name, kind in (("input", MatMul), ("readout", Readout)):
        node = by_kind[kind]
        assert isinstance(node, MatMul)
        model[name] = {"weight": graph.value(node.weight).tolist(), "bias": graph.value(node.bias).tolist()}
    fields = ("mode", "ticks", "sigma_shift", "decay_q15", "refractory_decay_q15", "fail_q", "fail_stream", "noise_stream")
    model["cortex"] = {name: getattr(cortex, name) for name in fields}
    model["cortex"] |= {"threshold": graph.value(cortex.threshold).tolist(), "sigma": graph.value(cortex.sigma).tolist()}
    if isinstance(requantizer, Requantize):
        model["cortex"] |= {"multiplier": int(graph.value(requantizer.multiplier)[0]), "shift": int(graph.value(requantizer.shift)[0])}
    return model


def graphs() -> list[dict[str, Any]]:
    """A parallel and a stateful model, clean and under each kind of fault: counts, logits, label and state hash per item."""
    nodes = {"input": "cortex0_matmul", "readout": "readout"}
    faults: list[dict[str, Any]] = [
        {"name": "clean"},
        {"name": "omission", "fail_q": 45000},
        {"name": "always lost", "fail_q": 65536},
        {"name": "dead", "dead": [0, 3, 6]},
        {"name": "stuck at 1", "stuck": [1, 7]},
        {"name": "weight flips", "flips": [["input", "weight", 0, 0x80], ["input", "weight", 41, 0x41], ["readout", "weight", 31, 0xFF]]},
        {"name": "bias flips", "flips": [["input", "bias", 2, 0x4000], ["readout", "bias", 3, 0x401]]},
        {
            "name": "all",
            "fail_q": 10000,
            "dead": [2],
            "stuck": [5],
            "flips": [["input", "weight", 17, 0x81], ["readout", "bias", 0, 0x100]],
        },
    ]
    written = []
    for mode in ("parallel", "stateful"):
        graph = chaos_graph(mode=mode, ticks=6, sizes=(12, 8, 4), seed=5)
        codes, samples, seed = codes_for(graph, 4, seed=3), np.array([0, 1, 99, TOP], np.uint32), 2024
        runs = []
        for fault in faults:
            fault = {"fail_q": None, "dead": [], "stuck": [], "flips": [], **fault}
            plan: list[Fault] = [Omission(rate=fault["fail_q"] / 65536)] if fault["fail_q"] is not None else []
            plan += [DeadNeurons(neurons=tuple(fault["dead"]))] if fault["dead"] else []
            plan += [StuckAtOne(neurons=tuple(fault["stuck"]))] if fault["stuck"] else []
            plan += [
                WeightBitFlip(nodes[name], target, bits=tuple((index, bit) for bit in range(32) if bits >> bit & 1))
                for name, target, index, bits in fault["flips"]
            ]
            result = reference.run(apply(graph, FaultPlan(tuple(plan))), codes, seed=seed, samples=samples, keep=("cortex0_count",))
            counts = result.tensors["cortex0_count"]
            outputs = {
                "counts": counts.tolist(),
                "logits": result.logits.tolist(),
                "labels": result.labels.tolist(),
                "state_hashes": reference.state_hash(counts, result.logits).tolist(),
            }
            runs.append({**fault, **outputs})
        written.append({"model": _model(graph), "seed": seed, "samples": samples.tolist(), "codes": codes.tolist(), "runs": runs})
    return written


FAULTY = (*GENERATOR, "state_from", "state_ticks", "state_of", "k_shift")
"""Fields that faults alone set: left out where they are 0."""


def describe(graph: IntegerGraph, head: str | None = None) -> list[dict[str, Any]]:
    """The nodes of a head in the vectors' own notation: every field by name, constants inline, `bits` of stored weights."""
    described = []
    for node in graph.path(head):
        fields_ = {f.name: value for f in fields(node) if (value := getattr(node, f.name)) is not None and (value or f.name not in FAULTY)}
        inline = {name: graph.value(constant).tolist() for name, constant in node.constants()}
        bits = {"bits": graph.constants[node.weight].bits} if isinstance(node, Weighted) else {}
        described.append({"kind": type(node).__name__, **fields_, **inline, **bits})
    return described


def nodes() -> list[dict[str, Any]]:
    """One small model per family and stored width, clean and under flips and dead units: every tensor of every item."""
    written = []
    for spec in (
        Mixed("vision", 8, (2, 5, 4), stride=(2, 1), table="channel", hidden=5, seed=1),
        Mixed("vision", 4, (1, 6, 6), pool="average", hidden=5, mode="stateful", seed=2),
        Mixed("text", 2, hidden=5, spiking=False, silent=False, seed=3),
        Mixed("kwta", 8, hidden=7, k=3, depth=2, silent=False, seed=4),
        Mixed("thermal", 4, hidden=6, silent=False, seed=5),
        Mixed("vision", 8, (1, 5, 5), hidden=5, spiking=False, seed=6),
        Mixed("thermal", 8, hidden=6, depth=2, seed=7),
        Mixed("vision", 8, (2, 5, 4), hidden=5, pool="none", spiking=False, residual=True, seed=8),
    ):
        graph = mixed_graph(spec)
        head, samples, seed = graph.head(), [0, 99, TOP], 2025
        codes = items_for(graph, len(samples), seed=spec.seed)
        weighted = graph.weighted()
        flips = [(node.name, "weight", 2 * k, graph.constants[node.weight].bits - 1) for k, node in enumerate(weighted)]
        if spec.family != "text":
            flips.append((weighted[0].name, "bias", 1, 9))
        dead = [(node.name, (0, 2)) for node in graph.analysis.unit_nodes if not isinstance(node, ChaosLayer)]
        faults: list[tuple[str, list[tuple[str, str, int, int]], list[tuple[str, tuple[int, int]]]]]
        faults = [("clean", [], []), ("flips", flips, [])] + ([("dead", [], dead)] if dead else [])
        runs = []
        for name, flipped, killed in faults:
            plan: list[Fault] = [WeightBitFlip(node, target, bits=((word, bit),)) for node, target, word, bit in flipped]
            plan += [DeadNeurons(node, neurons=units) for node, units in killed]
            outputs = _tensors(apply(graph, FaultPlan(tuple(plan))), head, codes, seed, samples)
            runs.append({"name": name, "flips": flipped, "dead": killed, **outputs})
        written.append({"family": spec.family, **_about(graph, head, codes, seed, samples), "runs": runs})
    return written


def _about(graph: IntegerGraph, head: Head, codes: NDArray[Any], seed: int, samples: list[int]) -> dict[str, Any]:
    places = {"input": head.input, "readout_input": reference.readout_input(graph, head), "logits": head.logits}
    return {**places, "nodes": describe(graph, head.name), "seed": seed, "samples": samples, "codes": codes.tolist()}


def _tensors(graph: IntegerGraph, head: Head, codes: NDArray[Any], seed: int, samples: list[int]) -> dict[str, Any]:
    """What every node of a head wrote, per item."""
    keep = tuple(node.output for node in graph.path(head.name))
    found = reference.run(graph, codes, seed=seed, samples=samples, head=head.name, keep=keep).tensors
    read = {head.input: codes, **found}[reference.readout_input(graph, head)]
    hashes = reference.state_hash(read, found[head.logits])
    return {"tensors": {tensor: found[tensor].tolist() for tensor in keep}, "state_hashes": hashes.tolist()}


def edges() -> list[dict[str, Any]]:
    """The heads of tests/helpers/edges.py: values that lie exactly where a rule decides."""
    graph, written = edge_graph(), []
    for head in graph.heads:
        codes, samples = edge_items(head.name), SAMPLES.tolist()
        clean = {"name": "clean", "flips": [], "dead": [], **_tensors(graph, head, codes, SEED, samples)}
        written.append({"family": head.name, **_about(graph, head, codes, SEED, samples), "runs": [clean]})
    return written


VECTORS: dict[str, Callable[[], Any]] = {
    "random_words": random_words,
    "arithmetic": arithmetic,
    "stateful": stateful,
    "sites": sites,
    "graphs": graphs,
    "nodes": nodes,
    "edges": edges,
}


def render(name: str) -> str:
    """One vector file: a JSON object, `format` and `vectors`."""
    return json.dumps({"format": FORMAT_VERSION, "vectors": VECTORS[name]()}, separators=(",", ":"), sort_keys=True) + "\n"


if __name__ == "__main__":
    for vector in VECTORS:
        (VECTOR_FOLDER / f"{vector}.json").write_text(render(vector))
