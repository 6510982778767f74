"""Pruning curves: figures that agree with a single quantization, equal sizes, honest intervals, points kept when it is stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from edgechaos import data, reference
from edgechaos.cli import main
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.plan import FaultPlan, apply
from edgechaos.graph.inspect import inspect
from edgechaos.models import checkpoint
from edgechaos.models.chaosnet import ChaosNet
from edgechaos.models.chaosnet_config import config_for
from edgechaos.models.plain import PlainConfig, PlainNet
from edgechaos.quantize.pipeline import quantize
from edgechaos.support.errors import DataError, FaultError, UnsupportedError
from edgechaos.support.statistics import mean_over_masks, proportion
from edgechaos.sweeps.pruning import Curve, from_json, prune_curve
from edgechaos.sweeps.pruning_report import rich_table, save_picture
from edgechaos.train.fit import Recipe, train

pytestmark = pytest.mark.trains

DIGITS = data.load("digits8x8")
SHARES = (0.0, 0.5)


@cache
def net() -> ChaosNet:
    torch.manual_seed(4)
    model = ChaosNet(config_for(DIGITS, hidden=(20,), ticks=3))
    return train(model, DIGITS, Recipe(epochs=6, learning_rate=1e-2, omission=0.3, seed=1))


@cache
def curve() -> Curve:
    return prune_curve(net(), DIGITS, shares=SHARES, masks=2)


def test_points_are_what_single_quantizations_give() -> None:
    for share, criterion, graph in (
        (0.0, None, quantize(net(), DIGITS, method="ptq")),
        (0.5, "reconstruction", quantize(net(), DIGITS, method="ptq", prune_neurons=0.5)),
    ):
        point = curve().point(share, criterion)  # type: ignore[arg-type]
        assert point is not None
        clean, costs, accuracy = point.accuracy["clean"], inspect(graph), graph.metadata["accuracy"]
        assert (clean.value, clean.n) == (accuracy["integer"], accuracy["items"])
        wilson = proportion(round(clean.value * clean.n), clean.n)
        assert (clean.low, clean.high) == pytest.approx((wilson.low, wilson.high))
        assert (point.flash_bytes, point.ram_bytes, point.synaptic_operations) == (
            costs.flash_bytes,
            costs.ram_bytes,
            costs.synaptic_operations,
        )
        values = []
        for mask in (0, 1):
            broken = apply(graph, FaultPlan((DeadNeurons(rate=0.25, seed=mask),)))
            labels = reference.run(broken, reference.encode(graph, DIGITS.test_items), seed=mask).labels
            values.append(float((labels == DIGITS.test_labels).mean()))
        dead, expected = point.accuracy["dead 0.25"], mean_over_masks(values)
        assert (dead.value, dead.n) == pytest.approx((expected.value, 2))
        assert (dead.low, dead.high) == pytest.approx((expected.low, expected.high))


def test_criteria_are_compared_at_equal_sizes() -> None:
    pruned = [p for p in curve().points if p.share]
    assert [(p.criterion, p.left) for p in pruned] == [("reconstruction", 10), ("current", 10), ("magnitude", 10), ("random", 10)]
    assert len({p.flash_bytes for p in pruned}) == 1
    assert curve().points[0].left == 20
    assert list(pruned[0].accuracy) == ["clean", "omission 0.5", "dead 0.25"]
    chance = pruned[3].accuracy["clean"]
    assert chance.n == 2, "one draw per mask"
    assert chance.low < chance.value < chance.high


def test_weights_become_zero_by_every_criterion() -> None:
    result = prune_curve(net(), DIGITS, what="weights", shares=SHARES, masks=2, faults=(), items=50)
    whole = 64 * 20 + 20 * 10
    assert [p.criterion for p in result.points] == [None, "current", "magnitude", "random"], "reconstruction is of neurons"
    assert result.points[0].left <= whole
    assert {p.left for p in result.points[1:]} == {whole // 2}
    assert len({p.flash_bytes for p in result.points}) == 1
    assert {p.accuracy["clean"].n for p in result.points[:3]} == {50}


def test_other_weights_are_another_curve() -> None:
    coarse = prune_curve(net(), DIGITS, shares=(0.0, 0.5), criteria=("magnitude",), masks=2, faults=(), weight_bits=2, per_channel=True)
    for share, point in zip((None, 0.5), coarse.points, strict=True):
        single = quantize(net(), DIGITS, method="ptq", weight_bits=2, per_channel=True, prune_neurons=share, prune_by="magnitude")
        assert point.accuracy["clean"].value == single.metadata["accuracy"]["integer"]
        assert point.flash_bytes == inspect(single).flash_bytes
    expected = prune_curve(net(), DIGITS, shares=(0.0,), masks=2, before=curve(), sampling="expected")
    assert expected.settings != curve().settings
    assert expected.points[0].accuracy != curve().points[0].accuracy, "points of another sampling are not taken"


def test_known_points_are_not_measured_again() -> None:
    document = json.loads(json.dumps(curve().to_json()))
    known = from_json(document)
    assert known == curve()
    half = replace(known, points=tuple(replace(p, flash_bytes=1) for p in known.points[:2]))
    saved: list[Curve] = []
    again = prune_curve(net(), DIGITS, shares=SHARES, criteria=("reconstruction", "current"), masks=2, before=half, save=saved.append)
    assert [p.flash_bytes for p in again.points] == [1, 1, curve().points[2].flash_bytes]
    assert [len(c.points) for c in saved] == [1, 2, 3]
    others = replace(half, settings=replace(half.settings, masks=3))
    fresh = prune_curve(net(), DIGITS, shares=(0.0,), masks=2, before=others)
    assert fresh.points == curve().points[:1], "other settings are another curve"


def test_what_cannot_be_measured_says_so() -> None:
    with pytest.raises(UnsupportedError, match="two at least"):
        prune_curve(net(), DIGITS, masks=1)
    with pytest.raises(UnsupportedError, match="share of 1"):
        prune_curve(net(), DIGITS, shares=(1.0,))
    with pytest.raises(UnsupportedError, match="reconstruction is a criterion of neurons"):
        prune_curve(net(), DIGITS, what="weights", criteria=("reconstruction",), shares=(0.5,), masks=2)
    with pytest.raises(DataError, match="359 test items, not 1,000"):
        prune_curve(net(), DIGITS, items=1000)
    with pytest.raises(DataError, match="no pruning curve"):
        from_json({"settings": {}})
    plain = PlainNet(PlainConfig(inputs=64, hidden=(8,), classes=DIGITS.classes, mean=DIGITS.mean, std=DIGITS.std))
    with pytest.raises(FaultError, match="no spiking layer"):
        prune_curve(plain, DIGITS, shares=(0.0,), faults=(Omission(rate=0.5),))
    assert list(prune_curve(plain, DIGITS, shares=(0.0,)).points[0].accuracy) == ["clean", "dead 0.25"]


def test_pictures_are_the_same_each_time(tmp_path: Path) -> None:
    png, svg = (save_picture(curve(), tmp_path / f"curve.{kind}").read_bytes() for kind in ("png", "svg"))
    assert png.startswith(b"\x89PNG")
    assert all(text in svg for text in (b"<svg", b"magnitude", b"dead 0.25"))
    assert save_picture(curve(), tmp_path / "again.svg").read_bytes() == svg
    assert rich_table(curve()).row_count == 5


def test_the_command_keeps_points_and_goes_on(tmp_path: Path) -> None:
    checkpoint.save(net(), tmp_path / "net.safetensors")

    def run(*arguments: object, code: int = 0) -> str:
        result = CliRunner().invoke(main, ["prune", str(tmp_path / "net.safetensors"), *map(str, arguments)])
        assert result.exit_code == code, f"{result.output}\n{result.stderr}"
        return result.stdout if code == 0 else result.stderr

    options = ("--share", 0, "--share", 0.5, "--criterion", "reconstruction", "--masks", 2)
    kept = tmp_path / "net.prune.json"
    assert "reconstruction" in run(*options, "--picture", tmp_path / "net.png")
    assert (tmp_path / "net.png").stat().st_size > 1000
    document = json.loads(kept.read_text())
    assert from_json(document).points == curve().points[:2]
    stopped = {**document, "points": [{**document["points"][0], "flash_bytes": 1}]}
    kept.write_text(json.dumps(stopped))
    assert [p["flash_bytes"] for p in json.loads(run(*options, "--json"))["points"]] == [1, curve().points[1].flash_bytes]
    other = json.loads(
        run(*options, "--weight-bits", 4, "--per-channel", "--sampling", "expected", "--json", "-o", tmp_path / "other.json")
    )
    settings = other["settings"]
    assert (settings["weight_bits"], settings["per_channel"], settings["sampling"]) == (4, True, "expected")
    assert "without @SEED" in run("--fault", "dead=0.5@3", code=2)
    assert ".png or .svg" in run("--picture", "x.jpg", code=1)
    kept.write_text("[]")
    assert "no pruning curve" in run(*options, code=1)
