"""The sweep of weight formats: figures that agree with a single quantization, a true front, refusals as outcomes, a picture."""

from __future__ import annotations

import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from edgechaos import data
from edgechaos.cli import main
from edgechaos.graph.inspect import inspect
from edgechaos.models import checkpoint
from edgechaos.models.plain import PlainConfig, PlainNet
from edgechaos.quantize.pipeline import quantize
from edgechaos.support.errors import AccumulatorOverflow, UnsupportedError
from edgechaos.support.pictures import picture_format
from edgechaos.support.statistics import proportion
from edgechaos.sweeps.bits import Measured, Outcome, Sweep, pareto, save_picture, sweep
from edgechaos.train.fit import Recipe, train

pytestmark = pytest.mark.trains

DIGITS = data.load("digits8x8")


@cache
def mlp() -> PlainNet:
    torch.manual_seed(0)
    config = PlainConfig(inputs=64, hidden=(16,), classes=DIGITS.classes, mean=DIGITS.mean, std=DIGITS.std)
    return train(PlainNet(config), DIGITS, Recipe(epochs=8, learning_rate=1e-2, seed=1))


@cache
def swept() -> Sweep:
    return sweep(mlp(), DIGITS, method="ptq")


def unquantizable(weight: float, bias: float) -> PlainNet:
    """A copy whose first hidden neuron has its weights times `weight`, and a bias that the scale of these may not count."""
    model = PlainNet(mlp().config)
    model.load_state_dict(mlp().state_dict())
    layer: Any = model.fc1
    with torch.no_grad():
        layer.weight[0] *= weight
        layer.bias[0] = bias
    return model


def test_every_setting_is_what_a_single_quantization_gives() -> None:
    outcomes = {(o.weight_bits, o.per_channel): o for o in swept().outcomes}
    assert list(outcomes) == list(itertools.product((8, 4, 2), (False, True)))
    graph = quantize(mlp(), DIGITS, method="ptq", per_channel=True, weight_bits=4)
    measured, costs = outcomes[4, True].measured, inspect(graph)
    assert measured is not None
    accuracy = graph.metadata["accuracy"]
    assert (measured.accuracy, measured.items) == (accuracy["integer"], len(DIGITS.test_items))
    assert (measured.flash_bytes, measured.synaptic_operations) == (costs.flash_bytes, costs.synaptic_operations)
    interval = proportion(round(accuracy["integer"] * accuracy["items"]), accuracy["items"])
    assert (measured.low, measured.high) == pytest.approx((interval.low, interval.high))


def test_fewer_bits_take_less_flash() -> None:
    flash = [o.measured.flash_bytes for o in swept().outcomes if o.measured and not o.per_channel]
    assert flash == sorted(flash, reverse=True)
    assert len(set(flash)) == 3
    assert swept().front()[0].weight_bits == 2


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=8))
def test_the_front_is_what_nothing_dominates(points: list[tuple[int, int]]) -> None:
    outcomes = [Outcome(8, False, Measured(a / 4, 0.0, 1.0, 4, flash, None)) for a, flash in points]
    marked = pareto([*outcomes, Outcome(2, True, refused="why")])
    assert marked[-1].measured is None
    for (a, flash), outcome in zip(points, marked, strict=False):
        better = [(b, f) for b, f in points if (b > a and f <= flash) or (b >= a and f < flash)]
        assert outcome.measured is not None
        assert outcome.measured.front is (not better)


def test_a_refused_setting_is_listed_with_its_reason(tmp_path: Path) -> None:
    result = sweep(unquantizable(0.05, 1e5), DIGITS, method="ptq")
    refused = {(o.weight_bits, o.per_channel) for o in result.outcomes if o.refused}
    assert (8, True) in refused, "the finer the weights, the larger the bias in their units"
    assert (2, False) not in refused
    assert all("fc1" in str(o.refused) for o in result.outcomes if o.refused)
    assert save_picture(result, tmp_path / "front.svg").stat().st_size > 1000


def test_a_neuron_that_training_left_near_zero_has_a_scale_that_carries_its_bias() -> None:
    assert not any(o.refused for o in sweep(unquantizable(1e-8, 1.0), DIGITS, method="ptq").outcomes)


def test_a_model_that_refuses_all_settings_says_why() -> None:
    with pytest.raises(AccumulatorOverflow, match="fc1"):
        sweep(unquantizable(1.0, 1e12), DIGITS, method="ptq")


def test_pictures_are_png_or_svg_and_the_same_each_time(tmp_path: Path) -> None:
    png, svg = (save_picture(swept(), tmp_path / f"front.{kind}").read_bytes() for kind in ("png", "svg"))
    assert png.startswith(b"\x89PNG")
    assert all(text in svg for text in (b"<svg", b"Pareto front", b"2 bits"))
    assert save_picture(swept(), tmp_path / "again.svg").read_bytes() == svg
    with pytest.raises(UnsupportedError, match=r"\.png or \.svg"):
        picture_format(Path("front.jpg"))


def test_the_command_prints_and_writes_it(tmp_path: Path) -> None:
    file = tmp_path / "mlp.safetensors"
    checkpoint.save(mlp(), file)

    def run(*arguments: object, code: int = 0) -> str:
        result = CliRunner().invoke(main, ["quantize", str(file), *map(str, arguments)])
        assert result.exit_code == code, f"{result.output}\n{result.stderr}"
        return result.stdout if code == 0 else result.stderr

    table = run("--sweep", "--method", "ptq", "--picture", tmp_path / "front.png")
    assert "Pareto front" in table
    assert "per channel" in table
    assert (tmp_path / "front.png").stat().st_size > 1000
    document = json.loads((tmp_path / "mlp.sweep.json").read_text())
    assert document == json.loads(json.dumps(swept().to_json()))
    assert not (tmp_path / "mlp.ecm").exists()
    assert json.loads(run("--sweep", "--method", "ptq", "--json", "-o", tmp_path / "other.json")) == document
    assert "--weight-bits" in run("--sweep", "--weight-bits", 4, code=2)
    assert "--picture" in run("--picture", "x.png", code=2)
    assert ".png or .svg" in run("--sweep", "--picture", "x.jpg", code=1)
