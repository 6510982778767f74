"""The kinds of fault beyond death, loss and flipped weights: what each sets, exactly, and what it leaves alone."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.streams import FAULT_STREAMS, fault_stream
from edgechaos.faults.base import Fault, fault_kinds, label_of
from edgechaos.faults.injections import Poke
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.generator import GeneratorBiased, GeneratorPeriod, GeneratorRepeated, GeneratorStuck
from edgechaos.faults.kinds.layer_scale import LeakScale, RefractoryScale
from edgechaos.faults.kinds.ram_bit_flip import MAX_WORDS, RamBitFlip
from edgechaos.faults.kinds.state import StateFlip, StateSet
from edgechaos.faults.kinds.synapse import SynapseDead, SynapseScale, SynapseStuck
from edgechaos.faults.kinds.threshold_scale import ThresholdScale
from edgechaos.faults.kinds.unit_stuck import UnitStuck
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.kinds.winner_count import WinnerCount
from edgechaos.faults.kinds.winner_dropped import WinnerDropped
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.graph.drawing import Drawing
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import ChaosLayer, ChaosState
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.kinds.topk import TopK
from edgechaos.graph.node import Draws
from edgechaos.hil.campaign.outcomes import activated
from edgechaos.support.errors import FaultError
from tests.helpers import scalar
from tests.helpers.graphs import chaos_graph, codes_for
from tests.helpers.mixed_graphs import items_for, mixed_graph

SPIKING = chaos_graph(sizes=(12, 10, 8, 4), noise=False, fail_q=0)
WINNERS = mixed_graph(family="kwta", hidden=12)


def entries(graph: IntegerGraph, slot: str, *faults: Fault) -> dict[str, list[int]]:
    return {node: values.tolist() for node, values in resolve(graph, FaultPlan(faults)).slot(slot).items()}


def test_every_kind_says_what_it_is_in_words() -> None:
    for name, kind in fault_kinds().items():
        assert all((kind.title, kind.axis, kind.phrase)), name
        assert kind.settings()[kind.swept] in (int, float)
        assert kind.limits[0] < kind.limits[1]
    assert label_of("not_installed_here", "title") == "not installed here"


def test_kinds_draw_from_streams_of_their_own() -> None:
    streams = [fault_stream(kind, site) for kind in ("threshold_scale", "winner_dropped", "ram_bit_flip") for site in range(50)]
    assert len(set(streams)) == len(streams)
    assert all(FAULT_STREAMS.first <= s < FAULT_STREAMS.first + FAULT_STREAMS.size for s in streams)
    assert fault_stream("threshold_scale", 0) == 0x65B8810F, "stored campaigns hang on it"


@given(st.floats(0, 16), st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_thresholds_are_scaled_and_rounded_half_up(factor: float, seed: int) -> None:
    found = entries(SPIKING, "threshold", ThresholdScale("cortex0", factor, 0.5, seed))["cortex0"]
    clean = SPIKING.node("cortex0").slot_value(SPIKING, "threshold").tolist()
    chosen = scalar.sites(seed, fault_stream("threshold_scale", SPIKING.site(SPIKING.node("cortex0"))), 10, 0.5)
    for n, (old, new) in enumerate(zip(clean, found, strict=True)):
        scaled = math.floor(Fraction(old * factor) + Fraction(1, 2))
        assert new == (min(max(scaled, -(2**31)), 2**31 - 1) if n in chosen else old)


def test_a_threshold_nobody_reaches_silences_and_a_low_one_fires() -> None:
    one = chaos_graph(noise=False, fail_q=0)
    codes = codes_for(one, 30)

    def spikes(factor: float) -> int:
        graph = apply(one, FaultPlan((ThresholdScale(factor=factor),)))
        return int(reference.run(graph, codes, keep=("cortex0_count",)).tensors["cortex0_count"].sum())

    thresholds = one.node("cortex0").slot_value(one, "threshold")
    assert (thresholds > 0).any()
    assert spikes(16) < spikes(1) < spikes(0)
    assert not activated(SPIKING, resolve(SPIKING, FaultPlan((ThresholdScale(factor=1.0),))))


@pytest.mark.parametrize("ranks", [(0,), (2,), (0, 2)])
def test_dropped_winners_send_zero_and_nobody_takes_their_place(ranks: tuple[int, ...]) -> None:
    (node,) = (n for n in WINNERS.nodes if isinstance(n, TopK))
    assert entries(WINNERS, "dropped", WinnerDropped(ranks=ranks)) == {node.name: [sum(1 << r for r in ranks)]}
    items = items_for(WINNERS, 20)
    faulty = apply(WINNERS, FaultPlan((WinnerDropped(ranks=ranks),)))
    found = reference.run(faulty, items, keep=(node.output, node.input)).tensors
    for values, kept in zip(found[node.input].tolist(), found[node.output].tolist(), strict=True):
        order = sorted(range(len(values)), key=lambda u: (-values[u], u))[: node.k]
        wins = {u for rank, u in enumerate(order) if rank not in ranks}
        assert kept == [v if u in wins else 0 for u, v in enumerate(values)]


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_dropped_ranks_are_nested_over_rates(a: float, b: float, seed: int) -> None:
    low, high = (next(iter(entries(WINNERS, "dropped", WinnerDropped(rate=rate, seed=seed)).values()))[0] for rate in sorted((a, b)))
    (k,) = (min(n.k, 16) for n in WINNERS.nodes if isinstance(n, TopK))
    assert low & ~high == 0
    assert high.bit_count() == int(max(a, b) * k + 0.5)


@given(st.integers(1, 40), st.floats(0, 1), st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_memory_bits_are_drawn_from_the_region(words: int, rate: float, seed: int) -> None:
    plan = resolve(SPIKING, FaultPlan((RamBitFlip(0x20000100, words, rate, seed),)))
    found = {32 * ((p.address - 0x20000100) // 4) + bit for p in plan.pokes for bit in range(32) if p.mask >> bit & 1}
    assert sorted(found) == scalar.sites(seed, fault_stream("ram_bit_flip"), 32 * words, rate)
    assert all(p.op == "toggle" for p in plan.pokes)
    assert [p.address for p in plan.pokes] == sorted({p.address for p in plan.pokes})
    assert plan.levels == ({"memory"} if plan.pokes else set())
    assert activated(SPIKING, plan) == bool(plan.pokes)


def test_explicit_memory_bits_and_the_model_together() -> None:
    plan = resolve(SPIKING, FaultPlan((RamBitFlip(8, 2, bits=((1, 31), (1, 0), (0, 5))), DeadNeurons(rate=0.5))))
    assert plan.pokes == (Poke(8, 1 << 5), Poke(12, 1 << 31 | 1))
    assert plan.levels == {"memory", "model"}
    assert np.array_equal(apply(SPIKING, plan).value("cortex0.dead"), plan.slot("dead")["cortex0"].astype(np.int8))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (ThresholdScale(factor=-0.1), "factor -0.1 is outside 0..16"),
        (ThresholdScale(factor=float("nan")), "factor nan"),
        (ThresholdScale(rate=1.1), "rate 1.1 is outside 0..1"),
        (ThresholdScale("readout"), "no spiking layer 'readout'; it has cortex0, cortex1"),
        (LeakScale(), "no stateful spiking layer .parallel ticks keep no state, so nothing leaks or recovers. '[*]'; it has none"),
        (RefractoryScale(factor=17), "factor 17 is outside 0..16"),
        (SynapseDead(rate=0.1, synapses=(1,)), "a rate and explicit synapses"),
        (SynapseDead("readout", synapses=(32,)), r"'readout' has synapses 0\.\.31, not 32"),
        (SynapseDead("readout", synapses=(3, -1)), r"not -1"),
        (SynapseDead("cortex9"), "no weight at 'cortex9'; its matrices are"),
        (SynapseScale(factor=2, rate=1.5), "rate 1.5 is outside"),
        (SynapseStuck(rate=0.1, code=128), r"stores 8 bits, codes -128\.\.127, not 128; add code="),
        (StateFlip(rate=0.5), "no stateful spiking layer .parallel ticks keep no state"),
        (StateFlip(bit=16), "bit 16 is outside 0..15"),
        (StateFlip(of="threshold"), "of 'threshold' is none of membrane, refractoriness"),
        (StateFlip(onset=128), "onset 128 is outside 0..127"),
        (StateSet(value=-1, of="refractoriness"), "value -1 is outside 0..32768, what a refractoriness holds"),
        (StateSet(value=1 << 15), "value 32768 is outside -32768..32767, what a membrane holds"),
        (GeneratorBiased(bits=17), "bits 17 is outside 0..16"),
        (GeneratorBiased(value=2), "value 2 is outside 0..1"),
        (GeneratorPeriod("readout", 1), "no node that draws random words 'readout'; it has cortex0, cortex1"),
        (UnitStuck(rate=0.5), "no plain layer '[*]'; it has none"),
        (WinnerDropped(rate=0.5), "no k-WTA layer '[*]'; it has none"),
        (WinnerDropped(rate=0.5, ranks=(1,)), "a rate and explicit ranks"),
        (RamBitFlip(2), "address 0x2 is not that of 1 words; give a multiple of 4"),
        (RamBitFlip(2**32 - 4, 2), "is not that of 2 words"),
        (RamBitFlip(-4), "address -0x4"),
        (RamBitFlip(0, 0), f"words 0 is outside 1..{MAX_WORDS}"),
        (RamBitFlip(0, 2, bits=((2, 0),)), "not word 2 bit 0"),
        (RamBitFlip(0, 2, bits=((0, 32),)), "not word 0 bit 32"),
        (RamBitFlip(0, 2, 0.1, bits=((0, 3),)), "a rate and explicit bits"),
    ],
)
def test_what_cannot_be_is_refused(fault: Fault, message: str) -> None:
    with pytest.raises(FaultError, match=message):
        resolve(SPIKING, FaultPlan((fault,)))


def test_what_a_broken_generator_gives() -> None:
    layer, draws = SPIKING.chaos_layers()[0], Draws(5, np.arange(9, dtype=np.uint32), {})
    clean = random_bits.words(5, 0, draws.samples, 3, 10)

    def words(fault: Fault) -> NDArray[np.uint32]:
        node = apply(SPIKING, FaultPlan((fault,))).node(layer.name)
        assert isinstance(node, Drawing)
        return node.drawn(draws, 0, 3, 10)

    assert (words(GeneratorStuck(value=77)) == 77).all()
    assert (words(GeneratorBiased(bits=3)) == clean & 0x1FFF1FFF).all()
    assert (words(GeneratorBiased(bits=1, value=1)) == clean | 0x80008000).all()
    short = words(GeneratorPeriod(period=13)).reshape(9, 30)
    assert (short[:, :13] == clean.reshape(9, 30)[:, :13]).all()
    assert (short[:, 13:] == short[:, :17]).all()
    assert (words(GeneratorPeriod(period=30)) == clean).all()
    assert (words(GeneratorRepeated(seeds=4)) == clean[np.arange(9) % 4]).all()
    with pytest.raises(FaultError, match="is set to two values, 3 and 4"):
        resolve(SPIKING, FaultPlan((GeneratorPeriod(period=3), GeneratorPeriod("cortex1", 4))))


def test_units_stuck_at_a_code_and_more_winners() -> None:
    plain = mixed_graph(family="vision", spiking=False)
    layer = next(n for n in plain.nodes if isinstance(n, Requantize) and n.finishes_plain_layer(plain))
    faulty, items = apply(plain, FaultPlan((UnitStuck(layer.name, neurons=(1,), code=9),))), items_for(plain, 5)
    clean, now = (reference.run(g, items, keep=(layer.output,)).tensors[layer.output] for g in (plain, faulty))
    assert (now[:, 1] == 9).all()
    assert (np.delete(now, 1, 1) == np.delete(clean, 1, 1)).all()
    with pytest.raises(FaultError, match=f"sends codes {layer.low}..{layer.high}, not -128"):
        resolve(plain, FaultPlan((UnitStuck(rate=0.1, code=-128),)))
    with pytest.raises(FaultError, match="cannot be both dead and stuck_code"):
        resolve(plain, FaultPlan((UnitStuck(layer.name, neurons=(1,)), DeadNeurons(layer.name, neurons=(1,)))))
    (node,) = (n for n in WINNERS.nodes if isinstance(n, TopK))
    for delta in (-node.k, -1, 1, 5):
        faulty = apply(WINNERS, FaultPlan((WinnerCount(delta=delta),)))
        found = reference.run(faulty, items_for(WINNERS, 20), keep=(node.input, node.output))
        for values, kept in zip(found.tensors[node.input].tolist(), found.tensors[node.output].tolist(), strict=True):
            wins = set(sorted(range(len(values)), key=lambda u: (-values[u], u))[: node.k + delta])
            assert kept == [v if u in wins else 0 for u, v in enumerate(values)]


@pytest.mark.parametrize(("of", "before", "after"), [("membrane", 1000, -31768), ("membrane", -1, 32767), ("refractoriness", 40, 32768)])
def test_a_state_is_changed_before_its_ticks_alone(of: str, before: int, after: int) -> None:
    """One neuron's state as 16 bits with the top one inverted, before the second and the third of four ticks."""
    graph = chaos_graph(sizes=(12, 10, 4), mode="stateful", ticks=4, noise=False, fail_q=0)
    node = apply(graph, FaultPlan((StateFlip("cortex0", neurons=(3,), of=of, onset=1, lifespan=2),))).node("cortex0")
    assert isinstance(node, ChaosLayer)
    state = ChaosState(*(np.full((1, 10), before, np.int32) for _ in range(2)))
    node._break(apply(graph, FaultPlan((StateFlip("cortex0", neurons=(3,), of=of, onset=1, lifespan=2),))), state)
    changed, other = (state.membrane, state.refractory)[:: 1 if of == "membrane" else -1]
    assert changed[0].tolist() == [after if n == 3 else before for n in range(10)]
    assert (other == before).all()
    assert (node.state_from, node.state_ticks) == (1, 2)


