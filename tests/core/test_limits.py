"""Every rule at its limit: the last value is accepted, the next is not; a neuron at its threshold does not fire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.arithmetic import rounding
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.graph import thermal
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.add import Add
from edgechaos.graph.kinds.chaos_layer import ChaosLayer
from edgechaos.graph.kinds.readout import Readout
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from edgechaos.graph.kinds.topk import TopK
from edgechaos.graph.node import Node
from edgechaos.graph.tensors import Constant, Tensor
from edgechaos.support.errors import AccumulatorOverflow, GraphError, UnsupportedError
from tests.core.test_graph import with_constant, with_node, with_tensor
from tests.helpers.graphs import Spec, chaos_graph
from tests.helpers.mixed_graphs import mixed_graph

i32 = np.int32
TINY, STATEFUL = chaos_graph(), chaos_graph(mode="stateful")
CHAIN = chaos_graph(sizes=(6, 5, 4, 3))
THERMAL, KWTA, VISION, TEXT = (mixed_graph(family=f) for f in ("thermal", "kwta", "vision", "text"))  # type: ignore[arg-type]


def node_of(graph: IntegerGraph, kind: type[Node]) -> Node:
    return next(n for n in graph.nodes if isinstance(n, kind))


def holds(graph: IntegerGraph, name: str) -> bool:
    """Whether the rule of that node's kind is kept; nothing else is checked."""
    node = graph.node(name)
    try:
        node.check(graph)
    except GraphError:
        return False
    return True


def field(graph: IntegerGraph, name: str, what: str, **more: Any) -> tuple[str, Callable[[Any], IntegerGraph]]:
    return name, lambda value: with_node(graph, name, **{what: value}, **more)


def filled(graph: IntegerGraph, name: str, constant: str, dtype: Any = i32, bits: int = 32) -> tuple[str, Callable[[Any], IntegerGraph]]:
    shape = graph.value(constant).shape
    return name, lambda value: with_constant(graph, constant, np.full(shape, value, dtype), bits)


def argmax(classes: int) -> IntegerGraph:
    return with_tensor(TINY, "logits", shape=(classes,))


def flip_to(word: int) -> IntegerGraph:
    """A patch that makes the first weight of the readout this word."""
    old = int(TINY.value("readout_weight")[0, 0])
    return with_node(with_constant(TINY, "p", np.array([[0, 0, word - old]], i32)), "readout", patch="p")


def patch_at(row: int, column: int) -> IntegerGraph:
    return with_node(with_constant(TINY, "p", np.array([[row, column, 0]], i32)), "readout", patch="p")


