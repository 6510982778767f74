"""The torch ChaosNet against its plain restatement, golden files and the counter-based words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic import torch_words as words
from edgechaos.faults.injections import CLEAN, ResolvedPlan
from edgechaos.floatgraph.float_nodes import ChaosLayer
from edgechaos.models.chaosnet import ChaosNet
from edgechaos.models.chaosnet_config import ChaosNetConfig
from edgechaos.models.evaluate import evaluate_under
from edgechaos.models.spiking import Conditions, LayerFaults, spiking_ticks, torch_faults
from edgechaos.support.errors import ConfigError, ShapeError, UnsupportedError
from tests.helpers import chaosnet_oracle

MODES = ("parallel", "stateful")


def config(**options: Any) -> ChaosNetConfig:
    return ChaosNetConfig(**{"inputs": 16, "classes": ("a", "b", "c"), "hidden": (12, 8), "ticks": 5, "threshold": 0.05, **options})


def net(seed: int = 0, **options: Any) -> ChaosNet:
    torch.manual_seed(seed)
    return ChaosNet(config(**options)).eval()


def items(count: int = 20, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 4), dtype=np.uint8)


@given(seed=st.integers(0, 2**32 - 1), stream=st.integers(0, 65535), samples=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5))
@settings(max_examples=25, deadline=None)
def test_words_are_the_same_bits_in_torch(seed: int, stream: int, samples: list[int]) -> None:
    expected = random_bits.words(seed, stream, samples, 3, 37)
    word = words.words(seed, stream, torch.tensor(samples), 3, 37)
    np.testing.assert_array_equal(word.numpy().view(np.uint32), expected)
    np.testing.assert_array_equal(words.lost(word, 20000).numpy(), random_bits.lost(expected, 20000))
    np.testing.assert_array_equal(words.gaussian(word, torch.float64).numpy(), random_bits.gaussian(expected) / 2**13)


def stored_net(stored: Any, mode: str) -> ChaosNet:
    options: dict[str, Any] = {"inputs": chaosnet_oracle.SIZES[0], "hidden": chaosnet_oracle.SIZES[1:-1], "classes": tuple("abcde")}
    model = net(**options, ticks=chaosnet_oracle.TICKS, mode=mode, **chaosnet_oracle.OPTIONS)
    state = {"readout.weight": stored["weight_readout"], "readout.bias": stored["weight_bias"]}
    for k in range(len(model.cortex.layers)):
        state[f"cortex.layers.{k}.input_weights.weight"] = stored[f"weight_input{k}"]
        state[f"cortex.layers.{k}.recurrent.weight"] = stored[f"weight_recurrent{k}"]
    model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    return model


@pytest.mark.parametrize("mode", MODES)
def test_golden_file_is_reproduced(mode: str) -> None:
    with np.load(chaosnet_oracle.SPIKES, allow_pickle=False) as stored:
        model = stored_net(stored, mode)
        conditions = Conditions(chaosnet_oracle.SEED, torch.from_numpy(stored["samples"].astype(np.int64)))
        x = torch.from_numpy(stored["inputs"])
        with torch.inference_mode():
            for k, spikes in enumerate(model.spikes(x, conditions)):
                np.testing.assert_array_equal(spikes.numpy(), stored[f"{mode}_spikes{k}"])
            np.testing.assert_allclose(model(x, conditions).numpy(), stored[f"{mode}_logits"], atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_golden_file_is_what_the_restatement_says(mode: str) -> None:
    with np.load(chaosnet_oracle.SPIKES, allow_pickle=False) as stored:
        weights = {name[7:]: stored[name].astype(np.float64) for name in stored.files if name.startswith("weight_")}
        spikes, logits, nearest = chaosnet_oracle.tick_by_tick(stored["inputs"].astype(np.float64), weights, mode, stored["samples"])
        assert nearest > chaosnet_oracle.MARGIN
        assert 0.1 < stored[f"{mode}_spikes1"].mean() < 0.9, "a golden file of silence proves nothing"
        for k, layer in enumerate(spikes):
            np.testing.assert_array_equal(layer, stored[f"{mode}_spikes{k}"])
        np.testing.assert_allclose(logits, stored[f"{mode}_logits"], atol=1e-12)


def layer(**options: Any) -> ChaosLayer:
    defaults: dict[str, Any] = {"neurons": 3, "ticks": 4, "mode": "parallel", "threshold": 0.5, "noise_std": 0.0, "decay": 0.02}
    more = {"refractory_decay": 0.95, "fail_prob": 0.0, "fail_stream": 0, "noise_stream": 1}
    return ChaosLayer(name="cortex0", input="x", **{**defaults, **more, **options})


def run(drive: list[list[float]], description: ChaosLayer, **faults: Any) -> np.ndarray:
    conditions = Conditions(0, torch.arange(len(drive)), {"cortex0": LayerFaults(**faults)})
    return spiking_ticks(torch.tensor(drive), description, conditions).numpy()


def test_a_membrane_at_the_threshold_does_not_spike() -> None:
    np.testing.assert_array_equal(run([[0.5, np.nextafter(np.float32(0.5), 1), -1.0]], layer())[0], [[0, 1, 0]] * 4)


def test_a_stateful_spike_silences_and_parallel_ticks_are_equal() -> None:
    drive = [[0.6, 0.3, 0.0]]
    np.testing.assert_array_equal(run(drive, layer(mode="stateful"))[0, :, 0], [1, 0, 0, 0])
    np.testing.assert_array_equal(run(drive, layer(mode="stateful"))[0, :, 1], [0, 1, 0, 0])
    np.testing.assert_array_equal(run(drive, layer())[0], [[1, 0, 0]] * 4)


def test_a_lost_spike_leaves_refractoriness_untouched() -> None:
    spikes = run([[0.6]] * 200, layer(neurons=1, mode="stateful", ticks=6), fail_q=32768)[:, :, 0]
    assert (spikes.sum(axis=1) <= 1).all()
    assert spikes[:, 1:].any(), "a neuron whose first spike was lost fires at a later tick"


@pytest.mark.parametrize("mode", MODES)
def test_dead_stuck_and_lost_neurons(mode: str) -> None:
    drive = [[0.6, 0.6, 0.6], [0.0, 0.0, 0.0]]
    dead, stuck = torch.tensor([True, False, False]), torch.tensor([False, True, False])
    spikes = run(drive, layer(mode=mode), dead=dead, stuck=stuck)
    assert not spikes[:, :, 0].any()
    assert spikes[:, :, 1].all()
    assert spikes[0, 0, 2] == 1
    only_stuck = run(drive, layer(mode=mode), fail_q=65536, stuck=stuck)
    np.testing.assert_array_equal(only_stuck, np.broadcast_to([0, 1, 0], (2, 4, 3)))


def test_the_surrogate_reaches_every_matrix_that_is_read() -> None:
    model = net(noise_std=0.0)
    model(torch.randn(6, 16, generator=torch.Generator().manual_seed(1)), Conditions(0, torch.arange(6))).square().sum().backward()
    gradients = {name: p.grad is not None and bool(p.grad.abs().sum() > 0) for name, p in model.named_parameters()}
    assert gradients.pop("cortex.layers.1.recurrent.weight") is False, "the last recurrent matrix is dead weight"
    assert all(gradients.values()), gradients


def test_recurrent_rows_start_excitatory_then_inhibitory() -> None:
    weight = net(hidden=(20,)).cortex.chain()[0].recurrent.weight
    assert bool((weight[:16] >= 0).all())
    assert bool((weight[16:] <= 0).all())


def test_evaluation_does_not_depend_on_the_batch_and_follows_the_plan() -> None:
    model = net(fail_prob=0.2)
    plan = ResolvedPlan.of(fail_q={"cortex0": 30000}, dead={"cortex1": np.arange(8) < 3})
    whole = evaluate_under(model, items(), plan, seed=5)
    np.testing.assert_allclose(evaluate_under(model, items(), plan, seed=5, batch=7), whole, atol=1e-6)
    assert np.abs(evaluate_under(model, items(), plan, seed=6) - whole).max() > 0
    assert np.abs(evaluate_under(model, items(), CLEAN, seed=5) - whole).max() > 0


def test_preprocessing_normalizes_each_channel() -> None:
    model = net(mean=(0.25, 0.5), std=(0.5, 0.25), inputs=8)
    pixels = np.full((1, 2, 2, 2), 51, np.uint8)
    np.testing.assert_allclose(model.preprocess(pixels).numpy(), [[-0.1] * 4 + [-1.2] * 4], atol=1e-6)
    with pytest.raises(ShapeError, match="uint8 items of 8 pixels, got float32"):
        model.preprocess(pixels.astype(np.float32))


def test_flipped_weight_bits_have_no_meaning_in_floats() -> None:
    with pytest.raises(UnsupportedError, match="run this plan on the integer graph"):
        torch_faults(ResolvedPlan.of(patch={"readout": np.array([[0, 0, 64]], np.int32)}))


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"hidden": ()}, "hidden"),
        ({"ticks": 0}, "ticks"),
        ({"decay": 1.5}, "decay"),
        ({"mode": "serial"}, "mode"),
        ({"std": (0.0,)}, "std"),
    ],
)
def test_impossible_configurations_are_refused_by_name(options: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} = ") as caught:
        ChaosNet(config(**options))
    assert caught.value.key == key
