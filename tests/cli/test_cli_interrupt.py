"""Ctrl-C: exit code 130 everywhere, a true word on what is kept, and never in the middle of an import."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgechaos.cli import COMMANDS, main
from edgechaos.cli.interrupts import imports_are_finished
from edgechaos.graph import artifact
from edgechaos.graph.heads import Encoding
from edgechaos.models import checkpoint
from edgechaos.models.plain import PlainConfig, PlainNet
from tests.helpers.graphs import chaos_graph


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def stop(*args: Any, **kwargs: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exits_130(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    monkeypatch.setattr(command, "callback", stop)
    monkeypatch.setattr(command, "params", [])
    result = run(name)
    assert result.exit_code == 130
    assert result.stderr.strip() == "interrupted: nothing was written"


def test_an_interrupt_before_the_command_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "make_context", stop)
    result = run("devices")
    assert result.exit_code == 130
    assert "interrupted: nothing was written" in result.stderr


@pytest.mark.trains
@pytest.mark.backends
def test_a_campaign_counts_the_trials_that_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgechaos.hil import runner

    whole = runner.run_campaign

    def stopped(*args: Any, progress: Any, **kwargs: Any) -> Any:
        def until_5(done: int, total: int) -> None:
            progress(done, total)
            if done == 5:
                raise KeyboardInterrupt

        return whole(*args, progress=until_5, **kwargs)

    monkeypatch.setattr(runner, "run_campaign", stopped)
    write_model(tmp_path / "m.ecm")
    (tmp_path / "c.toml").write_text(
        'name = "c"\nmasks = 4\ndevices = ["fake"]\n[images]\ncount = 5\n[[sweep]]\nfault = "dead"\nrates = [0, 0.5]\n'
    )
    data = write_data(tmp_path / "d.npz")
    options = ("campaign", tmp_path / "c.toml", "--artifact", tmp_path / "m.ecm", "--data", data, "-o", tmp_path / "out", "--workers", 1)
    result = run(*options)
    assert result.exit_code == 130, result.output
    assert f"5 of 8 trials are kept in {tmp_path / 'out' / 'ledger.sqlite'}; the same command with --resume" in result.stderr
    monkeypatch.setattr(runner, "run_campaign", whole)
    seen: list[int] = []
    monkeypatch.setattr(runner, "run_campaign", lambda *a, progress, **k: whole(*a, progress=lambda done, total: seen.append(done), **k))
    assert run(*options, "--resume").exit_code == 0
    assert min(done for done in seen if done) == 5  # none was run again; 0 is said before the ledger is open


def write_data(path: Path) -> Path:
    shape = chaos_graph().tensors[chaos_graph().head().input].shape
    np.savez(path, items=np.zeros((40, *shape), np.uint8), labels=np.arange(40) % len(chaos_graph().head().classes))
    return path


def write_model(path: Path) -> Path:
    graph = chaos_graph()
    artifact.save(replace(graph, heads=(replace(graph.head(), encoding=Encoding("pixels")),)), path)
    return path


def test_a_campaign_stopped_before_the_first_trial_keeps_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgechaos.hil import runner

    monkeypatch.setattr(runner, "run_campaign", stop)
    write_model(tmp_path / "m.ecm")
    (tmp_path / "c.toml").write_text('name = "c"\nmasks = 4\n[images]\ncount = 5\n[[sweep]]\nfault = "dead"\nrates = [0, 0.5]\n')
    data = write_data(tmp_path / "d.npz")
    result = run("campaign", tmp_path / "c.toml", "--artifact", tmp_path / "m.ecm", "--data", data, "-o", tmp_path / "out")
    assert result.exit_code == 130
    assert "no trial was finished" in result.stderr


@pytest.mark.trains
@pytest.mark.backends
def test_prune_counts_the_points_that_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgechaos.sweeps import pruning as prune_curve

    model = PlainNet(PlainConfig(inputs=64, classes=tuple("0123456789"), hidden=(4,)))
    checkpoint.save(model, tmp_path / "m.safetensors")
    whole = prune_curve.prune_curve

    def stopped(*args: Any, save: Any, **kwargs: Any) -> Any:
        def then_stop(curve: Any) -> None:
            save(curve)
            raise KeyboardInterrupt

        return whole(*args, save=then_stop, **kwargs)

    monkeypatch.setattr(prune_curve, "prune_curve", stopped)
    result = run("prune", tmp_path / "m.safetensors", "--data", "digits8x8", "--share", 0, "--share", 0.5, "--masks", 2, "--items", 20)
    assert result.exit_code == 130, result.output
    assert f"1 measured points are kept in {tmp_path / 'm.prune.json'}" in result.stderr
    assert (tmp_path / "m.prune.json").exists()


def test_an_import_is_finished_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_to_import.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\nfor _ in range(30):\n    time.sleep(0)\nfinished = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    reached = False
    with pytest.raises(KeyboardInterrupt), imports_are_finished():  # noqa: PT012  # it arrives later than what caused it
        __import__("slow_to_import")
        reached = True
    assert sys.modules["slow_to_import"].finished
    assert not reached
    assert sys.gettrace() is None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_elsewhere_it_acts_at_once() -> None:
    reached = False
    with pytest.raises(KeyboardInterrupt), imports_are_finished():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            time.sleep(0.001)
        reached = True
    assert not reached
