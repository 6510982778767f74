"""Int8 follows float over the whole table of omission and death, for every kind of model, and by default loses next to nothing.

Both meet the same items, fault sites and random words. Kinds without spikes have units that die, and no spikes to lose.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgechaos import data, reference
from edgechaos.data import Dataset
from edgechaos.faults.plan import DeadNeurons, FaultPlan, Omission, ResolvedPlan, apply, resolve
from edgechaos.graph.integer_graph import IntegerGraph
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
