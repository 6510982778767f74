"""Int8 follows float over the whole table of omission and death, for every kind of model, and by default loses next to nothing.

Both meet the same items, fault sites and random words. Kinds without spikes have units that die, and no spikes to lose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgechaos import data, reference
from edgechaos.data import Dataset
from edgechaos.faults.injections import ResolvedPlan
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.floatgraph.float_nodes import Readout as FloatReadout
from edgechaos.floatgraph.passes import fold
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.readout import Readout
from edgechaos.models.base import Model
from edgechaos.models.build import build
from edgechaos.models.evaluate import evaluate_under
from edgechaos.quantize.pipeline import quantize
from edgechaos.train.fit import Recipe, train
from tests.core.test_lowering import texts
from tests.helpers.paired import assert_follows, assert_loses_at_most

pytestmark = pytest.mark.trains

DIGITS = data.load("digits8x8")
KINDS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "pixels": ("pixels", {"hidden": (32,), "ticks": 5}),
    "two-layer": ("pixels", {"hidden": (24, 24), "ticks": 5, "threshold": 0.2}),
    "stateful": ("pixels", {"hidden": (32,), "ticks": 5, "mode": "stateful"}),
    "vision": ("vision", {"hidden": (24,), "channels": (3, 4), "embed": 8, "ticks": 5}),
    "language": ("language", {"hidden": (24,), "embed": 8, "ticks": 5}),
    "dlm": ("dlm", {"hidden": (32,), "temperature": 0.0}),
    "tnn": ("tnn", {"hidden": (48,), "sparsity": 0.2}),
    "mlp": ("mlp", {"hidden": (32,)}),
    "cnn": ("cnn", {"channels": (4, 6)}),
}
PLAIN = ("dlm", "tnn", "mlp", "cnn")
TABLES = [(kind, fault) for kind in KINDS for fault in ("omission", "dead") if fault == "dead" or kind not in PLAIN]
RATES = (0.0, 0.5, 0.9, 0.99, 0.999)
MASKS = 20
ITEMS = 100
ALLOWED = 0.01
SMALL: Mapping[str, Any] = {"hidden": (32,), "embed": 8, "channels": (6, 8), "ticks": 15, "average": True}
"""The published form of 256 neurons and weights per layer; fewer channels, as the images are smaller."""


def data_of(kind: str) -> Dataset:
    return texts() if kind == "language" else DIGITS


def learned(model: Model, known: Dataset, seed: int = 1) -> Model:
    """Without omission: what a correction at clean activity distorts most."""
    return train(model, known, Recipe(epochs=6, batch=64, learning_rate=1e-2, weight_decay=0.01, omission=0.0, seed=seed))


@cache
def pair(kind: str) -> tuple[Model, IntegerGraph]:
    name, options = KINDS[kind]
    model = learned(build(name, data_of(kind), seed=1, **options), data_of(kind))
    return model, quantize(model, data_of(kind), method="ptq")


def plans(graph: IntegerGraph, fault: str, rate: float) -> list[tuple[ResolvedPlan, int]]:
    """One per mask, with the seed of its random words."""
    drawn = (Omission(rate=rate) if fault == "omission" else DeadNeurons(rate=rate, seed=mask) for mask in range(MASKS))
    return [(resolve(graph, FaultPlan((one,))), mask) for mask, one in enumerate(drawn)]


def right(kind: str, plan: ResolvedPlan, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which items the float model and the integers get right."""
    (model, graph), known = pair(kind), data_of(kind)
    items, labels = known.test_items[:ITEMS], known.test_labels[:ITEMS]
    floats = evaluate_under(model, items, plan, seed).argmax(axis=1)
    return floats == labels, reference.run(apply(graph, plan), reference.encode(graph, items), seed=seed).labels == labels


@pytest.mark.parametrize(("kind", "fault"), TABLES)
def test_int8_follows_float_over_the_whole_table(kind: str, fault: str) -> None:
    for rate in RATES:
        met = [right(kind, plan, seed) for plan, seed in plans(pair(kind)[1], fault, rate)]
        floats, integers = (np.array(side) for side in zip(*met, strict=True))
        assert_follows(floats, integers, ALLOWED, f"{kind}, {fault} {rate:g}")


