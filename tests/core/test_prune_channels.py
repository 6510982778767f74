"""Pruning of channels: those that never act leave without a trace, from whatever reads them; fault plans and targets follow."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from edgechaos import data, reference
from edgechaos.floatgraph import passes
from edgechaos.floatgraph.float_model import FloatModel
from edgechaos.floatgraph.float_nodes import Conv, MatMul
from edgechaos.graph.inspect import inspect
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.models.base import Model
from edgechaos.models.chaosnet import ChaosNet
from edgechaos.models.chaosnet_config import config_for
from edgechaos.models.plain import PlainConfig, PlainNet
from edgechaos.prune.criteria import NeuronActivity, neuron_layers, neuron_scores, takeover
from edgechaos.prune.removal import least_neurons, remove_neurons, taken_over
from edgechaos.quantize.heads import CALIBRATION_ITEMS
from edgechaos.quantize.importance import activity
from edgechaos.quantize.pipeline import quantize
from edgechaos.train.fit import Recipe, train

pytestmark = pytest.mark.trains

DIGITS = data.load("digits8x8")
CHANNELS = (6, 5)
SILENT = [[1, 4], [0, 3]]


def vision(**options: Any) -> ChaosNet:
    settings: dict[str, Any] = {
        "front": "vision",
        "channels": CHANNELS,
        "hidden": (12,),
        "ticks": 3,
        "threshold": 0.1,
        "noise_std": 0.0,
        **options,
    }
    return ChaosNet(config_for(DIGITS, **settings))


def cnn() -> PlainNet:
    return PlainNet(PlainConfig(inputs=64, classes=DIGITS.classes, mean=DIGITS.mean, std=DIGITS.std, channels=CHANNELS, image=(1, 8, 8)))


KINDS: dict[str, Any] = {"cnn": cnn, "vision": vision, "vision average": lambda: vision(average=True)}


@cache
def trained(kind: str) -> Model:
    torch.manual_seed(3)
    model: Model = KINDS[kind]()
    return train(model, DIGITS, Recipe(epochs=2, learning_rate=1e-2, seed=1))


def folded(kind: str) -> FloatModel:
    return passes.fold(trained(kind).describe())


def with_silent_channels(kind: str) -> Model:
    """A copy in which the channels SILENT of each convolution never act, although their weights are the largest of all."""
    model: Model = KINDS[kind]()
    model.load_state_dict(trained(kind).state_dict())
    net: Any = model
    plain = isinstance(model, PlainNet)
    convolutions = [net.conv1, net.conv2] if plain else [net.feature_extractor[0], net.feature_extractor[4]]
    last = net.fc if plain else net.projection[1]
    with torch.no_grad():
        for k, (silent, conv) in enumerate(zip(SILENT, convolutions, strict=True)):
            sums = conv if plain else net.feature_extractor[4 * k + 1]  # where there is a batch normalization, it decides
            conv.weight[silent] *= 4.0
            sums.bias[silent] = -1e3
            columns = (convolutions[1] if k == 0 else last).weight
            columns.view(len(columns), CHANNELS[k], -1)[:, silent] *= 4.0
    return model


def logits(graph: IntegerGraph) -> np.ndarray[Any, Any]:
    """On the items that decide what is silent."""
    return reference.run(graph, reference.encode(graph, DIGITS.train_items[:CALIBRATION_ITEMS])).logits


@pytest.mark.parametrize(("kind", "per_channel"), itertools.product(KINDS, (False, True)))
def test_removing_channels_that_never_act_changes_no_logit(kind: str, per_channel: bool) -> None:
    model = with_silent_channels(kind)
    whole, less = (quantize(model, DIGITS, method="ptq", per_channel=per_channel, prune_neurons=p) for p in (None, 0.0))
    kept = list(less.metadata["pruning"]["kept"].values())
    assert not any(set(units) & set(silent) for units, silent in zip(kept, SILENT, strict=False))
    assert inspect(less).flash_bytes < inspect(whole).flash_bytes
    np.testing.assert_array_equal(logits(less), logits(whole))


@pytest.mark.parametrize("kind", KINDS)
def test_channels_take_what_reads_them_along(kind: str) -> None:
    model = folded(kind)
    first, second = (layer for layer in neuron_layers(model) if isinstance(model.node(layer.matrix), Conv))
    less = remove_neurons(model, {first.matrix: np.isin(np.arange(6), [0, 2]), second.matrix: np.isin(np.arange(5), [1])})
    before, after = ({n.name: n for n in m.nodes if isinstance(n, MatMul | Conv)} for m in (model, less))
    kept = np.ix_([0, 2, 3, 4], [1, 3, 4, 5])
    np.testing.assert_array_equal(after[second.matrix].weight, before[second.matrix].weight[kept])
    reader, wide = after[second.readers[0]], before[second.readers[0]]
    positions = wide.weight.shape[1] // 5
    np.testing.assert_array_equal(reader.weight, np.delete(wide.weight, slice(positions, 2 * positions), axis=1))
    assert less.metadata["pruning"]["kept"][second.matrix] == [0, 2, 3, 4]


@pytest.mark.parametrize(("stride", "pad"), [((1, 1), (1, 1)), ((2, 1), (0, 2)), ((1, 2), (0, 0))])
def test_what_a_convolution_heard_on_average_stays(stride: tuple[int, int], pad: tuple[int, int]) -> None:
    """Over items and positions, the zeros of the border included."""
    model = folded("cnn")
    first = neuron_layers(model)[0]
    old = model.node(first.readers[0])
    assert isinstance(old, Conv)
    sent = np.random.default_rng(0).gamma(1.0, size=(30, 6, 5, 7))
    moment = np.einsum("nahw,nbhw->ab", sent, sent) / (30 * 35)
    measured = NeuronActivity(np.ones(6), np.ones(6), sent.mean(axis=0), moment)
    removed = np.isin(np.arange(6), [1, 4])

    def sums(node: Conv, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        weight, bias = torch.from_numpy(node.weight), None if node.bias is None else torch.from_numpy(node.bias)
        return torch.nn.functional.conv2d(torch.from_numpy(x), weight, bias, stride, pad).numpy()

    shaped = replace(model, nodes=tuple(replace(n, stride=stride, pad=pad) if n is old else n for n in model.nodes))  # type: ignore[call-arg]
    wide = shaped.node(old.name)
    assert isinstance(wide, Conv)
    taken = taken_over(wide, removed, takeover(moment, removed), measured.mean)
    assert isinstance(taken, Conv)
    narrow = replace(taken, weight=taken.weight[:, ~removed])
    before, after = sums(wide, sent), sums(narrow, sent[:, ~removed])
    np.testing.assert_allclose(after.mean(axis=(0, 2, 3)), before.mean(axis=(0, 2, 3)), rtol=1e-10)
    lost = sums(replace(wide, weight=wide.weight[:, ~removed]), sent[:, ~removed])
    assert ((after - before) ** 2).mean() < ((lost - before) ** 2).mean()


def test_importance_of_a_channel_is_its_mean_over_the_feature_map() -> None:
    model = trained("cnn")
    assert isinstance(model, PlainNet)
    with torch.inference_mode():
        images = model.preprocess(DIGITS.train_items[:1024]).reshape(-1, 1, 8, 8)
        sums = model.get_submodule("conv1")(images)
        sent = torch.nn.functional.max_pool2d(sums.relu(), 2)
    expected = (sums.abs().mean((0, 2, 3)) * sent.mean((0, 2, 3))).numpy()
    np.testing.assert_allclose(activity(folded("cnn"), DIGITS)["conv1"].importance, expected, atol=0.03 * expected.max())


def test_magnitude_does_not_see_a_rescaling_between_two_matrices() -> None:
    model = folded("cnn")
    measured = activity(model, DIGITS)
    weight = {n.name: n.weight for n in model.nodes if isinstance(n, MatMul | Conv)}
    scores = neuron_scores(model, "magnitude", measured)
    assert list(scores) == ["conv1", "conv2"]
    into, out_of = np.linalg.norm(weight["conv2"][3]), np.linalg.norm(weight["logits"].reshape(10, 5, 4)[:, 3])
    assert scores["conv2"][3] == pytest.approx(into * out_of)
    assert least_neurons(model, scores, 0.4)["conv2"].sum() == 2
    assert least_neurons(model, scores, 0.99)["conv2"].sum() == 4, "one channel stays"


def test_chance_is_drawn_by_seed_and_layer() -> None:
    model = folded("cnn")
    measured = activity(model, DIGITS)
    draws = [neuron_scores(model, "random", measured, seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0]["conv1"], draws[1]["conv1"])
    assert (draws[0]["conv1"] != draws[2]["conv1"]).all()
    assert (draws[0]["conv1"][:5] != draws[0]["conv2"]).all()
