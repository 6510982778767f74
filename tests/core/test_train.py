"""Training: seeded, resumable to the same bits, refused where it cannot be right; checkpoints, hostile ones included."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from edgechaos import data
from edgechaos.arithmetic.random_bits import fail_q
from edgechaos.data import Dataset
from edgechaos.models import checkpoint
from edgechaos.models.base import Model
from edgechaos.models.chaosnet import ChaosNet
from edgechaos.models.evaluate import evaluate, evaluate_under
from edgechaos.models.spiking import Conditions, LayerFaults, draw_dead, spiking_ticks
from edgechaos.support.errors import ArtifactError, ConfigError, EdgeChaosError
from edgechaos.train.fit import Progress, Recipe, new_model, train

pytestmark = pytest.mark.trains

SHORT = Recipe(epochs=4, batch=64)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return data.load("digits8x8")


def fresh(digits: Dataset, **options: Any) -> ChaosNet:
    return new_model(digits, **{"hidden": (24,), "ticks": 4, **options})


def weights(model: Model) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_training_learns_and_records_its_facts(digits: Dataset) -> None:
    model = train(fresh(digits, ticks=6), digits, Recipe(epochs=15))
    assert model.facts["accuracy"] == {"float": evaluate(model, digits), "items": len(digits.test_items)}
    assert model.facts["accuracy"]["float"] > 0.5
    assert model.facts["dataset"]["hash"] == digits.content_hash
    assert model.facts["omission"] == 0.5
    assert [e["loss"] for e in model.facts["history"]][-1] < model.facts["history"][0]["loss"]
    assert not model.training
    assert evaluate(model, digits, omission=1.0) < 0.2 < 0.4 < evaluate(model, digits, omission=0.5), (
        "without spikes all items are one class"
    )


def test_the_same_seed_gives_the_same_weights(digits: Dataset) -> None:
    torch.manual_seed(1)
    one = train(fresh(digits), digits, SHORT)
    torch.manual_seed(2)
    two = train(fresh(digits), digits, SHORT)
    assert_same(weights(one), weights(two))
    assert any((a != b).any() for a, b in zip(weights(one).values(), weights(fresh(digits, seed=1)).values(), strict=True))


class PowerCut(Exception):
    pass


@pytest.mark.parametrize("recipe", [SHORT, Recipe(epochs=4, batch=64, optimizer="adam", omission_draw="fixed", dead=0.5)])
def test_an_interrupted_run_resumes_to_the_same_bits(digits: Dataset, tmp_path: Path, recipe: Recipe) -> None:
    whole = train(fresh(digits), digits, recipe)
    output, state, seen = tmp_path / "run", tmp_path / "run.state", []

    def cut(progress: Progress) -> None:
        if progress.done == 2:
            raise PowerCut

    with pytest.raises(PowerCut):
        train(fresh(digits), digits, recipe, output=output, progress=cut)
    assert state.exists()
    assert not output.exists()
    resumed = train(fresh(digits), digits, recipe, output=output, progress=lambda p: seen.append(p.done))
    assert seen == [3, 4], "finished epochs are not repeated"
    assert_same(weights(resumed), weights(whole))
    assert resumed.facts == whole.facts
    assert_same(weights(checkpoint.load(output)), weights(whole))
    assert not state.exists()


def test_a_state_of_another_run_is_refused(digits: Dataset, tmp_path: Path) -> None:
    output, state = tmp_path / "run", tmp_path / "run.state"
    with pytest.raises(PowerCut):
        train(fresh(digits), digits, SHORT, output=output, progress=lambda p: (_ for _ in ()).throw(PowerCut))
    with pytest.raises(ArtifactError, match="belongs to another model, data set or recipe; delete it"):
        train(fresh(digits), digits, Recipe(epochs=5, batch=64), output=output)
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match="not a training state, or truncated"):
        train(fresh(digits), digits, SHORT, output=output)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"omission": 1.5}, "omission"),
        ({"batch": 0}, "batch"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"dead": 2.0}, "dead"),
    ],
)
def test_impossible_recipes_are_refused_by_name(digits: Dataset, options: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=f"recipe: {key} = "):
        train(fresh(digits), digits, Recipe(**options))


def test_every_item_draws_its_share_of_dead_neurons(digits: Dataset) -> None:
    layer = fresh(digits, hidden=(1000,)).failing_layers()[0]
    dead = draw_dead(7, torch.arange(2000), layer, fail_q(0.5))
    shares = dead.double().mean(dim=1)
    assert shares.min() < 0.02
    assert 0.48 < shares.max() < 0.56
    assert abs(shares.mean() - 0.25) < 0.02
    assert abs(shares.std() - 0.5 / 12**0.5) < 0.02, "uniform, not one share for all"
    assert (abs(dead.double().mean(dim=0) - 0.25) < 0.06).all(), "every neuron as often"
    torch.testing.assert_close(draw_dead(7, torch.tensor([1999]), layer, fail_q(0.5))[0], dead[1999])
    assert not draw_dead(7, torch.arange(50), layer, 0).any()


@pytest.mark.parametrize("mode", ["parallel", "stateful"])
@pytest.mark.parametrize("lost", [0, fail_q(0.3)])
def test_the_dead_of_an_item_are_silent_at_all_its_ticks(digits: Dataset, mode: str, lost: int) -> None:
    layer = fresh(digits, mode=mode, ticks=5).spiking_layers()[0]
    items = torch.arange(6)
    drive = torch.rand(6, layer.neurons, generator=torch.Generator().manual_seed(0)) * 3
    dead = draw_dead(3, items, layer.failing(), fail_q(0.8))
    whole = spiking_ticks(drive, layer, Conditions(0, items, {layer.name: LayerFaults(lost)}))
    some = spiking_ticks(drive, layer, Conditions(0, items, {layer.name: LayerFaults(lost, dead)}))
    assert dead.any(dim=1).all()
    silent = dead[:, None].expand_as(whole)
    assert whole[silent].any()
    assert not some[silent].any()
    assert torch.equal(some[~silent], whole[~silent])


def test_training_against_death_meets_the_deaths_of_its_recipe(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step, with the masks that the epoch's seed draws for its items; what these masks do to a layer is tested above."""
    model, seen = fresh(digits), list[tuple[Conditions, torch.Tensor]]()
    layer = model.failing_layers()[0]
    forward = ChaosNet.forward

    def noted(self: ChaosNet, x: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        logits = forward(self, x, conditions)
        seen.append((conditions, logits))
        return logits

    monkeypatch.setattr(ChaosNet, "forward", noted)
    train(model, digits, Recipe(epochs=1, batch=500, omission=0.0, dead=0.75))
    steps = [(conditions, logits) for conditions, logits in seen if logits.requires_grad]
    assert sum(len(conditions.samples) for conditions, _ in steps) == len(digits.train_items)
    for conditions, _ in steps:
        dead = conditions.faults[layer.name].dead
        assert dead is not None
        assert torch.equal(dead, draw_dead(conditions.seed, conditions.samples, layer, fail_q(0.75)))
        assert 0.2 < float(dead.double().mean()) < 0.55, "0.375 on average"
    assert model.facts["dead"] == 0.75


def test_a_checkpoint_returns_the_same_model(digits: Dataset, tmp_path: Path) -> None:
    model = train(fresh(digits, mode="stateful", hidden=(12, 8)), digits, Recipe(epochs=1))
    checkpoint.save(model, tmp_path / "m.safetensors")
    loaded = checkpoint.load(tmp_path / "m.safetensors")
    assert loaded.config == model.config
    assert loaded.facts == json.loads(json.dumps(model.facts))
    assert_same(weights(loaded), weights(model))
    np.testing.assert_array_equal(evaluate_under(loaded, digits.test_items), evaluate_under(model, digits.test_items))


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]) -> None:
    content = path.read_bytes()
    tensors = load_tensors(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    about = json.loads(header["__metadata__"][checkpoint.KEY])
    change(about, tensors)
    path.write_bytes(save_tensors(tensors, {checkpoint.KEY: json.dumps(about)}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, t: a.update(format=9), "format 9"),
        (lambda a, t: a.update(family="gpt"), "family 'gpt' cannot be read"),
        (lambda a, t: a["config"].update(inputs=10**15), "weights and configuration disagree"),
        (lambda a, t: a["config"].update(hidden=[10**9]), "weights and configuration disagree"),
        (lambda a, t: a["config"].update(hidden=[1] * 65), "65 layers are more than the 64"),
        (lambda a, t: a["config"].update(ticks=0), "ticks = 0"),
        (lambda a, t: a["config"].update(surprise=1), "malformed configuration"),
        (lambda a, t: a.pop("config"), "malformed configuration"),
        (lambda a, t: t.pop("readout.bias"), "weights and configuration disagree"),
        (lambda a, t: t["readout.bias"].fill_(float("nan")), "not a finite float"),
    ],
    ids=["format", "family", "inputs", "hidden", "layers", "ticks", "unknown key", "no config", "missing", "nan"],
)
def test_hostile_checkpoints_are_refused(
    digits: Dataset, tmp_path: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None], message: str
) -> None:
    path = tmp_path / "m.safetensors"
    checkpoint.save(fresh(digits), path)
    rewrite(path, change)
    with pytest.raises(ArtifactError, match=message):
        checkpoint.load(path)


def test_missing_truncated_and_foreign_checkpoints_are_refused(digits: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(EdgeChaosError, match="cannot read checkpoint"):
        checkpoint.load(path)
    checkpoint.save(fresh(digits), path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ArtifactError, match="not a checkpoint, or truncated"):
        checkpoint.load(path)
    path.write_bytes(save_tensors({"x": torch.zeros(1)}))
    with pytest.raises(ArtifactError, match="not a checkpoint, or truncated"):
        checkpoint.load(path)
