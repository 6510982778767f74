"""Where the commands write: one document with --json, and one line where a place takes no file."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgechaos.cli import COMMANDS, main
from edgechaos.cli.file_kinds import unwritable

pytestmark = [pytest.mark.trains, pytest.mark.backends]  # of what the commands print, nothing depends on sums
CAMPAIGN = 'name = "c"\nmasks = 2\ndevices = ["fake"]\n[images]\ncount = 5\n[[sweep]]\nfault = "dead"\nrates = [0, 0.5]\n'


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, f"{result.output}\n{result.stderr}"
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published state_dict, a checkpoint, an artifact, a campaign file and its results, all small."""
    import torch

    from edgechaos.models import checkpoint

    out = tmp_path_factory.mktemp("json")
    (out / "c.toml").write_text(CAMPAIGN)
    run("train", "--data", "digits8x8", "--model", "mlp", "--hidden", 4, "--epochs", 1, "-o", out / "m.safetensors")
    run("quantize", out / "m.safetensors", "--method", "ptq")
    run("campaign", out / "c.toml", "--artifact", out / "m.ecm", "-o", out / "results", "--workers", 1)
    torch.save(checkpoint.load(out / "m.safetensors").state_dict(), out / "m.pt")
    return out


def commands(folder: Path, out: Path) -> dict[str, tuple[object, ...]]:
    """Every command once, as quick as it can be."""
    model, quick = folder / "m.ecm", ("--data", "digits8x8", "--hidden", 4, "--epochs", 1)
    learn = (*quick, "--tasks", 2, "--seeds", 1, "--strategy", "plain")
    return {
        "train": (*quick, "--model", "mlp", "-o", out / "t.safetensors"),
        "continual": (*learn, "-o", out / "continual"),
        "import": (
            folder / "m.pt",
            "--data",
            "digits8x8",
            "--normalization",
            "none",
            "--architecture",
            "linear relu linear",
            "--no-verify",
            "-o",
            out / "i.ecm",
        ),
        "prune": (folder / "m.safetensors", "--share", 0, "--masks", 2, "--items", 20, "-o", out / "p.json"),
        "quantize": (folder / "m.safetensors", "--method", "ptq", "-o", out / "q.ecm"),
        "inspect": (model,),
        "export": (model, "-o", out / "m.onnx"),
        "verify": (model, "--backend", "fake", "--items", 5, "--fault-items", 0),
        "build": (model, "-o", out / "firmware"),
        "run": (model, "--device", "fake", "--items", 5),
        "profile": (model, "--items", 2),
        "harden": (model, "--with", "clamp=fc1_relu", "-o", out / "hard.ecm"),
        "diagnose": (model, "--device", "fake", "--items", 8, "--fault", "dead=0.5"),
        "repair": (model, "--device", "fake", "--items", 20, "--fit-items", 60, "--fault", "dead=0.5", "-o", out / "r.ecm"),
        "measure": (model, "--device", "fake", "--meter", "rehearsal", "--inferences", 20),
        "campaign": (folder / "c.toml", "--artifact", model, "-o", out / "campaign", "--workers", 1),
        "compare": (folder / "results", folder / "results", "-o", out / "comparison.json"),
        "report": (folder / "results", "-o", out / "report.html"),
        "faults": (),
        "devices": (),
        "doctor": (),
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_one_document_on_stdout(name: str, folder: Path, tmp_path: Path) -> None:
    result = run(name, *commands(folder, tmp_path)[name], "--json")
    assert json.loads(result.stdout)
    again = run(name, *commands(folder, tmp_path / "again")[name])
    with pytest.raises(ValueError):  # noqa: PT011  # text for people; JSON only where it was asked for
        json.loads(again.stdout)


WRITING = tuple(name for name in COMMANDS if name not in ("inspect", "run", "diagnose", "measure", "faults", "devices", "doctor"))


@pytest.mark.parametrize("name", WRITING)
def test_output_below_a_file_is_refused_in_one_line_before_the_work(name: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    arguments = [*commands(folder, tmp_path / "file" / "below")[name]]
    if "-o" not in arguments:
        arguments += ["-o", tmp_path / "file" / "below" / "x"]
    result = run(name, *arguments, code=2)
    assert f"{tmp_path / 'file'} is a file, so that nothing can be written below it" in result.stderr
    assert result.stderr.count("\n") == 2  # and where to find help
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", WRITING)
def test_output_into_a_missing_folder_makes_it(name: str, folder: Path, tmp_path: Path) -> None:
    arguments = [*commands(folder, tmp_path / "a" / "b")[name]]
    if "-o" not in arguments:
        arguments += ["-o", tmp_path / "a" / "b" / "x"]
    run(name, *arguments)
    assert any((tmp_path / "a" / "b").iterdir())


@pytest.mark.parametrize("name", WRITING)
def test_a_full_disk_is_one_line(name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    arguments = [*commands(folder, tmp_path)[name]]
    if "-o" not in arguments:
        arguments += ["-o", tmp_path / "x"]
    result = run(name, *arguments, code=1)
    line = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(line) == 1, result.stderr
    assert "No space left on device" in line[0]
    assert "Traceback" not in result.output
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.stat().st_size and ".sqlite" not in p.name and ".lock" not in p.name]


def test_what_the_system_refuses_anywhere_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgechaos.graph import artifact

    def broken(path: Path) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/some/\x1bplace")

    monkeypatch.setattr(artifact, "load", broken)
    result = run("inspect", folder / "m.ecm", code=1)
    assert result.stderr == "error: /some/\\x1bplace: Permission denied; free space, or choose another place\n"


def refuse_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every folder is read-only, for root too."""
    monkeypatch.setattr(os, "access", lambda path, mode, **_: not mode & os.W_OK)


def test_places_that_take_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    assert unwritable(tmp_path / "new") is None
    assert unwritable(tmp_path / "a" / "b" / "new") is None
    assert unwritable(tmp_path / "file") is None
    assert unwritable(tmp_path, folder=True) is None
    assert unwritable(tmp_path) == f"{tmp_path} is a folder; name a file in it"
    assert unwritable(tmp_path / "file", folder=True) == f"{tmp_path / 'file'} is a file; name a folder"
    assert "is a file, so that nothing" in str(unwritable(tmp_path / "file" / "x"))
    assert "name too long" in str(unwritable(tmp_path / ("x" * 300))).lower()
    refuse_writing(monkeypatch)
    assert "is read-only" in str(unwritable(tmp_path / "new"))


def test_a_default_place_that_takes_no_file_is_refused_before_the_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_writing(monkeypatch)
    for arguments in (("quantize", folder / "m.safetensors"), ("prune", folder / "m.safetensors")):
        assert "is read-only; choose another place, with -o" in run(*arguments, code=2).stderr


def test_options_that_mean_nothing_are_refused(folder: Path, tmp_path: Path) -> None:
    assert (
        "--board means nothing to device 'fake'" in run("run", folder / "m.ecm", "--device", "fake", "--board", "stm32l4r5", code=2).stderr
    )
    campaign = ("campaign", folder / "c.toml", "--artifact", folder / "m.ecm", "-o", tmp_path / "o")
    assert "--workers means nothing with --executor" in run(*campaign, "--workers", 2, "--executor", "dask:tcp://nowhere:1", code=2).stderr
    assert "stands there twice" in run("verify", folder / "m.ecm", "--backend", "fake", "--backend", "fake", code=2).stderr
