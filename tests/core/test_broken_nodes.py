"""Generators, states, codes and winner counts under faults, against what they are said to be, entry by entry."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from edgechaos.arithmetic import random_bits
from edgechaos.graph.drawing import GENERATOR
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import ChaosLayer, ChaosState
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from edgechaos.graph.kinds.topk import TopK
from edgechaos.graph.node import Array, Draws
from edgechaos.graph.tensors import Slot
from edgechaos.support.errors import GraphError
from tests.core.test_graph import with_constant, with_node
from tests.helpers.graphs import chaos_graph
from tests.helpers.mixed_graphs import mixed_graph

u16 = np.uint16
STATEFUL, PARALLEL = chaos_graph(mode="stateful", ticks=6), chaos_graph()
KWTA, THERMAL, PLAIN = mixed_graph(family="kwta"), mixed_graph(family="thermal"), mixed_graph(spiking=False)
C, RANK = "cortex0", next(n.name for n in KWTA.nodes if isinstance(n, TopK))
NOISE = next(n.name for n in THERMAL.nodes if isinstance(n, ThermalNoise))
UNIT = next(n.name for n in PLAIN.nodes if isinstance(n, Requantize))


def holds(graph: IntegerGraph, name: str) -> bool:
    try:
        graph.node(name).check(graph)
    except GraphError:
        return False
    return True


@pytest.mark.parametrize("period", [0, 1, 7, 13, 1000])
@pytest.mark.parametrize("repeat", [0, 1, 3])
@pytest.mark.parametrize(("clear", "set_"), [(0, 0), (0xF0000003, 0), (0, 0x80000001), (0xF0000003, 0x80000001), (2**32 - 1, 12345)])
def test_words_of_a_broken_generator(period: int, repeat: int, clear: int, set_: int) -> None:
    """The count of the draw within its inference, modulo the period; the sample, modulo how many there are; then the bits."""
    layer = PARALLEL.node(C)
    assert isinstance(layer, ChaosLayer)
    broken = replace(layer, draw_clear=clear, draw_set=set_, draw_period=period, draw_repeat=repeat)
    samples = np.array([0, 5, 2**32 - 1], np.uint32)
    found = broken.drawn(Draws(9, samples, {}), 4, 3, 5)
    for (i, sample), tick, neuron in product(enumerate(samples.tolist()), range(3), range(5)):
        count = tick * 5 + neuron
        count = count % period if period else count
        given = sample % repeat if repeat else sample
        word = int(random_bits.words(9, 4, [given], 3, 5)[0, count // 5, count % 5])
        assert found[i, tick, neuron] == (word & ~clear) | set_


@pytest.mark.parametrize("name", GENERATOR)
@pytest.mark.parametrize(("graph", "node"), [(PARALLEL, C), (THERMAL, NOISE)])
def test_what_32_bits_hold(graph: IntegerGraph, node: str, name: str) -> None:
    for value, good in ((0, True), (2**32 - 1, True), (2**32, False), (-1, False)):
        assert holds(with_node(graph, node, **{name: value}), node) == good


def test_every_draw_of_a_layer_is_from_its_generator() -> None:
    """A word of ones loses nothing and is the largest noise; one of zeros loses all and is the least."""
    for graph, node in ((PARALLEL, C), (STATEFUL, C)):
        x: dict[str, Array] = {graph.node(node).input: np.zeros((2, 8), np.int32 if graph is PARALLEL else np.int16)}
        draws = Draws(1, np.arange(2, dtype=np.uint32), {})
        high = with_constant(graph, "cortex0_threshold", np.full(8, -(2**20), np.int32))
        silent = with_node(high, node, draw_clear=2**32 - 1, fail_q=1)
        assert not silent.node(node).evaluate(silent, x, draws).any()
        firing = with_node(high, node, draw_set=2**32 - 1, fail_q=65535, refractory_decay_q15=0)
        assert firing.node(node).evaluate(firing, x, draws).all()
    codes = np.full((2, 12), 100, np.int8)
    noise = THERMAL.node(NOISE)
    read: dict[str, Array] = {noise.input: np.zeros((2, 9), np.int32), noise.inputs()[1]: codes}
    for fields, sign in (({"draw_set": 2**32 - 1}, 1), ({"draw_clear": 2**32 - 1}, -1)):
        broken = with_node(THERMAL, NOISE, **fields)
        found = broken.node(NOISE).evaluate(broken, read, Draws(1, np.arange(2, dtype=np.uint32), {NOISE: 1000}))
        assert len(np.unique(found)) == 1
        assert sign * int(found[0, 0]) > 0


def stateful(**changes: Any) -> IntegerGraph:
    graph = with_constant(STATEFUL, "clear", np.arange(8).astype(u16) * 0x1111, 16)
    graph = with_constant(graph, "flip", (0xC000 >> np.arange(8)).astype(u16), 16)
    return with_node(graph, C, state_clear="clear", state_flip="flip", **changes)


@pytest.mark.parametrize("of", [0, 1])
@pytest.mark.parametrize(("first", "lifespan"), [(0, 1), (2, 1), (1, 3), (5, 1), (3, 127), (6, 5), (0, 0)])
def test_a_faulty_state_before_its_ticks(of: int, first: int, lifespan: int) -> None:
    graph = stateful(state_from=first, state_ticks=lifespan, state_of=of, emit="spikes")
    layer = graph.node(C)
    assert isinstance(layer, ChaosLayer)
    drive = np.random.default_rng(2).integers(-20000, 20000, (5, 8)).astype(np.int16)
    draws = Draws(3, np.arange(5, dtype=np.uint32), {})
    lost = random_bits.lost(layer.drawn(draws, layer.fail_stream, 6, 8), layer.fail_q)
    noise = np.broadcast_to(layer._noise(graph, draws), lost.shape)
    state = ChaosState(np.zeros((5, 8), np.int32), np.zeros((5, 8), np.int32))
    wanted = []
    for t in range(6):
        if first <= t < first + lifespan:
            held = state.refractory if of else state.membrane
            for item, n in product(range(5), range(8)):
                bits = (int(held[item, n]) % 2**16 & ~int(graph.value("clear")[n])) ^ int(graph.value("flip")[n])
                held[item, n] = min(bits, 32768) if of else bits - 2**16 * (bits >= 2**15)
        wanted.append(layer.tick(graph, state, drive + noise[:, t], lost[:, t]))
    np.testing.assert_array_equal(layer.evaluate(graph, {layer.input: drive}, draws), np.stack(wanted, axis=1))


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        *(({name: value}, 0 <= value <= 127) for name in ("state_from", "state_ticks") for value in (-1, 0, 127, 128)),
        *(({"state_of": value}, value in (0, 1)) for value in (-1, 0, 1, 2)),
        ({"state_clear": None}, True),
        ({"state_flip": None}, True),
        ({"state_clear": "cortex0_threshold"}, False),
        ({"state_flip": "cortex0_threshold"}, False),
        ({"state_clear": "seven"}, False),
        ({"state_flip": "seven"}, False),
    ],
)
def test_limits_of_a_faulty_state(changes: dict[str, Any], good: bool) -> None:
    graph = with_constant(stateful(), "seven", np.zeros(7, u16), 16)
    assert holds(with_node(graph, C, **changes), C) == good


@pytest.mark.parametrize(
    "changes", [{"state_from": 1}, {"state_ticks": 1}, {"state_of": 1}, {"state_clear": "clear"}, {"state_flip": "clear"}]
)
def test_parallel_ticks_keep_no_state(changes: dict[str, Any]) -> None:
    graph = with_constant(PARALLEL, "clear", np.zeros(8, u16), 16)
    assert holds(graph, C)
    assert not holds(with_node(graph, C, **changes), C)


@pytest.mark.parametrize(("shift", "winners"), [(-3, 0), (-1, 2), (0, 3), (1, 4), (6, 9)])
def test_more_or_fewer_winners(shift: int, winners: int) -> None:
    graph = with_node(KWTA, RANK, k_shift=shift)
    node = graph.node(RANK)
    x = np.random.default_rng(1).permuted(np.tile(np.arange(1, 10, dtype=np.int16), (4, 1)), axis=1)
    found = node.evaluate(graph, {node.input: x}, Draws(0, np.arange(4, dtype=np.uint32), {}))
    np.testing.assert_array_equal(found, np.where(x > 9 - winners, x, 0))
    assert holds(graph, RANK)


@pytest.mark.parametrize("shift", [-4, 7])
def test_no_fewer_winners_than_none_and_no_more_than_there_are(shift: int) -> None:
    assert not holds(with_node(KWTA, RANK, k_shift=shift), RANK)


def stuck(codes: Any, dtype: Any = u16, bits: int = 16, **changes: Any) -> IntegerGraph:
    return with_node(with_constant(PLAIN, "codes", np.asarray(codes, dtype), bits), UNIT, stuck_code="codes", **changes)


@pytest.mark.parametrize(("low", "high"), [(0, 127), (-128, 127), (-5, 9)])
def test_a_stuck_unit_sends_its_code_and_the_others_theirs(low: int, high: int) -> None:
    """0: not stuck; else 1 more than the code above the least."""
    graph = stuck([0, 1, 1 + high - low], low=low, high=high)
    node, clean = graph.node(UNIT), with_node(PLAIN, UNIT, low=low, high=high)
    assert holds(graph, UNIT)
    x = {node.input: np.random.default_rng(4).integers(-9000, 9000, (3, *graph.tensors[node.input].shape)).astype(np.int32)}
    draws = Draws(0, np.arange(3, dtype=np.uint32), {})
    found, usual = node.evaluate(graph, x, draws), clean.node(UNIT).evaluate(clean, x, draws)
    assert found.dtype == np.int8
    assert found.shape == usual.shape
    np.testing.assert_array_equal(found[:, 0], usual[:, 0])
    assert set(found[:, 1].flat) == {low}
    assert set(found[:, 2].flat) == {high}


def test_limits_of_stuck_codes() -> None:
    node = PLAIN.node(UNIT)
    assert isinstance(node, Requantize)
    most = 1 + node.high - node.low
    assert [holds(stuck([0, 0, code]), UNIT) for code in (most, most + 1)] == [True, False]
    assert not holds(stuck([0, 0]), UNIT)
    assert not holds(stuck([0, 0, 1], np.int32, 32), UNIT)
    dead = with_constant(PLAIN, "mask", np.array([0, 1, 0], np.int8), 8).constants["mask"]
    for codes, good in (([1, 0, 1], True), ([0, 2, 0], False), ([0, 1, 0], False)):
        graph = stuck(codes, dead="mask")
        assert holds(replace(graph, constants={**graph.constants, "mask": dead}), UNIT) == good
    pooled = with_constant(mixed_graph(pool="average"), "codes", np.zeros(3, u16), 16)
    other = next(n.name for n in pooled.nodes if isinstance(n, Requantize) and not n.slots(pooled))
    assert not holds(with_node(pooled, other, stuck_code="codes"), other)


def test_what_faults_may_set_in_these() -> None:
    def kept(slots: tuple[Slot, ...]) -> list[tuple[str, str, int, int, int, str, int]]:
        return [(s.name, s.dtype, s.length, s.low, s.high, s.excludes, s.added) for s in slots]

    node = PLAIN.node(UNIT)
    assert isinstance(node, Requantize)
    units = [("dead", "bool", 3, 0, 1, "", 0), ("stuck_code", "uint16", 3, 0, 1 + node.high - node.low, "dead", 1)]
    assert kept(node.slots(PLAIN)) == units
    assert kept(KWTA.node(RANK).slots(KWTA)) == [
        ("dead", "bool", 9, 0, 1, "", 0),
        ("dropped", "uint16", 1, 0, 7, "", 0),
        ("k_shift", "int32", 1, -3, 6, "", 1),
    ]
    words = [(name, "uint32", 1, 0, 2**32 - 1, "", 1) for name in GENERATOR]
    assert kept(THERMAL.node(NOISE).slots(THERMAL)) == words
    assert [s.added for s in STATEFUL.node(C).slots(STATEFUL)] == [0] * 6 + [1] * 9
