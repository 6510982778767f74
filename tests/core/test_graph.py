"""Every rule of a graph, broken once: the error names the node and the rule. And the overflow proof at its limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgechaos import reference
from edgechaos.graph.heads import Head
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.argmax import ArgMax
from edgechaos.graph.kinds.chaos_layer import expected_gain
from edgechaos.graph.node import Node
from edgechaos.graph.tensors import Constant, Tensor
from edgechaos.support.errors import AccumulatorOverflow, ConfigError, GraphError
from tests.helpers.graphs import Spec, chaos_graph, codes_for, specs


def with_node(graph: IntegerGraph, which: str, /, **changes: Any) -> IntegerGraph:
    return replace(graph, nodes=tuple(replace(n, **changes) if n.name == which else n for n in graph.nodes))


def with_constant(graph: IntegerGraph, name: str, value: Any, bits: int = 32, scale: tuple[float, ...] = ()) -> IntegerGraph:
    return replace(graph, constants={**graph.constants, name: Constant(np.asarray(value), bits, scale)})


def with_tensor(graph: IntegerGraph, which: str, /, **changes: Any) -> IntegerGraph:
    return replace(graph, tensors={**graph.tensors, which: replace(graph.tensors[which], **changes)})


def with_head(graph: IntegerGraph, **changes: Any) -> IntegerGraph:
    return replace(graph, heads=(replace(graph.heads[0], **changes),))


def patched(graph: IntegerGraph, rows: Any) -> IntegerGraph:
    return with_node(with_constant(graph, "p", np.array(rows, np.int32)), "readout", patch="p")


i32 = np.int32
TINY, STATEFUL = Spec(), Spec(mode="stateful")
CHAIN, SAMPLED = Spec(sizes=(6, 5, 4, 3)), Spec(sampling="binomial", noise=False)

BROKEN: list[tuple[Spec, Callable[[IntegerGraph], IntegerGraph], str]] = [
    (TINY, lambda g: replace(g, name="Tiny"), "name 'Tiny' is not of the form"),
    (TINY, lambda g: replace(g, name="x" * 64), "not of the form"),
    (TINY, lambda g: with_node(g, "cortex0", name="a;system('x')"), "not of the form"),
    (TINY, lambda g: with_node(g, "cortex0", name="readout"), "two nodes share a name"),
    (TINY, lambda g: replace(g, heads=g.heads * 2), "two heads share a name"),
    (TINY, lambda g: replace(g, nodes=()), "at least one node"),
    (TINY, lambda g: replace(g, heads=()), "at least one node and one head"),
    (TINY, lambda g: with_tensor(g, "logits", name="other"), "filed under another name"),
    (TINY, lambda g: with_tensor(g, "logits", dtype="float32"), "unknown dtype"),
    (TINY, lambda g: with_tensor(g, "logits", shape=()), "not acceptable"),
    (TINY, lambda g: with_tensor(g, "logits", shape=(0,)), "not acceptable"),
    (TINY, lambda g: with_tensor(g, "logits", shape=(2**20, 2**20)), "not acceptable"),
    (TINY, lambda g: with_tensor(g, "logits", ticks=128), "not acceptable"),
    (TINY, lambda g: with_tensor(g, "logits", scale=float("nan")), "not a positive number"),
    (TINY, lambda g: with_constant(g, "c", np.zeros(3)), "constant 'c': float64"),
    (TINY, lambda g: with_constant(g, "c", i32(3)), "not acceptable"),
    (TINY, lambda g: with_constant(g, "c", np.zeros(0, i32)), "not acceptable"),
    (TINY, lambda g: with_constant(g, "readout_weight", g.value("readout_weight"), 2), "does not fit 2 bits"),
    (TINY, lambda g: with_constant(g, "readout_weight", g.value("readout_weight"), 16), "16 stored bits"),
    (TINY, lambda g: with_constant(g, "readout_bias", g.value("readout_bias"), 10**9), "stored bits"),
    (TINY, lambda g: with_constant(g, "readout_weight", g.value("readout_weight"), 8, (0.0,)), "scale is not a positive"),
    (TINY, lambda g: with_constant(g, "readout_weight", g.value("readout_weight"), 8, (0.1,) * 4), "need one scale"),
    (TINY, lambda g: with_node(g, "readout", input="nowhere"), "'nowhere' is not declared"),
    (TINY, lambda g: with_node(g, "readout", weight="nowhere"), "weight 'nowhere' is not declared"),
    (TINY, lambda g: replace(g, nodes=g.nodes[::-1]), "before it is written"),
    (TINY, lambda g: with_node(g, "argmax", output="logits"), "writes 'logits' a second time"),
    (TINY, lambda g: with_head(g, input="nowhere"), "before it is written"),
    (TINY, lambda g: with_head(g, label="logits"), "must be the ArgMax"),
    (TINY, lambda g: with_head(g, logits="cortex0_acc"), "must be the ArgMax"),
    (TINY, lambda g: with_head(g, classes=("a", "b")), "2 classes for 4 logits"),
    (TINY, lambda g: with_tensor(g, "input", dtype="int16"), "input must be int8"),
    (TINY, lambda g: with_constant(g, "readout_weight", np.zeros((4, 9), np.int8), 8), r"weight \(4, 9\) does not map"),
    (TINY, lambda g: with_constant(g, "readout_weight", np.zeros((4, 8), np.int16), 16), "does not map"),
    (TINY, lambda g: with_tensor(g, "logits", dtype="int16"), "output must be int32"),
    (TINY, lambda g: with_constant(g, "readout_bias", np.zeros(5, i32)), r"bias \(5,\) does not match"),
    (TINY, lambda g: patched(g, [[0, 0]]), "patch must be"),
    (TINY, lambda g: patched(g, [[0, 8, 1]]), "outside the matrix"),
    (TINY, lambda g: patched(g, [[-1, 0, 1]]), "outside the matrix"),
    (TINY, lambda g: patched(g, [[0, 0, 1], [0, 0, 1]]), "names a weight twice"),
    (TINY, lambda g: patched(g, [[0, 0, 2**31 - 1]]), "out of its 8 stored bits"),
    (TINY, lambda g: with_node(g, "readout", gain=2), "gain 2 is not 1"),
    (Spec(sampling="expected", noise=False), lambda g: with_node(g, "cortex0", fail_q=1), "which the layer before it calls for"),
    (STATEFUL, lambda g: with_constant(g, "cortex0_multiplier", np.array([1], i32)), "multiplier is outside"),
    (STATEFUL, lambda g: with_constant(g, "cortex0_shift", np.array([62], i32)), "shift is outside"),
    (STATEFUL, lambda g: with_constant(g, "cortex0_shift", np.full(8, 40, i32)), "must have the same shape"),
    (STATEFUL, lambda g: with_constant(g, "cortex0_multiplier", np.full(3, 2**30, i32)), "one per channel"),
    (STATEFUL, lambda g: with_node(g, "cortex0_requantize", low=5, high=5), "clip 5..5"),
    (STATEFUL, lambda g: with_node(g, "cortex0_requantize", high=32768), "does not fit int16"),
    (STATEFUL, lambda g: with_tensor(g, "cortex0_drive", dtype="int32"), "requantizes int32 or int16 to int8"),
    (STATEFUL, lambda g: with_tensor(g, "cortex0_drive", shape=(9,)), "must have the same shape"),
    (TINY, lambda g: with_node(g, "cortex0", mode="serial"), "unknown tick mode"),
    (TINY, lambda g: with_node(g, "cortex0", mode="stateful"), "stateful ticks take an int16 vector"),
    (TINY, lambda g: with_node(g, "cortex0", ticks=0), "ticks 0 is outside"),
    (TINY, lambda g: with_node(g, "cortex0", ticks=128), "ticks 128 is outside"),
    (CHAIN, lambda g: with_node(g, "cortex1", ticks=5), "input has 4 ticks, the layer 5"),
    (TINY, lambda g: with_node(g, "cortex0", emit="rate"), "unknown output 'rate'"),
    (TINY, lambda g: with_node(g, "cortex0", emit="spikes"), "output must be int8"),
    (TINY, lambda g: with_constant(g, "cortex0_threshold", np.zeros(9, i32)), "threshold must be int32"),
    (TINY, lambda g: with_constant(g, "cortex0_sigma", np.zeros(8, np.int16), 16), "sigma must be int32"),
    (TINY, lambda g: with_constant(g, "cortex0_sigma", np.full(8, 2**15, i32)), "sigma must be 0..32767"),
    (TINY, lambda g: with_node(g, "cortex0", sigma_shift=31), "shift in 1..30"),
    (TINY, lambda g: with_node(with_constant(g, "m", np.full(8, 2, np.int8), 8), "cortex0", dead="m"), "dead must be an int8 0/1 mask"),
    (TINY, lambda g: with_node(with_constant(g, "m", np.ones(8, np.int8), 8), "cortex0", dead="m", stuck="m"), "neuron 0 is both dead"),
    (TINY, lambda g: with_node(g, "cortex0", fail_q=65537), "fail_q 65537"),
    (TINY, lambda g: with_node(g, "cortex0", decay_q15=32769), "decays are outside"),
    (TINY, lambda g: with_node(g, "cortex0", noise_stream=0), "stream ids must differ"),
    (TINY, lambda g: with_node(g, "cortex0", fail_stream=2**16), "stream ids must differ"),
    (CHAIN, lambda g: with_node(g, "cortex1", fail_stream=0), "draws from stream 0, which 'cortex0' uses"),
    (TINY, lambda g: with_node(g, "cortex0", sampling="poisson"), "unknown sampling"),
    (TINY, lambda g: with_node(g, "cortex0", sampling="binomial"), "noise is declared dropped"),
    (
        Spec(sizes=(6, 5, 4, 3), noise=False),
        lambda g: with_node(g, "cortex0", sampling="binomial"),
        "allowed only for the last ChaosLayer",
    ),
    (Spec(sizes=(6, 5, 4, 3), noise=False), lambda g: with_node(g, "cortex1", sampling="binomial"), "parallel ticks with one drive"),
    (SAMPLED, lambda g: with_node(with_constant(g, "m", np.ones(8, np.int8), 8), "cortex0", stuck="m"), "without stuck-at-1"),
    (TINY, lambda g: with_tensor(g, "label", dtype="int32"), "output must be uint16"),
    (TINY, lambda g: with_node(g, "argmax", input="input"), "takes an int32 vector"),
]


@pytest.mark.parametrize(("spec", "breaks", "message"), BROKEN, ids=lambda value: value if isinstance(value, str) else "")
def test_broken_rules_are_refused_by_name(spec: Spec, breaks: Callable[[IntegerGraph], IntegerGraph], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        breaks(chaos_graph(spec)).validate()


def test_unknown_node_kind_is_refused() -> None:
    class Softmax(Node):
        """What says nothing of itself is no kind."""

    graph = chaos_graph()
    with pytest.raises(GraphError, match="kind Softmax is not known"):
        replace(graph, nodes=(*graph.nodes[:-1], Softmax("argmax", "logits", "label"))).validate()


def test_errors_carry_the_node() -> None:
    with pytest.raises(GraphError) as caught:
        with_node(chaos_graph(), "cortex0", fail_q=-1).validate()
    assert caught.value.node == "cortex0"


def test_a_head_must_start_at_its_input() -> None:
    graph = chaos_graph()
    graph = replace(graph, tensors={**graph.tensors, "other": Tensor("other", "int8", (12,))})
    second = replace(graph.heads[0], name="second", input="other")
    with pytest.raises(GraphError, match="its logits come from 'input', not from its input 'other'"):
        replace(graph, heads=(*graph.heads, second)).validate()


def test_names_that_do_not_exist() -> None:
    graph = chaos_graph()
    with pytest.raises(GraphError, match="no node 'x'; it has cortex0_matmul"):
        graph.node("x")
    with pytest.raises(ConfigError, match="no head 'x'; it has main"):
        graph.head("x")


def test_constants_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        chaos_graph().value("readout_weight")[0, 0] = 1


def test_two_heads_share_a_cortex_and_run_apart() -> None:
    graph = chaos_graph()
    readout = replace(graph.node("readout"), name="readout2", output="logits2")
    tensors = {**graph.tensors, "logits2": replace(graph.tensors["logits"], name="logits2"), "label2": Tensor("label2", "uint16", (1,))}
    head = Head("second", "input", "logits2", "label2", graph.heads[0].classes)
    both = replace(
        graph, tensors=tensors, nodes=(*graph.nodes, readout, ArgMax("argmax2", "logits2", "label2")), heads=(*graph.heads, head)
    ).validate()
    assert [n.name for n in both.path("second")] == ["cortex0_matmul", "cortex0", "readout2", "argmax2"]
    codes = codes_for(graph, 5)
    assert (reference.run(both, codes, head="second").logits == reference.run(graph, codes).logits).all()


def wide(inputs: int, bias: int = 0) -> IntegerGraph:
    graph = chaos_graph(sizes=(inputs, 1, 1), noise=False)
    return with_constant(graph, "cortex0_bias", np.array([bias], i32))


def test_sums_are_bounded_by_the_stored_type_not_by_the_weights() -> None:
    graph = with_constant(wide(100), "cortex0_weight", np.zeros((1, 100), np.int8), 8)
    assert graph.analysis.bounds["cortex0_acc"] == (-100 * 128 * 128, 100 * 128 * 128)


def test_overflow_is_found_at_the_last_integer() -> None:
    room = 2**31 - 1 - 100 * 128 * 128
    assert wide(100, room).validate()
    assert wide(100, -room).validate()
    for bias in (room + 1, -room - 1, -(2**31)):
        with pytest.raises(AccumulatorOverflow, match=r"node 'cortex0_matmul'.*needs 33 bits, 32 are there") as caught:
            wide(100, bias).validate()
        assert caught.value.node == "cortex0_matmul"


def test_too_many_inputs_overflow() -> None:
    assert wide(2**17 - 1).validate()
    with pytest.raises(AccumulatorOverflow, match="fewer inputs or fewer weight bits"):
        wide(2**17).validate()


def test_requantized_accumulators_stay_below_two_to_the_30() -> None:
    graph = chaos_graph(sizes=(100, 1, 1), mode="stateful", noise=False)
    room = 2**30 - 1 - 100 * 128 * 128
    assert with_constant(graph, "cortex0_bias", np.array([room], i32)).validate()
    with pytest.raises(AccumulatorOverflow, match="requantized accumulator"):
        with_constant(graph, "cortex0_bias", np.array([room + 1], i32)).validate()


def test_noise_counts_towards_the_drive() -> None:
    graph = chaos_graph(sizes=(100, 1, 1))
    graph = with_node(with_constant(graph, "cortex0_sigma", np.array([32767], i32)), "cortex0", sigma_shift=1)
    room = 2**31 - 1 - 100 * 128 * 128
    with pytest.raises(AccumulatorOverflow, match="drive plus noise"):
        with_constant(graph, "cortex0_bias", np.array([room], i32)).validate()


def test_gain_counts_towards_the_logits() -> None:
    graph = chaos_graph(sizes=(4, 500, 2), sampling="expected", noise=False, ticks=127, fail_q=0)
    assert expected_gain(127, 0) == 127 * 256
    with pytest.raises(AccumulatorOverflow, match="readout"):
        with_constant(graph, "readout_bias", np.full(2, 2**30, i32)).validate()


@given(specs(), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_every_tensor_stays_within_its_proved_interval(spec: Spec, seed: int) -> None:
    graph = chaos_graph(spec)
    bounds = graph.analysis.bounds
    names = tuple(n.output for n in graph.path())
    found = reference.run(graph, codes_for(graph, 6, seed=seed % 1000), seed=seed, keep=names).tensors
    for name in names:
        low, high = bounds[name]
        assert found[name].min() >= low, name
        assert found[name].max() <= high, name
