"""Kills a campaign's processes at seeded random moments, and compares what comes out with the same campaign undisturbed.

Runner, workers, workers that have just been born, emulators, and on a cluster Dask's workers die by SIGKILL, as by a user, the end of
memory or a failing machine;
a killed runner is started again with resume. Used by tests/hil/test_campaign_kills.py and, longer, by benchmarks/kills.py.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgechaos.hil.campaign.config import Campaign, Images, Sweep
from tests.helpers.campaigns import campaign, children
from tests.helpers.places import ROOT

RUNNER = """
import sys
from pathlib import Path
from edgechaos.devices.registry import open_device
from edgechaos.graph.artifact import to_bytes
from edgechaos.hil.execute.dask_executor import DaskExecutor
from edgechaos.hil.execute.evaluate import Setup
from edgechaos.hil.execute.pool import PoolExecutor
from edgechaos.hil.runner import run_campaign
from tests.helpers.campaigns import GRAPH, items
from tests.helpers.kills import IMAGES, spec
folder, scheduler = Path(sys.argv[1]), sys.argv[2]
data = items(IMAGES)
setup = Setup(to_bytes(GRAPH), data, open_device)
executor = DaskExecutor(setup, scheduler) if scheduler else PoolExecutor(setup, workers=2)
run_campaign(spec(*map(int, sys.argv[3:])), GRAPH, data, folder / "ledger.sqlite", resume=True, executor=executor).write(folder)
"""
VICTIMS = ("runner", "worker", "newborn", "emulator")
DASK_VICTIMS = (*VICTIMS, "dask worker")
MARKS = {
    "worker": "edgechaos.hil.execute.worker",
    "newborn": "edgechaos.hil.execute.worker",
    "emulator": "edgechaos.devices.emulators.process",
    "dask worker": "multiprocessing.spawn import spawn_main",
}
"""What stands in the command line of a process that may be killed."""
IMAGES = 240
"""So many that a trial takes longer than what lies between two: then most kills strike trials, not pauses."""
PATIENCE_S = 240.0
"""Without a trial more in the ledger for so long, a campaign hangs."""
SEEN_S = 30.0
"""How long a victim is waited for: where there is none of its kind, another kind is taken."""


def spec(masks: int, attempts: int) -> Campaign:
    """An emulator, which is a process of its own, and runs some trials of a mask at once, and a library in the worker's process."""
    memory = Sweep("memory_bits", values=(1.0, 9.0), options={"region": "state"}, devices=("unicorn",))
    sweeps = (Sweep("omission", (0.25, 0.75)), Sweep("dead", (0.25, 0.5)), memory)
    about: dict[str, Any] = {"timeout": 300.0, "attempts": attempts, "prune": True}
    return campaign(devices=("unicorn", "host"), sweep=sweeps, masks=masks, images=Images(IMAGES), **about)


@dataclass
class Counts:
    """What happened. stops: times that a runner ended by itself without finishing; orphans: processes that outlived their runner.

    next: kinds of the coming victims, each once before any comes again.
    """

    kills: Counter[str] = field(default_factory=Counter)
    campaigns: int = 0
    stops: list[str] = field(default_factory=list)
    hangs: int = 0
    orphans: int = 0
    different: int = 0
    retried: int = 0
    lost: int = 0
    next: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """No hang, no stop, nothing lost, nothing left behind, the same results."""
        return not (self.stops or self.hangs or self.orphans or self.different or self.lost)


