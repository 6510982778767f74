"""A user's own data on the command line: later commands find it by its hash, and say so where it has moved or changed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgechaos.cli import main
from edgechaos.data import Dataset, from_torch, load
from edgechaos.data.remembered import recall, remember, remembered
from edgechaos.graph import artifact
from edgechaos.models import checkpoint
from edgechaos.support.errors import DataError

pytestmark = pytest.mark.trains

RECIPE = ("--hidden", 8, "--ticks", 3, "--epochs", 2)


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, f"{result.output}\n{result.stderr}"
    return result


@pytest.fixture(autouse=True)
def data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def write_npz(path: Path, seed: int = 0) -> Path:
    """Bright upper or lower halves."""
    rng = np.random.default_rng(seed)
    labels = np.arange(60) % 2
    items = rng.integers(0, 90, (60, 6, 6), dtype=np.uint8)
    items[labels == 0, :3] += 150
    items[labels == 1, 3:] += 150
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, items=items, labels=labels)
    return path


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data given by a relative path, and a model of it as an artifact beside."""
    monkeypatch.chdir(tmp_path)
    # Called like a data set that has a name: that one must not be taken for it.
    write_npz(tmp_path / "secret place" / "digits8x8.npz")
    run("train", "--data", "secret place/digits8x8.npz", *RECIPE, "-o", "m.safetensors")
    run("quantize", "m.safetensors", "--method", "ptq")
    return tmp_path / "secret place" / "digits8x8.npz"


def test_later_commands_find_the_data_again_from_any_folder(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    ran = json.loads(run("run", tmp_path / "m.ecm", "--device", "fake", "--json").stdout)
    assert (ran["items"], ran["accuracy"]["value"]) == (12, 1.0)
    run("verify", tmp_path / "m.ecm", "--backend", "fake", "--fault-items", 0)
    Path("c.toml").write_text('name = "c"\nmasks = 2\n[images]\ncount = 5\n[[sweep]]\nfault = "dead"\nrates = [0, 0.5]\n')
    run("campaign", "c.toml", "--artifact", tmp_path / "m.ecm", "-o", "out", "--workers", 1)


def test_no_path_is_in_the_checkpoint_or_the_artifact(own: Path, tmp_path: Path) -> None:
    for file in ("m.safetensors", "m.ecm"):
        content = (tmp_path / file).read_bytes()
        assert b"digits8x8" in content
        assert b"secret place" not in content
        assert str(tmp_path).encode() not in content


def test_data_that_has_moved_is_named_with_the_remedy(own: Path, tmp_path: Path) -> None:
    own.rename(tmp_path / "moved.npz")
    for command in (("quantize", "m.safetensors"), ("run", "m.ecm", "--device", "fake")):
        error = run(*command, code=1).stderr
        assert str(own) in error
        assert "if it has moved, give --data PATH" in error
    run("run", "m.ecm", "--device", "fake", "--data", "moved.npz")
    run("run", "m.ecm", "--device", "fake")  # and that is remembered in turn


def test_data_that_has_changed_is_refused(own: Path) -> None:
    write_npz(own, seed=1)
    error = run("verify", "m.ecm", "--backend", "fake", code=1).stderr
    assert f"the data set at {own} has changed" in error
    assert "--data PATH" in error


def test_another_machine_asks_for_the_data(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "another"))
    error = run("run", "m.ecm", "--device", "fake", code=1).stderr
    assert "was made with the data set 'digits8x8', which is not known here; give one with --data NAME or --data PATH" in error


def test_a_home_that_cannot_be_written_costs_a_note_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    data = write_npz(tmp_path / "mine.npz")
    note = run("train", "--data", data, *RECIPE, "-o", tmp_path / "m.safetensors").stderr
    assert "is not remembered" in note
    assert "--data" in note


def test_texts_are_found_under_the_models_own_vocabulary(tmp_path: Path) -> None:
    texts = tmp_path / "mail.csv"
    texts.write_text("text,label\n" + "".join(f"{'buy now' if i % 2 else 'see you'} w{i},{'ab'[i % 2]}\n" for i in range(60)))
    run("train", "--data", texts, "--model", "language", "--embed", 4, *RECIPE, "-o", tmp_path / "m.safetensors")
    run("quantize", tmp_path / "m.safetensors", "--method", "ptq")
    text = checkpoint.load(tmp_path / "m.safetensors").config.text
    record = artifact.load(tmp_path / "m.ecm").metadata["dataset"]
    found = recall(record, "model 'm'", text, 128)
    assert found.content_hash == record["hash"]
    assert found.texts[1]


def test_a_set_made_in_python_is_never_taken_for_a_named_one() -> None:
    items = [(np.full((2, 2), i, np.uint8), i % 2) for i in range(20)]
    mine = from_torch(items, name="digits8x8")
    record = {"name": mine.name, "hash": mine.content_hash, "licence": mine.licence}
    with pytest.raises(DataError, match="model 'm' was made with the data set 'digits8x8', which is not known here"):
        recall(record, "model 'm'")


def test_named_sets_are_loaded_by_name_and_leave_no_note(data_home: Path) -> None:
    digits = load("digits8x8")
    remember(digits, "digits8x8")
    assert not data_home.exists()
    again = recall({"name": "digits8x8", "hash": digits.content_hash, "licence": digits.licence}, "model 'm'")
    assert again.content_hash == digits.content_hash


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"path": 3}', "{}", "[" * 10_000])
def test_a_damaged_note_is_as_none(tmp_path: Path, data_home: Path, damaged: str) -> None:
    mine: Dataset = load(str(write_npz(tmp_path / "mine.npz")))
    remember(mine, str(tmp_path / "mine.npz"))
    assert remembered(mine.content_hash) == str(tmp_path / "mine.npz")
    next(data_home.rglob("*.json")).write_text(damaged)
    assert remembered(mine.content_hash) is None


@pytest.mark.parametrize("wrong", [None, 3, "", "../../etc/passwd", "A" * 64])
def test_a_hash_that_is_none_leads_nowhere(wrong: object) -> None:
    assert remembered(wrong) is None
