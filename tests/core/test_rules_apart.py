"""Each part of a rule broken alone: a check that asks for two things at once must ask for either."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields, replace
from typing import Any

import numpy as np
import pytest

from edgechaos.graph import rules
from edgechaos.graph.analysis import Analysis
from edgechaos.graph.drawing import GENERATOR
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.average_pool import AveragePool
from edgechaos.graph.kinds.chaos_layer import ChaosLayer
from edgechaos.graph.kinds.conv import Conv
from edgechaos.graph.kinds.embedding_bag import EmbeddingBag
from edgechaos.graph.kinds.lut import Lut
from edgechaos.graph.kinds.max_pool import MaxPool
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from edgechaos.graph.kinds.topk import TopK
from edgechaos.graph.node import NODE_KINDS, Node
from edgechaos.graph.tensors import Constant, Tensor
from edgechaos.support.errors import AccumulatorOverflow, GraphError
from tests.core.test_graph import with_constant, with_node, with_tensor
from tests.helpers.graphs import chaos_graph
from tests.helpers.mixed_graphs import mixed_graph

i8, i32 = np.int8, np.int32
TINY, STATEFUL, CHAIN = chaos_graph(), chaos_graph(mode="stateful"), chaos_graph(sizes=(6, 5, 4, 3))
SAMPLED = chaos_graph(sampling="binomial", noise=False)
VISION, POOLED = mixed_graph(), mixed_graph(pool="average", residual=True, spiking=False, silent=True)
TEXT, KWTA, THERMAL = (mixed_graph(family=f) for f in ("text", "kwta", "thermal"))  # type: ignore[arg-type]
GRAPHS = {
    "tiny": TINY,
    "stateful": STATEFUL,
    "chain": CHAIN,
    "vision": VISION,
    "pooled": POOLED,
    "text": TEXT,
    "kwta": KWTA,
    "thermal": THERMAL,
}


def of(graph: IntegerGraph, kind: type[Node]) -> str:
    return next(n.name for n in graph.nodes if isinstance(n, kind))


def holds(graph: IntegerGraph, name: str) -> bool:
    """Whether the rules of that node's kind are kept; nothing else is checked."""
    try:
        graph.node(name).check(graph)
    except GraphError:
        return False
    return True


