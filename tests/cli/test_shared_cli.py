"""A shared cortex on the command line, from training to a device, and what is refused there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgechaos.cli import main
from edgechaos.graph import artifact

pytestmark = pytest.mark.trains


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result


def test_two_tasks_from_training_to_a_device(tmp_path: Path) -> None:
    checkpoint, model = tmp_path / "two.safetensors", tmp_path / "two.ecm"
    tasks = ("--task", "flat=dense:digits8x8", "--task", "image=vision:digits8x8")
    small = ("--hidden", 16, "--ticks", 3, "--channels", 4, "--noise-std", 0, "--epochs", 1, "--strategy", "frozen")
    out = run("train", "--model", "shared", *tasks, *small, "-o", checkpoint).stdout
    assert "average retention 100.00%" in out
    out = run("quantize", checkpoint, "--method", "ptq").stdout
    assert out.count("on 359 test items") == 2
    accuracy = artifact.load(model).metadata["accuracy"]["heads"]
    assert set(accuracy) == {"flat", "image"}
    assert "flat" in run("inspect", model).stdout
    for head in accuracy:
        printed = json.loads(run("run", model, "--head", head, "--json").stdout)
        assert printed["head"] == head
        assert printed["accuracy"]["value"] == accuracy[head]["integer"]
    run("verify", model, "--items", 5, "--fault-items", 2, "--backend", "onnxruntime-on", "-o", tmp_path / "v.json")
    assert json.loads((tmp_path / "v.json").read_text())["head"] == "flat, image"
    run("verify", model, "--head", "image", "--items", 5, "--fault-items", 0, "--backend", "onnxruntime-on")
    assert "is of one task" in run("verify", model, "--data", "digits8x8", code=2).stderr
    campaign = tmp_path / "c.toml"
    campaign.write_text('name = "c"\nmasks = 2\n[images]\ncount = 5\n[[sweep]]\nfault = "dead"\nrates = [0]\n')
    assert "has heads flat, image" in run("campaign", campaign, "--artifact", model, "-o", tmp_path / "o", code=2).stderr
    campaign.write_text('head = "image"\n' + campaign.read_text())
    run("campaign", campaign, "--artifact", model, "-o", tmp_path / "o")
    results = json.loads((tmp_path / "o" / "results.json").read_text())
    first = json.loads(run("run", model, "--head", "image", "--items", 5, "--json").stdout)
    assert results["about"]["model"]["head"] == "image"
    assert results["curves"][0]["points"][0]["accuracy"]["value"] == first["accuracy"]["value"]
    assert "an accuracy per task" in run("quantize", checkpoint, "--sweep", code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--model", "shared"), "needs its tasks"),
        (("--task", "a=vision:digits8x8"), "can only be given with --model shared"),
        (("--model", "shared", "--data", "digits8x8", "--task", "a=dense:digits8x8"), "'--data': cannot be given"),
        (("--model", "shared", "--task", "a=dense:digits8x8", "--share", "0.1"), "'--share': can only be given with --strategy rehearsal"),
    ],
)
def test_options_that_do_not_belong_together(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    assert says in run("train", *arguments, "-o", tmp_path / "x.safetensors", code=2).stderr


def test_a_task_that_cannot_be_read(tmp_path: Path) -> None:
    assert "expected NAME=FRONT:DATA" in run("train", "--model", "shared", "--task", "digits8x8", "-o", tmp_path / "x", code=2).stderr
