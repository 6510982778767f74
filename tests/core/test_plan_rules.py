"""How injections become a plan, entry by entry: what is refused names the first site that is wrong, and the limit itself is taken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from edgechaos.faults.base import Fault
from edgechaos.faults.injections import FlipBits, Injection, ResolvedPlan, SetSlot, SetWords
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.graph.analysis import Analysis
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.tensors import Constant
from edgechaos.support.errors import FaultError
from tests.helpers.graphs import chaos_graph

GRAPH = chaos_graph(mode="stateful")
SAMPLED = chaos_graph(sampling="binomial", noise=False)


@dataclass(frozen=True, slots=True)
class Given(Fault):
    """A fault that is made of these injections; it registers no kind."""

    injections: tuple[Injection, ...] = ()
    rate: float = 0.0

    def resolve(self, analysis: Analysis) -> Iterable[Injection]:
        return self.injections


def named(kind: str, *injections: Injection) -> Fault:
    fault = type(kind, (Given,), {})(injections)
    type(fault).kind = kind
    return fault  # type: ignore[no-any-return]


def setting(slot: str, entries: Any, values: Any) -> SetSlot:
    return SetSlot("cortex0", slot, np.array(entries, np.intp), np.array(values, np.int64))


def resolved(*faults: Fault, graph: IntegerGraph = GRAPH) -> ResolvedPlan:
    return resolve(graph, FaultPlan(faults))


@pytest.mark.parametrize(
    ("slot", "entries", "values", "message"),
    [
        ("threshold", [0, 7], [-(2**31), 2**31 - 1], None),
        ("decay_q15", [0], [32768], None),
        ("dead", [7], [1], None),
        ("dead", [3, 8], [1, 1], r"a: 'dead' of layer 'cortex0' has entries 0\.\.7, not 8$"),
        ("dead", [-1, 9], [1, 1], r"a: 'dead' of layer 'cortex0' has entries 0\.\.7, not -1$"),
        ("dead", [1, 2, 3], [0, 2, 3], r"a: 'dead' of layer 'cortex0' holds 0\.\.1, not 2$"),
        ("dead", [1, 2], [1, -1], r"a: 'dead' of layer 'cortex0' holds 0\.\.1, not -1$"),
        ("decay_q15", [0], [32769], r"a: 'decay_q15' of layer 'cortex0' holds 0\.\.32768, not 32769$"),
        ("threshold", [4], [2**31], r"holds -2147483648\.\.2147483647, not 2147483648$"),
        ("threshold", [4], [-(2**31) - 1], "not -2147483649$"),
    ],
)
def test_entries_and_values_up_to_their_limits(slot: str, entries: list[int], values: list[int], message: str | None) -> None:
    fault = named("a", setting(slot, entries, values))
    if message:
        with pytest.raises(FaultError, match=message):
            resolved(fault)
    else:
        found, clean = resolved(fault).slots["cortex0", slot], GRAPH.node("cortex0").slot_value(GRAPH, slot)
        assert found[entries].tolist() == values
        assert np.delete(found, entries).tolist() == np.delete(clean, entries).tolist()


def test_two_faults_may_agree_on_an_entry_and_not_differ() -> None:
    first = named("b", setting("threshold", [1, 2, 3], [10, 20, 30]))
    same = named("a", setting("threshold", [3, 4], [30, 40]))
    assert resolved(first, same).slots["cortex0", "threshold"][1:5].tolist() == [10, 20, 30, 40]
    differs = named("a", setting("threshold", [0, 3, 2], [5, 31, 21]))
    with pytest.raises(FaultError, match=r"^a and b: 'threshold' of layer 'cortex0', entry 3, is set to two values, 30 and 31; give one"):
        resolved(first, differs)
    with pytest.raises(FaultError, match=r"^b: 'threshold' of layer 'cortex0', entry 2, is set to two values, 20 and 21"):
        resolved(first, named("b", setting("threshold", [2], [21])))
    with pytest.raises(FaultError, match=r"^a and c: .* entry 3, is set to two values, 30 and 0"):
        resolved(first, same, named("c", setting("threshold", [3], [0])))


def test_a_slot_that_is_refused_may_be_set_nowhere() -> None:
    assert not resolved(named("a", setting("stuck", [], [])), graph=SAMPLED).slots["cortex0", "stuck"].any()
    with pytest.raises(FaultError, match=r"^a: layer 'cortex0' cannot have its 'stuck' set: sampling 'binomial'"):
        resolved(named("a", setting("stuck", [1], [1])), graph=SAMPLED)


def test_the_first_neuron_that_would_be_both_is_named() -> None:
    dead, stuck = DeadNeurons("cortex0", neurons=(6, 4, 2)), StuckAtOne("cortex0", neurons=(1, 4, 6))
    for faults in ((dead, stuck), (stuck, dead)):
        with pytest.raises(FaultError, match=r"^dead and stuck_at_1: layer 'cortex0': neuron 4 cannot be both dead and stuck; use other"):
            resolved(*faults)
    assert resolved(DeadNeurons("cortex0", neurons=(1, 3)), StuckAtOne("cortex0", neurons=(0, 2)))


def test_a_graph_whose_neuron_is_dead_already() -> None:
    """What no fault of the plan set is named by its slot."""
    graph = apply(GRAPH, FaultPlan((DeadNeurons("cortex0", neurons=(5,)),)))
    touched = named("t", setting("dead", [0], [0]))
    with pytest.raises(FaultError, match=r"^dead and stuck_at_1: layer 'cortex0': neuron 5 cannot"):
        resolved(touched, StuckAtOne("cortex0", neurons=(5,)), graph=graph)


def flips(constant: str, *sites: int) -> FlipBits:
    return FlipBits(constant, np.array(sites, np.int64))


def stored(constant: str, value: list[int]) -> IntegerGraph:
    """The graph with the first words of a constant set."""
    old = GRAPH.constants[constant]
    changed = old.value.copy()
    changed.reshape(-1)[: len(value)] = value
    return replace(GRAPH, constants={**GRAPH.constants, constant: Constant(changed, old.bits, old.scale)})


def test_flips_of_a_word_are_taken_together_and_rows_are_in_order() -> None:
    """The bias before the weights of its output, then by output and input; bits 0 and 7 of one word; two flips of one bit cancel."""
    graph = stored("readout_weight", [5, -128, 127])
    graph = replace(graph, constants={**graph.constants, "readout_bias": Constant(np.array([0, 8, 0, -1], np.int32), 32)})
    first = named("a", flips("readout_weight", 0, 7, 9, 16 + 6), flips("readout_bias", 32 + 3, 96))
    second = named("b", flips("readout_weight", 9, 8 * 8))
    word = int(graph.value("readout_weight")[1, 0])
    wanted = [[0, 0, -127], [0, 2, -64], [1, -1, -8], [1, 0, (word ^ 1) - word], [3, -1, -1]]
    wanted[0][2] = (4 - 128) - 5
    assert resolved(first, second, graph=graph).patch["readout"].tolist() == wanted
    assert resolved(first, second, graph=graph).patch["readout"].dtype == np.int32
    assert not resolved(first, first, graph=graph).patch


@pytest.mark.parametrize(
    ("word", "bits", "delta"),
    [
        (0, range(31), 2**31 - 1),
        (2**31 - 1, range(31), 1 - 2**31),
        (0, [31], None),
        (-1, [31], None),
        (-(2**31), [31], None),
        (0, [31, 30], -(2**30)),
        (-(2**31), [31, 0], None),
        (-(2**31) + 1, [31, 0], 2**31 - 1),
    ],
)
def test_a_bias_moves_by_an_int32(word: int, bits: Iterable[int], delta: int | None) -> None:
    graph = stored("readout_bias", [7, word])
    fault = named("a", flips("readout_bias", *(32 + b for b in bits)))
    if delta is None:
        with pytest.raises(FaultError, match=r"^'readout': flipping bias word 1 moves it by more than an int32 can hold"):
            resolved(fault, graph=graph)
    else:
        assert resolved(fault, graph=graph).patch["readout"].tolist() == [[1, -1, delta]]


@pytest.mark.parametrize(("words", "wrong"), [([0, 3], None), ([0, 4], 4), ([5, 1, 4], 5), ([-1, 2], -1), ([2, -3, 9], -3)])
def test_a_bias_word_that_is_not_there_is_named(words: list[int], wrong: int | None) -> None:
    plan = ResolvedPlan.of(patch={"readout": np.array([[w, -1, 1] for w in words], np.int32)})
    if wrong is None:
        bias = apply(GRAPH, plan).value("readout.bias") - GRAPH.value("readout_bias")
        assert bias.tolist() == [int(w in words) for w in range(4)]
    else:
        with pytest.raises(FaultError, match=f"^'readout' has 4 bias words, not word {wrong}; resolve"):
            apply(GRAPH, plan)


def test_flips_of_weights_and_biases_go_to_their_places() -> None:
    rows = np.array([[0, -1, 5], [0, 0, 0], [2, 7, 0]], np.int32)
    faulty = apply(GRAPH, ResolvedPlan.of(patch={"readout": rows}))
    assert (faulty.value("readout.patch").tolist(), faulty.constants["readout.patch"].bits) == (rows[1:].tolist(), 32)
    assert (faulty.value("readout.bias") - GRAPH.value("readout_bias")).tolist() == [5, 0, 0, 0]
    assert faulty.constants["readout.bias"].bits == 32
    alone = apply(GRAPH, ResolvedPlan.of(patch={"readout": rows[1:]}))
    assert "readout.bias" not in alone.constants
    assert alone.node("readout").bias == "readout_bias"  # type: ignore[attr-defined]
    assert "readout.patch" not in apply(GRAPH, ResolvedPlan.of(patch={"readout": rows[:1]})).constants


def words(constant: str, *pairs: tuple[int, int]) -> SetWords:
    at, values = zip(*pairs, strict=True)
    return SetWords(constant, np.array(at, np.intp), np.array(values, np.int64))


def test_words_that_are_set_beside_words_that_are_flipped() -> None:
    """A word that holds its value already changes nothing."""
    graph = stored("readout_weight", [5, -128, 127, 6])
    first = named("a", words("readout_weight", (9, 3), (0, 127), (2, 127)))
    second = named("b", words("readout_weight", (0, 127), (1, -127)), flips("readout_weight", 3 * 8))
    held = int(graph.value("readout_weight")[1, 1])
    wanted = [[0, 0, 122], [0, 1, 1], [0, 3, 1], [1, 1, 3 - held]]
    assert resolved(first, second, graph=graph).patch["readout"].tolist() == wanted
    assert resolved(named("a", words("readout_bias", (2, 9))), graph=graph).patch["readout"].tolist() == [
        [2, -1, 9 - int(graph.value("readout_bias")[2])]
    ]
    assert not resolved(named("a", words("readout_weight", (0, 5))), graph=graph).patch


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ((words("readout_weight", (3, 128)),), r"^a: constant 'readout_weight' holds -128\.\.127, not 128$"),
        ((words("readout_weight", (3, -129)),), r"^a: constant 'readout_weight' holds -128\.\.127, not -129$"),
        ((words("readout_weight", (31, -128), (0, 127)),), None),
        ((words("readout_weight", (32, 0)),), r"^a: constant 'readout_weight' has entries 0\.\.31, not 32$"),
        ((words("readout_weight", (4, 1)), words("readout_weight", (4, 2))), r"'readout_weight', entry 4, is set to two values, 1 and 2"),
        ((words("readout_weight", (4, 1)), flips("readout_weight", 4 * 8)), r"^a: word 4 of 'readout_weight' is set, and flipped by"),
        ((words("readout_weight", (4, 1)), flips("readout_weight", 5 * 8)), None),
    ],
)
def test_words_up_to_the_limits_of_their_stored_bits(changes: tuple[Injection, ...], message: str | None) -> None:
    if message is None:
        assert resolved(named("a", *changes)).patch
    else:
        with pytest.raises(FaultError, match=message):
            resolved(named("a", *changes))


def test_the_name_of_a_plan_stands_in_files() -> None:
    plan = FaultPlan((Omission(rate=0.25), DeadNeurons("cortex0", neurons=(3, 1))))
    assert plan.id == "b020ea28ff0df54e"