def disturb_dask(folder: Path, kills: int, seed: int, masks: int, attempts: int = 3) -> Counts:
    """`disturb` on a cluster of two Dask workers, which are killed too; killed runners leave it what they had begun."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster:
        return disturb(folder, kills, seed, masks, attempts, cluster.scheduler_address)


def disturb(folder: Path, kills: int, seed: int, masks: int, attempts: int = 3, scheduler: str = "") -> Counts:
    """Run campaigns of so many masks until `kills` processes were killed; each is finished and compared with an undisturbed one."""
    chance, counts = random.Random(seed), Counts()
    whole = folder / "whole"
    whole.mkdir(parents=True)
    with _runner(whole, "", masks, attempts) as process:
        _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    expected = json.loads((whole / "results.json").read_text())
    while counts.kills.total() < kills and counts.good:
        counts.campaigns += 1
        here = folder / f"disturbed-{counts.campaigns}"
        here.mkdir()
        _disturb_one(here, (scheduler, masks, attempts), kills, chance, counts)
        if counts.good:
            _compare(expected, json.loads((here / "results.json").read_text()), counts)
    return counts


def _disturb_one(folder: Path, arguments: tuple[str, int, int], kills: int, chance: random.Random, counts: Counts) -> None:
    while True:
        with _runner(folder, *arguments) as process:
            seen: set[int] = set()
            while process.poll() is None:
                if counts.kills.total() < kills:
                    _kill_one(process, folder, seen, chance, counts, DASK_VICTIMS if arguments[0] else VICTIMS)
                elif not _ends(process, folder):
                    counts.hangs += 1
                    return
            _, said = process.communicate()
        deadline = time.monotonic() + SEEN_S
        if process.returncode and arguments[0]:
            seen.clear()  # they are the cluster's, and end where the next campaign begins
        while (left := [p for p in seen if _alive(p)]) and time.monotonic() < deadline:
            time.sleep(0.1)
        counts.orphans += len(left)
        if process.returncode == 0:
            return
        if process.returncode != -signal.SIGKILL:
            counts.stops.append(said[-2000:])
            return


def _kill_one(
    runner: subprocess.Popen[str], folder: Path, seen: set[int], chance: random.Random, counts: Counts, victims: Sequence[str]
) -> None:
    """One victim, at a random moment: newborn ones within milliseconds of their birth; of the others, every second while trials run."""
    counts.next = counts.next or chance.sample(victims, len(victims))
    kind = counts.next.pop()
    delay_s = chance.random() ** 2 * (0.05 if kind == "newborn" else 1.5)
    if kind != "newborn" and chance.random() < 0.5:
        rows, deadline = _rows(folder), time.monotonic() + SEEN_S
        while runner.poll() is None and _rows(folder) == rows and time.monotonic() < deadline:
            seen.update(_tree(runner.pid, "worker"), _tree(runner.pid, "emulator"))
            time.sleep(0.02)
    before = set(_tree(runner.pid, kind)) if kind == "newborn" else set()
    if kind == "newborn" and before:  # a worker must die for another to be born
        _kill(chance.choice(sorted(before)), "worker", counts)
    deadline = time.monotonic() + SEEN_S
    while runner.poll() is None and time.monotonic() < deadline:
        seen.update(_tree(runner.pid, "worker"), _tree(runner.pid, "emulator"))
        found = [runner.pid] if kind == "runner" else sorted(set(_tree(runner.pid, kind)) - before)
        if found:
            time.sleep(delay_s)
            _kill(chance.choice(found), kind, counts)
            if kind == "runner":
                runner.wait()
            return
        time.sleep(0.002)


def _kill(pid: int, kind: str, counts: Counts) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    counts.kills[kind] += 1


def _ends(process: subprocess.Popen[str], folder: Path) -> bool:
    """Whether it ends, or its ledger grows, within PATIENCE_S."""
    before, deadline = _rows(folder), time.monotonic() + PATIENCE_S
    while process.poll() is None:
        if time.monotonic() > deadline:
            return False
        if (now := _rows(folder)) != before:
            before, deadline = now, time.monotonic() + PATIENCE_S
        time.sleep(0.2)
    return True


def _rows(folder: Path) -> int:
    try:
        with sqlite3.connect(folder / "ledger.sqlite", timeout=30) as connection:
            return int(connection.execute("SELECT count(*) FROM trials WHERE outcome IS NOT NULL").fetchone()[0])
    except sqlite3.OperationalError:  # not created yet
        return 0


def _tree(runner: int, kind: str) -> list[int]:
    """Workers are children of the runner, or of a Dask worker, which is a child of this process; emulators are theirs."""
    cluster = _marked(children(), MARKS["dask worker"])
    if kind == "dask worker":
        return cluster
    workers = _marked([w for p in (runner, *cluster) for w in children(p)], MARKS["worker"])
    return workers if kind in ("worker", "newborn") else _marked([e for w in workers for e in children(w)], MARKS[kind])


def _marked(pids: Sequence[int], mark: str) -> list[int]:
    return [pid for pid in pids if mark in _command(pid)]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def _alive(pid: int) -> bool:
    return any(mark in _command(pid) for mark in MARKS.values())


@contextmanager
def _runner(folder: Path, *arguments: str | int) -> Iterator[subprocess.Popen[str]]:
    """A campaign in a process of its own; whatever happens here, it and what it started do not stay."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RUNNER, str(folder), *map(str, arguments)]
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _compare(expected: dict[str, Any], got: dict[str, Any], counts: Counts) -> None:
    trials = got["about"]["trials"]
    counts.retried += trials["retried"]
    counts.lost += sum(trials["without_result"].values())
    counts.different += any(expected[key] != got[key] for key in ("curves", "agreements"))
