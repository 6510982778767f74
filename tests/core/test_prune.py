"""Pruning: neurons that never act leave without a trace, the least important leave first, zeros outlive fine-tuning."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from edgechaos import data, reference
from edgechaos.cli import main, quantize_command
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.plan import FaultPlan, apply
from edgechaos.floatgraph import passes
from edgechaos.floatgraph.float_model import FloatModel
from edgechaos.floatgraph.float_nodes import MatMul
from edgechaos.graph import artifact
from edgechaos.graph.inspect import inspect
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import ChaosLayer as ChaosLayerNode
from edgechaos.models import checkpoint
from edgechaos.models.base import Model
from edgechaos.models.chaosnet import ChaosNet
from edgechaos.models.chaosnet_config import config_for
from edgechaos.models.plain import PlainConfig, PlainNet
from edgechaos.models.tnn import Tnn, TnnConfig
from edgechaos.prune.criteria import CRITERIA, RIDGE, Criterion, NeuronActivity, last_to_go, neuron_layers, neuron_scores, takeover
from edgechaos.prune.removal import least_neurons, prune_neurons, prune_weights, remove_neurons
from edgechaos.quantize.heads import CALIBRATION_ITEMS
from edgechaos.quantize.importance import activity
from edgechaos.quantize.pipeline import fake_quantized, quantize, to_graph
from edgechaos.support.errors import FaultError, GraphError, UnsupportedError
from edgechaos.train.fit import Recipe, train

pytestmark = pytest.mark.trains

DIGITS = data.load("digits8x8")
COMMON: dict[str, Any] = {"inputs": 64, "classes": DIGITS.classes, "mean": DIGITS.mean, "std": DIGITS.std}
DEAD = [1, 5, 6, 19]


def chaos(**options: Any) -> ChaosNet:
    return ChaosNet(config_for(DIGITS, hidden=(24, 20), ticks=4, threshold=0.2, noise_std=0.0, **options))


FAMILIES: dict[str, Any] = {
    "parallel": chaos,
    "stateful": lambda: chaos(mode="stateful"),
    "mlp": lambda: PlainNet(PlainConfig(hidden=(24, 20), **COMMON)),
    "tnn": lambda: Tnn(TnnConfig(hidden=(24, 20), sparsity=0.25, **COMMON)),
}


@cache
def trained(family: str) -> Model:
    torch.manual_seed(2)
    model: Model = FAMILIES[family]()
    return train(model, DIGITS, Recipe(epochs=8, learning_rate=1e-2, omission=0.2, seed=1))


def folded(family: str) -> FloatModel:
    return passes.fold(trained(family).describe())


def matrix(model: FloatModel, name: str) -> MatMul:
    node = model.node(name)
    assert isinstance(node, MatMul)
    return node


def with_silent_neurons(family: str) -> Model:
    """A copy in which the neurons DEAD of the first layer never act, although their weights are the largest of all.

    The first pixel is always 0, below the mean: the larger its weight, the less a neuron ever acts.
    """
    model: Model = FAMILIES[family]()
    model.load_state_dict(trained(family).state_dict())
    layers: Any = (
        model.cortex.chain() if isinstance(model, ChaosNet) else model.chain() if isinstance(model, Tnn) else [model.fc1, model.fc2]
    )
    with torch.no_grad():
        into, out_of = (layers[0].input_weights, layers[0].recurrent) if isinstance(model, ChaosNet) else layers[:2]
        assert not DIGITS.train_items[:, 0, 0].any()
        into.weight[DEAD] = 0.0
        into.weight[DEAD, 0] = 30.0
        out_of.weight[:, DEAD] *= 20.0
    return model


def logits(graph: IntegerGraph) -> np.ndarray[Any, Any]:
    """On the items that decide what is silent."""
    return reference.run(graph, reference.encode(graph, DIGITS.train_items[:CALIBRATION_ITEMS])).logits


@pytest.mark.parametrize("method", ["ptq", "qat"])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_removing_neurons_that_never_act_changes_no_logit(family: str, per_channel: bool, method: Any) -> None:
    model = with_silent_neurons(family)
    whole, less = (quantize(model, DIGITS, method=method, epochs=1, per_channel=per_channel, prune_neurons=p) for p in (None, 0.0))
    first = next(iter(less.metadata["pruning"]["kept"].values()))
    assert not set(first) & set(DEAD)
    assert inspect(less).flash_bytes < inspect(whole).flash_bytes
    np.testing.assert_array_equal(logits(less), logits(whole))


def test_fault_plans_name_the_new_numbers() -> None:
    model = with_silent_neurons("parallel")
    whole, less = (quantize(model, DIGITS, method="ptq", prune_neurons=p) for p in (None, 0.0))
    first, kept = next(n for n in less.nodes if isinstance(n, ChaosLayerNode)).name, next(iter(less.metadata["pruning"]["kept"].values()))
    for new in (0, len(kept) // 2):
        dead = [apply(g, FaultPlan((DeadNeurons(first, neurons=(n,)),))) for g, n in ((whole, kept[new]), (less, new))]
        np.testing.assert_array_equal(logits(dead[1]), logits(dead[0]))
        assert (logits(dead[1]) != logits(less)).any()
    with pytest.raises(FaultError, match=rf"neurons 0\.\.{len(kept) - 1}, not {len(kept)}"):
        apply(less, FaultPlan((DeadNeurons(first, neurons=(len(kept),)),)))


def test_pruned_neurons_take_rows_columns_and_thresholds_along() -> None:
    graph = quantize(trained("parallel"), DIGITS, method="ptq", prune_neurons=0.25)
    kept = graph.metadata["pruning"]["kept"]
    sizes = [len(units) for units in kept.values()]
    assert sizes[0] <= 18
    assert sizes[1] <= 15
    layers = [n for n in graph.nodes if isinstance(n, ChaosLayerNode)]
    assert [graph.constants[n.threshold].value.size for n in layers] == sizes
    assert [graph.constants[f"{name}_weight"].value.shape for name in (*kept, "logits")] == [
        (sizes[0], 64),
        (sizes[1], sizes[0]),
        (10, sizes[1]),
    ]
    assert "numbered from 0" in graph.metadata["pruning"]["numbering"]
    assert artifact.from_bytes(artifact.to_bytes(graph)).metadata == graph.metadata


def test_the_least_important_neurons_go() -> None:
    model = folded("mlp")
    first, second = (layer.matrix for layer in neuron_layers(model))
    current_in, current_out = np.ones(24), np.arange(24.0)[::-1].copy()
    current_in[0] = 0.01  # much activity out, little in: 0.23, less than neuron 22's 1
    current_out[3] = 0.0  # of two that send nothing the first goes
    measured = {first: NeuronActivity(current_in, current_out, np.zeros(24), np.eye(24))}
    for share, gone in ((0.0, set()), (1 / 24, {3}), (3 / 24, {0, 3, 23}), (4 / 24, {0, 3, 22, 23})):
        less = prune_neurons(model, measured, share, "current")
        assert set(range(24)) - set(less.metadata["pruning"]["kept"][first]) == gone
        assert matrix(less, first).weight.shape == (24 - len(gone), 64)
        assert matrix(less, second).weight.shape == (20, 24 - len(gone))
    assert model.metadata.get("pruning") is None, "pruning returns another model"


def test_what_readers_heard_on_average_stays() -> None:
    model = folded("mlp")
    first = neuron_layers(model)[0].matrix
    second = neuron_layers(model)[1].matrix
    before = matrix(model, second)
    generator = np.random.default_rng(0)
    sent = generator.gamma(1.0, size=(500, 24))
    removed = np.isin(np.arange(24), [2, 7, 20])
    measured = NeuronActivity(np.ones(24), sent.mean(axis=0), sent.mean(axis=0), sent.T @ sent / len(sent))
    after = matrix(remove_neurons(model, {first: removed}, {first: measured}), second)
    assert before.bias is not None
    assert after.bias is not None
    sums = [sent @ before.weight.T + before.bias, sent[:, ~removed] @ after.weight.T + after.bias]
    np.testing.assert_allclose(sums[1].mean(axis=0), sums[0].mean(axis=0), rtol=1e-12)
    lost = sent[:, ~removed] @ before.weight[:, ~removed].T + before.bias
    assert ((sums[1] - sums[0]) ** 2).mean() < ((lost - sums[0]) ** 2).mean() * 0.6


def test_alone_a_neuron_leaves_its_mean_in_a_new_bias() -> None:
    model = folded("mlp")
    first, second = (layer.matrix for layer in neuron_layers(model))
    bare = replace(model, nodes=tuple(replace(n, bias=None) if n.name == second else n for n in model.nodes))  # type: ignore[call-arg]
    mean = np.arange(24.0)
    measured = NeuronActivity(mean, mean, mean, np.diag(mean**2))  # no product of two neurons: none replaces another
    removed = np.isin(np.arange(24), [4, 9])
    after = matrix(remove_neurons(bare, {first: removed}, {first: measured}), second)
    before = matrix(bare, second).weight
    np.testing.assert_allclose(after.bias, 4 * before[:, 4] + 9 * before[:, 9])  # type: ignore[arg-type]
    np.testing.assert_array_equal(after.weight, before[:, ~removed])


def test_a_copy_takes_over_all_of_a_neuron_and_goes_before_those_that_nothing_replaces() -> None:
    model = folded("mlp")
    first, second = (layer.matrix for layer in neuron_layers(model))
    sent = np.random.default_rng(1).gamma(1.0, size=(2000, 24))
    sent[:, 5] = 2 * sent[:, 11]
    measured = NeuronActivity(np.ones(24), sent.mean(axis=0), sent.mean(axis=0), sent.T @ sent / len(sent))
    shares = takeover(measured.moment, np.arange(24) == 11)
    assert shares[5, 0] == pytest.approx(0.5, abs=0.05)
    place = neuron_scores(model, "reconstruction", {first: measured})[first]
    assert sorted(place) == list(range(24))
    equal = replace(model, nodes=tuple(replace(n, weight=np.ones((20, 24))) if n.name == second else n for n in model.nodes))  # type: ignore[call-arg]
    assert neuron_scores(equal, "reconstruction", {first: measured})[first].argmin() in (5, 11)


def test_the_order_of_reconstruction_is_what_removing_one_by_one_gives() -> None:
    """The rank-one updates, against least squares solved anew for every set of neurons."""
    generator = np.random.default_rng(2)
    leaving, sent = generator.normal(size=(7, 3)), generator.gamma(1.0, size=(100, 7))
    moment = sent.T @ sent / len(sent)
    damped, left, order = moment + RIDGE * np.trace(moment) / 7 * np.eye(7), list(range(7)), []

    def error(kept: list[int]) -> float:
        given = np.linalg.solve(damped[np.ix_(kept, kept)], damped[kept]) if kept else np.zeros((0, 7))
        rest = damped - damped[:, kept] @ given
        return float(np.trace(leaving.T @ rest @ leaving))

    while left:
        least = min(left, key=lambda j: error([k for k in left if k != j]))
        left.remove(least)
        order.append(least)
    np.testing.assert_array_equal(np.argsort(last_to_go(leaving, moment)), order)


@pytest.mark.parametrize("by", CRITERIA)
def test_the_criterion_decides_who_goes_and_those_that_stay_take_over(by: Criterion) -> None:
    model = folded("parallel")
    measured = activity(model, DIGITS)
    masks = least_neurons(model, neuron_scores(model, by, measured), 0.5)
    graph = quantize(trained("parallel"), DIGITS, method="ptq", prune_neurons=0.5, prune_by=by)
    assert graph.metadata["pruning"]["by"] == by
    for name, mask in masks.items():
        assert set(graph.metadata["pruning"]["kept"][name]) <= set(np.flatnonzero(~mask).tolist())
    taken, dropped = (
        to_graph(fake_quantized(remove_neurons(model, masks, m), DIGITS, method="ptq", per_channel=True, epochs=0), DIGITS, "ticks", {})
        for m in (measured, None)
    )
    np.testing.assert_array_equal(logits(graph), logits(taken))
    assert (logits(graph) != logits(dropped)).any()


def test_importance_is_mean_current_in_times_mean_activity_out() -> None:
    model = trained("mlp")
    assert isinstance(model, PlainNet)
    with torch.inference_mode():
        sums = model.get_submodule("fc1")(model.preprocess(DIGITS.train_items[:1024]))
    expected = (sums.abs().mean(0) * sums.relu().mean(0)).numpy()
    measured = activity(folded("mlp"), DIGITS)["fc1"].importance
    np.testing.assert_allclose(measured, expected, atol=0.03 * expected.max())


def test_old_numbers_survive_a_second_pruning() -> None:
    model = folded("parallel")
    first = neuron_layers(model)[0].matrix
    once = remove_neurons(model, {first: np.isin(np.arange(24), [0, 2])})
    twice = remove_neurons(once, {first: np.isin(np.arange(22), [0, 1])})
    assert twice.metadata["pruning"]["kept"][first] == list(range(4, 24))
    np.testing.assert_array_equal(matrix(twice, first).weight, matrix(model, first).weight[4:])


@pytest.mark.parametrize("family", FAMILIES)
def test_fine_tuning_moves_weights_and_leaves_zeros_alone(family: str) -> None:
    options: Any = {"per_channel": False, "weight_bits": 8}
    less = prune_weights(prune_neurons(folded(family), activity(folded(family), DIGITS), 0.5), 0.3)
    calibrated, tuned = (fake_quantized(less, DIGITS, method=m, epochs=e, **options) for m, e in (("ptq", 0), ("qat", 2)))  # type: ignore[arg-type]
    for node in less.nodes:
        if isinstance(node, MatMul):
            before, after = (fake.quantized(node.name).weight for fake in (calibrated, tuned))
            assert not after[node.weight == 0].any(), f"{node.name}: fine-tuning brought pruned weights back"
            assert (after != before).any()


def test_the_smallest_weights_become_zero() -> None:
    model = folded("mlp")
    for node in prune_weights(model, 0.5).nodes:
        if isinstance(node, MatMul):
            before = matrix(model, node.name).weight
            zero = node.weight == 0
            assert zero.sum() == node.weight.size // 2
            assert np.abs(before[zero]).max() <= np.abs(before[~zero]).min()
            np.testing.assert_array_equal(node.weight[~zero], before[~zero])


def test_what_cannot_be_pruned_says_so() -> None:
    model = folded("mlp")
    first = neuron_layers(model)[0].matrix
    with pytest.raises(UnsupportedError, match="no hidden neurons"):
        prune_neurons(model, {}, 0.5)
    with pytest.raises(UnsupportedError, match="share of 1"):
        prune_weights(model, 1.0)
    with pytest.raises(UnsupportedError, match=r"share of -0\.1"):
        prune_neurons(model, {}, -0.1)
    with pytest.raises(UnsupportedError, match=f"'{first}': no neuron would be left of 24"):
        remove_neurons(model, {first: np.ones(24, bool)})
    with pytest.raises(GraphError, match="no layer 'logits'"):
        remove_neurons(model, {"logits": np.ones(10, bool)})


@pytest.mark.backends
def test_the_command_prunes(tmp_path: Path) -> None:
    checkpoint.save(trained("parallel"), tmp_path / "net.safetensors")
    arguments = ["--method", "ptq", "--prune-neurons", "0.3", "--prune-by", "current", "--prune-weights", "0.5"]
    result = CliRunner().invoke(main, ["quantize", str(tmp_path / "net.safetensors"), *arguments])
    assert result.exit_code == 0, result.stderr
    pruning = artifact.load(tmp_path / "net.ecm").metadata["pruning"]
    assert (pruning["neurons"], pruning["by"], pruning["weights"]) == (0.3, "current", 0.5)
    assert quantize_command.CRITERIA == CRITERIA, "the command names them without loading the library"
    backends = ("onnxruntime-off", "onnxruntime-on", "host", "unicorn")
    chosen = [option for name in backends for option in ("--backend", name)]
    verify = ["verify", str(tmp_path / "net.ecm"), *chosen, "--items", "20", "--fault-items", "5", "-o", str(tmp_path / "verify.json")]
    result = CliRunner().invoke(main, verify)
    assert result.exit_code == 0, result.stderr
    document = json.loads((tmp_path / "verify.json").read_text())
    assert document["passed"]
    assert {c["backend"] for c in document["comparisons"]} == set(backends)
    assert CliRunner().invoke(main, ["quantize", "net.safetensors", "--prune-weights", "1"]).exit_code == 2
