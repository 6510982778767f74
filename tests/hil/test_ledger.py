"""The ledger of a campaign: interrupted, killed, continued, refused, on a full disk."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgechaos.hil.campaign.plan import plan_campaign
from edgechaos.hil.execute.ledger import Ledger
from edgechaos.hil.runner import open_ledger
from edgechaos.support.errors import EdgeChaosError
from tests.helpers.campaigns import GRAPH, SCRIPT, campaign, items, rows, run
from tests.helpers.graphs import chaos_graph
from tests.helpers.places import ROOT


def test_resume_after_interrupts_loses_and_repeats_nothing(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    chance = random.Random(7)
    total, executed = len(plan_campaign(campaign()).trials), 0
    while executed < total:
        stop = chance.randrange(2, 9)
        try:
            parts = run(tmp_path / "parts", resume=True, stop_after=stop)
            break
        except KeyboardInterrupt:
            executed += stop
    assert rows(tmp_path / "parts/ledger.sqlite") == rows(tmp_path / "whole/ledger.sqlite")
    assert parts.to_json() == whole.to_json()
    assert all(row[6] == 1 for row in rows(tmp_path / "parts/ledger.sqlite"))


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_campaign_resumes(tmp_path: Path, how: signal.Signals) -> None:
    """A real campaign with two workers, killed twice at random moments, then finished: every trial there, once."""
    script = tmp_path / "campaign_script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(tmp_path / "ledger.sqlite")]
    chance, before = random.Random(int(how)), 0
    for _ in range(2):
        slow = {**environment, "EDGECHAOS_TEST_DELAY_S": "0.5"}  # it cannot end before the signal, however busy the machine is
        process = subprocess.Popen(command, env=slow, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while len(_rows_so_far(tmp_path)) <= before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.1)
        process.send_signal(how)
        process.communicate(timeout=60)
        assert process.returncode != 0
        kept = _rows_so_far(tmp_path)
        assert len(kept) > before
        before = len(kept)
    subprocess.run(command, env=environment, check=True, timeout=120)
    found = rows(tmp_path / "ledger.sqlite")
    assert len(found) == len(plan_campaign(campaign(masks=25)).trials)
    assert all(row[6] == 1 and row[7] == "ok" for row in found)
    assert set(kept) <= set(found)  # what was recorded before the last start is untouched


def _rows_so_far(tmp_path: Path) -> list[tuple[Any, ...]]:
    import sqlite3

    try:
        return rows(tmp_path / "ledger.sqlite")
    except sqlite3.OperationalError:  # not created yet
        return []


def test_ledger_is_continued_only_on_request_and_extended(tmp_path: Path) -> None:
    run(tmp_path, campaign(masks=2))
    with pytest.raises(EdgeChaosError, match="exists; continue it with --resume"):
        run(tmp_path, campaign(masks=2))
    more = run(tmp_path, campaign(masks=4), resume=True)
    assert more.to_json() == run(tmp_path / "other", campaign(masks=4)).to_json()


def test_another_campaigns_ledger_is_refused(tmp_path: Path) -> None:
    run(tmp_path, campaign(masks=2))
    with pytest.raises(EdgeChaosError, match=r"belongs to another campaign \(seed is 1 there, 2 here\)"):
        run(tmp_path, campaign(masks=2, seed=2), resume=True)
    with pytest.raises(EdgeChaosError, match=r"another campaign \(model is [0-9a-f]{12} there"):
        run(tmp_path, campaign(masks=2), graph=chaos_graph(sizes=(12, 16, 4), seed=3), resume=True)


def test_ledger_has_one_writer(tmp_path: Path) -> None:
    with (
        open_ledger(campaign(), GRAPH, items(), tmp_path / "ledger.sqlite", resume=False),
        pytest.raises(EdgeChaosError, match="is being written by another campaign"),
    ):
        run(tmp_path, resume=True)
    assert run(tmp_path, resume=True).curves  # the lock is free again


@pytest.mark.parametrize("content", [b"not a database, but long enough to look like one" * 40, b"SQLite format 3\0" + bytes(5000)])
def test_a_file_that_is_no_ledger(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(content)
    with pytest.raises(EdgeChaosError, match="if it is no ledger of a campaign, choose another output"):
        run(tmp_path, resume=True)
    assert (tmp_path / "ledger.sqlite").read_bytes()[:16] == content[:16]


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite meets its page limit as it would meet the end of the disk; what was committed stays, and resuming finishes."""
    whole = run(tmp_path / "whole")
    begin = Ledger._begin

    def with_little_space(self: Ledger) -> None:
        begin(self)
        pages = self._connection.execute("PRAGMA page_count").fetchone()[0]
        self._connection.execute(f"PRAGMA max_page_count = {pages + 1}")

    monkeypatch.setattr(Ledger, "_begin", with_little_space)
    monkeypatch.setattr("edgechaos.hil.runner.COMMIT_EVERY_S", 0.0)
    with pytest.raises(EdgeChaosError, match=r"no space left for ledger .*ledger\.sqlite; what was recorded is kept"):
        run(tmp_path / "small")
    kept = rows(tmp_path / "small/ledger.sqlite")
    assert 0 < len(kept) < len(plan_campaign(campaign()).trials)
    monkeypatch.undo()
    assert run(tmp_path / "small", resume=True).to_json() == whole.to_json()
    assert set(kept) <= set(rows(tmp_path / "small/ledger.sqlite"))


def test_other_firmware_is_another_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, campaign(masks=2))
    from edgechaos.devices.contract import DeviceInfo
    from tests.helpers.hil_devices import ReferenceDevice

    info = ReferenceDevice("plain", GRAPH).open()
    monkeypatch.setattr(ReferenceDevice, "open", lambda self: replace_info(info, firmware_hash="e" * 64))
    with pytest.raises(EdgeChaosError, match="runs firmware eeeeeeeeeeee, but ledger"):
        run(tmp_path, campaign(masks=3), resume=True)
    assert isinstance(info, DeviceInfo)


def replace_info(info: Any, **changes: Any) -> Any:
    return replace(info, **changes)