def tensors_broken(tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """One thing of a tensor changed."""
    for dtype in ("int8", "int16", "int32", "uint16"):
        if dtype != tensor.dtype:
            yield dtype, replace(tensor, dtype=dtype)
    for axis, size in enumerate(tensor.shape):
        yield f"axis {axis}", replace(tensor, shape=(*tensor.shape[:axis], size + 1, *tensor.shape[axis + 1 :]))
    yield "one axis more", replace(tensor, shape=(*tensor.shape, 1))
    yield "ticks", replace(tensor, ticks=tensor.ticks + 1)


def constants_broken(constant: Constant) -> Iterator[tuple[str, Constant]]:
    """One thing of a constant changed."""
    value = constant.value
    for dtype in (np.int8, np.int16, np.int32):
        if dtype != value.dtype:
            yield np.dtype(dtype).name, replace(constant, value=value.astype(dtype), bits=8 * np.dtype(dtype).itemsize)
    yield "one axis more", replace(constant, value=value[..., None])
    yield "one entry more", replace(constant, value=np.concatenate([value, value[:1]]))


ACCEPTED = {
    "ArgMax input axis 0",
    "EmbeddingBag weight one entry more",
    "MatMul input one axis more",
    "Readout input one axis more",
    "Requantize input int16",
    "Requantize input int32",
    "Requantize output int16",
    "ThermalNoise input int16",
    "ThermalNoise input int8",
    "ThermalNoise input uint16",
}
"""What another dtype, size or number of ticks leaves sound for that node alone."""


def broken(graph: IntegerGraph) -> Iterator[tuple[str, bool]]:
    """For each node and each thing of what it reads or writes: whether it is still accepted."""
    for node in graph.nodes:
        kind = type(node).__name__
        for role, name in {"input": node.input, "output": node.output}.items():
            for what, tensor in tensors_broken(graph.tensors[name]):
                yield f"{kind} {role} {what}", holds(replace(graph, tensors={**graph.tensors, name: tensor}), node.name)
        for role, name in node.constants():
            for what, constant in constants_broken(graph.constants[name]):
                yield f"{kind} {role} {what}", holds(replace(graph, constants={**graph.constants, name: constant}), node.name)


@pytest.mark.parametrize("name", GRAPHS)
def test_every_part_of_every_kinds_rules(name: str) -> None:
    accepted = {what for what, good in broken(GRAPHS[name]) if good}
    assert accepted <= ACCEPTED


def masked(graph: IntegerGraph, node: str, what: str, value: Any, bits: int = 8) -> IntegerGraph:
    return with_node(with_constant(graph, f"{node}_{what}_mask", np.asarray(value), bits), node, **{what: f"{node}_{what}_mask"})


def one_wrong(graph: IntegerGraph, constant: str, wrong: int) -> IntegerGraph:
    """The last entry alone."""
    value = graph.value(constant).copy()
    value.reshape(-1)[-1] = wrong
    stored = graph.constants[constant]
    return with_constant(graph, constant, value, stored.bits, stored.scale)


def flipped(graph: IntegerGraph, node: str, rows: Any, bits: int = 32) -> IntegerGraph:
    """Rows (row, column, delta) as a fault's patch of that node."""
    return with_node(with_constant(graph, "rows", np.asarray(rows, i32) if bits == 32 else rows, bits), node, patch="rows")


def text_of(tokens: int, size: int) -> IntegerGraph:
    """Vectors of that size, of texts of so many tokens."""
    bag = TEXT.node(of(TEXT, EmbeddingBag))
    assert isinstance(bag, EmbeddingBag)
    graph = with_tensor(with_tensor(TEXT, bag.input, shape=(tokens,)), bag.output, shape=(size,))
    graph = with_constant(graph, bag.weight, np.zeros((2, size), i8), 8)
    graph = with_constant(graph, bag.multiplier, np.full(tokens + 1, 2**30, i32))
    return with_constant(graph, bag.shift, np.full(tokens + 1, 31, i32))


C, ADD, RANK = "cortex0", of(POOLED, NODE_KINDS["Add"]), of(KWTA, TopK)
PLAIN = next(n.name for n in POOLED.nodes if isinstance(n, Requantize) and n.slots(POOLED))
SCALED, POOL = of(VISION, Requantize), of(VISION, MaxPool)
ALONE: dict[str, tuple[IntegerGraph, str]] = {
    "gain of Add": (with_node(POOLED, ADD, gain=0), ADD),
    "the other gain of Add": (with_node(POOLED, ADD, other_gain=0), ADD),
    "gain of Add, beyond": (with_node(POOLED, ADD, gain=32768), ADD),
    "the other gain of Add, beyond": (with_node(POOLED, ADD, other_gain=32768), ADD),
    "Add of a tensor to itself": (with_node(POOLED, ADD, other=POOLED.node(ADD).input), ADD),
    "stateful and sampled": (with_node(STATEFUL, C, sampling="binomial", sigma=None), C),
    "spikes and sampled": (with_node(with_tensor(SAMPLED, SAMPLED.node(C).output, ticks=SAMPLED.node(C).ticks), C, emit="spikes"), C),  # type: ignore[attr-defined]
    "noise and sampled": (with_node(TINY, C, sampling="binomial"), C),
    "both masks at one neuron of eight": (masked(masked(TINY, C, "dead", np.eye(8, dtype=i8)[3]), C, "stuck", np.eye(8, dtype=i8)[3]), C),
    "sigma of one neuron, negative": (one_wrong(TINY, "cortex0_sigma", -1), C),
    "sigma of one neuron, beyond": (one_wrong(TINY, "cortex0_sigma", 2**15), C),
    "one multiplier of several": (one_wrong(VISION, VISION.node(SCALED).multiplier, 1), SCALED),  # type: ignore[attr-defined]
    "one shift of several": (one_wrong(VISION, VISION.node(SCALED).shift, 62), SCALED),  # type: ignore[attr-defined]
    "one flipped word of two, beyond": (flipped(TINY, "readout", [[0, 0, 0], [0, 1, 255]]), "readout"),
    "one flipped word of two, below": (flipped(TINY, "readout", [[0, 1, -255], [1, 1, 0]]), "readout"),
    "one of three words twice": (flipped(TINY, "readout", [[1, 0, 0], [0, 0, 0], [1, 0, 0]]), "readout"),
    "a flipped word of a convolution, outside": (flipped(VISION, of(VISION, Conv), [[0, 9, 0]]), of(VISION, Conv)),
    "a flipped word of an embedding, outside": (flipped(TEXT, of(TEXT, EmbeddingBag), [[30, 0, 0]]), of(TEXT, EmbeddingBag)),
    "flipped words in 16 bits": (flipped(TINY, "readout", np.zeros((1, 3), np.int16), 16), "readout"),
    "flipped words with an axis more": (flipped(TINY, "readout", np.zeros((1, 3, 1), i32)), "readout"),
    "flipped words without rows": (flipped(TINY, "readout", np.zeros(3, i32)), "readout"),
    "codes that the matrix did not read": (
        with_node(THERMAL, of(THERMAL, ThermalNoise), codes=THERMAL.nodes[-3].output),
        of(THERMAL, ThermalNoise),
    ),
    "a kernel one larger than its padded image": (
        with_tensor(with_node(VISION, POOL, kernel=(8, 1), stride=(1, 1)), VISION.node(POOL).output, shape=(3, 0, 6)),
        POOL,
    ),
    "token vectors beyond 2^26 codes": (text_of(1024, 65537), of(TEXT, EmbeddingBag)),
    "decay, negative": (with_node(TINY, C, decay_q15=-1), C),
    "refractory decay, negative": (with_node(TINY, C, refractory_decay_q15=-1), C),
    "equal streams": (with_node(TINY, C, fail_stream=5, noise_stream=5), C),
    "dead units of an int16": (
        with_tensor(
            masked(POOLED, PLAIN, "dead", np.zeros(POOLED.tensors[POOLED.node(PLAIN).input].shape[0], i8)),
            POOLED.node(PLAIN).output,
            dtype="int16",
        ),
        PLAIN,
    ),
}
for _mask, _dtype, _bits in (("of another dtype", i32, 32), ("of another size", i8, 8), ("with a 2", i8, 8)):
    for _graph, _node, _units in ((TINY, C, 8), (KWTA, RANK, KWTA.tensors[KWTA.node(RANK).input].shape[0])):
        _value = np.zeros(_units + (_mask == "of another size"), _dtype)
        _value[-1] = 2 if _mask == "with a 2" else 1
        ALONE[f"dead units of {_node}, {_mask}"] = (masked(_graph, _node, "dead", _value, _bits), _node)


@pytest.mark.parametrize("name", ALONE)
def test_one_broken_part_is_enough(name: str) -> None:
    graph, node = ALONE[name]
    assert not holds(graph, node)


def test_what_stays_within_those_limits_is_accepted() -> None:
    """Words in any order; a kernel as large as its image; vectors of 2^26 codes."""
    assert holds(flipped(TINY, "readout", [[1, 0, 0], [0, 7, 0], [0, 0, 0]]), "readout")
    assert holds(flipped(VISION, of(VISION, Conv), [[2, 8, 0]]), of(VISION, Conv))
    assert holds(flipped(TEXT, of(TEXT, EmbeddingBag), [[29, 4, 0]]), of(TEXT, EmbeddingBag))
    pooled = with_tensor(with_node(VISION, POOL, kernel=(7, 1), stride=(1, 1)), VISION.node(POOL).output, shape=(3, 1, 6))
    assert holds(pooled, POOL)
    assert holds(text_of(1024, 65536), of(TEXT, EmbeddingBag))


def test_masks_that_do_not_meet_are_accepted() -> None:
    assert holds(masked(masked(TINY, C, "dead", np.eye(8, dtype=i8)[3]), C, "stuck", np.eye(8, dtype=i8)[4]), C)


DEFAULTS: dict[str, dict[str, Any]] = {
    "AveragePool": {"kernel": (2, 2), "stride": (2, 2)},
    "ChaosLayer": {
        **dict.fromkeys(GENERATOR, 0),
        "mode": "parallel",
        "ticks": 1,
        "sigma_shift": 0,
        "decay_q15": 0,
        "refractory_decay_q15": 0,
        "fail_q": 0,
        "fail_stream": 0,
        "noise_stream": 1,
        "sampling": "ticks",
        "emit": "count",
        **{"state_from": 0, "state_ticks": 0, "state_of": 0},
    },
    "Conv": {"stride": (1, 1), "pad": (0, 0)},
    "EmbeddingBag": {"low": -128, "high": 127},
    "MaxPool": {"kernel": (2, 2), "stride": (2, 2)},
    "Readout": {"gain": 1},
    "Requantize": {"low": -128, "high": 127},
    "ThermalNoise": {**dict.fromkeys(GENERATOR, 0), "k": 0, "k_max": 0, "shift_a": 1, "shift_b": 1, "stream": 0},
    "TopK": {"k": 1, "dropped": 0, "k_shift": 0},
}
"""What stored graphs leave out: it may never change."""


@pytest.mark.parametrize("kind", DEFAULTS)
def test_defaults_are_part_of_the_format(kind: str) -> None:
    found = {f.name: f.default for f in fields(NODE_KINDS[kind]) if f.default is not MISSING and f.default is not None}
    assert repr(found) == repr(DEFAULTS[kind])


def test_every_kinds_defaults_are_listed() -> None:
    assert NODE_KINDS.keys() >= DEFAULTS.keys()


def test_products_per_sample() -> None:
    """Per output and per tick; a text's vectors are added without products."""
    assert TEXT.node(of(TEXT, EmbeddingBag)).macs(TEXT) == 0
    assert VISION.node(of(VISION, Conv)).macs(VISION) == 3 * 9 * 7 * 6
    assert [macs for n in CHAIN.nodes if (macs := n.macs(CHAIN))] == [30, 4 * 20, 12]
    assert [words.bits for n in CHAIN.nodes if (words := n.words(CHAIN)) is not None] == [8, 8, 8]


def test_what_a_layer_keeps_between_ticks() -> None:
    layer = TINY.node(C)
    assert isinstance(layer, ChaosLayer)
    neurons = TINY.tensors[layer.output].shape[0]
    assert [replace(layer, mode=mode, ticks=6).state_bytes(TINY) for mode in ("parallel", "stateful")] == [0, 4 * neurons]  # type: ignore[arg-type]
    assert replace(layer, ticks=6).steps(TINY) == 6
    assert {n.state_bytes(TEXT) for n in TEXT.nodes} == {0}
    assert [TEXT.node(of(TEXT, EmbeddingBag)).steps(TEXT), next(n.steps(CHAIN) for n in CHAIN.nodes)] == [1, 1]


def test_streams_of_a_layer() -> None:
    layer = TINY.node(C)
    assert isinstance(layer, ChaosLayer)
    assert replace(layer, fail_stream=6, noise_stream=9).streams() == (6, 9)
    assert replace(layer, fail_stream=6, noise_stream=9, sigma=None).streams() == (6,)


def test_slots_of_a_layer() -> None:
    """Names, dtypes, lengths and limits: what a device takes."""
    common = [
        ("dead", "bool", 8, 0, 1),
        ("stuck", "bool", 8, 0, 1),
        ("fail_q", "uint32", 1, 0, 65536),
        ("threshold", "int32", 8, -(2**31), 2**31 - 1),
    ]
    decays = [("decay_q15", "uint16", 1, 0, 32768), ("refractory_decay_q15", "uint16", 1, 0, 32768)]
    ticks = SAMPLED.node(C).ticks  # type: ignore[attr-defined]
    state = [(name, "uint16", 8, 0, 65535) for name in ("state_clear", "state_flip")]
    state += [("state_from", "uint8", 1, 0, 127), ("state_ticks", "uint8", 1, 0, 127), ("state_of", "uint8", 1, 0, 1)]
    generator = [(name, "uint32", 1, 0, 2**32 - 1) for name in ("draw_clear", "draw_set", "draw_period", "draw_repeat")]
    for graph, more in ((TINY, []), (STATEFUL, decays + state), (SAMPLED, [("table", "uint32", ticks, 0, 2**31)])):
        slots = graph.node(C).slots(graph)
        assert [(s.name, s.dtype, s.length, s.low, s.high) for s in slots] == common + more + generator
        assert [s.name for s in slots if s.refused] == (["stuck"] if graph is SAMPLED else [])
        assert [s.excludes for s in slots][:2] == ["", "dead"]


def test_a_table_that_moves_0_in_one_channel_alone() -> None:
    table = np.zeros((1, 3, 256), i8)[0]
    table[1, 128] = 1
    lut = of(VISION, Lut)
    graph = with_constant(VISION, VISION.node(lut).table, table, 8)  # type: ignore[attr-defined]
    assert not graph.node(lut).maps_zero_to_zero(graph)
    silent = with_constant(VISION, VISION.node(lut).table, 0 * table, 8)  # type: ignore[attr-defined]
    assert silent.node(lut).maps_zero_to_zero(silent)


def test_units_are_ordered_by_what_they_are() -> None:
    """Plain layers stand before the spiking one, and are numbered after it."""
    kinds = [n.unit_kind for n in Analysis(VISION).unit_nodes]
    assert kinds == ["spiking", *["plain"] * (len(kinds) - 1)]
    assert len(kinds) > 1
    assert next(n.unit_kind for n in VISION.nodes if n in VISION.analysis.unit_nodes) == "plain"


def test_the_largest_draw() -> None:
    assert rules.GAUSSIAN_MAX == 27011


@pytest.mark.parametrize("shift", [1, 16, 20])
def test_a_drive_up_to_the_last_integer(shift: int) -> None:
    """The largest noise is rounded to nearest, half up."""
    graph = with_node(with_constant(TINY, "cortex0_sigma", np.full(8, 25001, i32)), C, sigma_shift=shift)
    noise = (27011 * 25001 + 2 ** (shift - 1)) // 2**shift
    node, most = graph.node(C), 2**31 - 1 - noise
    for low, high in ((0, most), (-most, 0)):
        node.bound(graph, {node.input: (low, high)})
    for low, high in ((0, most + 1), (-most - 1, 0)):
        with pytest.raises(AccumulatorOverflow, match="drive plus noise"):
            node.bound(graph, {node.input: (low, high)})


def test_a_layer_without_noise_has_its_drive_for_itself() -> None:
    node = SAMPLED.node(C)
    assert isinstance(node, ChaosLayer)
    for shift in (0, 5):
        assert replace(node, sigma_shift=shift).bound(SAMPLED, {node.input: (0, 2**31 - 1)})[0] == 0


def test_pooled_sums_are_int32() -> None:
    assert POOLED.tensors[POOLED.node(of(POOLED, AveragePool)).output].dtype == "int32"


def test_noise_of_a_layer_without_sigma() -> None:
    layer, silent = SAMPLED.node(C), with_constant(TINY, "cortex0_sigma", np.zeros(8, i32))
    assert isinstance(layer, ChaosLayer)
    assert layer.noise_bound(SAMPLED) == 0
    assert silent.node(C).noise_bound(silent) == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(("low", "high", "silent"), [(0, 127, True), (-128, 0, True), (1, 127, False), (-128, -1, False), (-1, 1, True)])
def test_a_clip_that_holds_zero_is_silent_where_a_unit_is_dead(low: int, high: int, silent: bool) -> None:
    graph = with_node(POOLED, PLAIN, low=low, high=high)
    assert (graph.node(PLAIN).zero_is_not_silent(graph) is None) == silent  # type: ignore[attr-defined]
