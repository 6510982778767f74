"""Rules of whole graphs, of items and of limits, each part broken alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.arithmetic.random_bits import RANDOM_ID
from edgechaos.arithmetic.rounding import multiplier_shift
from edgechaos.faults.plan import FaultPlan
from edgechaos.graph.heads import Encoding
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from edgechaos.support.errors import DataError, GraphError, ShapeError, UnsupportedError
from tests.core.test_graph import with_constant, with_head, with_node, with_tensor
from tests.core.test_rules_apart import TEXT, THERMAL, TINY, VISION, C, i8, one_wrong
from tests.helpers.graphs import codes_for
from tests.helpers.mixed_graphs import mixed_graph

SIGNALS: list[tuple[dict[str, Any], bool]] = [
    ({"kind": "signals", "mean": (0.0, 1.0), "reach": (1.0, 2.0)}, True),
    ({"kind": "signals", "mean": (0.0,), "reach": (1.0,)}, True),
    ({"kind": "signals", "mean": (0.0, 1.0), "reach": (1.0,)}, False),
    ({"kind": "signals", "mean": (0.0,) * 5, "reach": (1.0,) * 5}, False),
    ({"kind": "signals", "mean": (), "reach": ()}, False),
    ({"kind": "codes", "mean": (0.0,), "reach": (1.0,)}, False),
    ({"kind": "signals", "mean": (0.1,), "reach": (1.0,)}, False),
    ({"kind": "signals", "mean": (0.0, 0.1), "reach": (1.0, 1.0)}, False),
    ({"kind": "signals", "mean": (0.0,), "reach": (0.1,)}, False),
    ({"kind": "signals", "mean": (0.0,), "reach": (2.0**-90,)}, True),
    ({"kind": "signals", "mean": (0.0,), "reach": (2.0**90,)}, True),
    ({"kind": "signals", "mean": (0.0,), "reach": (2.0**-91,)}, False),
    ({"kind": "signals", "mean": (0.0,), "reach": (2.0**91,)}, False),
    ({"kind": "signals", "mean": (0.0, 0.0), "reach": (1.0, 2.0**91)}, False),
]


def validates(graph: IntegerGraph) -> bool:
    try:
        graph.validate()
    except GraphError:
        return False
    return True


@pytest.mark.parametrize(("encoding", "good"), SIGNALS)
def test_signals_of_six_or_twelve_inputs(encoding: dict[str, Any], good: bool) -> None:
    assert THERMAL.tensors["codes"].size % 2 == 0
    assert THERMAL.tensors["codes"].size % 5 != 0
    assert validates(with_head(THERMAL, encoding=Encoding(**encoding))) == good


ACCEPTABLE, POSITIVE, SITE = "is not acceptable", "scale is not a positive number", "two nodes have one site, or one beyond"


FOUR_BITS = "a value does not fit 4 bits"


GLOBAL: list[tuple[Callable[[], IntegerGraph], str | None]] = [
    (lambda: with_head(TINY, classes=("a", "b", "c", "d")), None),
    (lambda: with_head(TINY, classes=("a", "b", "c", "d\n")), "not printable"),
    (lambda: with_tensor(TINY, "logits", shape=(4, 0)), ACCEPTABLE),
    (lambda: with_tensor(TINY, "logits", shape=(0, 4)), ACCEPTABLE),
    (lambda: with_constant(TINY, "readout_weight", TINY.value("readout_weight"), 8, (1.0, 0.0)), POSITIVE),
    (lambda: with_constant(TINY, "readout_weight", TINY.value("readout_weight"), 8, (0.0, 1.0)), POSITIVE),
    (lambda: with_constant(TINY, "readout_weight", TINY.value("readout_weight"), 8, (float("inf"),)), POSITIVE),
    (lambda: with_constant(TINY, "readout_weight", TINY.value("readout_weight"), 8, (float("nan"),)), POSITIVE),
    (lambda: one_wrong(with_constant(TINY, "readout_weight", 0 * TINY.value("readout_weight"), 4), "readout_weight", 7), None),
    (lambda: one_wrong(with_constant(TINY, "readout_weight", 0 * TINY.value("readout_weight"), 4), "readout_weight", 8), FOUR_BITS),
    (lambda: one_wrong(with_constant(TINY, "readout_weight", 0 * TINY.value("readout_weight"), 4), "readout_weight", -8), None),
    (lambda: one_wrong(with_constant(TINY, "readout_weight", 0 * TINY.value("readout_weight"), 4), "readout_weight", -9), FOUR_BITS),
    (lambda: with_node(TINY, C, site=4095), None),
    (lambda: with_node(TINY, C, site=4096), SITE),
    (lambda: with_node(TINY, C, site=-1), SITE),
    (lambda: with_node(TINY, C, site=0), SITE),
    (lambda: with_node(TINY, "cortex0_matmul", site=0), None),
    (lambda: replace(TINY, heads=()), "at least one node and one head"),
    (lambda: replace(TINY, nodes=(), heads=()), "at least one node and one head"),
    (lambda: with_head(TINY, logits="cortex0_acc"), "must be the ArgMax of 'cortex0_acc'"),
    (lambda: with_head(TINY, label="cortex0_count"), "must be the ArgMax of 'logits'"),
    (lambda: with_head(TINY, label="input"), "must be the ArgMax of 'logits'"),
    (lambda: replace(TINY, heads=(*TINY.heads, replace(TINY.heads[0], name="second", input="nowhere"))), "input 'nowhere' is not declared"),
    (lambda: with_node(TINY, "argmax", output="input"), "writes 'input' a second time"),
    (lambda: with_head(THERMAL, logits="t4", label="t5"), "must be the ArgMax of 't4'"),
    (lambda: with_tensor(TINY, "input", ticks=1), "output must be int32 with the input's ticks"),
    (lambda: with_tensor(TEXT, "ids", ticks=1), "takes a uint16 vector"),
    (lambda: with_head(TEXT, encoding=Encoding("codes")), None),
    (lambda: with_head(TEXT, encoding=Encoding("signals", None, (0.0,), (1.0,))), "token ids are not signals"),
    (lambda: with_head(TEXT, encoding=Encoding("codes", TEXT.heads[0].encoding.text)), "encoding 'tokens', and no other, has a text"),
]


@pytest.mark.parametrize(("graph", "message"), GLOBAL)
def test_one_wrong_among_several(graph: Callable[[], IntegerGraph], message: str | None) -> None:
    if message is None:
        graph().validate()
    else:
        with pytest.raises(GraphError, match=message):
            graph().validate()


def test_plans_are_named_by_sixteen_digits() -> None:
    assert re.fullmatch("[0-9a-f]{16}", FaultPlan().id)
    assert FaultPlan().id == "4f53cda18c2baa0c"


def test_no_item_that_is_not_finite_becomes_codes() -> None:
    graph = with_head(THERMAL, encoding=Encoding("signals", None, (0.0,), (1.0,)))
    items = np.zeros((3, THERMAL.tensors["codes"].size), np.float32)
    assert not reference.encode(graph, items).any()
    items[2, 5] = np.nan
    with pytest.raises(DataError, match="item 2"):
        reference.encode(graph, items)


def test_no_items_become_no_codes() -> None:
    assert reference.encode(VISION, np.zeros((0, 1, 7, 6), np.uint8)).shape == (0, 1, 7, 6)
    assert reference.encode(VISION, np.zeros((2, 42), np.uint8)).shape == (2, 1, 7, 6)
    with pytest.raises(ShapeError, match="takes uint8 items of 42 elements"):
        reference.encode(VISION, np.zeros((2, 43), np.uint8))


def test_one_channel_of_an_odd_number_of_samples() -> None:
    graph = mixed_graph(family="thermal", hidden=8)
    assert graph.tensors["codes"].size == 11
    assert validates(with_head(graph, encoding=Encoding("signals", None, (0.0,), (1.0,))))
    assert validates(with_head(graph, encoding=Encoding("signals", None, (0.0,) * 11, (1.0,) * 11)))
    assert not validates(with_head(graph, encoding=Encoding("signals", None, (0.0, 0.0), (1.0, 1.0))))


@pytest.mark.parametrize("name", ["cortex0.dead", "cortex0.stuck", "readout.bias"])
def test_a_name_of_faults_that_nobody_reads_is_no_name(name: str) -> None:
    assert not validates(with_constant(TINY, name, np.zeros(8, i8), 8))
    assert validates(with_node(with_constant(TINY, "cortex0.dead", np.zeros(8, i8), 8), C, dead="cortex0.dead"))


def test_a_factor_of_the_least_multiplier() -> None:
    multiplier, shift = multiplier_shift([2.0**-31, 1.0, 0.75], "x")
    assert (multiplier.tolist(), shift.tolist()) == ([2**30, 2**31 - 1, 3 << 29], [61, 31, 31])
    multiplier, shift = multiplier_shift([128.0, 64.0, 127.0], "x", 128)
    assert (multiplier.tolist(), shift.tolist()) == ([2**31 - 1, 2**30, 127 << 24], [24, 24, 24])
    for factors, most in (([1.0, 1.25], 1), ([2.0**-32, 1.0], 1), ([0.5, 128.5], 128)):
        with pytest.raises(UnsupportedError, match=rf"'x': rescaling by .* is outside 2\^-31\.\.{most};"):
            multiplier_shift(factors, "x", most)


def test_what_draws_the_words_has_a_number() -> None:
    assert RANDOM_ID == 0xEC000001


@pytest.mark.parametrize(
    ("shape", "dtype", "good"),
    [
        ((3, 2, 6), np.float32, True),
        ((3, 12), np.float32, True),
        ((3, 2, 6), np.int16, True),
        ((3, 6, 2), np.float32, False),
        ((3, 12, 1), np.float32, False),
        ((3, 11), np.float32, False),
        ((3, 2, 6), np.float64, False),
        ((3, 12), np.int32, False),
    ],
)
def test_windows_of_two_channels(shape: tuple[int, ...], dtype: Any, good: bool) -> None:
    graph = with_head(THERMAL, encoding=Encoding("signals", None, (0.0, 0.0), (1.0, 1.0)))
    if good:
        assert reference.encode(graph, np.zeros(shape, dtype)).shape == (3, 12)
    else:
        with pytest.raises(ShapeError, match=r"samples \(channels, time\) = \(2, 6\) per item"):
            reference.encode(graph, np.zeros(shape, dtype))


def test_texts_are_texts_every_one() -> None:
    assert reference.encode(TEXT, ["word0", "word1"]).shape == (2, 6)
    for items in (["word0", 3], [3, "word0"]):
        with pytest.raises(ShapeError, match="takes texts"):
            reference.encode(TEXT, items)  # type: ignore[arg-type]


def test_seeds_and_samples_by_default_and_at_their_limits() -> None:
    codes = codes_for(TINY, 2)
    first, same = reference.run(TINY, codes), reference.run(TINY, codes, seed=0, samples=[0, 1])
    assert (first.logits == same.logits).all()
    assert not reference.run(TINY, codes[:0], samples=[]).logits.size
    assert reference.run(TINY, codes, samples=[2**32 - 1, 0]).logits.shape == (2, 4)
    for samples in ([2**32, 0], [0, -1], [0.5, 1.0]):
        with pytest.raises(ShapeError, match="sample ids must be uint32"):
            reference.run(TINY, codes, samples=samples)


def test_the_temperatures_of_a_graph() -> None:
    names = [n.name for n in THERMAL.nodes if isinstance(n, ThermalNoise)]
    stored = {name: THERMAL.node(name).parameter() for name in names}
    assert reference.check_parameters(THERMAL, None) == {name: pair[0] for name, pair in stored.items() if pair}
    most = max(pair[1] for pair in stored.values() if pair)
    for k in (0, most):
        assert reference.check_parameters(THERMAL, {names[1]: k})[names[1]] == k
        assert reference.check_parameters(THERMAL, {names[1]: k})[names[0]] == reference.check_parameters(THERMAL, None)[names[0]]
    for k in (-1, most + 1):
        with pytest.raises(GraphError, match=f"k = {k} is outside"):
            reference.check_parameters(THERMAL, {names[1]: k})
    with pytest.raises(GraphError, match="its ThermalNoise nodes: none"):
        reference.check_parameters(TINY, {"cortex0": 1})
