"""What must not stop a campaign, lose a trial or be charged to one: workers and devices that die while they start, whenever."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgechaos.hil.analysis.results import Results
from edgechaos.hil.campaign.config import Campaign, Sweep
from edgechaos.hil.execute import pool
from edgechaos.hil.execute.channel import LENGTH, Channel, packed
from edgechaos.hil.execute.evaluate import EvaluationSet
from edgechaos.hil.runner import LEFT_AFTER, run_campaign
from edgechaos.support.errors import ConfigError, EdgeChaosError
from tests.helpers.campaigns import GRAPH, campaign, children, items, rows, run, run_pool
from tests.helpers.hil_devices import open_device

pytestmark = pytest.mark.slow

SMALL = (Sweep("dead", (0.5,)),)


@pytest.fixture
def mood(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Sets what goes wrong with "moody" devices from now on."""

    def set_mood(what: str) -> None:
        monkeypatch.setenv("EDGECHAOS_TEST_MOOD", what)
        monkeypatch.setenv("EDGECHAOS_TEST_MARKER", str(tmp_path / f"marker-{what}"))

    return set_mood


def large_items() -> EvaluationSet:
    """More than any pipe or socket holds, so that whoever writes them to a process that does not read waits for ever."""
    few = items()
    times = 1 << 15
    return EvaluationSet("drawn", np.tile(few.codes, (times, 1)), np.tile(few.labels, times))


def run_large(tmp_path: Path, spec: Campaign) -> Results:
    return run_campaign(spec, GRAPH, large_items(), tmp_path / "ledger.sqlite", workers=2, opener=open_device)


def test_newborn_workers_that_are_killed_hang_nothing(tmp_path: Path) -> None:
    """Four workers are killed as soon as they exist, before they have read anything."""
    spec = campaign(devices=("plain",), masks=2, sweep=SMALL, attempts=1)
    killed: list[int] = []
    over = threading.Event()

    def killer() -> None:
        while len(killed) < 4 and not over.is_set():
            for pid in set(children()) - set(killed):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        results = run_large(tmp_path, spec)
    finally:
        over.set()
        thread.join()
    assert len(killed) == 4
    assert results.about["trials"] == {"planned": 4, "with_result": 4, "retried": 0, "without_result": {}}
    assert results.curves == run(tmp_path / "plain", spec).curves
    assert not children()


@pytest.mark.parametrize(
    ("code", "allowed", "timeout_s", "why"),
    [
        ("import os; os.kill(os.getpid(), 9)", "KILLS_ALLOWED", 60.0, "worker died of SIGKILL before a trial began"),
        ("raise SystemExit(7)", "DEATHS_ALLOWED", 60.0, "worker ended with exit code 7 before a trial began"),
        ("import time; time.sleep(600)", "DEATHS_ALLOWED", 0.2, "no answer within 0.2 s before a trial began"),
    ],
)
def test_workers_that_never_start_end_in_a_clear_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, allowed: str, timeout_s: float, why: str
) -> None:
    monkeypatch.setattr(pool, "BOOTSTRAP", code + "  # {path!r:.0} {handle} {parent}")
    monkeypatch.setattr(pool, allowed, 2)
    monkeypatch.setattr(pool, "OPEN_TIMEOUT_S", timeout_s)
    with pytest.raises(EdgeChaosError, match=f"campaign stopped: plain: {why}; what was finished is kept"):
        run_large(tmp_path, campaign(devices=("plain",), masks=2, sweep=SMALL, timeout=timeout_s))
    assert not children()


