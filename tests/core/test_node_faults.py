"""Faults of convolutions, embeddings, packed weights, shared words and k-WTA units; and what has no spikes to lose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgechaos import reference
from edgechaos.arithmetic.streams import UNIT_STREAM
from edgechaos.export.plans import PATCH_ROWS, standard_plans
from edgechaos.faults.base import Fault
from edgechaos.faults.injections import ResolvedPlan
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.graph import artifact
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.embedding_bag import EmbeddingBag
from edgechaos.graph.kinds.matmul import MatMul
from edgechaos.graph.kinds.topk import TopK
from edgechaos.graph.tensors import Constant
from edgechaos.graph.weighted import Weighted
from edgechaos.support.errors import FaultError, GraphError
from tests.core.test_graph import with_constant, with_node
from tests.helpers import scalar
from tests.helpers.mixed_graphs import FAMILIES, Mixed, items_for, mixed_graph, mixed_specs


def plan(*faults: Fault) -> FaultPlan:
    return FaultPlan(faults)


def logits(graph: IntegerGraph, head: str) -> np.ndarray:
    return reference.run(graph, items_for(graph, 20, head=head), seed=3, head=head).logits


@given(mixed_specs(), st.data())
@settings(max_examples=40, deadline=None)
def test_a_flip_toggles_the_stored_word_of_any_weight(spec: Mixed, data: st.DataObject) -> None:
    graph = mixed_graph(spec)
    node = data.draw(st.sampled_from(graph.weighted()))
    constant = graph.constants[node.weight]
    word = data.draw(st.integers(0, constant.value.size - 1))
    bits = data.draw(st.integers(1, (1 << constant.bits) - 1))
    chosen = tuple((word, bit) for bit in range(constant.bits) if bits >> bit & 1)
    faulty = apply(graph, plan(WeightBitFlip(node.name, bits=chosen)))
    weight = constant.value.copy()
    weight.flat[word] = scalar.flipped(int(weight.flat[word]), bits, constant.bits)
    rewritten = replace(graph, constants={**graph.constants, node.weight: Constant(weight, constant.bits, constant.scale)}).validate()
    assert faulty.constants[node.weight] is constant, "read-only memory is not rewritten"
    for head in graph.heads:
        assert (logits(faulty, head.name) == logits(rewritten, head.name)).all(), "also through the other nodes that read the word"


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_only_stored_bits_flip(bits: int) -> None:
    graph = mixed_graph(bits=bits)
    rows = resolve(graph, plan(WeightBitFlip("conv1", rate=1.0))).patch["conv1"]
    weight = graph.value("conv0_w").reshape(3, -1)
    assert len(rows) == weight.size
    assert all(weight[o, i] + delta == ~int(weight[o, i]) for o, i, delta in rows), "all bits of all words"
    with pytest.raises(FaultError, match=f"words of {bits} bits, not word 0 bit {bits}"):
        resolve(graph, plan(WeightBitFlip("conv1", bits=((0, bits),))))


def test_a_word_that_two_nodes_read_flips_once_for_both() -> None:
    graph = mixed_graph(family="shared")
    first, second = (n.name for n in graph.nodes if isinstance(n, MatMul) and n.weight == "cortex_w")
    everywhere = resolve(graph, plan(WeightBitFlip(rate=0.2, seed=4))).patch
    assert everywhere[first].tolist() == everywhere[second].tolist()
    for name in (first, second):
        assert resolve(graph, plan(WeightBitFlip(name, rate=0.2, seed=4))).patch.keys() == {first, second}
    both = resolve(graph, plan(WeightBitFlip(first, bits=((3, 7),)), WeightBitFlip(second, bits=((3, 7),))))
    assert not both.patch, "the same bit twice is restored"
    biases = resolve(graph, plan(WeightBitFlip(second, "bias", bits=((0, 5),)))).patch
    assert biases[first].tolist() == biases[second].tolist() == [[0, -1, biases[first][0, 2]]]


def test_a_flip_of_padding_or_of_an_absent_word_changes_nothing() -> None:
    graph = mixed_graph(family="text")
    bag = next(n for n in graph.nodes if isinstance(n, EmbeddingBag))
    padding = apply(graph, plan(WeightBitFlip(bag.name, bits=tuple((word, 6) for word in range(5)))))
    assert (logits(padding, "texts") == logits(graph, "texts")).all()
    unknown = apply(graph, plan(WeightBitFlip(bag.name, bits=tuple((word, 7) for word in range(5, 10)))))
    ids = np.array([[65535, 0, 0, 0, 0, 0], [2, 3, 0, 0, 0, 0]], np.uint16)
    clean, found = (reference.run(g, ids, keep=(bag.output,)).tensors[bag.output] for g in (graph, unknown))
    assert (clean[0] != found[0]).any()
    assert (clean[1] == found[1]).all()


def test_dead_units_never_win_and_rates_are_nested() -> None:
    graph = mixed_graph(family="kwta", hidden=40, k=10)
    unit = next(n for n in graph.nodes if isinstance(n, TopK))
    previous: set[int] = set()
    for rate in (0.0, 0.1, 0.5, 1.0):
        resolved = resolve(graph, plan(DeadNeurons(rate=rate, seed=7)))
        dead = set(np.flatnonzero(resolved.slot("dead")[unit.name]).tolist())
        assert len(dead) == round(40 * rate)
        assert previous <= dead
        previous = dead
        kept = reference.run(apply(graph, resolved), items_for(graph, 30), keep=(unit.output,)).tensors[unit.output]
        assert not kept[:, sorted(dead)].any()
        assert ((kept != 0).sum(axis=1) <= 10).all()
    one = apply(graph, plan(DeadNeurons(unit.name, neurons=(3,))))
    found, clean = (reference.run(g, items_for(g, 30), keep=(unit.output,)).tensors[unit.output] for g in (one, graph))
    promoted = clean[:, 3] != 0
    assert promoted.any()
    assert ((found[promoted] != 0).sum(axis=1) == 10).all(), "the next in rank takes the place of a dead winner"
    assert (found[~promoted] == clean[~promoted]).all()


@pytest.mark.parametrize(
    ("spec", "layers"),
    [
        (Mixed(spiking=False), ["requantize2", "requantize5", "requantize7"]),
        (Mixed("thermal", depth=2), ["requantize2", "requantize6"]),
        (Mixed("text", spiking=False), ["requantize2"]),
        (Mixed(), ["chaoslayer7"]),
        (Mixed("kwta"), ["topk2"]),
    ],
    ids=lambda v: v.family if isinstance(v, Mixed) else "",
)
def test_all_layers_are_the_plain_ones_only_where_there_are_no_others(spec: Mixed, layers: list[str]) -> None:
    assert sorted(resolve(mixed_graph(spec), plan(DeadNeurons(rate=0.5))).slot("dead")) == layers


@pytest.mark.parametrize("spec", [Mixed(spiking=False, hidden=40), Mixed("thermal", hidden=40)], ids=lambda s: s.family)
def test_dead_units_of_plain_layers_send_zero_and_the_rest_is_unchanged(spec: Mixed) -> None:
    graph = mixed_graph(spec)
    for node in graph.analysis.unit_nodes:
        units = graph.tensors[node.output].shape[0]
        previous: set[int] = set()
        for rate in (0.0, 0.1, 0.5, 1.0):
            resolved = resolve(graph, plan(DeadNeurons(node.name, rate=rate, seed=7)))
            dead = set(np.flatnonzero(resolved.slot("dead")[node.name]).tolist())
            stream = UNIT_STREAM + graph.nodes.index(node)
            assert sorted(dead) == scalar.sites(7, stream, units, rate), "drawn like every other site"
            assert previous <= dead
            previous = dead
            clean, found = (
                reference.run(g, items_for(g, 12), keep=(node.output,)).tensors[node.output] for g in (graph, apply(graph, resolved))
            )
            assert not found[:, sorted(dead)].any(), "a dead channel is 0 at every position"
            alive = sorted(set(range(units)) - dead)
            np.testing.assert_array_equal(found[:, alive], clean[:, alive])
        assert (clean != 0).any(axis=tuple(i for i in range(clean.ndim) if i != 1)).any(), "there was something to silence"


def test_a_dead_mask_is_stored_only_where_there_is_one() -> None:
    """A stored model has the hash that it had before plain layers could die."""
    graph = mixed_graph(family="thermal")
    faulty = apply(graph, plan(DeadNeurons(neurons=(1,))))
    assert b"dead" not in artifact.to_bytes(graph)
    assert b"dead" in artifact.to_bytes(faulty)
    read = artifact.from_bytes(artifact.to_bytes(faulty))
    assert artifact.content_hash(read) == artifact.content_hash(faulty) != artifact.content_hash(graph)


@pytest.mark.parametrize(
    ("spec", "fault", "message"),
    [
        (Mixed("kwta"), Omission(rate=0.5), r"omission: graph 'mixed' has no spiking layer '\*'; it has none"),
        (Mixed("kwta"), StuckAtOne("topk2", rate=0.5), "stuck_at_1: .* no spiking layer 'topk2'"),
        (
            Mixed("text", silent=False, spiking=False),
            DeadNeurons(rate=0.5),
            "cannot have its 'dead' set: table 'lut3' does not map 0",
        ),
        (
            Mixed("thermal", silent=False),
            DeadNeurons("requantize2", rate=0.5),
            "layer 'requantize2' cannot have its 'dead' set: table 'lut3'",
        ),
        (Mixed("thermal"), DeadNeurons("lut3", rate=0.5), r"no spiking, k-WTA or plain layer 'lut3'; it has requantize2"),
        (Mixed("thermal"), StuckAtOne("requantize2", rate=0.5), "no spiking layer 'requantize2'; it has none"),
        (Mixed(), DeadNeurons("requantize2", neurons=(3,)), r"layer 'requantize2' has neurons 0\.\.2, not 3"),
        (
            Mixed(pool="average"),
            DeadNeurons("requantize4", neurons=(0,)),
            "no spiking, k-WTA or plain layer 'requantize4'; it has chaoslayer8",
        ),
        (Mixed("kwta"), DeadNeurons("matmul0", neurons=(0,)), "layer 'matmul0'; it has topk2"),
        (Mixed("kwta"), DeadNeurons("topk2", neurons=(9,)), r"has neurons 0\.\.8, not 9"),
        (Mixed("text"), WeightBitFlip("embeddingbag0", "bias", rate=0.1), "has no bias at 'embeddingbag0'"),
        (Mixed(), WeightBitFlip("maxpool3", rate=0.1), "has no weight at 'maxpool3'; its matrices are conv1"),
    ],
)
def test_what_a_node_does_not_support_is_refused_by_name(spec: Mixed, fault: Fault, message: str) -> None:
    with pytest.raises(FaultError, match=message):
        resolve(mixed_graph(spec), plan(fault))


@pytest.mark.parametrize(
    ("node", "mask", "message"),
    [
        ("requantize2", np.ones(9, np.int8), None),
        ("requantize2", np.ones(8, np.int8), r"dead must be an int8 0/1 mask \(9,\)"),
        ("requantize2", np.full(9, 2, np.int8), "dead must be an int8 0/1 mask"),
    ],
)
def test_masks_of_plain_layers_are_checked(node: str, mask: np.ndarray, message: str | None) -> None:
    graph = with_constant(mixed_graph(family="text", spiking=False), "m", mask, 8)
    if message is None:
        assert with_node(graph, node, dead="m").validate()
    else:
        with pytest.raises(GraphError, match=message):
            with_node(graph, node, dead="m").validate()


def test_only_a_plain_layer_has_a_mask_and_only_where_zero_is_silence() -> None:
    pooled = with_constant(mixed_graph(pool="average"), "m", np.ones(3, np.int8), 8)
    with pytest.raises(GraphError, match="only the int8 codes of a MatMul or Conv have units that can be dead"):
        with_node(pooled, "requantize4", dead="m").validate()
    masked = with_constant(mixed_graph(family="text", spiking=False, silent=False), "m", np.ones(9, np.int8), 8)
    with pytest.raises(GraphError, match="has dead units, but table 'lut3' does not map 0"):
        with_node(masked, "requantize2", dead="m").validate()
    clipped = with_node(mixed_graph(family="text", spiking=False), "requantize2", low=3).validate()
    with pytest.raises(FaultError, match=r"cannot have its 'dead' set: its clip 3\.\.127 leaves out 0"):
        resolve(clipped, plan(DeadNeurons(rate=0.5)))


def test_resolved_plans_of_another_graph_are_refused() -> None:
    graph = mixed_graph(family="kwta")
    for resolved in (ResolvedPlan.of(stuck={"topk2": np.ones(9, bool)}), ResolvedPlan.of(fail_q={"topk2": 3})):
        with pytest.raises(FaultError, match="no layer 'topk2' that this plan can break"):
            apply(graph, resolved)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("bits", [8, 2])
def test_standard_plans_fit_every_family(family: str, bits: int) -> None:
    graph = mixed_graph(Mixed(family, bits, hidden=12))  # type: ignore[arg-type]
    plans = standard_plans(graph)
    assert len({name for name, _ in plans}) == len({p.id for _, p in plans}) == 20
    flipped, killed = set[str](), set[str]()
    for _, each in plans:
        resolved = resolve(graph, each)
        apply(graph, resolved)
        assert sum(len(rows) for rows in resolved.patch.values()) <= PATCH_ROWS
        flipped |= resolved.patch.keys()
        killed |= resolved.slot("dead").keys()
    assert flipped == {n.name for n in graph.nodes if isinstance(n, Weighted)}
    assert killed == {n.name for n in graph.analysis.unit_nodes}
