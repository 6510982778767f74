"""Fault plans: what they resolve to, what they do to a graph, and what they refuse."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgechaos import reference
from edgechaos.arithmetic import random_bits
from edgechaos.faults.base import Fault
from edgechaos.faults.injections import CLEAN, ResolvedPlan
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.faults.sites import nested_sites
from edgechaos.faults.strata import strata
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.readout import Readout
from edgechaos.graph.tensors import Constant
from edgechaos.support.errors import FaultError
from tests.helpers import scalar
from tests.helpers.graphs import chaos_graph, codes_for

CHAIN = (12, 10, 8, 4)


def plan(*faults: Fault) -> FaultPlan:
    return FaultPlan(faults)


def counts(graph: IntegerGraph, layer: str = "cortex0", seed: int = 3) -> np.ndarray:
    return reference.run(graph, codes_for(graph, 40), seed=seed, keep=(f"{layer}_count",)).tensors[f"{layer}_count"]


def test_the_empty_plan_is_the_clean_model() -> None:
    graph = chaos_graph()
    for empty in (FaultPlan(), CLEAN):
        assert (counts(apply(graph, empty)) == counts(graph)).all()
    assert not any(vars_ for vars_ in (CLEAN.slot("fail_q"), CLEAN.slot("dead"), CLEAN.slot("stuck"), CLEAN.patch))


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_omission_loses_more_at_a_higher_rate_and_never_other_spikes(a: float, b: float, seed: int) -> None:
    graph = chaos_graph(noise=False, fail_q=0)
    low, high = sorted((a, b))
    few, many = (counts(apply(graph, plan(Omission(rate=rate))), seed=seed).astype(int) for rate in (low, high))
    assert (many <= few).all()
    assert (few <= counts(graph, seed=seed)).all()


def test_omission_is_per_layer_or_everywhere() -> None:
    graph = chaos_graph(sizes=CHAIN)
    everywhere, one = resolve(graph, plan(Omission(rate=0.25))), resolve(graph, plan(Omission("cortex1", 0.25)))
    assert everywhere.slot("fail_q") == {"cortex0": 16384, "cortex1": 16384}
    assert one.slot("fail_q") == {"cortex1": 16384}
    assert [n.fail_q for n in apply(graph, one).chaos_layers()] == [20000, 16384]


@pytest.mark.parametrize("sampling", ["ticks", "binomial", "expected"])
def test_dead_neurons_are_silent_and_the_others_unchanged(sampling: str) -> None:
    graph = chaos_graph(noise=False, sampling=sampling)
    faulty = apply(graph, plan(DeadNeurons(neurons=(0, 3))))
    clean, found = counts(graph), counts(faulty)
    assert not found[:, [0, 3]].any()
    assert (np.delete(found, [0, 3], axis=1) == np.delete(clean, [0, 3], axis=1)).all()
    assert clean[:, [0, 3]].any()


@pytest.mark.parametrize("mode", ["parallel", "stateful"])
def test_stuck_neurons_spike_at_every_tick_even_at_certain_loss(mode: str) -> None:
    graph = chaos_graph(mode=mode, ticks=7)
    faulty = apply(graph, plan(StuckAtOne(neurons=(1, 5)), Omission(rate=1.0)))
    found = counts(faulty)
    assert (found[:, [1, 5]] == 7).all()
    assert not np.delete(found, [1, 5], axis=1).any()


def test_rates_draw_exactly_that_many_sites_per_layer() -> None:
    graph = chaos_graph(sizes=(12, 40, 30, 4))
    resolved = resolve(graph, plan(DeadNeurons(rate=0.25, seed=1)))
    assert {name: int(mask.sum()) for name, mask in resolved.slot("dead").items()} == {"cortex0": 10, "cortex1": 8}
    other = resolve(graph, plan(DeadNeurons(rate=0.25, seed=2)))
    assert (other.slot("dead")["cortex0"] != resolved.slot("dead")["cortex0"]).any()
    stuck = resolve(graph, plan(StuckAtOne(rate=0.25, seed=1)))
    assert (stuck.slot("stuck")["cortex0"] != resolved.slot("dead")["cortex0"]).any(), "the kinds draw from streams of their own"


@given(st.integers(0, 7), st.integers(0, 11), st.integers(1, 255))
@settings(max_examples=30, deadline=None)
def test_a_flip_toggles_the_stored_word(out: int, column: int, bits: int) -> None:
    graph = chaos_graph(noise=False, fail_q=0)
    chosen = tuple((out * 12 + column, bit) for bit in range(8) if bits >> bit & 1)
    faulty = apply(graph, plan(WeightBitFlip("cortex0_matmul", bits=chosen)))
    weight = graph.value("cortex0_weight").copy()
    weight[out, column] = scalar.flipped(int(weight[out, column]), bits, 8)
    rewritten = replace(graph, constants={**graph.constants, "cortex0_weight": Constant(weight, 8)})
    codes = codes_for(graph, 20)
    found, expected = (reference.run(g, codes, keep=("cortex0_acc",)) for g in (faulty, rewritten))
    assert (found.tensors["cortex0_acc"] == expected.tensors["cortex0_acc"]).all()
    assert (found.logits == expected.logits).all()
    assert graph.value("cortex0_weight") is faulty.value("cortex0_weight"), "read-only memory is not rewritten"


def test_flips_of_one_bit_cancel_and_of_one_word_join() -> None:
    graph = chaos_graph()
    once = WeightBitFlip("readout", bits=((3, 7),))
    assert not resolve(graph, plan(once, once)).patch
    rows = resolve(graph, plan(once, WeightBitFlip("readout", bits=((3, 0),)))).patch["readout"]
    old = int(graph.value("readout_weight")[0, 3])
    assert rows.tolist() == [[0, 3, scalar.flipped(old, 0x81, 8) - old]]


@given(st.integers(1, 300), st.floats(0, 1), st.integers(1, 9), st.integers(0, 2**31))
@settings(max_examples=200, deadline=None)
def test_sites_are_the_lowest_words_and_of_equal_words_the_lowest_indices(count: int, rate: float, distinct: int, seed: int) -> None:
    word = np.random.default_rng(seed).integers(0, distinct, count).astype(np.uint32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random_bits, "words", lambda *_: word.reshape(1, 1, -1))
        sites = nested_sites(0, 0, count, rate)
    by_rule = sorted(sorted(range(count), key=lambda n: (int(word[n]), n))[: int(rate * count + 0.5)])
    assert sites.tolist() == by_rule


def test_the_work_of_a_plan_does_not_grow_with_its_flips() -> None:
    """Counted in calls of Python functions: a campaign resolves and applies thousands of plans with thousands of flips each."""
    graph = chaos_graph(sizes=(200, 100, 10))

    def calls(rate: float) -> int:
        seen = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal seen
            seen += event in ("call", "c_call")

        flips = plan(WeightBitFlip(rate=rate, seed=1))
        sys.setprofile(count)
        try:
            apply(graph, resolve(graph, flips))
        finally:
            sys.setprofile(None)
        return seen

    calls(0.01)  # what is imported or cached at a first use
    few, many = calls(0.0005), calls(0.5)
    assert many <= few + 50, (few, many)


def test_flip_rates_are_exact_and_nested() -> None:
    graph = chaos_graph(sizes=(50, 20, 4))
    previous: set[tuple[int, int]] = set()
    for rate in (0.0, 0.01, 0.05, 0.2, 1.0):
        patch = resolve(graph, plan(WeightBitFlip("cortex0_matmul", rate=rate, seed=9))).patch
        rows = patch.get("cortex0_matmul", np.zeros((0, 3), np.int32))
        weight = graph.value("cortex0_weight").astype(int)
        flipped = sum(((int(weight[o, i]) ^ (int(weight[o, i]) + int(d))) & 255).bit_count() for o, i, d in rows)
        assert flipped == int(rate * 8000 + 0.5)
        sites = {(int(o), int(i)) for o, i, _ in rows}
        assert previous <= sites
        previous = sites


@pytest.mark.parametrize(("bit", "mask"), [("sign", 128), ("7", 128), ("0", 1), ("5", 32)])
def test_one_bit_of_each_word_flips_at_the_rate_of_words(bit: str, mask: int) -> None:
    graph = chaos_graph(sizes=(50, 20, 4))
    weight = graph.value("cortex0_weight").astype(int)
    flipped = WeightBitFlip("cortex0_matmul", rate=0.1, seed=9, bit=bit)
    rows = resolve(graph, plan(flipped)).patch["cortex0_matmul"]
    assert len(rows) == 100
    assert {(int(weight[o, i]) ^ (int(weight[o, i]) + int(d))) & 255 for o, i, d in rows} == {mask}
    fewer = resolve(graph, plan(replace(flipped, rate=0.05))).patch["cortex0_matmul"]
    assert {tuple(row) for row in fewer} < {tuple(row) for row in rows}
    found = [(s.layer, s.bit, s.size) for s in strata(graph, WeightBitFlip("cortex0_matmul", bit=bit))]
    assert found == [("cortex0_matmul", mask.bit_length() - 1, 1000)]
    assert strata(graph, WeightBitFlip("cortex0_matmul", bit=bit))[0].at(3) == WeightBitFlip(
        "cortex0_matmul", bits=((3, found[0][1] or 0),)
    )


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (WeightBitFlip(bit="highest"), "unknown bit 'highest'; use 'any', 'sign', or a number from 0"),
        (WeightBitFlip(bit="-1"), "unknown bit '-1'"),
        (WeightBitFlip("cortex0_matmul", rate=0.1, bit="8"), "the weight words of 'cortex0_matmul' have bits 0 to 7, not 8"),
        (WeightBitFlip(bits=((0, 1),), bit="sign"), "'bits' say which bits flip; leave 'bit' out"),
    ],
)
def test_bits_that_no_word_has_are_refused(fault: WeightBitFlip, message: str) -> None:
    with pytest.raises(FaultError, match=message):
        resolve(chaos_graph(), plan(fault))


def test_bias_flips_change_the_bias_alone() -> None:
    graph = chaos_graph()
    resolved = resolve(graph, plan(WeightBitFlip("readout", "bias", bits=((2, 9), (2, 3)))))
    assert resolved.patch["readout"][:, :2].tolist() == [[2, -1]]
    faulty = apply(graph, resolved)
    old = graph.value("readout_bias")
    changed = faulty.value(faulty.node("readout").bias)  # type: ignore[attr-defined]
    assert (changed != old).tolist() == [False, False, True, False]
    assert changed[2] == scalar.flipped(int(old[2]), 0x208, 32)


def test_bias_flips_that_could_overflow_are_refused() -> None:
    graph = chaos_graph(mode="stateful")
    assert apply(graph, plan(WeightBitFlip("cortex0_matmul", "bias", bits=((0, 29),))))
    with pytest.raises(FaultError, match="could overflow an accumulator: node 'cortex0_requantize'"):
        apply(graph, plan(WeightBitFlip("cortex0_matmul", "bias", bits=((0, 30),))))
    positive = int((graph.value("readout_bias") >= 0).argmax())
    with pytest.raises(FaultError, match="more than an int32 can hold; exclude its top bit"):
        resolve(graph, plan(WeightBitFlip("readout", "bias", bits=((positive, 31),))))


def test_omission_moves_the_gain_of_expected_counts() -> None:
    graph = chaos_graph(sampling="expected", noise=False, ticks=10)
    readout = apply(graph, plan(Omission(rate=0.5))).node("readout")
    assert isinstance(readout, Readout)
    assert readout.gain == 1280


@pytest.mark.parametrize("sampling", ["binomial", "expected"])
def test_sampled_layers_refuse_stuck_neurons(sampling: str) -> None:
    graph = chaos_graph(sampling=sampling, noise=False)
    with pytest.raises(FaultError, match=r"stuck_at_1: layer 'cortex0' cannot have its 'stuck' set: sampling .* cannot carry stuck-at-1"):
        apply(graph, plan(StuckAtOne(rate=0.5)))


REFUSED: list[tuple[Fault | tuple[Fault, ...], str]] = [
    (Omission(rate=1.5), r"omission: rate 1\.5 is outside 0\.\.1"),
    (DeadNeurons(rate=-0.1), r"dead: rate -0\.1"),
    (WeightBitFlip(rate=float("nan")), "rate nan is outside"),
    (Omission("cortex9", 0.5), "no spiking layer 'cortex9'; it has cortex0, cortex1"),
    (WeightBitFlip("cortex9", rate=0.1), "no weight at 'cortex9'; its matrices are cortex0_matmul"),
    (WeightBitFlip(target="threshold", rate=0.1), "target 'threshold' is none of weight, bias"),
    (DeadNeurons("cortex0", neurons=(10,)), r"has neurons 0\.\.9, not 10"),
    (StuckAtOne("cortex0", neurons=(3, -1)), r"has neurons 0\.\.9, not -1"),
    (WeightBitFlip("readout", bits=((32, 0),)), "has 32 weight words of 8 bits, not word 32 bit 0"),
    (WeightBitFlip("readout", bits=((0, 8),)), "not word 0 bit 8"),
    (DeadNeurons(rate=0.5, neurons=(1,)), "has a rate and explicit neurons"),
    (WeightBitFlip("readout", rate=0.5, bits=((0, 0),)), "has a rate and explicit bits"),
    (
        (Omission(rate=0.1), Omission("cortex1", 0.2)),
        "omission: 'fail_q' of layer 'cortex1', entry 0, is set to two values, 6554 and",
    ),
    ((DeadNeurons("cortex0", neurons=(4, 2)), StuckAtOne("cortex0", neurons=(2,))), "neuron 2 cannot be both dead and stuck"),
]


@pytest.mark.parametrize(("faults", "message"), REFUSED, ids=lambda v: v if isinstance(v, str) else "")
def test_impossible_plans_are_refused(faults: Fault | tuple[Fault, ...], message: str) -> None:
    with pytest.raises(FaultError, match=message):
        resolve(chaos_graph(sizes=CHAIN), FaultPlan(faults if isinstance(faults, tuple) else (faults,)))


def test_bias_flips_need_a_bias() -> None:
    graph = chaos_graph()
    bare = replace(graph, nodes=tuple(replace(n, bias=None) if isinstance(n, Readout) else n for n in graph.nodes)).validate()
    with pytest.raises(FaultError, match="has no bias at 'readout'"):
        resolve(bare, plan(WeightBitFlip("readout", "bias", rate=0.1)))
    with pytest.raises(FaultError, match="has 0 bias words, not word 0"):
        apply(bare, ResolvedPlan.of(patch={"readout": np.array([[0, -1, 1]], np.int32)}))


def test_a_plan_of_another_graph_is_refused() -> None:
    graph = chaos_graph()
    foreign: list[ResolvedPlan] = [
        ResolvedPlan.of(fail_q={"cortex7": 1}),
        ResolvedPlan.of(dead={"cortex7": np.ones(8, bool)}),
        ResolvedPlan.of(stuck={"readout": np.ones(8, bool)}),
        ResolvedPlan.of(patch={"cortex0": np.array([[0, 0, 1]], np.int32)}),
    ]
    for resolved in foreign:
        with pytest.raises(FaultError, match="resolve the plan for this graph"):
            apply(graph, resolved)
    with pytest.raises(FaultError, match=r"'dead' takes 8 integers in 0\.\.1; resolve the plan for this graph"):
        apply(graph, ResolvedPlan.of(dead={"cortex0": np.ones(9, bool)}))
    with pytest.raises(FaultError, match="out of its 8 stored bits"):
        apply(graph, ResolvedPlan.of(patch={"readout": np.array([[0, 0, 256]], np.int32)}))


def test_plans_have_a_stable_id_and_json() -> None:
    both = plan(Omission(rate=0.1), WeightBitFlip("readout", bits=((1, 2),)))
    assert [f["kind"] for f in both.to_json()] == ["omission", "weight_bit_flip"]
    assert json.loads(json.dumps(both.to_json()))[1]["bits"] == [[1, 2]]
    assert both.id == plan(Omission(rate=0.1), WeightBitFlip("readout", bits=((1, 2),))).id
    assert len({p.id for p in (FaultPlan(), both, plan(Omission(rate=0.2)), plan(DeadNeurons(rate=0.1)), plan(StuckAtOne(rate=0.1)))}) == 5
