"""A command that was given another kind of file names it and says what to do with it; every kind by every command."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.numpy import save_file

from edgechaos.cli import main
from edgechaos.cli.file_kinds import KINDS, kind_of
from edgechaos.export.onnx.to_onnx import OnnxExporter
from edgechaos.firmware_gen.board import board_names
from edgechaos.firmware_gen.places import BOARD_FOLDER
from edgechaos.graph import artifact
from edgechaos.models import checkpoint
from edgechaos.models.plain import PlainConfig, PlainNet
from tests.helpers.graphs import chaos_graph
from tests.helpers.places import ROOT

EXAMPLES = ROOT / "examples"
TAKES = {
    "inspect": "artifact",
    "export": "artifact",
    "verify": "artifact",
    "build": "artifact",
    "run": "artifact",
    "profile": "artifact",
    "quantize": "checkpoint",
    "prune": "checkpoint",
    "import": "published",
    "campaign": "campaign",
    "compare": "results",
    "report": ("results", "verification", "build", "profile"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A real file of every kind."""
    folder = tmp_path_factory.mktemp("kinds")
    made = {kind: folder / kind for kind in KINDS}
    artifact.save(chaos_graph(), made["artifact"])
    model = PlainNet(PlainConfig(inputs=4, classes=("a", "b"), hidden=(3,)))
    checkpoint.save(model, made["checkpoint"])
    torch.save(model.state_dict(), made["published"])
    save_file({"w": np.zeros(3, np.float32)}, made["safetensors"])
    OnnxExporter().export(chaos_graph(), made["onnx"])
    made["elf"].write_bytes(b"\x7fELF\x01\x01\x01" + bytes(100))
    made["library"].write_bytes(b"MZ" + bytes(100))
    made["campaign"].write_bytes((EXAMPLES / "demo.toml").read_bytes())
    made["board"].write_bytes((BOARD_FOLDER / "stm32l4r5.toml").read_bytes())
    sqlite3.connect(made["ledger"]).executescript("create table t (x)").close()
    made["policy"].write_text("policy = 1\n")
    made["comparison"].write_text(json.dumps({"kind": "edgechaos.comparison", "format": 1}, indent=1))
    made["hardening"].write_text(json.dumps({"kind": "edgechaos.hardening", "format": 1}, indent=1))
    made["results"].write_text(json.dumps({"kind": "edgechaos.campaign", "format": 1}, indent=1))
    made["profile"].write_text(json.dumps({"kind": "edgechaos.profile", "format": 1}, indent=1))
    made["verification"].write_text(json.dumps({"model": "m", "comparisons": []}))
    made["build"].write_text(json.dumps({"board": "x", "firmware_hash": "0", "flash_bytes": 1}))
    made["json"].write_text(json.dumps({"comparisons": 5, "a": 7}))  # a vocabulary may hold any word
    np.savez(made["arrays"].open("wb"), items=np.zeros(3))
    made["zip"].write_bytes(b"PK\3\4" + bytes(60))
    made["gzip"].write_bytes(b"\x1f\x8b\x08" + bytes(60))
    made["page"].write_text("<!DOCTYPE html>\n<html></html>")
    made["picture"].write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(60))
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_recognized(kind: str, files: dict[str, Path]) -> None:
    assert kind_of(files[kind]) == kind


def test_boards_are_recognized() -> None:
    assert {kind_of(BOARD_FOLDER / f"{name}.toml") for name in board_names()} == {"board"}


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"text\n", b"{", b"\xff" * 9, b"\x08", b"text,label\na,b\n", b"8\0\0\0\0\0\0\0{"])
def test_what_is_not_known_is_left_to_its_reader(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    assert kind_of(tmp_path / "x") is None


def test_what_cannot_be_read_is_left_to_its_reader(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / ("x" * 300), "/dev/null", "a\0b"):
        assert kind_of(path) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", TAKES)
def test_a_wrong_kind_is_named_with_what_to_do(command: str, kind: str, files: dict[str, Path]) -> None:
    if kind in TAKES[command]:
        return
    more = ["--data", "digits8x8"] if command == "import" else []
    result = CliRunner().invoke(main, [command, str(files[kind]), *more])
    assert result.exit_code == 2, result.output
    advice = KINDS[kind].advice.format(path=files[kind])
    assert f"{files[kind]} is {KINDS[kind].called}, not " in result.stderr
    assert advice in result.stderr


def test_options_that_take_files_are_checked_too(files: dict[str, Path]) -> None:
    model, toml = str(files["artifact"]), str(files["campaign"])
    for command in (
        ["run", model, "--data", toml],
        ["train", "--data", model, "-o", "x"],
        ["build", model, "--board", toml],
        ["campaign", toml, "--artifact", str(files["checkpoint"])],
    ):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 2, result.output
        assert ", not a" in result.stderr


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    for command in ("inspect", "quantize", "campaign"):
        result = CliRunner().invoke(main, [command, str(tmp_path)])
        assert result.exit_code == 2
        assert "is a folder, not a" in result.stderr
