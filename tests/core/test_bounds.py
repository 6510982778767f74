"""What each kind of node proves of its sums, at the last value that is accepted and at the first that is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.average_pool import AveragePool
from edgechaos.graph.kinds.conv import Conv
from edgechaos.graph.kinds.embedding_bag import EmbeddingBag
from edgechaos.graph.kinds.lut import Lut
from edgechaos.graph.kinds.matmul import MatMul
from edgechaos.graph.kinds.max_pool import MaxPool
from edgechaos.graph.kinds.readout import Readout
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from edgechaos.graph.kinds.topk import TopK
from edgechaos.graph.node import NODE_KINDS, Node
from edgechaos.support.errors import AccumulatorOverflow
from tests.core.test_graph import with_constant, with_node, with_tensor
from tests.helpers.graphs import chaos_graph
from tests.helpers.mixed_graphs import mixed_graph

i32 = np.int32
TINY = chaos_graph()
VISION, POOLED = mixed_graph(), mixed_graph(pool="average", residual=True, spiking=False, silent=True)
TEXT, KWTA, THERMAL = (mixed_graph(family=f) for f in ("text", "kwta", "thermal"))  # type: ignore[arg-type]
LAST, SHIFTABLE, LARGEST_DRAW = 2**31 - 1, 2**30 - 1, 27011


def of(graph: IntegerGraph, kind: type[Node]) -> Node:
    return next(n for n in graph.nodes if type(n) is kind)


def bound(graph: IntegerGraph, node: Node, *intervals: tuple[int, int]) -> tuple[int, int] | None:
    """What the node proves where the tensors that it reads lie in these intervals; None where a sum needs more bits."""
    try:
        return node.bound(graph, dict(zip(node.inputs(), intervals, strict=True)))
    except AccumulatorOverflow:
        return None


Sides = Callable[[int], tuple[int, int]]
SIDES: tuple[Sides, ...] = (lambda n: (0, n), lambda n: (-n, 0), lambda n: (-n, n), lambda n: (1 - n, n), lambda n: (-n, n - 1))


@pytest.mark.parametrize("side", SIDES)
def test_the_larger_side_of_an_interval_decides(side: Sides) -> None:
    requantize, pool, matrix = of(VISION, Requantize), of(POOLED, AveragePool), of(TINY, MatMul)
    assert bound(VISION, requantize, side(SHIFTABLE)) == (0, 127)
    assert bound(VISION, requantize, side(SHIFTABLE + 1)) is None
    low, high = side(LAST // 4)
    assert bound(POOLED, pool, (low, high)) == (4 * low, 4 * high)
    assert bound(POOLED, pool, side(LAST // 4 + 1)) is None
    graph = with_constant(TINY, "cortex0_bias", np.zeros(8, i32))
    assert TINY.tensors[matrix.input].size == 12
    most = LAST // (12 * 128)
    assert bound(graph, matrix, side(most)) == (-12 * 128 * most, 12 * 128 * most)
    assert bound(graph, matrix, side(most + 1)) is None


def test_a_window_of_another_form() -> None:
    pool = replace(of(POOLED, AveragePool), kernel=(5, 3))  # type: ignore[call-arg]
    assert bound(POOLED, pool, (-7, 9)) == (-105, 135)


@pytest.mark.parametrize(("bits", "reach"), [(8, 128), (4, 8), (2, 2)])
@pytest.mark.parametrize("bias", [[0, 0, 0, 0], [0, 5, -9, 0], [0, 0, 7, -3], None])
def test_every_stored_word_at_its_worst_and_the_bias_as_it_is(bits: int, reach: int, bias: list[int] | None) -> None:
    graph = with_constant(TINY, "readout_weight", np.zeros((4, 8), np.int8), bits)
    graph = with_node(graph, "readout", bias=None) if bias is None else with_constant(graph, "readout_bias", np.array(bias, i32))
    largest = max(map(abs, bias or [0]))
    readout = graph.node("readout")
    assert isinstance(readout, Readout)
    for gain in (1, 1000):
        wanted = 8 * reach * 3 * gain + largest
        assert bound(graph, replace(readout, gain=gain), (-1, 3)) == (-wanted, wanted)
    exact = (LAST - largest) // (8 * reach)
    assert bound(graph, readout, (0, exact)) is not None
    assert bound(graph, readout, (0, exact + 1)) is None


def test_the_most_negative_bias_has_no_positive_twin() -> None:
    graph = with_constant(TINY, "readout_bias", np.array([0, -(2**31), 0, 0], i32))
    assert bound(graph, graph.node("readout"), (0, 0)) is None


def test_a_convolution_sums_what_its_window_holds() -> None:
    conv = of(VISION, Conv)
    assert isinstance(conv, Conv)
    graph = with_constant(VISION, conv.weight, np.zeros((3, 1, 3, 3), np.int8), 8)
    graph = with_constant(graph, str(conv.bias), np.array([1, -20, 3], i32))
    assert bound(graph, conv, (-128, 127)) == (-(9 * 128 * 128 + 20), 9 * 128 * 128 + 20)


def test_token_vectors_are_summed_finer_by_seven_bits() -> None:
    bag = of(TEXT, EmbeddingBag)
    for tokens, good in ((2**17 - 1, True), (2**17, False)):
        found = bound(with_tensor(TEXT, bag.input, shape=(tokens,)), bag, (0, 65535))
        assert found == ((-128, 127) if good else None)
    graph = with_constant(TEXT, bag.weight, TEXT.value(bag.weight) * 0, 2)  # type: ignore[attr-defined]
    for tokens, good in ((2**23 - 1, True), (2**23, False)):
        assert (bound(with_tensor(graph, bag.input, shape=(tokens,)), bag, (0, 65535)) is not None) == good


def test_two_terms_of_a_residual_sum() -> None:
    add = replace(of(POOLED, NODE_KINDS["Add"]), gain=3, other_gain=7)  # type: ignore[call-arg]
    assert bound(POOLED, add, (-5, 11), (-13, 17)) == (-3 * 5 - 7 * 13, 3 * 11 + 7 * 17)


def test_what_only_selects_keeps_an_interval() -> None:
    assert bound(VISION, of(VISION, MaxPool), (-5, 9)) == (-5, 9)
    assert bound(VISION, of(VISION, Lut), (-5, 9)) == (-128, 127)
    assert [bound(KWTA, of(KWTA, TopK), i) for i in ((-5, 9), (2, 9), (-9, -2))] == [(-5, 9), (0, 9), (-9, 0)]


def thermal(**changes: Any) -> tuple[IntegerGraph, Node]:
    graph = with_node(THERMAL, of(THERMAL, ThermalNoise).name, k=0, **changes)
    node = of(graph, ThermalNoise)
    assert graph.tensors[node.inputs()[1]].size == 12
    return graph, node


@pytest.mark.parametrize("side", SIDES)
def test_squares_of_codes(side: Sides) -> None:
    """12 * 13,377^2 is the last below 2^31."""
    graph, node = thermal(k_max=0)
    assert bound(graph, node, (0, 0), side(13377)) is not None
    assert bound(graph, node, (0, 0), side(13378)) is None


def test_the_norm_times_the_largest_k() -> None:
    """isqrt(12 * 100^2) = 346."""
    most = SHIFTABLE // 346
    for k_max, good in ((most, True), (most + 1, False)):
        graph, node = thermal(k_max=k_max, shift_a=30, shift_b=30)
        assert (bound(graph, node, (0, 0), (-100, 99)) is not None) == good


@pytest.mark.parametrize("side", SIDES)
def test_an_accumulator_and_its_noise(side: Sides) -> None:
    """norm 346, k 1000: 346,000 / 2^9 rounds to 676; 27,011 * 676 / 2^14 to 1,114."""
    graph, node = thermal(k_max=1000, shift_a=9, shift_b=14)
    low, high = side(LAST - 1114)
    assert bound(graph, node, (low, high), (-100, 99)) == (low - 1114, high + 1114)
    assert bound(graph, node, side(LAST - 1113), (-100, 99)) is None


def test_no_amplitude_beyond_int16() -> None:
    graph, node = thermal(k_max=SHIFTABLE // 346, shift_a=1, shift_b=1)
    noise = (LARGEST_DRAW * 32767 + 1) // 2
    assert bound(graph, node, (0, 0), (-100, 99)) == (-noise, noise)


def test_the_largest_noise_of_a_spiking_layer_is_shiftable() -> None:
    """Its rule limits sigma to 15 bits, and no table Gaussian has more: no proof is left to do."""
    assert LARGEST_DRAW * 32767 <= SHIFTABLE
    graph = with_node(with_constant(TINY, "cortex0_sigma", np.full(8, 32767, i32)), "cortex0", sigma_shift=1)
    graph.node("cortex0").check(graph)
    noise = (LARGEST_DRAW * 32767 + 1) // 2
    for drive, good in ((LAST - noise, True), (LAST - noise + 1, False)):
        assert (bound(graph, graph.node("cortex0"), (0, drive)) is not None) == good


def test_noise_on_logits_finishes_no_layer() -> None:
    assert [n.finishes(THERMAL) for n in THERMAL.nodes if isinstance(n, ThermalNoise)] == [True, False]