def readout_of(kind: str, model: Model, graph: IntegerGraph) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float]:
    """Float weights and biases of the readout as training left them; the value of one code of weights, and of one of logits."""
    described = fold(model.describe())
    layer = described.node(described.heads[0].logits)
    node = layer if isinstance(layer, FloatReadout) else next(n for n in described.nodes if isinstance(n, FloatReadout))  # behind it: noise
    assert node.bias is not None, kind
    (step,) = graph.constants[f"{node.name}_weight"].scale
    return node.weight.astype(float), node.bias.astype(float), step, float(graph.tensors[graph.head().logits].scale or 0.0)


def assert_reads_as_float(kind: str, fault: str, graph: IntegerGraph) -> None:
    """Item by item, over the whole table: the logits are those of the float readout for what was delivered, to half a step each.

    Rounding moves a weight by half a step at most, and by as much of it as was delivered; the bias by half a code. Whatever else is in
    a bias for the activity of the clean network is larger than this where little is delivered.
    """
    weight, bias, step, code = readout_of(kind, pair(kind)[0], graph)
    (readout,) = (node for node in graph.nodes if isinstance(node, Readout))
    codes = reference.encode(graph, data_of(kind).test_items[:ITEMS])
    for rate in RATES:
        for plan, seed in plans(graph, fault, rate):
            ran = reference.run(apply(graph, plan), codes, seed=seed, keep=(readout.input,))
            delivered = ran.tensors[readout.input].reshape(len(codes), -1) * (code / step)
            off = np.abs(ran.logits * code - (delivered @ weight.T + bias)) / code
            allowed = 0.5 + 0.5 * np.abs(delivered).sum(axis=1, keepdims=True) * step / code
            most = float((off / allowed).max())
            assert (off <= 1.001 * allowed + 0.01).all(), f"{kind}, {fault} {rate:g}: {most:.2f} of what rounding can do"


@pytest.mark.parametrize(("kind", "fault"), TABLES)
def test_logits_are_the_float_readout_of_what_was_delivered(kind: str, fault: str) -> None:
    assert_reads_as_float(kind, fault, pair(kind)[1])


@pytest.mark.parametrize(("kind", "fault"), TABLES)
def test_a_bias_corrected_for_the_clean_activity_is_seen(kind: str, fault: str) -> None:
    """The power of the check above: the mean error of rounded weights, made up for in the bias, and two codes at least."""
    model, graph = pair(kind)
    weight, _, step, _ = readout_of(kind, model, graph)
    (readout,) = (node for node in graph.nodes if isinstance(node, Readout))
    assert readout.bias is not None
    known = reference.encode(graph, data_of(kind).train_items[:1024])
    sent = reference.run(graph, known, keep=(readout.input,)).tensors[readout.input].reshape(len(known), -1).mean(axis=0)
    error = (weight / step - graph.constants[readout.weight].value) @ sent
    least = np.where(error < 0, -2.0, 2.0)
    shift = np.rint(np.where(np.abs(error) < 2, least, error)).astype(np.int32)
    was = graph.constants[readout.bias]
    corrected = replace(graph, constants={**graph.constants, readout.bias: replace(was, value=was.value + shift)})
    with pytest.raises(AssertionError, match="of what rounding can do"):
        assert_reads_as_float(kind, fault, corrected)


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_is_delivered_the_logits_are_the_float_biases(kind: str) -> None:
    """To half a code: whatever was added to a bias for the activity of the clean network is wrong here."""
    model, graph = pair(kind)
    plan = resolve(graph, FaultPlan((DeadNeurons(rate=1.0),)))
    codes = reference.encode(graph, data_of(kind).test_items[:5])
    scale = float(graph.tensors[graph.head().logits].scale or 0.0)
    logits = reference.run(apply(graph, plan), codes).logits * scale
    silent = evaluate_under(model, data_of(kind).test_items[:5], plan)
    assert np.abs(logits - silent).max() <= 0.5 * scale + 1e-5 * np.abs(silent).max()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_small_vision_form_keeps_its_accuracy_by_default(seed: int) -> None:
    model = learned(build("vision", DIGITS, seed=seed, **SMALL), DIGITS, seed)
    graph = quantize(model, DIGITS, method="ptq")
    scales = {name: len(constant.scale) for name, constant in graph.constants.items() if name.endswith("_weight")}
    assert scales == {"conv0_weight": 6, "conv1_weight": 8, "projection_weight": 8, "cortex0_matmul_weight": 32, "logits_weight": 1}
    floats = evaluate_under(model, DIGITS.test_items).argmax(axis=1) == DIGITS.test_labels
    integers = reference.run(graph, reference.encode(graph, DIGITS.test_items)).labels == DIGITS.test_labels
    assert_loses_at_most(floats, integers, 0.005, f"seed {seed}")
