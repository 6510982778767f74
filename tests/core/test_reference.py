"""The interpreter against hand-computed cases and against a scalar reading of the rules, on random graphs."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgechaos import reference
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import ChaosLayer
from edgechaos.graph.kinds.matmul import MatMul
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.tensors import Constant
from edgechaos.graph.weighted import product
from edgechaos.support.errors import GraphError, ShapeError
from tests.helpers import scalar
from tests.helpers.graphs import Spec, chaos_graph, codes_for, specs


def scalar_run(graph: IntegerGraph, codes: list[int], seed: int, sample: int) -> dict[str, Any]:
    """A clean graph of any number of layers, one item, in Python integers; `count` sampling included."""
    value: list[list[int]] = [codes]
    for node in graph.path():
        if isinstance(node, MatMul):
            weight, bias = graph.value(node.weight).tolist(), graph.value(node.bias).tolist()
            gain = getattr(node, "gain", 1)
            value = [[gain * acc + b for acc, b in zip(scalar.matmul(weight, [0] * len(bias), row), bias, strict=True)] for row in value]
        elif isinstance(node, Requantize):
            multiplier, shift = (np.resize(graph.value(c), len(value[0])).tolist() for c in (node.multiplier, node.shift))
            value = [
                [scalar.requantize(a, m, s, node.low, node.high) for a, m, s in zip(row, multiplier, shift, strict=True)] for row in value
            ]
        elif isinstance(node, ChaosLayer):
            value = scalar_layer(graph, node, value, seed, sample)
    return {"logits": value[0], "label": value[0].index(max(value[0]))}


def scalar_layer(graph: IntegerGraph, node: ChaosLayer, value: list[list[int]], seed: int, sample: int) -> list[list[int]]:
    threshold = graph.value(node.threshold).tolist()
    if node.sampling != "ticks":
        fires = [int(a > t) for a, t in zip(value[0], threshold, strict=True)]
        table = scalar.binomial_table(node.ticks, node.fail_q)
        drawn = [scalar.binomial_count(scalar.word(seed, sample, 0, node.fail_stream, n), table) for n in range(len(fires))]
        return [fires if node.sampling == "expected" else [f * d for f, d in zip(fires, drawn, strict=True)]]
    model = {name: getattr(node, name) for name in ("mode", "ticks", "fail_stream", "noise_stream", "decay_q15", "refractory_decay_q15")}
    model |= {"threshold": threshold, "sigma": [0] * len(threshold), "sigma_shift": 1}
    if node.sigma is not None:
        model |= {"sigma": graph.value(node.sigma).tolist(), "sigma_shift": node.sigma_shift}
    drive = value if len(value) == node.ticks else value * node.ticks
    spikes = scalar.layer(model, drive, seed, sample, node.fail_q, [], [])
    return spikes if node.emit == "spikes" else [[sum(column) for column in zip(*spikes, strict=True)]]


@given(specs(max_layers=3, max_size=8), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_random_graphs_agree_with_scalar_rules(spec: Spec, seed: int, sample: int) -> None:
    graph = chaos_graph(replace(spec, ticks=min(spec.ticks, 5)))
    codes = codes_for(graph, 2, seed=seed % 997)
    found = reference.run(graph, codes, seed=seed, samples=[sample, sample ^ 1])
    for k in range(2):
        expected = scalar_run(graph, codes[k].tolist(), seed, sample ^ k)
        assert (found.logits[k].tolist(), int(found.labels[k])) == (expected["logits"], expected["label"])


@given(specs(max_size=12), st.integers(0, 2**32 - 1), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_an_item_does_not_depend_on_its_batch(spec: Spec, seed: int, random: Any) -> None:
    graph, count = chaos_graph(spec), 7
    codes, ids = codes_for(graph, count), [random.randrange(2**32) for _ in range(count)]
    in_one_batch = reference.run(graph, codes, seed=seed, samples=ids)
    order = random.sample(range(count), count)
    shuffled = reference.run(graph, codes[order], seed=seed, samples=[ids[i] for i in order])
    assert (shuffled.logits == in_one_batch.logits[order]).all()


def test_batches_larger_than_the_chunk_are_whole() -> None:
    graph = chaos_graph()
    codes = codes_for(graph, 2 * reference.BATCH + 3)
    whole = reference.run(graph, codes, keep=("cortex0_count",))
    assert whole.logits.shape == (len(codes), 4)
    assert whole.tensors["cortex0_count"].shape == (len(codes), 8)
    tail = reference.run(graph, codes[-3:], samples=np.arange(len(codes) - 3, len(codes)))
    assert (whole.logits[-3:] == tail.logits).all()


@pytest.mark.parametrize(("values", "size"), [(1 << 19, 256), (12 * 100, 100), (1, 1)])
def test_large_tensors_make_small_batches(values: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = chaos_graph()  # 12 inputs are its largest tensor
    monkeypatch.setattr(reference, "BATCH_VALUES", values)
    slices = reference.batches(graph, graph.head(None), 300)
    assert [i for at in slices for i in range(300)[at]] == [*range(300)]
    assert {at.stop - at.start for at in slices} == {size}
    assert reference.batches(graph, graph.head(None), 0) == [slice(0, size)]


def test_an_empty_batch_has_shapes() -> None:
    found = reference.run(chaos_graph(), np.zeros((0, 12), np.int8))
    assert (found.logits.shape, found.labels.shape) == ((0, 4), (0,))
    assert found.logits.dtype == np.int32
    assert found.labels.dtype == np.uint16


def test_seed_and_sample_change_the_draws_and_repeat_them() -> None:
    graph, codes = chaos_graph(), codes_for(chaos_graph(), 20)
    first = reference.run(graph, codes, seed=1).logits
    assert (reference.run(graph, codes, seed=1).logits == first).all()
    assert (reference.run(graph, codes, seed=2).logits != first).any()
    assert (reference.run(graph, codes, seed=1, samples=np.arange(20) + 1).logits != first).any()


def test_without_loss_or_noise_every_tick_is_the_same() -> None:
    graph = chaos_graph(noise=False, fail_q=0, ticks=9)
    counts = reference.run(graph, codes_for(graph, 30), keep=("cortex0_count",)).tensors["cortex0_count"]
    assert set(np.unique(counts)) == {0, 9}


def test_certain_loss_silences_a_layer() -> None:
    graph = chaos_graph(fail_q=65536)
    found = reference.run(graph, codes_for(graph, 10), keep=("cortex0_count",))
    assert not found.tensors["cortex0_count"].any()
    assert (found.logits == graph.value("readout_bias")).all()


def test_ties_go_to_the_lowest_class() -> None:
    graph = chaos_graph(fail_q=65536)
    graph = replace(graph, constants={**graph.constants, "readout_bias": Constant(np.array([1, 5, 5, 2], np.int32), 32)}).validate()
    assert (reference.run(graph, codes_for(graph, 3)).labels == 1).all()


def test_sampled_modes_agree_with_ticks_on_average() -> None:
    spec = Spec(sizes=(12, 8, 4), noise=False, ticks=10, fail_q=20000, seed=4)
    graph, batch = chaos_graph(spec), 4000
    codes = np.repeat(codes_for(graph, 1), batch, axis=0)
    means = {}
    for sampling in ("ticks", "binomial"):
        counts = reference.run(chaos_graph(spec, sampling=sampling), codes, keep=("cortex0_count",)).tensors["cortex0_count"]
        means[sampling] = counts.mean(axis=0)
    exact = 10 * (1 - 20000 / 65536)
    firing = means["ticks"] > 0
    assert firing.any()
    error = np.sqrt(exact * 20000 / 65536 / batch)
    for mean in means.values():
        assert (mean[~firing] == 0).all()
        assert np.abs(mean[firing] - exact).max() < 5 * error
    expected = reference.run(chaos_graph(spec, sampling="expected"), codes[:1]).logits[0]
    fires, weight = firing.astype(np.int64), graph.value("readout_weight").astype(np.int64)
    assert (expected == round(exact * 256) * (weight @ fires) + graph.value("readout_bias")).all()


def test_pixels_lose_their_lowest_bit() -> None:
    graph = chaos_graph()
    items = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) * 10
    assert (reference.encode(graph, items) == (items.reshape(2, 12) >> 1)).all()
    assert reference.encode(graph, items).dtype == np.int8
    assert reference.encode(graph, np.full((1, 12), 255, np.uint8)).max() == 127
    codes = codes_for(chaos_graph(pixels=False), 2)
    assert (reference.encode(chaos_graph(pixels=False), codes) == codes).all()


@pytest.mark.parametrize("items", [np.zeros((2, 12), np.int8), np.zeros((2, 11), np.uint8), np.zeros((2, 12), np.float32)])
def test_items_of_another_kind_are_refused(items: Any) -> None:
    with pytest.raises(ShapeError, match="takes uint8 items of 12 elements"):
        reference.encode(chaos_graph(), items)


@pytest.mark.parametrize(
    ("codes", "options", "message"),
    [
        (np.zeros((2, 12), np.uint8), {}, r"takes int8 \(batch, 12\), got uint8"),
        (np.zeros((2, 11), np.int8), {}, r"got int8 \(2, 11\)"),
        (np.zeros(12, np.int8), {}, "got int8"),
        (np.zeros((2, 12), np.int8), {"samples": [1]}, "one id per item"),
        (np.zeros((2, 12), np.int8), {"samples": [0, -1]}, "must be uint32"),
        (np.zeros((2, 12), np.int8), {"samples": [0, 2**32]}, "must be uint32"),
        (np.zeros((2, 12), np.int8), {"samples": [0.0, 1.5]}, "must be uint32"),
    ],
)
def test_inputs_of_another_shape_are_refused(codes: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        reference.run(chaos_graph(), codes, **options)


def test_tensors_that_a_head_does_not_compute() -> None:
    with pytest.raises(GraphError, match="computes no tensor 'membrane'; it computes cortex0_acc"):
        reference.run(chaos_graph(), codes_for(chaos_graph(), 1), keep=("membrane",))


def test_matrices_beyond_float32_are_exact() -> None:
    """More than 1,024 inputs can pass 2^24, where float32 products would lose the last bit."""
    graph = chaos_graph(sizes=(3000, 2, 2), noise=False)
    constants = {**graph.constants, "cortex0_weight": Constant(np.full((2, 3000), 127, np.int8), 8)}
    graph = replace(graph, constants=constants).validate()
    codes = np.full((1, 3000), 127, np.int8)
    codes[0, 0] = 126
    acc = reference.run(graph, codes, keep=("cortex0_acc",)).tensors["cortex0_acc"][0]
    assert (acc == 2999 * 127 * 127 + 126 * 127 + graph.value("cortex0_bias")).all()


@pytest.mark.parametrize("inputs", [1024, 1025])
def test_the_last_matrix_that_float32_can_sum(inputs: int) -> None:
    """1,024 products of -128 and -128 are 2^24; one more, odd, is no float32."""
    weight, codes = np.full((1, inputs), -128, np.int8), np.full((1, inputs), -128, np.int8)
    weight[0, 1024:] = codes[0, 1024:] = 127
    assert product(codes, weight).tolist() == [[1024 * 128 * 128 + (inputs - 1024) * 127 * 127]]


def test_state_hash_covers_counts_and_logits() -> None:
    counts, logits = np.array([[1, 0, 3]], np.int8), np.array([[5, -6]], np.int32)
    first = reference.state_hash(counts, logits)
    assert first.tolist() == [scalar.state_hash([1, 0, 3], [5, -6])]
    assert reference.state_hash(counts[:, ::-1], logits) != first
    assert reference.state_hash(counts, logits + 1) != first
    assert reference.readout_input(chaos_graph(), chaos_graph().head()) == "cortex0_count"


@pytest.mark.parametrize(
    ("sizes", "items", "wanted"),
    [
        ((12, 16), 600, [(0, 256), (256, 512), (512, 768)]),
        ((2048, 5), 256, [(0, 256)]),
        ((5, 2049), 300, [(0, 255), (255, 510)]),
        ((1 << 18, 5), 3, [(0, 2), (2, 4)]),
        ((5, 1 << 20), 2, [(0, 1), (1, 2)]),
        ((12, 16), 0, [(0, 256)]),
    ],
)
def test_items_are_evaluated_in_batches_that_fit(sizes: tuple[int, int], items: int, wanted: list[tuple[int, int]]) -> None:
    """256 at most, and of the largest tensor 2^19 values; no items are one batch, which has the shapes."""
    tensors = {name: SimpleNamespace(size=size) for name, size in zip(("x", "y"), sizes, strict=True)}
    graph = SimpleNamespace(tensors=tensors, path=lambda head: (SimpleNamespace(output="y"),))
    head = SimpleNamespace(name="main", input="x")
    found = reference.batches(graph, head, items)  # type: ignore[arg-type]
    assert [(at.start, at.stop) for at in found] == wanted