def test_no_process_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it cannot: the campaign goes on when it can again."""
    tries: list[Any] = []
    start = subprocess.Popen

    def popen(*arguments: Any, **options: Any) -> Any:
        tries.append(arguments)
        if len(tries) == 1:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return start(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(pool, "LOOK_S", 0.01)
    assert run_pool(tmp_path, "plain").about["trials"]["with_result"] == 4


def test_attempts_are_charged_to_trials_that_began(tmp_path: Path, mood: Callable[[str], None]) -> None:
    """Three workers die while they open the device; each trial has a single attempt, and all have results."""
    mood("dies-opening")
    results = run_pool(tmp_path, "moody", attempts=1)
    assert results.about["trials"] == {"planned": 4, "with_result": 4, "retried": 0, "without_result": {}}
    assert [row[6] for row in rows(tmp_path / "ledger.sqlite")] == [1] * 4


def test_a_device_that_worked_before_may_fail_to_open(tmp_path: Path, mood: Callable[[str], None]) -> None:
    """In another worker, after a resume, by several tries: it is known from the ledger that it can."""
    spec = campaign(devices=("moody",), masks=2)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, spec, stop_after=4)
    mood("opens-late")
    results = run(tmp_path, spec, resume=True)
    assert results.about["trials"]["without_result"] == {}
    assert results.about["trials"]["retried"] == 0
    assert results.curves == run(tmp_path / "whole", spec).curves


def test_a_device_that_is_gone_is_left_and_the_others_go_on(tmp_path: Path, mood: Callable[[str], None]) -> None:
    spec = campaign(devices=("moody", "plain"), masks=2, sweep=(Sweep("dead", (0.25, 0.5, 0.75)),))
    whole = run(tmp_path / "whole", spec)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, spec, stop_after=1)
    mood("no-open")
    without = run(tmp_path, spec, resume=True)
    assert without.about["trials"] == {"planned": 16, "with_result": 9, "retried": 0, "without_result": {"infrastructure": 7}}
    assert without.curves[1] == whole.curves[1]
    details = sqlite3.connect(tmp_path / "ledger.sqlite").execute("SELECT DISTINCT detail, attempts FROM trials WHERE outcome != 'ok'")
    assert details.fetchall() == [("the port is gone", 0)]
    mood("")
    assert run(tmp_path, spec, resume=True).to_json() == whole.to_json()


def test_a_device_that_never_opened_stops_the_campaign_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(EdgeChaosError, match="campaign stopped: absent: no such port"):
        run(tmp_path, campaign(devices=("plain", "absent")))
    assert rows(tmp_path / "ledger.sqlite") == []


def test_what_a_device_cannot_carry_is_refused_before_anything_runs(tmp_path: Path, mood: Callable[[str], None]) -> None:
    mood("weak")
    with pytest.raises(ConfigError, match="sweep omission: device moody cannot carry faults of the model; name others in devices"):
        run(tmp_path, campaign(devices=("plain", "moody")))
    assert rows(tmp_path / "ledger.sqlite") == []


@pytest.mark.parametrize(("capacity", "refused"), [(2, "mask 0: 3 words change, device moody holds 2"), (3, "")])
def test_more_flips_than_a_device_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capacity: int, refused: str) -> None:
    from tests.helpers.hil_devices import MoodyDevice

    opening = MoodyDevice.open
    monkeypatch.setattr(MoodyDevice, "open", lambda self: replace(opening(self), patch_capacity=capacity))
    bits = GRAPH.constants["readout_weight"].value.size * 8
    spec = campaign(devices=("moody",), sweep=(Sweep("weight_bit_flip", (3 / bits,), node="readout"),), masks=30)
    if refused:
        with pytest.raises(ConfigError, match=refused):
            run(tmp_path, spec)
    else:
        assert run(tmp_path, spec).about["trials"]["without_result"] == {}


def test_what_the_infrastructure_lost_is_tried_again_by_resume(tmp_path: Path, mood: Callable[[str], None]) -> None:
    spec = campaign(devices=("moody",), masks=2, sweep=SMALL, attempts=2)
    mood("link")
    lost = run(tmp_path, spec)
    assert lost.about["trials"] == {"planned": 4, "with_result": 0, "retried": 2, "without_result": {"infrastructure": 4}}
    assert run(tmp_path, spec, resume=True).about["trials"]["without_result"] == {"infrastructure": 4}  # again, and again it ends
    mood("")
    healed = run(tmp_path, spec, resume=True)
    assert healed.about["trials"]["without_result"] == {}
    assert healed.curves == run(tmp_path / "whole", spec).curves


def test_a_clean_run_that_fails_later_is_the_machines_doing(tmp_path: Path, mood: Callable[[str], None]) -> None:
    spec = campaign(devices=("moody",), masks=3, sweep=SMALL)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, spec, stop_after=2)
    mood("crash-clean")
    assert run(tmp_path, spec, resume=True).about["trials"]["without_result"] == {"infrastructure": 4}
    mood("")
    assert run(tmp_path, spec, resume=True).about["trials"]["without_result"] == {}


def test_an_error_of_the_operating_system_is_a_failed_attempt(tmp_path: Path, mood: Callable[[str], None]) -> None:
    mood("os-error-once")
    results = run(tmp_path, campaign(devices=("moody",), masks=2, sweep=SMALL))
    assert results.about["trials"] == {"planned": 4, "with_result": 4, "retried": 1, "without_result": {}}


def test_given_up_after_a_bounded_number_of_tries() -> None:
    assert 1 < LEFT_AFTER <= 20
    assert pool.DEATHS_ALLOWED < pool.KILLS_ALLOWED <= 100


class TestChannel:
    """The campaign's end of the pair."""

    def test_messages_larger_than_the_socket_do_not_wait(self) -> None:
        ours, theirs = socket.socketpair()
        channel = Channel(ours)
        message = os.urandom(1 << 24)
        channel.send(packed(message))
        assert channel.has_unsent
        received = bytearray()
        while len(received) < len(packed(message)):
            received += theirs.recv(1 << 20)
            channel.flush()
        assert not channel.has_unsent
        assert bytes(received) == packed(message)

    def test_a_message_in_pieces_is_none_until_it_is_whole(self) -> None:
        ours, theirs = socket.socketpair()
        channel = Channel(ours)
        data = packed(["first"]) + packed("second")
        for byte in data[:-1]:
            theirs.send(bytes([byte]))
        assert channel.receive() == ([["first"]], True)
        theirs.send(data[-1:])
        assert channel.receive() == (["second"], True)

    @pytest.mark.parametrize("rest", [b"", b"\x01", packed("half")[:-1], LENGTH.pack(1 << 40), LENGTH.pack(3) + b"\xff\xff\xff"])
    def test_what_was_said_before_the_end_counts_and_the_rest_does_not(self, rest: bytes) -> None:
        ours, theirs = socket.socketpair()
        channel = Channel(ours)
        theirs.sendall(packed("said") + rest)
        theirs.close()
        assert channel.receive() == (["said"], False)

    def test_a_reader_that_is_gone(self) -> None:
        ours, theirs = socket.socketpair()
        channel = Channel(ours)
        theirs.close()
        channel.send(packed(b"x" * (1 << 20)))
        assert not channel.has_unsent
        assert channel.receive() == ([], False)
