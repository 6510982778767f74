"""Augmentation against faults: one mechanism for every kind of model, in training as in fine-tuning; silence as the integers have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from edgechaos import data, reference
from edgechaos.arithmetic.random_bits import fail_q
from edgechaos.continual.sequence import train_in_sequence
from edgechaos.data import Dataset
from edgechaos.faults.injections import ResolvedPlan
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.floatgraph import passes
from edgechaos.floatgraph.float_model import FloatModel
from edgechaos.floatgraph.float_nodes import Augmentation, FailingLayer
from edgechaos.graph.tokenizer import Text
from edgechaos.models.base import Model
from edgechaos.models.build import build
from edgechaos.models.evaluate import evaluate_under
from edgechaos.models.shared import SharedChaosNet
from edgechaos.models.spiking import Conditions, LayerFaults, draw_dead
from edgechaos.models.units import augmented, delivered
from edgechaos.quantize.pipeline import fake_quantized, fine_tuning, quantize, to_graph
from edgechaos.support.errors import UnsupportedError
from edgechaos.train.fit import DEFAULT_OMISSION, Recipe, train
from tests.helpers.exactness import assert_integers_equal

pytestmark = pytest.mark.trains


def few(known: Dataset, items: int = 200) -> Dataset:
    return replace(known, train_items=known.train_items[:items], train_labels=known.train_labels[:items])


def texts() -> Dataset:
    vocabulary = Text(tuple(f"w{k}" for k in range(20)))
    said = tuple(f"w{k % 20} w{(k + k % 3) % 20}" for k in range(90))
    ids, labels = vocabulary.ids(said, 4), np.arange(90) % 3
    split = (ids[:60], labels[:60], ids[60:], labels[60:])
    return Dataset("mail", *split, ("a", "b", "c"), (0.0,), (1.0,), "test", "none", vocabulary, (said[:60], said[60:]))


DIGITS = few(data.load("digits8x8"))
KINDS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "pixels": ("pixels", {"hidden": (12, 8), "ticks": 3}),
    "vision": ("vision", {"hidden": (12,), "channels": (2, 3), "embed": 4, "ticks": 3}),
    "language": ("language", {"hidden": (12,), "embed": 4, "ticks": 3}),
    "shared": ("shared", {"hidden": (12,), "channels": (2,), "embed": 4, "ticks": 3, "fronts": {"a": "dense"}}),
    "dlm": ("dlm", {"hidden": (12, 8)}),
    "tnn": ("tnn", {"hidden": (12, 16), "sparsity": 0.5}),
    "mlp": ("mlp", {"hidden": (12, 8), "dropout": 0.3, "noise_std": 0.2}),
    "residual": ("mlp", {"hidden": (8, 8), "residual": True, "dropout": 0.3, "noise_std": 0.2}),
    "residual cnn": ("cnn", {"channels": (3, 3), "residual": True}),
    "cnn": ("cnn", {"channels": (3, 4), "dropout": 0.3, "noise_std": 0.2}),
}
RECIPE = Recipe(epochs=1, omission=0.3, omission_draw="fixed", dead=0.4)
PLAIN = ("dlm", "tnn", "mlp", "residual", "residual cnn", "cnn")


def data_of(name: str) -> Any:
    return {"language": texts(), "shared": {"a": DIGITS, "b": DIGITS}}.get(name, DIGITS)


def untrained(name: str) -> Model:
    kind, options = KINDS[name]
    return build(kind, data_of(name), seed=1, **options).eval()


@cache
def trained(name: str) -> Model:
    model = untrained(name)
    if isinstance(model, SharedChaosNet):
        return train_in_sequence(model, data_of(name), RECIPE)
    return train(model, data_of(name), RECIPE)


def masked(graph: Any, rate: float, seed: int = 1) -> ResolvedPlan:
    return resolve(graph, FaultPlan((DeadNeurons(rate=rate, seed=seed),)))


@pytest.mark.parametrize("name", KINDS)
def test_floats_fake_quantized_floats_and_integers_fail_in_the_same_layers(name: str) -> None:
    model = untrained(name)
    described = model.describe()
    assert described.failing_layers() == passes.fold(described).failing_layers() == model.failing_layers()
    fake = fake_quantized(described, data_of(name), method="ptq", per_channel=False, epochs=0)
    assert fake.failing_layers() == model.failing_layers()
    graph = to_graph(fake, data_of(name), "ticks", {})
    resolved = masked(graph, 0.5)
    assert {layer.name: layer.units for layer in model.failing_layers()} == {n: len(mask) for n, mask in resolved.slot("dead").items()}
    assert set(resolved.slot("dead")) <= {node.name for node in graph.analysis.unit_nodes}
    streams = [layer.fail_stream for layer in model.failing_layers()]
    assert name == "shared" or len(set(streams)) == len(streams), "tasks of a shared cortex draw the same losses"


@pytest.mark.parametrize("name", KINDS)
def test_fine_tuning_goes_on_under_the_augmentation_of_training(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = trained(name), list[Conditions]()

    def noted(*values: Any, **named: Any) -> Conditions:
        seen.append(Conditions(*values, **named))
        return seen[-1]

    monkeypatch.setattr("edgechaos.train.fit.Conditions", noted)
    graph = quantize(model, data_of(name), epochs=1)
    assert seen
    expected = {layer.name for layer in model.failing_layers()}
    for conditions in seen:
        assert conditions.training
        assert {faults.fail_q for faults in conditions.faults.values()} == {fail_q(0.3)}, "the draw of training, not another"
        assert name == "shared" or conditions.faults.keys() == expected
        assert all(f.dead is not None and len(f.dead) == len(conditions.samples) for f in conditions.faults.values())
        assert any(f.dead is not None and f.dead.any() for f in conditions.faults.values())
    assert graph.metadata["training"]["dead"] == 0.4


@pytest.mark.parametrize("name", ["mlp", "residual", "cnn"])
def test_dropout_and_noise_of_a_network_reach_its_fake_quantized_twin(name: str) -> None:
    model = untrained(name)
    fake = fake_quantized(model.describe(), DIGITS, method="ptq", per_channel=False, epochs=0)
    codes = torch.from_numpy((DIGITS.train_items[:40] >> 1).reshape(40, *fake.head().shape))
    clean, training = (fake.tensors(codes, Conditions(5, torch.arange(40), training=t)) for t in (False, True))
    assert len(fake.described.augmentation) == 2
    for tensor, about in fake.described.augmentation.items():
        assert (about.dropout, about.noise_std) == (0.3, 0.2)
        if tensor == next(iter(fake.described.augmentation)):  # what stands behind it has met other values
            expected = augmented(clean[tensor], about, Conditions(5, torch.arange(40), training=True))
            torch.testing.assert_close(training[tensor], expected)
        assert not torch.equal(training[tensor], clean[tensor])
    x = model.preprocess(DIGITS.train_items[:40])
    plain, noisy = (model(x, Conditions(5, torch.arange(40), training=t)) for t in (False, True))
    assert not torch.equal(plain, noisy)
    torch.testing.assert_close(model.train()(x, Conditions(5, torch.arange(40))), plain, msg="training is what the conditions say")


def test_dropout_loses_its_share_and_keeps_the_mean() -> None:
    x, conditions = torch.ones(500, 100), Conditions(3, torch.arange(500), training=True)
    dropped = augmented(x, Augmentation(0.25, 0.0, 0x8000), conditions)
    assert torch.equal(dropped[dropped != 0], torch.full_like(dropped[dropped != 0], 4 / 3))
    assert abs(float((dropped == 0).double().mean()) - 0.25) < 0.01
    noisy = augmented(x, Augmentation(0.0, 0.5, 0x8000), conditions)
    assert abs(float(noisy.std()) - 0.5) < 0.01
    some = augmented(x[7:9], Augmentation(0.25, 0.0, 0x8000), replace(conditions, samples=torch.arange(7, 9)))
    assert torch.equal(some, dropped[7:9])
    assert augmented(x, Augmentation(0.25, 0.5, 0x8000), replace(conditions, training=False)) is x


@pytest.mark.parametrize("shape", [(400, 50), (400, 50, 2, 3)])
def test_a_unit_that_is_lost_or_dead_is_silent_for_its_item_at_all_positions(shape: tuple[int, ...]) -> None:
    layer, samples = FailingLayer("x", 50, 0x9000), torch.arange(400)
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0)) + 1
    dead = draw_dead(2, samples, layer, fail_q(0.5))
    lost = delivered(x, layer, Conditions(9, samples, {"x": LayerFaults(fail_q(0.3))}))
    silent = (lost == 0).flatten(2) if x.dim() == 4 else (lost == 0)[..., None]
    assert torch.equal(silent.any(dim=2), silent.all(dim=2)), "a channel goes as a whole"
    assert abs(float(silent.double().mean()) - 0.3) < 0.01
    assert torch.equal(lost[lost != 0], x[lost != 0])
    torch.testing.assert_close(delivered(x[5:7], layer, Conditions(9, samples[5:7], {"x": LayerFaults(fail_q(0.3))})), lost[5:7])
    both = delivered(x, layer, Conditions(9, samples, {"x": LayerFaults(fail_q(0.3), dead)}))
    assert torch.equal(both == 0, (lost == 0) | dead.reshape(*dead.shape, *(1,) * (x.dim() - 2)).expand(x.shape))
    assert delivered(x, layer, Conditions(9, samples)) is x


def without(model: Model, dead: Mapping[str, np.ndarray]) -> Model:
    """The model with what reads its dead units cut out, or, of a k-WTA layer, with units that can never win."""
    for k, mask in enumerate(dead.values()):
        unit = torch.from_numpy(mask)
        with torch.no_grad():
            if model.family == "tnn":
                model.get_parameter(f"layers.{k}.bias")[unit] = -1e9
            elif model.family == "dlm":
                model.get_parameter(f"layers.{k + 1}.weight")[:, unit] = 0.0
            else:
                reader = (*(layer for _, layer in model.body()), model.last())[k + 1]  # type: ignore[operator]
                weight = reader.weight.reshape(len(reader.weight), len(mask), -1)
                weight[:, unit] = 0.0
    return model


@pytest.mark.parametrize("name", [name for name in PLAIN if "residual" not in name])
def test_dead_units_of_a_float_model_send_nothing(name: str) -> None:
    model = untrained(name)
    if name == "dlm":
        model.config = replace(model.config, temperature=0.0)
    rng = np.random.default_rng(0)
    plan = ResolvedPlan.of(dead={layer.name: rng.random(layer.units) < 0.4 for layer in model.failing_layers()})
    found = evaluate_under(model, DIGITS.test_items, plan)
    clean = evaluate_under(model, DIGITS.test_items)
    cut = evaluate_under(without(model, plan.slot("dead")), DIGITS.test_items)
    np.testing.assert_allclose(found, cut, atol=1e-5)
    assert np.abs(found - clean).max() > 1e-3


@pytest.mark.parametrize("name", PLAIN)
def test_dead_units_mean_the_same_to_integers_and_to_fake_quantized_floats(name: str) -> None:
    model = trained(name)
    if name == "dlm":
        model = build("dlm", DIGITS, **KINDS[name][1], temperature=0.0)
    fake = fake_quantized(model.describe(), DIGITS, method="ptq", per_channel=False, epochs=0)
    graph = to_graph(fake, DIGITS, "ticks", {})
    codes = reference.encode(graph, DIGITS.test_items)
    clean = reference.run(graph, codes).logits
    for rate in (0.3, 0.6, 1.0):
        plan = masked(graph, rate)
        assert_integers_equal(graph, fake, codes, plan)
        found = reference.run(apply(graph, plan), codes).logits
        assert (found != clean).any()
    assert (found == found[0]).all(), "nothing but biases is left"


def test_what_a_float_model_cannot_do_is_refused_by_name() -> None:
    mlp, vision = untrained("mlp"), untrained("vision")
    with pytest.raises(UnsupportedError, match="'fc1_relu': has no spikes to lose or to send; its units can be dead"):
        evaluate_under(mlp, DIGITS.test_items, ResolvedPlan.of(fail_q={"fc1_relu": 3}))
    with pytest.raises(UnsupportedError, match="'fc9': what can fail in this float model is fc1_relu, fc2_relu"):
        evaluate_under(mlp, DIGITS.test_items, ResolvedPlan.of(dead={"fc9": np.ones(12, bool)}))
    with pytest.raises(UnsupportedError, match="'relu0': what can fail in this float model is cortex0; run the plan on the integer graph"):
        evaluate_under(vision, DIGITS.test_items, ResolvedPlan.of(dead={"relu0": np.ones(2, bool)}))


@pytest.mark.parametrize(
    ("name", "options", "recipe", "expected"),
    [
        ("pixels", {}, Recipe(), (DEFAULT_OMISSION, "uniform")),
        ("pixels", {"fail_prob": 0.2}, Recipe(), (0.2, "fixed")),
        ("pixels", {"fail_prob": 0.2}, Recipe(omission=0.6), (0.6, "uniform")),
        ("mlp", {}, Recipe(), (0.0, "uniform")),
        ("mlp", {}, Recipe(omission=0.1, omission_draw="fixed"), (0.1, "fixed")),
    ],
)
def test_an_omission_that_is_left_open(name: str, options: dict[str, Any], recipe: Recipe, expected: tuple[float, str]) -> None:
    kind, sizes = KINDS[name]
    model = train(build(kind, DIGITS, **{**sizes, **options}), DIGITS, replace(recipe, epochs=0))
    assert (model.facts["omission"], model.facts["omission_draw"]) == expected
    assert model.facts["recipe"]["omission"] == expected[0]
    tuned = fine_tuning(model.describe(), 1, 0)
    assert (tuned.omission, tuned.omission_draw) == expected


def with_facts(name: str, facts: dict[str, Any], **options: Any) -> FloatModel:
    kind, sizes = KINDS[name]
    model = build(kind, DIGITS, **{**sizes, **options})
    model.facts = facts
    return model.describe()


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        (lambda: with_facts("mlp", {"omission": 0.5, "dead": 0.0}), (0.0, "fixed", 0.0)),
        (lambda: with_facts("pixels", {"omission": 0.5, "dead": 0.25}), (0.5, "uniform", 0.25)),
        (lambda: with_facts("pixels", {}, fail_prob=0.25), (0.25, "fixed", 0.0)),
    ],
    ids=["a plain network that noted an omission and lost nothing", "before the draw was noted", "imported, with losses of its own"],
)
def test_fine_tuning_of_older_and_of_foreign_models(described: Any, expected: tuple[float, str, float]) -> None:
    recipe = fine_tuning(described(), 1, 0)
    assert (recipe.omission, recipe.omission_draw, recipe.dead) == expected
