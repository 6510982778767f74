"""The C of every kind of node against the NumPy reference, integer for integer: mixed graphs, clean and faulty, on this
machine and on the emulated Cortex-M4.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgechaos import reference
from edgechaos.devices.contract import Device
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.devices.fakes.device import FakeDevice
from edgechaos.devices.host import HostDevice
from edgechaos.devices.kinds.unicorn import emulated_firmware
from edgechaos.devices.protocol.plan_payloads import plan_requests
from edgechaos.faults.base import Fault
from edgechaos.faults.injections import CLEAN, ResolvedPlan
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.firmware_gen.compilers.c.packing import pack
from edgechaos.firmware_gen.plan.kernels import Choice, choose_kernels
from edgechaos.firmware_gen.plan.slots import placed_slots
from edgechaos.firmware_gen.projects.elf import build
from edgechaos.firmware_gen.protocol import PARAM, ErrorCode, Verb
from edgechaos.graph.heads import Encoding
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.lut import Lut
from edgechaos.graph.kinds.readout import Readout
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from edgechaos.graph.kinds.topk import TopK
from edgechaos.graph.tensors import Constant
from edgechaos.support.errors import GraphError
from tests.firmware.test_firmware_exact import NATIVE, WIDE
from tests.firmware.test_firmware_protocol import ask, refused
from tests.helpers.firmware_host import HostLibrary, library, setting
from tests.helpers.graphs import chaos_graph
from tests.helpers.mixed_graphs import FAMILIES, Builder, Family, Mixed, items_for, mixed_graph, mixed_specs

pytestmark = pytest.mark.slow

SAMPLES = np.array([0, 1, 2**31, 2**32 - 1, 5, 6, 7, 8], np.uint32)


def plans(graph: IntegerGraph) -> list[ResolvedPlan]:
    """No fault, and each kind that the graph can have."""
    faults: list[tuple[Fault, ...]] = [(), (WeightBitFlip(rate=0.05, seed=2),), (WeightBitFlip(target="bias", bits=((0, 3), (0, 9))),)]
    if graph.analysis.unit_nodes:
        faults.append((*(DeadNeurons(n.name, rate=0.4, seed=1) for n in graph.analysis.unit_nodes), WeightBitFlip(rate=0.01, seed=3)))
    if graph.chaos_layers():
        faults += [(Omission(rate=0.7),), (StuckAtOne(rate=0.3, seed=5),)]
    return [resolve(graph, FaultPlan(f)) for f in faults]


def check(graph: IntegerGraph, host: HostLibrary, plan: ResolvedPlan, seed: int) -> None:
    """Logits, classes and state hash of every head."""
    host.inject(plan)
    faulty = apply(graph, plan)
    for index, head in enumerate(graph.heads):
        codes = items_for(graph, len(SAMPLES), seed, head.name)
        read = reference.readout_input(graph, head)
        wanted = reference.run(faulty, codes, seed=seed, samples=SAMPLES, head=head.name, keep=(read,))
        logits, labels = host.infer(codes, seed, SAMPLES, index)
        np.testing.assert_array_equal(logits, wanted.logits)
        np.testing.assert_array_equal(labels, wanted.labels)
        hashes = reference.state_hash(wanted.tensors[read], wanted.logits)
        assert host.state_hash(index) == hashes[-1]


@settings(max_examples=12, deadline=None)
@given(
    spec=mixed_specs(),
    kernel=st.sampled_from(["dense", "event", "auto"]),
    flags=st.sampled_from([(), WIDE, NATIVE]),
    seed=st.integers(0, 2**32 - 1),
)
def test_random_graphs_clean_and_faulty(spec: Mixed, kernel: Choice, flags: tuple[str, ...], seed: int) -> None:
    graph = mixed_graph(spec)
    with tempfile.TemporaryDirectory() as folder:
        host = library(graph, Path(folder), kernel=kernel, flags=flags)
        for plan in plans(graph):
            check(graph, host, plan, seed)
        host.close()


DEVICES: dict[str, Callable[[IntegerGraph], Device]] = {
    "host": HostDevice,
    "unicorn": lambda graph: EmulatedDevice(graph, emulated_firmware(graph, "mps2-an386")),
    "fake": FakeDevice,
}


@pytest.mark.parametrize(
    ("name", "bits"), [("host", 8), ("host", 4), ("host", 2), ("unicorn", 8), ("unicorn", 4), ("unicorn", 2), ("fake", 8)]
)
@pytest.mark.parametrize("family", FAMILIES)
def test_devices(name: str, family: Family, bits: int) -> None:
    """Every family and width on every device: clean and faulty, at the stored temperature and at the highest."""
    graph = mixed_graph(Mixed(family, bits))
    hottest = {n.name: n.k_max for n in graph.nodes if isinstance(n, ThermalNoise)}
    with DEVICES[name](graph) as device:
        for plan in plans(graph):
            device.inject(plan)
            for head in graph.heads:
                codes = items_for(graph, 3, 3, head.name)
                for parameters in (hottest, None):
                    wanted = reference.run(apply(graph, plan), codes, seed=5, head=head.name, parameters=parameters)
                    seen = device.infer(codes, seed=5, head=head.name, parameters=parameters)
                    np.testing.assert_array_equal(seen.logits, wanted.logits)
                    np.testing.assert_array_equal(seen.labels, wanted.labels)


@pytest.mark.parametrize("name", ["host", "fake"])
def test_unknown_parameters_are_refused_before_anything_is_sent(name: str) -> None:
    graph = mixed_graph(Mixed("thermal"))
    node = next(n for n in graph.nodes if isinstance(n, ThermalNoise))
    with DEVICES[name](graph) as device:
        for parameters in ({"nobody": 1}, {node.name: node.k_max + 1}, {node.name: -1}):
            with pytest.raises(GraphError):
                device.infer(items_for(graph, 1), parameters=parameters)
        assert device.counters().inferences == 0


@pytest.fixture
def thermal(tmp_path: Path) -> Iterator[HostLibrary]:
    host = library(mixed_graph(Mixed("thermal")), tmp_path)
    yield host
    host.close()


def test_a_temperature_holds_until_the_next_and_survives_clear(thermal: HostLibrary) -> None:
    graph = thermal.graph
    nodes = [n for n in graph.nodes if isinstance(n, ThermalNoise)]
    codes = items_for(graph, len(SAMPLES))
    ask(thermal, Verb.PARAM, PARAM.pack(1, nodes[1].k_max))
    ask(thermal, Verb.CLEAR, seq=2)
    wanted = reference.run(graph, codes, seed=1, samples=SAMPLES, parameters={nodes[1].name: nodes[1].k_max})
    np.testing.assert_array_equal(thermal.infer(codes, 1, SAMPLES)[0], wanted.logits)
    ask(thermal, Verb.PARAM, PARAM.pack(1, nodes[1].k), seq=3)
    np.testing.assert_array_equal(thermal.infer(codes, 1, SAMPLES)[0], reference.run(graph, codes, seed=1, samples=SAMPLES).logits)


def test_parameters_that_would_void_the_proof_are_refused(thermal: HostLibrary) -> None:
    k_max = [n.k_max for n in thermal.graph.nodes if isinstance(n, ThermalNoise)]
    assert refused(thermal, Verb.PARAM, PARAM.pack(len(k_max), 0)) == (ErrorCode.OUT_OF_RANGE, len(k_max))
    assert refused(thermal, Verb.PARAM, PARAM.pack(0, k_max[0] + 1)) == (ErrorCode.OUT_OF_RANGE, k_max[0] + 1)
    assert refused(thermal, Verb.PARAM, PARAM.pack(0, -1)) == (ErrorCode.OUT_OF_RANGE, 2**32 - 1)
    assert refused(thermal, Verb.PARAM, b"\0") == (ErrorCode.BAD_LENGTH, 1)


def test_units_of_a_topk_have_a_mask_and_no_more(tmp_path: Path) -> None:
    graph = mixed_graph(Mixed("kwta"))
    host = library(graph, tmp_path)
    (topk,) = (n.name for n in graph.nodes if isinstance(n, TopK))
    assert [p.slot.name for p in placed_slots(graph) if p.node == topk] == ["dead", "dropped", "k_shift"]
    assert refused(host, Verb.SET, setting(graph, topk, "dead", b"\1", 16)) == (ErrorCode.OUT_OF_RANGE, 24)
    host.close()


def test_plain_layers_have_masks(tmp_path: Path) -> None:
    """Of a convolution of three channels and of a vector of five, in the order of execution, before those of the spiking layer."""
    graph = mixed_graph(Mixed())
    assert [p.node for p in placed_slots(graph) if p.slot.name == "dead"] == ["requantize2", "requantize5", "chaoslayer7"]
    host = library(graph, tmp_path)
    ask(host, Verb.SET, setting(graph, "requantize5", "dead", b"\x1f"))
    assert refused(host, Verb.SET, setting(graph, "requantize5", "dead", b"\1", 8)) == (ErrorCode.OUT_OF_RANGE, 16)
    codes = items_for(graph, len(SAMPLES))
    wanted = reference.run(apply(graph, FaultPlan((DeadNeurons("requantize5", rate=1.0),))), codes, seed=1, samples=SAMPLES)
    np.testing.assert_array_equal(host.infer(codes, 1, SAMPLES)[0], wanted.logits)
    host.close()


def test_dead_units_of_a_layer_with_ticks(tmp_path: Path) -> None:
    """A plain layer that reads spikes is silent at every tick, in the middle of the mask's bytes too."""
    b = Builder(np.random.default_rng(2))
    x = b.tensor("codes", "int8", (9,))
    spikes = b.chaos(b.matmul(x, "first", 7), "first", 4, "parallel", 0, 3000.0, last=False)
    codes = b.requantize(b.matmul(spikes, "middle", 11), "middle", "int8", 300.0)
    counts = b.chaos(b.matmul(codes, "last", 6), "last", 4, "parallel", 2, 3000.0)
    b.head("main", x, b.matmul(counts, "readout", 5, Readout), Encoding("codes"))
    graph = b.graph()
    (layer,) = (n for n in graph.analysis.unit_nodes if isinstance(n, Requantize))
    plan = resolve(graph, FaultPlan((DeadNeurons(layer.name, neurons=(0, 7, 8, 10)),)))
    clean, dead = (reference.run(g, items_for(graph, 20), keep=(layer.output,)) for g in (graph, apply(graph, plan)))
    alive = [n for n in range(11) if n not in (0, 7, 8, 10)]
    assert not dead.tensors[layer.output][..., [0, 7, 8, 10]].any()
    np.testing.assert_array_equal(dead.tensors[layer.output][..., alive], clean.tensors[layer.output][..., alive])
    assert (dead.logits != clean.logits).any()
    host = library(graph, tmp_path)
    check(graph, host, plan, seed=3)
    host.close()