ADDED = mixed_graph(residual=True)
ADD = node_of(ADDED, Add).name
WIDE = mixed_graph(family="kwta", hidden=20)
NOISE, RANK = node_of(THERMAL, ThermalNoise).name, node_of(KWTA, TopK).name
UNITS = KWTA.tensors[KWTA.node(RANK).input].shape[0]
LIMITS: dict[str, tuple[tuple[str, Callable[[Any], IntegerGraph]], Any, Any]] = {
    # name: (node, value -> graph), least and greatest value that are accepted; one less and one more are not
    "classes": (("argmax", argmax), 2, 65536),
    "fail_q": (field(TINY, "cortex0", "fail_q"), 0, 65536),
    "decay": (field(TINY, "cortex0", "decay_q15"), 0, 32768),
    "refractory decay": (field(TINY, "cortex0", "refractory_decay_q15"), 0, 32768),
    "fail stream": (field(TINY, "cortex0", "fail_stream", noise_stream=7), 0, 65535),
    "noise stream": (field(TINY, "cortex0", "noise_stream", fail_stream=7), 0, 65535),
    "sigma": (filled(TINY, "cortex0", "cortex0_sigma"), 0, 32767),
    "sigma shift": (field(TINY, "cortex0", "sigma_shift"), 1, 30),
    "multiplier": (filled(STATEFUL, "cortex0_requantize", "cortex0_multiplier"), 2**30, 2**31 - 1),
    "shift": (filled(STATEFUL, "cortex0_requantize", "cortex0_shift"), 31, 61),
    "clip low": (field(STATEFUL, "cortex0_requantize", "low", high=0), -32768, -1),
    "clip high": (field(STATEFUL, "cortex0_requantize", "high", low=0), 1, 32767),
    "flipped word": (("readout", flip_to), -128, 127),
    "patched row": (("readout", lambda value: patch_at(value, 0)), 0, 3),
    "patched column": (("readout", lambda value: patch_at(0, value)), 0, 7),
    "k of TopK": (field(KWTA, RANK, "k"), 1, UNITS),
    "gain": (field(ADDED, ADD, "gain"), 1, 32767),
    "the other gain": (field(ADDED, ADD, "other_gain"), 1, 32767),
    "dropped winners": (field(KWTA, RANK, "dropped"), 0, 7),
    "the last droppable winner": (field(WIDE, RANK, "dropped", k=17), 0, 65535),
    "k of noise": (field(THERMAL, NOISE, "k", k_max=1000), 0, 1000),
    "k_max": (field(THERMAL, NOISE, "k_max", k=0), 0, 2**30 - 1),
    "shift a": (field(THERMAL, NOISE, "shift_a"), 1, 30),
    "shift b": (field(THERMAL, NOISE, "shift_b"), 1, 30),
    "thermal stream": (field(THERMAL, NOISE, "stream"), 0, 65535),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits_of_nodes(name: str) -> None:
    (node, graph), least, greatest = LIMITS[name]
    assert holds(graph(least), node)
    assert holds(graph(greatest), node)
    if name != "multiplier":  # one more is no int32
        assert not holds(graph(greatest + 1), node)
    if name != "classes":
        assert not holds(graph(least - 1), node)


def test_ticks_of_a_layer() -> None:
    for ticks, good in ((1, True), (127, True), (0, False), (128, False)):
        assert holds(with_node(TINY, "cortex0", ticks=ticks), "cortex0") == good


@pytest.mark.parametrize(("height", "good"), [(4096, True), (4097, False)])
def test_what_windows_may_gather(height: int, good: bool) -> None:
    """A 1 x 1 convolution over channels x height x width: 2^26 codes at 4096 x 4096 x 4."""
    conv = next(n for n in VISION.nodes if type(n).__name__ == "Conv")
    graph = with_tensor(VISION, conv.input, shape=(4, height, 4096))
    graph = with_tensor(graph, conv.output, shape=(1, height, 4096))
    graph = with_constant(graph, conv.weight, np.ones((1, 4, 1, 1), np.int8), 8, (0.1,))  # type: ignore[attr-defined]
    graph = with_constant(graph, conv.bias, np.zeros(1, i32))  # type: ignore[attr-defined]
    assert holds(with_node(graph, conv.name, pad=(0, 0), stride=(1, 1)), conv.name) == good


@pytest.mark.parametrize(("kernel", "pad", "stride", "good"), [(1, 0, 1, True), (2, 1, 1, True), (2, 2, 1, False), (2, 0, 0, False)])
def test_windows(kernel: int, pad: int, stride: int, good: bool) -> None:
    conv = next(n for n in VISION.nodes if type(n).__name__ == "Conv")
    _, height, width = VISION.tensors[conv.input].shape

    def size(n: int) -> int:
        return (n + 2 * pad - kernel) // max(stride, 1) + 1

    graph = with_tensor(VISION, conv.output, shape=(3, size(height), size(width)))
    graph = with_constant(graph, conv.weight, np.ones((3, 1, kernel, kernel), np.int8), 8, (0.1,))  # type: ignore[attr-defined]
    assert holds(with_node(graph, conv.name, pad=(pad, pad), stride=(stride, stride)), conv.name) == good


def test_a_sampled_layer_has_no_reader_but_readouts() -> None:
    graph = chaos_graph(Spec(sampling="binomial", noise=False))
    readout = graph.node("readout")
    assert isinstance(readout, Readout)
    other = replace(TINY.node("cortex0_matmul"), name="other", input=readout.input)
    graph = replace(graph, nodes=(*graph.nodes, other))
    assert not holds(graph, "cortex0")


@pytest.mark.parametrize(
    ("change", "good"),
    [
        (lambda g: with_tensor(g, "logits", ticks=127), True),
        (lambda g: with_tensor(g, "logits", ticks=-1), False),
        (lambda g: with_tensor(g, "logits", shape=(-1,)), False),
        (lambda g: with_tensor(g, "logits", shape=(4, 0)), False),
        (lambda g: with_tensor(g, "logits", shape=(0, 4)), False),
        (lambda g: with_tensor(g, "logits", scale=0.0), False),
        (lambda g: with_tensor(g, "logits", scale=float("inf")), False),
        (lambda g: with_tensor(g, "logits", scale=1e-300), True),
        (lambda g: with_tensor(g, "logits", shape=(1 << 26,)), True),
        (lambda g: with_tensor(g, "logits", shape=((1 << 26) + 1,)), False),
        (lambda g: with_constant(g, "c", np.zeros(1, i32)), True),
        (lambda g: with_constant(g, "c", np.full(3, -8, np.int8), 4), True),
        (lambda g: with_constant(g, "c", np.full(3, 7, np.int8), 4), True),
        (lambda g: with_constant(g, "c", np.full(3, 8, np.int8), 4), False),
        (lambda g: with_constant(g, "c", np.full(3, -9, np.int8), 4), False),
        (lambda g: with_constant(g, "c", np.full(3, 2, np.int8), 2), False),
        (lambda g: with_constant(g, "c", np.full(3, 0, np.uint32), 32), True),
        (lambda g: with_constant(g, "c", np.full(3, 0, np.int64), 64), False),
    ],
)
def test_limits_of_tensors_and_constants(change: Callable[[IntegerGraph], IntegerGraph], good: bool) -> None:
    from edgechaos.graph.validation import _check_constant, _check_tensor

    graph = change(TINY)
    try:
        _check_tensor(graph.tensors["logits"])
        for name in graph.constants:
            _check_constant(name, graph.constants[name])
        assert good
    except GraphError:
        assert not good


def test_a_constant_without_elements_or_with_too_many() -> None:
    from edgechaos.graph.validation import _check_constant

    for size, good in ((1 << 26, True), ((1 << 26) + 1, False), (0, False)):
        constant = Constant(np.broadcast_to(np.zeros(1, np.int8), size), 8)
        if good:
            _check_constant("c", constant)
        else:
            with pytest.raises(GraphError, match="not acceptable"):
                _check_constant("c", constant)


def one_neuron(drive: int, **changes: Any) -> IntegerGraph:
    """Drive and threshold of one neuron are given: its matrix is zero, its bias the drive; threshold 5, no losses."""
    sampling = changes.pop("sampling", "ticks")
    graph = chaos_graph(sizes=(1, 1, 1), ticks=3, fail_q=0, noise=False, sampling=sampling, **changes)
    graph = with_constant(graph, "cortex0_weight", np.zeros((1, 1), np.int8), 8)
    graph = with_constant(graph, "cortex0_bias", np.array([drive], i32))
    graph = with_constant(graph, "readout_weight", np.ones((1, 1), np.int8), 8, (0.1,))
    graph = with_constant(graph, "readout_bias", np.zeros(1, i32))
    return with_constant(graph, "cortex0_threshold", np.array([5], i32))


@pytest.mark.parametrize(("sampling", "fired"), [("ticks", 3), ("binomial", 3), ("expected", 768)])
def test_a_neuron_at_its_threshold_does_not_fire(sampling: str, fired: int) -> None:
    for drive, logit in ((4, 0), (5, 0), (6, fired)):
        found = reference.run(one_neuron(drive, sampling=sampling), np.zeros((1, 1), np.int8))
        assert found.logits.tolist() == [[logit]]


def test_a_membrane_at_its_threshold_does_not_fire() -> None:
    """Stateful, full leak, rescaling by one: the membrane is the drive at every tick while nothing fired."""
    for drive, logit in ((5, 0), (6, 1)):
        graph = with_constant(one_neuron(drive, mode="stateful"), "cortex0_multiplier", np.array([2**30], i32))
        graph = with_constant(graph, "cortex0_shift", np.array([30 + 1], i32))
        graph = with_constant(graph, "cortex0_bias", np.array([2 * drive], i32))
        graph = with_node(graph, "cortex0", decay_q15=32768, refractory_decay_q15=32768, ticks=3)
        assert reference.run(graph, np.zeros((1, 1), np.int8)).logits.tolist() == [[logit]]


def test_biases_at_the_end_of_int32() -> None:
    last = 2**31 - 1
    assert rounding.bias_codes([last, -last, 0.5], "here").tolist() == [last, -last, 1]
    for beyond in ([2.0**31, 0.0], [0.0, -(2.0**31)]):
        with pytest.raises(AccumulatorOverflow, match="node 'here': bias of 2,147,483,648 code units") as caught:
            rounding.bias_codes(beyond, "here")
        assert caught.value.node == "here"


def test_fractions_in_fifteen_bits() -> None:
    assert [rounding.q15(f) for f in (0.0, 0.02, 0.95, 1.0, 1.5 / 32768)] == [0, 655, 31130, 32768, 2]


def test_sigma_takes_the_largest_shift_that_fits() -> None:
    sigma, shift = rounding.sigma_multipliers([32767 * 2.0**13 / 2.0**30], "x")
    assert (sigma.tolist(), shift) == ([32767], 30)
    sigma, shift = rounding.sigma_multipliers([32768 * 2.0**13 / 2.0**30], "x")
    assert (sigma.tolist(), shift) == ([16384], 29)
    sigma, shift = rounding.sigma_multipliers([32767 * 2.0**13 / 2.0], "x")
    assert (sigma.tolist(), shift) == ([32767], 1)
    assert rounding.sigma_multipliers([0.0], "x")[1] == 30
    sigma, shift = rounding.sigma_multipliers([1e-9, 32767 * 2.0**13 / 2.0**20, 0.0], "x")
    assert (sigma.tolist(), shift) == ([0, 32767, 0], 20)
    with pytest.raises(UnsupportedError, match=r"'x': noise of 1\.34222e\+08 code units"):
        rounding.sigma_multipliers([1.0, 32769 * 2.0**12], "x")
    with pytest.raises(UnsupportedError):
        rounding.sigma_multipliers([32768 * 2.0**13 / 2.0], "x")


def test_the_largest_shift_of_thermal_noise() -> None:
    assert thermal._largest_shift(1.0, 1 << 20, "x") == 20
    assert thermal._largest_shift(1.0, (1 << 20) - 1, "x") == 19
    assert thermal._largest_shift(1.0, 2, "x") == 1
    assert thermal._largest_shift(1e-9, 100, "x") == 30
    with pytest.raises(UnsupportedError, match="'x': thermal noise"):
        thermal._largest_shift(1.0, 1, "x")


def test_the_bound_of_thermal_noise_by_hand() -> None:
    """norm = isqrt(n * 128^2), amplitude and noise rounded half up; G is at most 24,976 of 2^-13."""
    from edgechaos.graph.rules import GAUSSIAN_MAX

    node = node_of(THERMAL, ThermalNoise)
    assert isinstance(node, ThermalNoise)
    size = THERMAL.tensors[node.codes].size
    norm = int((size * 128**2) ** 0.5)
    before = THERMAL.analysis.bounds[node.input][1]
    for shift_a, shift_b, k_max in ((9, 14, 200), (1, 20, 1), (14, 12, 3000), (4, 30, 100_000)):
        graph = with_node(THERMAL, node.name, shift_a=shift_a, shift_b=shift_b, k_max=k_max, k=0)
        amplitude = min(32767, int(norm * k_max / 2**shift_a + 0.5))
        noise = int(GAUSSIAN_MAX * amplitude / 2**shift_b + 0.5)
        assert graph.analysis.bounds[node.output] == (-before - noise, before + noise)


def test_the_bound_of_a_spiking_layers_noise_by_hand() -> None:
    from edgechaos.graph.rules import GAUSSIAN_MAX

    layer = TINY.node("cortex0")
    assert isinstance(layer, ChaosLayer)
    largest = int(TINY.value("cortex0_sigma").max())
    assert layer.noise_bound(TINY) == largest * GAUSSIAN_MAX
    noise = int(largest * GAUSSIAN_MAX / 2**layer.sigma_shift + 0.5)
    reach = 12 * 128 * 128
    for bias, good in ((2**31 - 1 - noise - reach, True), (2**31 - noise - reach, False)):
        graph = with_constant(TINY, "cortex0_bias", np.full(8, bias, i32))
        if good:
            assert graph.analysis.bounds
        else:
            with pytest.raises(AccumulatorOverflow, match="drive plus noise"):
                _ = graph.analysis.bounds


def test_bounds_of_every_kind() -> None:
    bounds = chaos_graph(sizes=(6, 5, 4, 3), ticks=6).analysis.bounds
    assert (bounds["cortex0_spikes"], bounds["cortex1_count"], bounds["label"]) == ((0, 1), (0, 6), (0, 2))
    assert chaos_graph(sampling="expected", noise=False, ticks=6).analysis.bounds["cortex0_count"] == (0, 1)
    kwta = KWTA.analysis.bounds
    assert kwta[KWTA.node(RANK).output] == (-32768, 32767)
    clipped = with_node(KWTA, str(KWTA.producer(KWTA.node(RANK).input).name), low=5, high=9)  # type: ignore[union-attr]
    assert clipped.analysis.bounds[KWTA.node(RANK).output] == (0, 9)
    clipped = with_node(KWTA, str(KWTA.producer(KWTA.node(RANK).input).name), low=-9, high=-5)  # type: ignore[union-attr]
    assert clipped.analysis.bounds[KWTA.node(RANK).output] == (-9, 0)


@pytest.mark.parametrize(("neurons", "wrong"), [((7, 8, 9), 8), ((3, -1), -1), ((8,), 8)])
def test_the_neuron_that_is_not_there_is_named(neurons: tuple[int, ...], wrong: int) -> None:
    with pytest.raises(Exception, match=rf"has neurons 0..7, not {wrong}$"):
        resolve(TINY, FaultPlan((DeadNeurons(neurons=neurons),)))


def test_tensor_names() -> None:
    """The helper of this module really breaks rules."""
    assert not holds(replace(TINY, tensors={**TINY.tensors, "logits": Tensor("logits", "int8", (4,))}), "readout")
    assert TEXT.heads


@pytest.mark.parametrize(("words", "good"), [(65534, True), (65535, False)])
def test_the_largest_vocabulary(words: int, good: bool) -> None:
    """65,536 ids, two of them padding and the unknown word."""
    from edgechaos.graph.kinds.embedding_bag import EmbeddingBag
    from edgechaos.graph.tokenizer import Text

    bag = node_of(TEXT, EmbeddingBag)
    assert isinstance(bag, EmbeddingBag)
    graph = with_constant(TEXT, bag.weight, np.zeros((words + 2, 5), np.int8), 8, (0.1,))
    encoding = replace(TEXT.heads[0].encoding, text=Text(tuple(f"w{i}" for i in range(words))))
    graph = replace(graph, heads=(replace(TEXT.heads[0], encoding=encoding),))
    assert holds(graph, bag.name) == good
    if good:
        graph.validate()
    else:
        with pytest.raises(GraphError):
            graph.validate()


def test_a_vocabulary_of_one_id_and_none() -> None:
    from edgechaos.graph.kinds.embedding_bag import EmbeddingBag

    bag = node_of(TEXT, EmbeddingBag)
    assert isinstance(bag, EmbeddingBag)
    for rows, good in ((2, True), (1, False)):
        assert holds(with_constant(TEXT, bag.weight, np.zeros((rows, 5), np.int8), 8, (0.1,)), bag.name) == good


@pytest.mark.parametrize(("low", "high", "good"), [(0, 5, True), (-5, 0, True), (1, 5, False), (-5, -1, False)])
def test_the_clip_of_an_embedding_holds_zero(low: int, high: int, good: bool) -> None:
    bag = next(n for n in TEXT.nodes if type(n).__name__ == "EmbeddingBag")
    assert holds(with_node(TEXT, bag.name, low=low, high=high), bag.name) == good


@pytest.mark.parametrize("bits", [23, 24, 61, 62])
def test_shifts_of_an_embedding_may_be_finer(bits: int) -> None:
    bag = next(n for n in TEXT.nodes if type(n).__name__ == "EmbeddingBag")
    shift = TEXT.value(bag.shift)  # type: ignore[attr-defined]
    graph = with_constant(TEXT, bag.shift, np.full(shift.shape, bits, i32))  # type: ignore[attr-defined]
    assert holds(graph, bag.name) == (24 <= bits <= 61)


def test_a_mask_with_one_wrong_entry() -> None:
    for last, good in ((1, True), (2, False), (-1, False)):
        mask = np.array([0, 1, 0, 1, 1, 0, 0, last], np.int8)
        assert holds(with_node(with_constant(TINY, "m", mask, 8), "cortex0", dead="m"), "cortex0") == good


def test_a_multiplier_that_rounds_up_to_the_next_power() -> None:
    multiplier, shift = rounding.multiplier_shift(0.5 * (1 - 2.0**-40), "x")
    assert (multiplier.tolist(), shift.tolist()) == ([2**30], [31])
    multiplier, shift = rounding.multiplier_shift(0.25, "x")
    assert (multiplier.tolist(), shift.tolist()) == ([2**30], [32])


def nested(depth: int, inside: Any) -> dict[str, Any]:
    for k in range(depth):
        inside = (inside,) if k % 3 == 0 else [inside] if k % 3 == 1 else {"key": inside}
    return {"top": inside}


@pytest.mark.parametrize(
    ("metadata", "good"),
    [
        ({"a": ["text", ("more", 1.5)], "b": {"c": None}}, True),
        ({"a": ["text", ("esc\x1b",)]}, False),
        ({"a": [{"esc\x1b": 1}]}, False),
        ({"a": "esc\x1b"}, False),
        (nested(30, []), True),
        (nested(30, 1), True),
        (nested(31, [1]), False),
    ],
)
def test_what_metadata_may_hold(metadata: dict[str, Any], good: bool) -> None:
    graph = replace(TINY, metadata=metadata)
    if good:
        graph.validate()
    else:
        with pytest.raises(GraphError, match="metadata"):
            graph.validate()
