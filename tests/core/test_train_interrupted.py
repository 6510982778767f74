"""Ctrl-C in training: exit code 130, and what is really kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from edgechaos.cli import main
from edgechaos.models import checkpoint
from edgechaos.train import fit as train
from tests.helpers.places import ROOT

SMALL = ("--hidden", 8, "--ticks", 2)
AT_IMPORT = """
import os, signal, sys
class CtrlC:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, CtrlC())
from edgechaos.cli import main
main(["train", "--data", "digits8x8", "--epochs", "1", "-o", sys.argv[2]])
"""
"""Imports are hooked: Ctrl-C comes when a module is looked for, deep in the import of its package."""


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["numpy", "numpy.random.bit_generator", "torch._C", "torch.optim"])
def test_ctrl_c_while_libraries_load(module: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", AT_IMPORT, module, str(tmp_path / "x")]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines()[-1] in ("interrupted: nothing yet", "interrupted: nothing was written")
    assert not list(tmp_path.iterdir())


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["train", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.stderr


def interrupt_after(monkeypatch: pytest.MonkeyPatch, epochs: int) -> None:
    """Ctrl-C in the first step after so many stored epochs."""
    entropy, store, stored = torch.nn.functional.cross_entropy, train._store, [0]

    def noted(*arguments: object) -> None:
        store(*arguments)  # type: ignore[arg-type]
        stored[0] += 1

    def interrupted(*arguments: object) -> object:
        if stored[0] == epochs:
            stored[0] += 1
            ctrl_c()
        return entropy(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(train, "_store", noted)
    monkeypatch.setattr(torch.nn.functional, "cross_entropy", interrupted)


@pytest.mark.trains
def test_what_is_kept_is_said_and_the_same_command_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("--data", "digits8x8", *SMALL, "--epochs", 3)
    run(*arguments, "-o", tmp_path / "whole")
    with monkeypatch.context() as patched:
        interrupt_after(patched, 0)
        assert run(*arguments, "-o", tmp_path / "x", code=130).splitlines()[-1] == "interrupted: nothing yet"
    with monkeypatch.context() as patched:
        interrupt_after(patched, 2)
        said = run(*arguments, "-o", tmp_path / "x", code=130).splitlines()[-1]
    assert said == f"interrupted: epoch 2 of 3 in {tmp_path / 'x'}.state: the same command continues"
    run(*arguments, "-o", tmp_path / "x")
    whole, resumed = (checkpoint.load(tmp_path / name).state_dict() for name in ("whole", "x"))
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name].numpy(), value.numpy())


@pytest.mark.trains
def test_finished_tasks_of_a_shared_cortex_are_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = ("--model", "shared", "--task", "a=dense:digits8x8", "--task", "b=dense:digits8x8")
    interrupt_after(monkeypatch, 3)
    said = run(*tasks, *SMALL, "--epochs", 2, "-o", tmp_path / "x", code=130).splitlines()[-1]
    place = tmp_path / "x"
    assert said == f"interrupted: the finished tasks in {place}.tasks and epoch 1 of 2 in {place}.state: the same command continues"