def test_the_k_largest_of_many_equals(tmp_path: Path) -> None:
    """Requantized to a few values of both signs: the k-th is shared by many, and more units are dead than can lose."""
    b = Builder(np.random.default_rng(1))
    x = b.tensor("codes", "int8", (20,))
    ranked = b.requantize(b.matmul(x, "layer", 300), "rank", "int16", 2e4)
    ranked = b.requantize(ranked, "coarse", "int16", 32767.0 * 2**11)
    winners = b.requantize(b.add(TopK, ranked, "int16", (300,), k=120), "winners", "int8", 64.0)
    b.head("main", x, b.matmul(winners, "readout", 7, Readout), Encoding("codes"))
    graph = b.graph()
    host = library(graph, tmp_path)
    last = set()
    for rate in (0.0, 0.3, 0.8, 1.0):
        plan = resolve(graph, FaultPlan((DeadNeurons(rate=rate, seed=1),)))
        check(graph, host, plan, seed=4)
        last |= _last_winners(apply(graph, plan), ranked)
    host.close()
    assert min(last) < 0 < max(last)


def _last_winners(graph: IntegerGraph, ranked: str) -> set[int]:
    """The k-th values of all items where several units have it and only some of them are among the k largest."""
    node = next(n for n in graph.nodes if isinstance(n, TopK))
    codes = items_for(graph, 8, seed=4)
    tensors = reference.run(graph, codes, keep=(ranked, node.output)).tensors
    alive = graph.value(node.dead) == 0 if node.dead else np.ones(graph.tensors[ranked].size, bool)
    found = set()
    for values, kept in zip(tensors[ranked][:, alive], tensors[node.output][:, alive], strict=True):
        kth = int(np.sort(values)[-node.k]) if node.k <= len(values) else 0
        if kth != 0 and 0 < np.count_nonzero(kept == kth) < np.count_nonzero(values == kth):
            found.add(kth)
    return found


