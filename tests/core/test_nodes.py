"""Every kind of node: the interpreter against a scalar reading of the rules, ties, saturation, bounds; rules broken once each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgechaos import reference
from edgechaos.arithmetic.random_bits import gaussian_table
from edgechaos.graph.artifact import content_hash, from_bytes, to_bytes
from edgechaos.graph.heads import Encoding
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.average_pool import AveragePool
from edgechaos.graph.kinds.conv import Conv
from edgechaos.graph.kinds.embedding_bag import EmbeddingBag
from edgechaos.graph.kinds.lut import Lut
from edgechaos.graph.kinds.matmul import MatMul
from edgechaos.graph.kinds.max_pool import MaxPool
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from edgechaos.graph.kinds.topk import TopK
from edgechaos.graph.node import NODE_KINDS, Draws, Node
from edgechaos.graph.thermal import ThermalCodes, thermal_codes
from edgechaos.graph.tokenizer import Text
from edgechaos.support.errors import AccumulatorOverflow, GraphError, ShapeError, UnsupportedError
from tests.core.test_graph import with_constant, with_head, with_node, with_tensor
from tests.helpers import scalar_nodes
from tests.helpers.mixed_graphs import FAMILIES, WORDS, Mixed, items_for, mixed_graph, mixed_specs
from tests.vectors.make import describe


@given(mixed_specs(), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 2))
@settings(max_examples=60, deadline=None)
def test_random_graphs_agree_with_scalar_rules_and_bounds(spec: Mixed, seed: int, sample: int) -> None:
    graph = mixed_graph(spec)
    bounds = graph.analysis.bounds
    for head in graph.heads:
        keep = tuple(n.output for n in graph.path(head.name))
        codes = items_for(graph, 4, seed=seed % 997, head=head.name)
        found = reference.run(graph, codes, seed=seed, samples=[sample, sample + 1, 0, 1], head=head.name, keep=keep)
        nodes = describe(graph, head.name)
        for item in range(2):
            expected = scalar_nodes.run(nodes, head.input, codes[item].tolist(), seed, sample + item)
            for name in keep:
                assert found.tensors[name][item].tolist() == expected[name], name
        for name in keep:
            low, high = bounds[name]
            assert low <= found.tensors[name].min(), name
            assert found.tensors[name].max() <= high, name


def test_every_kind_of_node_is_drawn() -> None:
    graphs = [mixed_graph(family=family) for family in FAMILIES] + [mixed_graph(pool="average"), mixed_graph(residual=True)]
    assert {type(n).__name__ for graph in graphs for n in graph.nodes} == set(NODE_KINDS)


@given(mixed_specs())
@settings(max_examples=15, deadline=None)
def test_artifacts_keep_every_node(spec: Mixed) -> None:
    graph = mixed_graph(spec)
    again = from_bytes(to_bytes(graph))
    assert content_hash(again) == content_hash(graph)
    assert again.nodes == graph.nodes
    assert again.heads == graph.heads


# Ties, saturation and corners


def kwta(values: list[int], k: int, dead: str | None = None) -> list[int]:
    graph = mixed_graph(family="kwta", hidden=len(values), k=k)
    node = next(n for n in graph.nodes if isinstance(n, TopK))
    if dead is not None:
        graph = with_constant(graph, "mask", np.array([int(c) for c in dead], np.int8), 8)
        node = replace(node, dead="mask")
    return node.evaluate(graph, {node.input: np.array([values], np.int16)}, Draws(0, np.zeros(1, np.uint32), {}))[0].tolist()


@pytest.mark.parametrize(
    ("values", "k", "dead", "winners"),
    [
        ([5, 5, 5, 5], 2, None, [5, 5, 0, 0]),
        ([1, 7, 7, 7], 2, None, [0, 7, 7, 0]),
        ([-3, -1, -2, -32768], 2, None, [0, -1, -2, 0]),
        ([-32768, -32768, -32768], 1, None, [-32768, 0, 0]),
        ([32767, -32768, 32767], 3, None, [32767, -32768, 32767]),
        ([0, 0, -1], 1, None, [0, 0, 0]),
        ([9, 8, 7, 6], 2, "1000", [0, 8, 7, 0]),
        ([9, -32768, 7, 6], 2, "1011", [0, -32768, 0, 0]),
        ([9, 8, 7, 6], 3, "1111", [0, 0, 0, 0]),
        ([9, -32768], 1, "10", [0, -32768]),
    ],
)
def test_winners(values: list[int], k: int, dead: str | None, winners: list[int]) -> None:
    assert kwta(values, k, dead) == winners
    assert scalar_nodes.topk(values, k, [i for i, c in enumerate(dead or "") if c == "1"]) == winners


def test_a_text_without_tokens_and_ids_beyond_the_vocabulary() -> None:
    graph = mixed_graph(family="text", length=4)
    bag = next(n for n in graph.nodes if isinstance(n, EmbeddingBag))
    ids = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [0, 65535, 0, 0], [30, 0, 0, 0], [29, 0, 0, 0]], np.uint16)
    vectors = reference.run(graph, ids, keep=(bag.output,)).tensors[bag.output]
    assert not vectors[0].any()
    assert (vectors[1] == vectors[2]).all(), "unknown"
    assert (vectors[1] == vectors[3]).all(), "30 ids: the last is 29"
    assert (vectors[4] != vectors[1]).any()


def test_padding_is_code_zero_and_strides_start_at_the_corner() -> None:
    graph = mixed_graph(shape=(1, 3, 3), kernel=(2, 2), pad=(1, 1), stride=(2, 2), table="none", pool="none")
    conv = next(n for n in graph.nodes if isinstance(n, Conv))
    graph = with_constant(graph, conv.weight, np.array([[[[1, 2], [4, 8]]]] * 3, np.int8), 8, (1.0,))
    graph = with_constant(graph, str(conv.bias), np.array([0, 0, 1000], np.int32))
    image = np.arange(1, 10, dtype=np.int8).reshape(1, 1, 3, 3)
    out = reference.run(graph, image, keep=(conv.output,)).tensors[conv.output][0]
    assert out[0].tolist() == [[8 * 1, 4 * 2 + 8 * 3], [2 * 4 + 8 * 7, 5 + 2 * 6 + 4 * 8 + 8 * 9]]
    assert (out[2] == out[0] + 1000).all()


def test_extreme_codes_reach_the_proved_bound_of_a_convolution() -> None:
    graph = mixed_graph(shape=(2, 3, 3), kernel=(3, 3), pad=(0, 0), table="none", pool="none")
    conv = next(n for n in graph.nodes if isinstance(n, Conv))
    graph = with_constant(graph, conv.weight, np.full((3, 2, 3, 3), -128, np.int8), 8, (1.0,))
    out = reference.run(graph, np.full((1, 2, 3, 3), -128, np.int8), keep=(conv.output,)).tensors[conv.output]
    bias = graph.value(conv.bias)
    assert (out[0, :, 0, 0] == 18 * 128 * 128 + bias).all()
    assert graph.analysis.bounds[conv.output][1] == 18 * 128 * 128 + np.abs(bias).max()


@given(st.lists(st.integers(-128, 127), min_size=1, max_size=300))
@settings(max_examples=60, deadline=None)
def test_the_norm_is_the_floor_of_the_root(codes: list[int]) -> None:
    root = scalar_nodes.norm(codes)
    square = sum(c * c for c in codes)
    assert root**2 <= square < (root + 1) ** 2
    assert int(np.sqrt(np.int64(square))) == root


def test_thermal_noise_follows_its_run_time_parameter() -> None:
    graph = mixed_graph(family="thermal", hidden=40)
    node = next(n for n in graph.nodes if isinstance(n, ThermalNoise))
    codes = np.repeat(items_for(graph, 1), 2000, axis=0)
    acc = reference.run(graph, codes[:1], keep=(node.input,)).tensors[node.input]
    matrix = graph.producer(node.input)
    assert isinstance(matrix, MatMul)
    scale = graph.constants[matrix.weight].scale[0]
    for temperature in (0.0, 0.25, 1.0, 4.0):
        k = node.parameter_at(graph, temperature)
        noisy = reference.run(graph, codes, keep=(node.output,), parameters={node.name: k}).tensors[node.output]
        wanted = 0.01 * np.sqrt(temperature) * np.linalg.norm(codes[0].astype(float)) / scale
        assert abs((noisy - acc).std() - wanted) < 0.02 * wanted + 0.6
    assert node.parameter_at(graph, 4.0) == node.k_max
    default = reference.run(graph, codes[:5]).logits
    assert (reference.run(graph, codes[:5], parameters={node.name: node.k}).logits == default).all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cortex": 1}, r"no run-time parameter 'cortex'; its ThermalNoise nodes: thermalnoise1"),
        ({"thermalnoise1": -1}, "k = -1 is outside 0"),
    ],
)
def test_parameters_that_a_graph_does_not_take(parameters: dict[str, int], message: str) -> None:
    graph = mixed_graph(family="thermal")
    with pytest.raises(GraphError, match=message):
        reference.run(graph, items_for(graph, 1), parameters=parameters)


def test_temperatures_out_of_reach_are_refused() -> None:
    graph = mixed_graph(family="thermal")
    with pytest.raises(GraphError, match=r"temperature 5 is outside 0\.\.4"):
        graph.node("thermalnoise1").parameter_at(graph, 5)
    with pytest.raises(GraphError, match="is a MatMul, not a ThermalNoise"):
        graph.node("matmul0").parameter_at(graph, 1)
    with pytest.raises(UnsupportedError, match=r"'layer': temperature 2 is outside 0\.\.1"):
        thermal_codes(2, 1, 0.01, 100, "layer")
    with pytest.raises(UnsupportedError, match="beyond what int32 carries"):
        thermal_codes(1, 1e12, 1e-9, 10**4, "layer")
    assert thermal_codes(0, 0, 0.01, 100, "layer") == ThermalCodes(0, 0, 30, 30)


def test_the_noise_amplitude_saturates() -> None:
    graph = mixed_graph(family="thermal", hidden=4)
    node = next(n for n in graph.nodes if isinstance(n, ThermalNoise))
    noisy = replace(node, k=10**5, k_max=10**5, shift_a=1, shift_b=1)
    graph = replace(graph, nodes=tuple(noisy if n is node else n for n in graph.nodes)).validate()
    found = reference.run(graph, np.full((300, 7), 127, np.int8), keep=(node.input, node.output)).tensors
    noise = found[node.output] - found[node.input]
    assert set(np.unique(noise)) <= {(int(g) * 32767 + 1) >> 1 for g in gaussian_table()}


def test_tokens_become_ids() -> None:
    text = Text(("the", "cat", "it"))
    assert text.tokens("The cat, it's_A x") == ["the", "cat", "it", "s_a", "x"]
    assert text.ids(["The CAT dog", "", "it it it it it"], 4).tolist() == [[2, 3, 1, 0], [0, 0, 0, 0], [4, 4, 4, 4]]
    assert Text(("The",), "spaces", lowercase=False).ids(["The the, "], 3).tolist() == [[2, 1, 0]]
    graph = mixed_graph(family="text", length=3)
    ids = reference.encode(graph, ["word0 WORD1 nothing more", "word27"])
    assert ids.tolist() == [[2, 3, 1], [29, 0, 0]]
    assert (reference.encode(graph, ids) == ids).all()
    assert (reference.encode(graph, np.array(["word0 WORD1 nothing", "word27"])) == ids).all()
    with pytest.raises(ShapeError, match="takes texts, or uint16 token ids of 3 elements"):
        reference.encode(graph, np.zeros((2, 3), np.int64))
    with pytest.raises(ShapeError, match="takes uint16 items of 3 elements"):
        reference.encode(graph, np.zeros((2, 4), np.uint16))


def test_images_are_channels_first() -> None:
    graph = mixed_graph(shape=(3, 4, 5))
    assert reference.encode(graph, np.full((2, 3, 4, 5), 255, np.uint8)).max() == 127
    assert reference.encode(mixed_graph(shape=(1, 4, 5)), np.zeros((2, 4, 5), np.uint8)).shape == (2, 1, 4, 5)
    with pytest.raises(ShapeError, match=r"items of shape \(3, 4, 5\), got uint8 \(2, 4, 5, 3\)"):
        reference.encode(graph, np.zeros((2, 4, 5, 3), np.uint8))


def test_the_state_hash_covers_what_the_last_matrix_read() -> None:
    for family in ("vision", "kwta", "thermal"):
        graph = mixed_graph(family=family)
        last = [n for n in graph.nodes if isinstance(n, MatMul)][-1]
        assert reference.readout_input(graph, graph.head()) == last.input


def test_each_head_of_a_shared_core_runs_as_if_alone() -> None:
    graph = mixed_graph(family="shared")
    assert len([n for n in graph.nodes if isinstance(n, MatMul) and n.weight == "cortex_w"]) == 2
    for head in graph.heads:
        path = graph.path(head.name)
        tensors = {name: graph.tensors[name] for n in path for name in (*n.inputs(), n.output)}
        constants = {name: graph.constants[name] for n in path for _, name in n.constants()}
        alone = replace(graph, nodes=path, heads=(head,), tensors=tensors, constants=constants).validate()
        codes = items_for(graph, 5, head=head.name)
        assert (reference.run(graph, codes, head=head.name).logits == reference.run(alone, codes).logits).all()
    assert [h.encoding.kind for h in graph.heads] == ["pixels", "tokens"]


# Broken rules

VISION, TEXT, KWTA, THERMAL, POOLED = Mixed(), Mixed("text"), Mixed("kwta"), Mixed("thermal"), Mixed(pool="average")


def first(graph: IntegerGraph, kind: type[Node]) -> str:
    return next(n.name for n in graph.nodes if isinstance(n, kind))


def change(kind: type[Node], **fields: Any) -> Callable[[IntegerGraph], IntegerGraph]:
    return lambda g: with_node(g, first(g, kind), **fields)


def output(kind: type[Node], **fields: Any) -> Callable[[IntegerGraph], IntegerGraph]:
    return lambda g: with_tensor(g, g.node(first(g, kind)).output, **fields)


def constant(name: str, value: Any, bits: int = 8) -> Callable[[IntegerGraph], IntegerGraph]:
    return lambda g: with_constant(g, name, value, bits)


def encoded(**fields: Any) -> Callable[[IntegerGraph], IntegerGraph]:
    return lambda g: with_head(g, encoding=Encoding(**fields))


i8, i32 = np.int8, np.int32
BROKEN: list[tuple[Mixed, Callable[[IntegerGraph], IntegerGraph], str]] = [
    (VISION, change(Conv, stride=(0, 1)), "must be at least 1"),
    (VISION, change(Conv, pad=(3, 0)), "pad smaller than the kernel"),
    (VISION, change(Conv, pad=(-1, 0)), "pad smaller than the kernel"),
    (VISION, constant("conv0_w", np.zeros((3, 1, 30, 3), i8)), "larger than its padded input"),
    (VISION, constant("conv0_w", np.zeros((3, 2, 3, 3), i8)), r"is not int8 \(outputs, 1, height, width\)"),
    (VISION, constant("conv0_w", np.zeros((3, 9), i8)), "is not int8"),
    (VISION, constant("conv0_b", np.zeros(4, i32), 32), r"bias \(4,\) does not match \(3,\)"),
    (VISION, output(Conv, shape=(3, 7, 7)), r"output must be int32 \(3, 7, 6\)"),
    (VISION, output(MaxPool, dtype="int32"), "output must be int8"),
    (POOLED, output(AveragePool, dtype="int8"), "output must be int32"),
    (POOLED, change(AveragePool, kernel=(0, 1)), "must be at least 1"),
    (VISION, change(MaxPool, kernel=(9, 9)), "larger than its padded input"),
    (VISION, constant("conv0_m", np.full(2, 2**30, i32), 32), "one per channel"),
    (VISION, constant("pixels_table", np.zeros(255, i8)), r"table must be int8 \(256,\)"),
    (VISION, constant("pixels_table", np.zeros((2, 256), i8)), "one such row per channel"),
    (VISION, output(Lut, dtype="int16"), "maps int8 to int8"),
    (VISION, encoded(kind="jpeg"), "unknown encoding 'jpeg'"),
    (VISION, encoded(kind="tokens", text=Text(WORDS)), "needs an EmbeddingBag"),
    (VISION, encoded(kind="pixels", text=Text(WORDS)), "encoding 'tokens', and no other"),
    (TEXT, encoded(kind="tokens"), "encoding 'tokens', and no other"),
    (TEXT, encoded(kind="pixels"), "token ids are not pixels"),
    (TEXT, encoded(kind="tokens", text=Text(WORDS, "(a+)+")), "unknown token pattern"),  # type: ignore[arg-type]
    (TEXT, encoded(kind="tokens", text=Text(WORDS[:-1] + WORDS[:1])), "names a word twice"),
    (TEXT, encoded(kind="tokens", text=Text(WORDS[:-1])), "has 30 rows for a vocabulary of 27 words"),
    (TEXT, lambda g: with_tensor(g, "ids", dtype="int8"), "takes a uint16 vector of token ids"),
    (TEXT, constant("embedding", np.zeros((30, 6), i8)), r"output must be int8 \(6,\)"),
    (TEXT, constant("embedding", np.zeros((1, 5), i8)), "is not int8"),
    (TEXT, constant("embedding_m", np.full(6, 2**30, i32), 32), "one per count of tokens"),
    (TEXT, constant("embedding_s", np.full(7, 23, i32), 32), r"shift is outside 24\.\.61"),
    (VISION, constant("embed_s", np.full(5, 30, i32), 32), r"shift is outside 31\.\.61"),
    (TEXT, change(EmbeddingBag, low=1), "must hold 0"),
    (KWTA, change(TopK, k=0), "k 0 is outside"),
    (KWTA, change(TopK, k=10), r"k 10 is outside 1\.\.9"),
    (KWTA, output(TopK, dtype="int8"), "ranks an int16 vector"),
    (KWTA, lambda g: with_node(with_constant(g, "m", np.ones(8, i8), 8), first(g, TopK), dead="m"), "dead must be an int8 0/1 mask"),
    (THERMAL, change(ThermalNoise, codes="t1"), "before it is written"),
    (THERMAL, change(ThermalNoise, input="codes"), "must come from a MatMul"),
    (THERMAL, change(ThermalNoise, k=2**29), "k 536870912 is outside"),
    (THERMAL, change(ThermalNoise, k=-1), "k -1 is outside"),
    (THERMAL, change(ThermalNoise, shift_a=0), "shifts must lie"),
    (THERMAL, change(ThermalNoise, shift_b=31), "shifts must lie"),
    (THERMAL, change(ThermalNoise, stream=2**16), "stream id must lie"),
    (THERMAL, change(ThermalNoise, stream=100), "draws from stream 100"),
    (THERMAL, lambda g: with_constant(g, "layer0_w", g.value("layer0_w"), 8, (0.1,) * 9), "needs one weight scale"),
    (THERMAL, output(ThermalNoise, dtype="int16"), "output must be int32"),
]


@pytest.mark.parametrize(("spec", "breaks", "message"), BROKEN, ids=lambda value: value if isinstance(value, str) else "")
def test_broken_rules_are_refused_by_name(spec: Mixed, breaks: Callable[[IntegerGraph], IntegerGraph], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        breaks(mixed_graph(spec)).validate()


OVERFLOWS: list[tuple[Mixed, Callable[[IntegerGraph], IntegerGraph], str]] = [
    (VISION, constant("conv0_b", np.full(3, 2**31 - 1, i32), 32), "sum of 9 stored 8-bit weights"),
    (VISION, constant("conv0_b", np.full(3, 2**30, i32), 32), "requantized accumulator"),
    (THERMAL, change(ThermalNoise, k_max=2**22), "norm times k_max"),
    (THERMAL, constant("layer0_b", np.full(9, 2**31 - 1 - 12 * 2**14, i32), 32), "accumulator plus thermal noise"),
]


@pytest.mark.parametrize(("spec", "breaks", "message"), OVERFLOWS, ids=lambda value: value if isinstance(value, str) else "")
def test_overflows_are_found(spec: Mixed, breaks: Callable[[IntegerGraph], IntegerGraph], message: str) -> None:
    with pytest.raises(AccumulatorOverflow, match=message):
        breaks(mixed_graph(spec)).validate()


def test_files_cannot_ask_for_more_memory_than_a_model_needs() -> None:
    graph = mixed_graph(pool="average", table="none")
    pool = first(graph, AveragePool)
    graph = with_tensor(with_tensor(graph, "image", shape=(1, 4000, 4000)), graph.node(pool).input, shape=(3, 4000, 4000))
    graph = with_tensor(graph, graph.node(first(graph, Requantize)).input, shape=(3, 4000, 4000))
    with pytest.raises(GraphError, match="its windows read 144000000 codes"):
        graph.validate()
    text = with_tensor(mixed_graph(family="text"), "ids", shape=(2**24,))
    with pytest.raises(GraphError, match="its vectors take 83886080 codes"):
        text.validate()


def test_fewer_stored_bits_prove_tighter_bounds() -> None:
    reach = {bits: mixed_graph(bits=bits).analysis.bounds["t1"][1] for bits in (8, 4, 2)}
    bias = int(np.abs(mixed_graph().value("conv0_b")).max())
    assert reach[8] == 9 * 128 * 128 + bias
    assert reach[2] < 9 * 128 * 2 + 100 < reach[4] < 9 * 128 * 8 + 100