def test_two_faults_of_one_word_must_agree() -> None:
    dead, stuck = SynapseDead("readout", synapses=(2,)), SynapseStuck("readout", synapses=(2,), code=5)
    with pytest.raises(
        FaultError, match="synapse_dead and synapse_stuck: constant 'readout_weight', entry 2, is set to two values, 0 and 5"
    ):
        resolve(SPIKING, FaultPlan((dead, stuck)))
    with pytest.raises(FaultError, match="synapse_dead: word 2 of 'readout_weight' is set, and flipped by another fault"):
        resolve(SPIKING, FaultPlan((WeightBitFlip("readout", bits=((2, 0),)), dead)))
    apart = resolve(
        SPIKING, FaultPlan((WeightBitFlip("readout", bits=((1, 0), (3, 7))), dead, SynapseStuck("readout", synapses=(2,), code=0)))
    )
    words = SPIKING.value("readout_weight").reshape(-1).astype(int)
    rows = [
        [0, 1, (words[1] ^ 1) - words[1]],
        [0, 2, -words[2]],
        [0, 3, (words[3] + 256 ^ 128) % 256 - 256 * ((words[3] ^ -128) < 0) - words[3]],
    ]
    assert apart.patch["readout"].tolist() == [row for row in rows if row[2]]


def test_ranks_beyond_the_winners_are_refused() -> None:
    with pytest.raises(FaultError, match=r"has ranks 0\.\.\d+, not 99"):
        resolve(WINNERS, FaultPlan((WinnerDropped(ranks=(99,)),)))