@given(bits=st.sampled_from([4, 2]), n=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_packed_words_hold_every_code(bits: int, n: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(-(1 << bits - 1), 1 << bits - 1, (3, n)).astype(np.int8)
    packed = pack(codes, bits)
    assert packed.shape == (3, (n + 7) // 8 * bits)
    for row, column in np.ndindex(codes.shape):
        word = int.from_bytes(packed[row].tobytes(), "little") >> (bits * column) & ((1 << bits) - 1)
        assert word == int(codes[row, column]) & ((1 << bits) - 1)


def test_packed_weights_take_their_bits_of_flash(tmp_path: Path) -> None:
    sizes = [
        build(generate(mixed_graph(Mixed("kwta", bits, hidden=240)), load_board("mps2-an386")), tmp_path).flash_bytes for bits in (8, 4, 2)
    ]
    weights = 240 * (123 + 4)
    assert sizes[0] - sizes[1] > 0.4 * weights
    assert sizes[1] - sizes[2] > 0.2 * weights


def test_zeros_after_a_topk_are_skipped() -> None:
    """Its share of winners is the activity, where table and rescaling keep 0 at 0, until it has been measured."""
    graph = mixed_graph(Mixed("kwta", hidden=12, k=3))
    table = next(n for n in graph.nodes if isinstance(n, Lut)).table
    curve = graph.value(table).copy()
    for at_zero, activity in ((0, 0.25), (1, None)):
        curve[128] = at_zero
        changed = replace(graph, constants={**graph.constants, table: Constant(curve.copy(), 8)})
        choice = next(c for name, c in choose_kernels(changed, "auto").items() if name.startswith("readout"))
        assert choice.activity == activity


@pytest.mark.parametrize("name", ["kwta", "plain", "parallel", "stateful", "binomial", "expected"])
def test_every_slot_holds_on_the_device_what_the_graph_says(name: str, tmp_path: Path) -> None:
    """Random entries within the limits, one slot at a time, then cleared: thresholds, decays and dropped winners as well as masks."""
    graphs = {"kwta": lambda: mixed_graph(Mixed("kwta", k=3, hidden=9)), "plain": lambda: mixed_graph(Mixed(spiking=False))}
    options: Any = {"stateful": {"mode": "stateful"}, "binomial": {"sampling": "binomial"}, "expected": {"sampling": "expected"}}
    graph = graphs[name]() if name in graphs else chaos_graph(noise=False, **options.get(name, {}))
    codes, rng, moved = items_for(graph, len(SAMPLES)), np.random.default_rng(5), 0
    host, clean = library(graph, tmp_path), reference.run(graph, codes, seed=1, samples=SAMPLES).logits
    for placed in placed_slots(graph):
        slot = placed.slot
        if slot.refused is not None or slot.name == "table":
            continue
        values = rng.integers(max(placed.low, -300), min(slot.high, 70000), slot.length, endpoint=True)
        node, constants = graph.node(placed.node).with_slot(graph, slot.name, values)
        faulty = replace(
            graph, nodes=tuple(node if n.name == node.name else n for n in graph.nodes), constants={**graph.constants, **constants}
        )
        faulty = replace(faulty, nodes=tuple(n.settled(faulty) for n in faulty.nodes))
        wanted = reference.run(faulty, codes, seed=1, samples=SAMPLES).logits
        for request in plan_requests(graph, faulty, CLEAN, 128):
            assert ask(host, request.verb, request.payload) == b""
        np.testing.assert_array_equal(host.infer(codes, 1, SAMPLES)[0], wanted, err_msg=f"{placed.node} {slot.name}")
        ask(host, Verb.CLEAR, seq=2)
        np.testing.assert_array_equal(host.infer(codes, 1, SAMPLES)[0], clean)
        moved += bool((wanted != clean).any())
    assert moved
    host.close()


@pytest.mark.parametrize("dropped", [1, 2, 4, 5, 7])
def test_dropped_winners_among_equals_and_dead(dropped: int, tmp_path: Path) -> None:
    """Few values: ranks are decided by index; with most units dead fewer win than may."""
    graph = mixed_graph(Mixed("kwta", k=3, hidden=9))
    (topk,) = (n for n in graph.nodes if isinstance(n, TopK))
    host, codes = library(graph, tmp_path), np.clip(items_for(graph, len(SAMPLES)), -1, 1)
    for dead in ([0] * 9, [1, 0, 0, 1, 0, 0, 1, 0, 1], [1] * 7 + [0, 1]):
        node = replace(topk, dropped=dropped, dead="dead" if any(dead) else None)
        faulty = replace(
            graph,
            nodes=tuple(node if n.name == node.name else n for n in graph.nodes),
            constants={**graph.constants, "dead": Constant(np.array(dead, np.int8), 8)},
        )
        ask(host, Verb.CLEAR, seq=2)
        for request in plan_requests(graph, faulty, CLEAN, 128):
            assert ask(host, request.verb, request.payload) == b""
        wanted = reference.run(faulty, codes, seed=1, samples=SAMPLES).logits
        np.testing.assert_array_equal(host.infer(codes, 1, SAMPLES)[0], wanted)
        assert any(dead) or (wanted != reference.run(graph, codes, seed=1, samples=SAMPLES).logits).any()
    host.close()
