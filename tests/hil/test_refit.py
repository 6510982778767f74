"""The words of a repair, by hand: inner matrices by another least squares, a fit rounded into stored types, ramps of plain layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.faults.injections import ResolvedPlan
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.conv import Conv
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.hil.repair import refit, softmax
from edgechaos.hil.repair.layers import unit_layers
from edgechaos.hil.repair.refit import Items, _fit_sums, _pairs, _plain, _ramp, _rounded
from edgechaos.hil.repair.softmax import Fit
from tests.helpers.mixed_graphs import items_for
from tests.hil.test_diagnose import NETS

pytestmark = pytest.mark.trains

SEED = 5


def drawn(graph: IntegerGraph, count: int) -> Items:
    head = graph.heads[0].name
    codes = items_for(graph, count)
    return Items(codes, reference.run(graph, codes, seed=SEED, head=head).labels.astype(np.int64), head, SEED)


@pytest.mark.parametrize("net", ["two spiking layers", "two convolutions"])
def test_inner_words_are_the_ridge_solution(net: str) -> None:
    graph = NETS[net]()
    layer = unit_layers(graph)[0]
    reader, items = _plain(layer.readers[0]), drawn(graph, 60)
    damage = resolve(graph, FaultPlan((DeadNeurons(layer.name, neurons=(1, 2)),)))

    def sent(g: IntegerGraph, tensor: str) -> np.ndarray:
        return reference.run(g, items.codes, seed=SEED, head=items.head, keep=(tensor,)).tensors[tensor]

    x, y = _pairs(graph, reader, sent(apply(graph, damage), reader.input), sent(graph, reader.output))
    old = graph.value(reader.weight)
    flat = old.reshape(len(old), -1).astype(np.float64)
    if net == "two spiking layers":
        bias = graph.value(reader.bias).astype(np.float64)
        whole = sent(graph, reader.input).reshape(len(x), -1)
        assert (whole @ flat.T + bias == y).all(), "a row is an item's tick"
    spread, gap = x - x.mean(axis=0), y - y.mean(axis=0)
    ridge = 1e-3 * np.square(spread).sum() / spread.shape[1]
    stacked = np.concatenate([spread, np.sqrt(ridge) * np.eye(spread.shape[1])])
    target = np.concatenate([gap - spread @ flat.T, np.zeros((spread.shape[1], len(flat)))])
    new = np.clip(np.rint(flat + np.linalg.lstsq(stacked, target, rcond=None)[0].T), -128, 127)
    new[:, ~spread.any(axis=0)] = flat[:, ~spread.any(axis=0)]
    better = np.square(gap - spread @ new.T).sum(axis=0) < np.square(gap - spread @ flat.T).sum(axis=0)
    wanted = np.where(better[:, None], new, flat)
    mended = _fit_sums(graph, graph, damage, reader, items)
    found = mended.value(_plain(mended.node(reader.name)).weight)  # type: ignore[arg-type]
    assert (found.reshape(len(found), -1) == wanted).all()
    assert (wanted != flat).any()
    bias = np.rint(y.mean(axis=0) - wanted @ x.mean(axis=0))
    assert (mended.value(_plain(mended.node(reader.name)).bias) == bias).all()  # type: ignore[arg-type]


def test_rows_are_windows_and_some_of_them_where_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = NETS["two convolutions"]()
    reader = unit_layers(graph)[0].readers[0]
    assert isinstance(reader, Conv)
    items = drawn(graph, 7)
    found = reference.run(graph, items.codes, head=items.head, seed=SEED, keep=(reader.input, reader.output)).tensors
    x, y = _pairs(graph, reader, found[reader.input], found[reader.output])
    weight = graph.value(reader.weight)
    assert (x @ weight.reshape(len(weight), -1).T + (graph.value(reader.bias) if reader.bias else 0) == y).all()
    assert len(x) == 7 * np.prod(found[reader.output].shape[2:])
    monkeypatch.setattr(refit, "ROWS", len(x) // 3)
    few, sums = _pairs(graph, reader, found[reader.input], found[reader.output])
    assert (few == x[::3]).all()
    assert (sums == y[::3]).all()


def test_the_ramp_of_a_plain_layer() -> None:
    graph = NETS["plain"]()
    layer = unit_layers(graph)[-1]
    (reader,), node = layer.readers, layer.units
    assert isinstance(node, Requantize)
    damage = resolve(graph, FaultPlan((DeadNeurons(layer.name, neurons=(1, 3)),)))
    found = _ramp(graph, damage, layer, reader)
    assert found is not None
    step, low, high = found
    scale = np.broadcast_to(graph.value(node.multiplier) / 2.0 ** graph.value(node.shift), layer.count)
    assert step.tolist() == [0 if u in (1, 3) else s for u, s in enumerate(scale)]
    assert (low, high) == (node.low, node.high)
    whole = _ramp(graph, ResolvedPlan(), layer, reader)
    assert whole is not None
    assert whole[0].tolist() == scale.tolist()
    for other in ("spiking", "k-WTA", "channels, plain"):
        there = NETS[other]()
        last = unit_layers(there)[-1]
        assert _ramp(there, ResolvedPlan(), last, last.readers[0]) is None


def fitted(graph: IntegerGraph, moved: np.ndarray | None = None) -> Fit:
    """Two inputs that never vary, and the largest weight of 0.5."""
    layer = unit_layers(graph)[-1]
    outputs, inputs = graph.value(layer.readers[0].weight).shape
    rng = np.random.default_rng(2)
    weight = rng.uniform(-0.4, 0.4, (outputs, inputs))
    weight[0, 0] = 0.5
    used, first = np.ones(inputs, bool), np.zeros(inputs)
    used[[2, 4]], first[2], first[4] = False, 3, 7
    weight[:, ~used] = 0
    return Fit(weight, rng.uniform(-1, 1, (outputs,)), used, first, moved, 10.0)


@pytest.mark.parametrize("share", [1.0, 2.0])
def test_a_fit_in_stored_types(share: float) -> None:
    graph = NETS["plain"]()
    layer = unit_layers(graph)[-1]
    (reader,) = layer.readers
    bits = graph.constants[reader.weight].bits
    most = (1 << (bits - 1)) - 1
    found = fitted(graph, np.linspace(-40.4, 40.4, layer.count))
    mended = _rounded(graph, graph, reader, layer, found, share, drawn(graph, 20))
    old, scale = graph.value(reader.weight), share * most / 0.5
    wanted = np.clip(np.rint(scale * found.weight), -most, most)
    wanted[:, [2, 4]] = old[:, [2, 4]]
    now = mended.node(reader.name)
    assert (mended.value(now.weight) == wanted).all()  # type: ignore[attr-defined]
    always = 3 * wanted[:, 2] + 7 * wanted[:, 4]
    assert (mended.value(now.bias) == np.rint(scale * found.bias - always)).all()  # type: ignore[attr-defined]
    driver = mended.node(layer.driver.name)
    assert found.moved is not None
    assert (mended.value(driver.bias) == graph.value(layer.driver.bias) + np.rint(found.moved)).all()  # type: ignore[attr-defined]
    still = _rounded(graph, graph, reader, layer, replace(found, moved=None), share, drawn(graph, 20))
    assert (still.value(still.node(layer.driver.name).bias) == graph.value(layer.driver.bias)).all()  # type: ignore[attr-defined]


def test_logits_that_meet_noise_keep_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = NETS["thermal"]()
    layer, items = unit_layers(graph)[-1], drawn(graph, 600)
    (reader,) = layer.readers
    spread = reference.run(graph, items.codes[:512], seed=SEED, head=items.head, keep=(reader.output,)).tensors[reader.output].std()
    found = fitted(graph)
    run, counts = reference.run, list[int]()

    def counted(graph: IntegerGraph, codes: np.ndarray, **options: Any) -> reference.Result:
        counts.append(len(codes))
        return run(graph, codes, **options)

    monkeypatch.setattr(reference, "run", counted)
    mended = _rounded(graph, graph, reader, layer, found, 1.0, items)
    assert counts == [512]
    scale = min(127 / 0.5, float(spread) / 10.0)
    assert (mended.value(mended.node(reader.name).weight)[:, found.used] == np.rint(scale * found.weight[:, found.used])).all()  # type: ignore[attr-defined]
    tight = replace(found, spread=float(spread) / 200)
    small = _rounded(graph, graph, reader, layer, tight, 1.0, items)
    assert (small.value(small.node(reader.name).weight)[:, found.used] == np.rint(200 * found.weight[:, found.used])).all()  # type: ignore[attr-defined]


def test_biases_before_a_ramp_are_fitted_where_there_are_many_items(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = NETS["plain"]()
    layer = unit_layers(graph)[-1]
    damage = resolve(graph, FaultPlan((DeadNeurons(layer.name, 0.5, seed=1),)))
    items = drawn(graph, 600)

    def found(few: int) -> tuple[IntegerGraph, float]:
        monkeypatch.setattr(softmax, "FEW", few)
        mended = refit.refit(graph, damage, items)
        logits = reference.run(apply(mended, damage), items.codes, seed=SEED, head=items.head).logits
        return mended, softmax.loss(logits.astype(float), items.labels)

    (still, worse), (moved, better) = found(601), found(600)
    biases = [g.value(g.node(layer.driver.name).bias) for g in (graph, still, moved)]  # type: ignore[union-attr]
    assert (biases[0] == biases[1]).all()
    changed = biases[2] != biases[0]
    dead = damage.slots[layer.name, "dead"] != 0
    assert changed[~dead].any()
    assert not changed[dead].any()
    assert better < worse - 0.01
