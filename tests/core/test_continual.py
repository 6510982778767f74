"""Continual learning: streams, EWC against oracles, measures by hand, runs that resume to the same bits, the command."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from edgechaos import data, reference
from edgechaos.cli import main
from edgechaos.continual import ewc, measures
from edgechaos.continual.recipe import Settings, compare, learn
from edgechaos.continual.tasks import TaskStream
from edgechaos.data import Dataset
from edgechaos.graph import artifact
from edgechaos.models import checkpoint
from edgechaos.models.build import build
from edgechaos.models.spiking import Conditions
from edgechaos.models.tnn import Tnn
from edgechaos.support.errors import ArtifactError, ConfigError
from edgechaos.train.fit import Recipe

pytestmark = pytest.mark.trains

SMALL = Settings(hidden=(24,), sparsity=0.1, ewc_lambda=1e4, fisher_items=64, recipe=Recipe(1, 32, 1e-3, "adam", 0.0, 0.0))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return data.load("digits8x8")


def test_split_tasks_share_no_class_and_lose_no_item(digits: Dataset) -> None:
    stream = TaskStream("split", digits, 3)
    labels = [stream.train(k)[1] for k in range(3)]
    assert [sorted(set(each.tolist())) for each in labels] == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert sum(map(len, labels)) == len(digits.train_labels)
    assert stream.name(1) == "4, 5, 6"
    items, test_labels = stream.test(2)
    np.testing.assert_array_equal(items, digits.test_items[digits.test_labels >= 7])
    assert test_labels.min() == 7


def test_permuted_tasks_move_the_same_pixels_in_training_and_test(digits: Dataset) -> None:
    stream = TaskStream("permuted", digits, 3)
    np.testing.assert_array_equal(stream.train(0)[0], digits.train_items)
    marked = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    twin = TaskStream("permuted", replace(digits, train_items=marked, train_labels=digits.train_labels[:1]), 3)
    orders = [twin.train(k)[0].ravel() for k in range(3)]
    assert all(sorted(order) == list(range(64)) for order in orders)
    assert (orders[1] != orders[2]).any()
    np.testing.assert_array_equal(stream.test(2)[0].reshape(-1, 64), digits.test_items.reshape(-1, 64)[:, orders[2]])
    assert orders[1][:6].tolist() == [61, 0, 10, 58, 14, 48], "the same order on every machine and in every release"


@pytest.mark.parametrize(("kind", "count"), [("split", 1), ("split", 11), ("shuffled", 2)])
def test_impossible_streams_are_refused(digits: Dataset, kind: Any, count: int) -> None:
    with pytest.raises(ConfigError, match=r"2 to 10|use split or permuted"):
        TaskStream(kind, digits, count)


def test_labels_are_drawn_from_the_model_itself(digits: Dataset) -> None:
    model = build("mlp", digits, hidden=(4,))
    x = model.preprocess(digits.train_items[:1]).expand(4000, -1)
    drawn = Counter(ewc._drawn_labels(model, x, torch.arange(4000), 3).tolist())
    expected = torch.softmax(model(x[:1], Conditions(0, torch.arange(1))), dim=1)[0].detach()
    for c in range(10):
        assert abs(drawn[c] / 4000 - float(expected[c])) < 0.03


@pytest.mark.parametrize("kind", ["mlp", "tnn"])
def test_fisher_of_the_readout_is_that_of_a_softmax(digits: Dataset, kind: str) -> None:
    """Of a linear readout z = W a: d log p(y) / dW = (onehot(y) - p) a^T, per item."""
    model = build(kind, digits, hidden=(12,)).eval()
    x = model.preprocess(digits.train_items[:40])
    seen: list[torch.Tensor] = []
    last = list(model.modules())[-1]
    hook = last.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].detach()))
    p = torch.softmax(model(x, Conditions(5, torch.arange(40))), dim=1).detach()
    hook.remove()
    error = torch.nn.functional.one_hot(ewc._drawn_labels(model, x, torch.arange(40), 5), 10) - p
    expected = error.square().T @ seen[0].square() / 40
    names = dict(model.named_parameters())
    name = next(key for key, value in names.items() if value is last.weight)
    torch.testing.assert_close(ewc.fisher(model, x, 5)[name], expected)


def test_the_penalty_is_the_sum_over_tasks(digits: Dataset) -> None:
    model = build("mlp", digits, hidden=(6,)).eval()
    learner, x = ewc.Anchored(model, 7.0), model.preprocess(digits.train_items[:32])
    held = []
    for task in range(2):
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(task)), alpha=0.1)
        held.append({n: (f, model.get_parameter(n).detach().clone()) for n, f in ewc.fisher(model, x, task).items()})
        learner.anchor(x, task)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.3)
    penalty = sum(3.5 * (f * (model.get_parameter(n) - w).square()).sum() for task in held for n, (f, w) in task.items())
    expected = torch.autograd.grad(torch.as_tensor(penalty), list(model.parameters()))
    for (name, weight), gradient in zip(model.named_parameters(), expected, strict=True):
        weight.grad = torch.ones_like(weight)
        torch.testing.assert_close(learner.penalty_gradient(name), gradient, rtol=1e-3, atol=1e-6)
    learner.before_step()
    for weight, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.grad, 1.0 + gradient, rtol=1e-3, atol=1e-6)


def test_measures_of_a_matrix_by_hand() -> None:
    r = np.array([[0.9, 0.1, 0.0], [0.5, 0.8, 0.2], [0.6, 0.2, 1.0]])
    assert measures.average_accuracy(r) == pytest.approx(0.6)
    assert measures.learned(r) == pytest.approx(0.9)
    assert measures.forgetting(r) == pytest.approx((0.3 + 0.6) / 2)
    assert measures.backward_transfer(r) == pytest.approx((-0.3 - 0.6) / 2)
    assert measures.over_seeds([0.25]) == measures.OverSeeds(0.25, None, None, 1)
    three = measures.over_seeds([0.1, 0.2, 0.3])
    assert three.low == pytest.approx(0.2 - 4.302653 * 0.1 / 3**0.5)
    assert three.high == pytest.approx(0.2 + 4.302653 * 0.1 / 3**0.5)


def test_consolidated_weights_take_shorter_steps_of_any_optimizer(digits: Dataset) -> None:
    model = build("tnn", digits, hidden=(8,))
    assert isinstance(model, Tnn)
    layer = model.chain()[-1]
    with torch.no_grad():
        layer.consolidation[0] = 1.0
    before = layer.weight.detach().clone()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    model(model.preprocess(digits.train_items[:8]), Conditions(0, torch.arange(8))).square().sum().backward()
    model.before_step()
    optimizer.step()
    model.after_step(torch.Generator())
    moved = (layer.weight.detach() - before).abs().amax(dim=1)
    assert moved[0] == pytest.approx(0.1 * (np.exp(-5) + 0.01), rel=1e-3)
    assert moved[1] > 0.09


class PowerCut(Exception):
    pass


def test_an_interrupted_run_resumes_to_the_same_bits(digits: Dataset, tmp_path: Path) -> None:
    stream, strategy, seen = TaskStream("split", digits, 3), "sparse+ewc+sleep", []
    whole = learn(stream, strategy, 1, SMALL, tmp_path / "whole")

    def cut(done: int, total: int) -> None:
        if done == 2:
            raise PowerCut

    with pytest.raises(PowerCut):
        learn(stream, strategy, 1, SMALL, tmp_path / "cut", cut)
    with pytest.raises(ArtifactError, match="belongs to another stream, strategy or setting"):
        learn(stream, strategy, 1, replace(SMALL, ewc_lambda=1.0), tmp_path / "cut")
    assert learn(stream, strategy, 1, SMALL, tmp_path / "cut", lambda done, total: seen.append(done)) == whole
    assert seen == [3], "learned tasks are not learned again"
    first, second = (checkpoint.load(tmp_path / place / f"{strategy}-1.safetensors").state_dict() for place in ("whole", "cut"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert sorted(p.name for p in (tmp_path / "cut").iterdir()) == [f"{strategy}-1.ecm", f"{strategy}-1.safetensors"]


def test_held_weights_forget_less_and_the_integers_agree(digits: Dataset, tmp_path: Path) -> None:
    """Over four seeds 70 to 80 points were lost without, 6 to 24 with the penalty, whose gradient is tested exactly above."""
    settings = Settings(hidden=(64,), ewc_lambda=1e5, fisher_items=128, recipe=Recipe(6, 32, 1e-3, "adam", 0.0, 0.0))
    strategies = ("sparse", "sparse+ewc")
    result = compare(TaskStream("split", digits), tmp_path, strategies=strategies, seeds=1, settings=settings)
    lost = {strategy: each["forgetting"]["value"] for strategy, each in result["summary"].items()}
    assert lost["sparse"] > lost["sparse+ewc"]
    run = result["runs"]["sparse+ewc 0"]
    assert np.abs(np.array(run["integer"]) - run["accuracy"][-1]).max() < 0.15
    graph = artifact.load(tmp_path / "sparse+ewc-0.ecm")
    items, labels = TaskStream("split", digits).test(0)
    assert float((reference.run(graph, reference.encode(graph, items)).labels == labels).mean()) == run["integer"][0]
    assert compare(TaskStream("split", digits), tmp_path, strategies=strategies, seeds=1, settings=settings) == result
    with pytest.raises(ArtifactError, match="belongs to another stream, data set or setting"):
        compare(TaskStream("permuted", digits), tmp_path, seeds=1, settings=settings)


def test_sleep_changes_what_is_left(digits: Dataset, tmp_path: Path) -> None:
    seen, stream = [], TaskStream("split", digits, 2)
    result = compare(stream, tmp_path, strategies=("sparse", "sparse+sleep"), seeds=1, settings=SMALL, progress=lambda *p: seen.append(p))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert result["runs"]["sparse 0"] != result["runs"]["sparse+sleep 0"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategies": ("plain+ewc",)}, r"no strategy is called 'plain\+ewc'; use plain, sparse"),
        ({"seeds": 0}, "at least one"),
        ({"settings": replace(SMALL, ewc_lambda=-1.0)}, "ewc_lambda = -1.0"),
        ({"settings": replace(SMALL, fisher_items=0)}, "fisher_items = 0"),
    ],
)
def test_impossible_comparisons_are_refused(digits: Dataset, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compare(TaskStream("split", digits), tmp_path, **options)


def test_the_command_prints_a_table_and_draws(tmp_path: Path) -> None:
    arguments = ["continual", "--data", "digits8x8", "--tasks", "2", "--strategy", "sparse+ewc", "--seeds", "2", "--epochs", "1"]
    arguments += ["--hidden", "16", "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(main, [*arguments, "--picture", str(tmp_path / "p.svg")])
    assert done.exit_code == 0, done.output
    assert "sparse+ewc" in done.stdout
    assert "mean of 2 seeds" in done.stdout
    first = (tmp_path / "p.svg").read_bytes()
    again = CliRunner().invoke(main, [*arguments, "--picture", str(tmp_path / "p.svg"), "--json"])
    assert (tmp_path / "p.svg").read_bytes() == first, "equal results, equal files"
    assert json.loads(again.stdout) == json.loads((tmp_path / "out" / "results.json").read_text())
    assert b"sparse+ewc: " in first
    assert CliRunner().invoke(main, [*arguments, "--picture", "p.jpg"]).exit_code == 1
