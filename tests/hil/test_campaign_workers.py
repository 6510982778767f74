"""Devices and workers that fail in every way, and the pool that outlives them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from pathlib import Path

import pytest

from edgechaos.faults.plan import resolve
from edgechaos.graph.artifact import save, to_bytes
from edgechaos.hil.campaign.config import Sweep
from edgechaos.hil.campaign.plan import Work, plan_campaign
from edgechaos.hil.execute.evaluate import Bench, Setup
from edgechaos.hil.execute.pool import PoolExecutor, _Worker
from edgechaos.hil.runner import run_campaign
from edgechaos.support.errors import ConfigError, EdgeChaosError
from tests.helpers.campaigns import GRAPH, SCRIPT, campaign, children, items, rows, run, run_pool
from tests.helpers.hil_devices import open_device
from tests.helpers.places import ROOT

pytestmark = pytest.mark.slow


def test_crashing_image_is_found_and_the_others_keep_their_results(tmp_path: Path) -> None:
    point = run(tmp_path, campaign(devices=("scripted:crash-on-3",), sweep=(Sweep("dead", (0.5,)),))).curves[0].points[0]
    plain = run(tmp_path / "plain", campaign(sweep=(Sweep("dead", (0.5,)),))).curves[0].points[0]
    assert point.outcomes["crash"] == 4
    assert sum(point.outcomes.values()) == sum(plain.outcomes.values()) == 96
    assert plain.accuracy.value - 1 / 24 <= point.accuracy.value + 1e-9 <= plain.accuracy.value + 1e-9


def test_every_image_hangs(tmp_path: Path) -> None:
    point = run(tmp_path, campaign(devices=("scripted:hang-always",), sweep=(Sweep("dead", (0.5,)),))).curves[0].points[0]
    assert point.outcomes == {"hang": 96}
    assert point.accuracy.value == 0
    assert point.harmed.method == "Clopper-Pearson"


@pytest.mark.parametrize("kind", ["exit-once", "link-once"])
def test_infrastructure_failure_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("EDGECHAOS_TEST_MARKER", str(tmp_path / "marker"))
    results = run_pool(tmp_path, f"scripted:{kind}")
    assert results.about["trials"] == {"planned": 4, "with_result": 4, "retried": 1, "without_result": {}}
    plain = run(tmp_path / "plain", campaign(masks=2, sweep=(Sweep("dead", (0.5,)),)))
    assert results.curves[0].points == plain.curves[0].points


@pytest.mark.parametrize(
    ("kind", "timeout", "outcome", "detail"),
    [("segfault", 60.0, "crash", "SIGSEGV"), ("silent", 3.0, "infrastructure", "no answer within 3 s")],
)
def test_worker_that_dies_or_hangs_is_an_outcome(tmp_path: Path, kind: str, timeout: float, outcome: str, detail: str) -> None:
    results = run_pool(tmp_path, f"scripted:{kind}", attempts=2, timeout=timeout)
    assert results.about["trials"] == {"planned": 4, "with_result": 2, "retried": 2, "without_result": {outcome: 2}}
    assert results.curves[0].points == ()
    assert results.curves[0].empty_rates == (0.5,)
    assert {row[7] for row in rows(tmp_path / "ledger.sqlite")} == {"ok", outcome}
    import sqlite3

    details = sqlite3.connect(tmp_path / "ledger.sqlite").execute("SELECT detail FROM trials WHERE outcome != 'ok'").fetchall()
    assert all(detail in d for (d,) in details)
    assert not children()


def test_trials_without_a_clean_run_are_abandoned(tmp_path: Path) -> None:
    results = run(tmp_path, campaign(devices=("scripted:link-clean",), masks=2))
    assert results.about["trials"]["without_result"] == {"infrastructure": 12}
    assert all(not c.points for c in results.curves)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("scripted:crash-clean", r"the clean model does not run \(crash\): clean firmware crashes"),
        ("absent", "absent: no such port"),
        ("scripted:defect", r"a defect of EdgeChaos or of a plug-in:(.|\n)*a plug-in's defect"),
    ],
)
def test_what_stops_a_campaign(tmp_path: Path, device: str, message: str) -> None:
    with pytest.raises(EdgeChaosError, match=rf"campaign stopped: (.|\n)*{message}(.|\n)*continue with --resume"):
        run_pool(tmp_path, device)
    assert not children()


def test_what_workers_cannot_import_is_refused(tmp_path: Path) -> None:
    """An opener that stands in the script itself, or that is no function of a module."""
    script = tmp_path / "own_device.py"
    script.write_text(SCRIPT.replace("from tests.helpers.hil_devices import open_device", "def open_device(spec, graph): ..."))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "ledger.sqlite")], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "defined in the script that runs: workers cannot import it; put it into a module" in done.stderr
    with pytest.raises(ConfigError, match="cannot travel to workers"):
        PoolExecutor(Setup(to_bytes(GRAPH), items(), lambda spec, graph: open_device(spec, graph)))


def test_pool_equals_one_process_and_reports_progress(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    results = run_campaign(
        campaign(devices=("plain", "counting")),
        GRAPH,
        items(),
        tmp_path / "ledger.sqlite",
        workers=2,
        opener=open_device,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert results.to_json() == run(tmp_path / "other", campaign(devices=("plain", "counting"))).to_json()
    assert seen[-1] == (48, 48)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert not children()


def test_a_board_is_held_by_one_worker() -> None:
    pool = PoolExecutor(Setup(to_bytes(GRAPH), items(), open_device), workers=2)
    first, second = (_Worker(None, None) for _ in range(2))  # type: ignore[arg-type]
    board = "serial:/dev/serial/by-id/a"
    pool._owner[board] = first
    queue: deque[Work] = deque(plan_campaign(campaign(devices=(board, "plain"))).groups)
    for worker, device in ((second, "plain"), (None, "plain"), (first, board), (second, "plain")):
        work = pool._next_for(worker, queue)
        assert work is not None
        assert work.device == device


def test_devices_agree(tmp_path: Path) -> None:
    results = run(tmp_path, campaign(devices=("plain", "counting")))
    (agreement,) = results.agreements
    assert (agreement.trials, agreement.identical, agreement.images, agreement.p_value) == (24, 24, 24 * 24, 1.0)
    mix = results.curves[1].points[0].instructions
    assert mix == {"alu": 1000.0, "branch_taken": 100.0, "load": 400.0}


def test_resolved_plans_of_all_kinds_run(tmp_path: Path) -> None:
    kinds = (Sweep("stuck_at_1", (0.1,)), Sweep("weight_bit_flip", (0.01,), node="readout"), Sweep("weight_bit_flip", (0.001,)))
    results = run(tmp_path, campaign(sweep=kinds))
    assert [c.site for c in results.curves] == ["neurons, all layers", "weight bits of readout", "weight bits, all layers"]
    assert all(c.persistence == "permanent" for c in results.curves)
    plan = plan_campaign(campaign(sweep=kinds)).trials[1].plan
    assert resolve(GRAPH, plan).slot("stuck")


def test_artifact_round_trip_reaches_workers(tmp_path: Path) -> None:
    save(GRAPH, tmp_path / "model.ecm")
    assert Bench(Setup((tmp_path / "model.ecm").read_bytes(), items(), open_device)) is not None
