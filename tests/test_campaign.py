"""Campaign files, plans, ledgers and runs, over in-process devices and real worker processes."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.artifact import save, to_bytes
from edgechaos.errors import ConfigError, DataError, EdgeChaosError
from edgechaos.faults import FaultPlan, Omission, apply, resolve
from edgechaos.graph import IntegerGraph
from edgechaos.hil.config import Campaign, Images, Sweep, read_campaign, warnings
from edgechaos.hil.evaluate import Bench, EvaluationSet, Event, Setup
from edgechaos.hil.executor import Executor
from edgechaos.hil.ledger import Ledger
from edgechaos.hil.outcomes import OUTCOMES
from edgechaos.hil.plan import Group, plan_campaign, seeds
from edgechaos.hil.pool import PoolExecutor
from edgechaos.hil.results import Results
from edgechaos.hil.runner import open_ledger, run_campaign
from tests.graphs import chaos_graph, codes_for
from tests.hil_devices import open_device

GRAPH = chaos_graph(sizes=(12, 16, 4), fail_q=6554, noise=True)
SWEEPS = (Sweep("omission", (0.0, 0.25, 0.75)), Sweep("dead", (0.0, 0.25, 0.5)))


def items(count: int = 24, graph: IntegerGraph = GRAPH) -> EvaluationSet:
    """Codes whose labels are the graph's own clean answers, one in five wrong."""
    codes = codes_for(graph, count)
    labels = reference.run(graph, codes, seed=99).labels.astype(np.int64)
    labels[::5] = (labels[::5] + 1) % 4
    return EvaluationSet("drawn", codes, labels)


def campaign(**changes: Any) -> Campaign:
    base = Campaign("test", SWEEPS, devices=("plain",), masks=4, images=Images(24), timeout=30.0)  # type: ignore[arg-type]
    return replace(base, **changes)


class InProcess(Executor):
    """Groups in this process: what the pool does, without processes. stop_after: events before a simulated kill."""

    def __init__(self, setup: Setup, stop_after: int | None = None) -> None:
        self.bench, self.left, self.seen = Bench(setup), stop_after, 0

    def run(self, groups: Sequence[Group]) -> Iterator[Event]:
        for group in groups:
            for event in self.bench.evaluate(group):
                if self.left is not None and self.seen >= self.left:
                    raise KeyboardInterrupt
                self.seen += 1
                yield event

    def close(self) -> None:
        self.bench.close()


def run(
    tmp_path: Path, spec: Campaign | None = None, *, stop_after: int | None = None, graph: IntegerGraph = GRAPH, **options: Any
) -> Results:
    data = items(graph=graph)
    executor = InProcess(Setup(to_bytes(graph), data, open_device), stop_after)
    return run_campaign(spec or campaign(), graph, data, tmp_path / "ledger.sqlite", executor=executor, opener=open_device, **options)


def run_pool(tmp_path: Path, device: str, *, workers: int = 1, **changes: Any) -> Results:
    spec = campaign(devices=(device,), masks=2, sweep=(Sweep("dead", (0.5,)),), **changes)
    return run_campaign(spec, GRAPH, items(), tmp_path / "ledger.sqlite", workers=workers, opener=open_device)


# The campaign file


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "campaign.toml"
    path.write_text(text)
    return path


GOOD = """
name = "demo"
artifact = "pixels.ecm"
devices = ["host", "unicorn:mps2-an386"]
masks = 30
margin = "1 %"
timeout = "90 s"
[images]
count = 100
dataset = "digits8x8"
[energy]
board = "stm32l4r5"
[[sweep]]
fault = "dead"
rates = [0, 0.5]
layer = "cortex0"
devices = ["host"]
"""


def test_campaign_file(tmp_path: Path) -> None:
    spec = read_campaign(write(tmp_path, GOOD))
    assert (spec.margin, spec.timeout, spec.energy.board if spec.energy else None) == (0.01, 90.0, "stm32l4r5")
    assert spec.sweep == (Sweep("dead", (0.0, 0.5), layer="cortex0", devices=("host",)),)
    assert warnings(spec) == ()
    assert "Fewer than 30 masks: dead on host (5 masks)" in warnings(replace(spec, masks=5))[0]


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        ("masks = 30", "masks = 30\nmaks = 3", "", "unknown key 'maks'"),
        ("rates = [0, 0.5]", "rates = [0, 1.5]", "sweep[0].rates[1]", "sweep[0].rates[1] = 1.5 is outside 0..1"),
        ("rates = [0, 0.5]", "rates = [0, nan]", "sweep[0].rates[1]", "outside 0..1"),
        ("rates = [0, 0.5]", "rates = [0, 'half']", "sweep[0].rates[1]", "expected a number, got 'half' @ sweep[0].rates[1]"),
        ("rates = [0, 0.5]", "rates = [0.5, 0.5]", "sweep[0].rates[1]", "twice"),
        ("rates = [0, 0.5]", "rates = []", "sweep[0].rates", "empty"),
        ("rates = [0, 0.5]", "", "sweep[0].rates", "missing key @ sweep[0].rates"),
        ('fault = "dead"', 'fault = "death"', "sweep[0].fault", "is not one of dead, stuck_at_1, omission, weight_bit_flip"),
        ('layer = "cortex0"', 'layre = "cortex0"', "sweep[0]", "unknown key 'layre' @ sweep[0]"),
        ('layer = "cortex0"', 'node = "cortex0"', "sweep[0].node", "does not apply to dead"),
        ("masks = 30", "masks = 1", "masks", "masks = 1 is outside 2..100000"),
        ("masks = 30", "masks = 3.5", "masks", "expected an integer, got 3.5 @ masks"),
        ('margin = "1 %"', 'margin = "1 V"', "margin", 'expected a quantity such as "1 %"'),
        ('timeout = "90 s"', "timeout = 90", "timeout", 'expected a quantity such as "1 s", got 90 @ timeout'),
        ("count = 100", "count = 0", "images.count", "images.count = 0 is outside 1..1e+07"),
        ('devices = ["host", "unicorn:mps2-an386"]', "devices = []", "devices", "devices is empty"),
        ("[energy]", "[energy", None, "is not valid TOML"),
    ],
)
def test_campaign_file_is_refused_with_the_place(tmp_path: Path, old: str, new: str, key: str | None, message: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        read_campaign(write(tmp_path, GOOD.replace(old, new)))
    assert message in str(caught.value)
    assert caught.value.key == key


def test_campaign_file_missing(tmp_path: Path) -> None:
    with pytest.raises(EdgeChaosError, match=r"cannot read campaign .*nowhere\.toml"):
        read_campaign(tmp_path / "nowhere.toml")


# The plan


def test_seeds_depend_on_campaign_and_mask_alone() -> None:
    assert seeds(1, 5) == seeds(1, 5)
    assert len({seeds(c, m) for c in range(3) for m in range(50)}) == 150
    few, many = plan_campaign(campaign(masks=3)), plan_campaign(campaign(masks=5, devices=("other", "plain")))
    for cell in few.cells:
        twin = next(c for c in many.cells if (c.sweep, c.rate, c.device) == (cell.sweep, cell.rate, "plain"))
        assert twin.trials[:3] == cell.trials


def test_common_random_numbers_and_shared_trials() -> None:
    plan = plan_campaign(campaign(devices=("a", "b")))
    assert len(set(plan.trials)) == len(plan.trials) == 2 * 4 * (1 + 3 + 2)  # clean, 3 omission rates, 2 dead rates above 0
    for cell in plan.cells:
        assert [t.seed for t in cell.trials] == [c.seed for c in cell.clean]
        assert all(c.clean for c in cell.clean)
    of_device = [{(t.plan.id, t.seed) for t in plan.trials if t.device == d} for d in "ab"]
    assert of_device[0] == of_device[1]
    zero_dead = next(c for c in plan.cells if c.sweep.fault == "dead" and c.rate == 0)
    assert zero_dead.trials == zero_dead.clean
    zero_omission = next(c for c in plan.cells if c.sweep.fault == "omission" and c.rate == 0)
    assert zero_omission.trials[0].plan == FaultPlan((Omission(rate=0.0),))


def test_impossible_plan_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sweep dead at rate 0\.5, mask 0: .*no spiking or k-WTA layer 'cortex9'"):
        run(tmp_path, campaign(sweep=(Sweep("dead", (0.5,), layer="cortex9"),)))
    assert not (tmp_path / "ledger.sqlite").exists()


def test_too_few_items(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs 25 items, 'drawn' has 24"):
        run(tmp_path, campaign(images=Images(25)))


# Results are those of the reference


def test_results_equal_the_reference(tmp_path: Path) -> None:
    data, spec = items(), campaign()
    results = run(tmp_path, spec)
    plan = plan_campaign(spec)
    assert len(results.curves) == 2
    for curve, sweep in zip(results.curves, spec.sweep, strict=True):
        for point in curve.points:
            cell = next(c for c in plan.cells if c.sweep == sweep and c.rate == point.rate)
            accuracies, outcomes = [], dict.fromkeys(OUTCOMES, 0)
            for trial in cell.trials:
                clean = reference.run(GRAPH, data.codes, seed=trial.seed)
                faulty = reference.run(apply(GRAPH, trial.plan), data.codes, seed=trial.seed)
                accuracies.append(float((faulty.labels == data.labels).mean()))
                for k, label in enumerate(data.labels):
                    outcomes[expected_outcome(trial.clean, clean, faulty, k, int(label))] += 1
            assert point.accuracy.value == pytest.approx(np.mean(accuracies))
            assert point.worst_accuracy == min(accuracies)
            assert point.worst_mask == int(np.argmin(accuracies))
            assert point.outcomes == {k: v for k, v in outcomes.items() if v}


def expected_outcome(is_clean: bool, clean: reference.Result, faulty: reference.Result, k: int, label: int) -> str:
    if clean.labels[k] != faulty.labels[k]:
        return "sdc_critical" if clean.labels[k] == label else "sdc_other"
    if (clean.logits[k] != faulty.logits[k]).any():
        return "tolerable"
    return "not_activated" if is_clean else "masked"


def test_a_plan_without_effect_on_the_model_is_not_activated(tmp_path: Path) -> None:
    results = run(tmp_path, campaign(sweep=(Sweep("omission", (6554 / 65536,)), Sweep("dead", (0.01,)))))
    for curve in results.curves:  # the deployed loss probability, and round(0.01 * 16) = 0 neurons
        assert curve.points[0].outcomes == {"not_activated": 96}
        assert curve.points[0].difference.value == 0
        assert curve.points[0].no_harm.holds


# The ledger


def rows(path: Path) -> list[tuple[Any, ...]]:
    import sqlite3

    connection = sqlite3.connect(path)
    found = connection.execute(
        "SELECT model, plan, seed, device, data, images, attempts, outcome, result, correct_bits, baseline FROM trials ORDER BY 1,2,3,4,5,6"
    ).fetchall()
    connection.close()
    return found


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


SCRIPT = """
import sys
from pathlib import Path
from edgechaos.hil.runner import run_campaign
from tests.test_campaign import GRAPH, campaign, items
from tests.hil_devices import open_device
if __name__ == "__main__":
    spec = campaign(devices=("scripted:slow",), masks=25)
    run_campaign(spec, GRAPH, items(), Path(sys.argv[1]), resume=True, workers=2, opener=open_device)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_campaign_resumes(tmp_path: Path, how: signal.Signals) -> None:
    """A real campaign with two workers, killed twice at random moments, then finished: every trial there, once."""
    script = tmp_path / "campaign_script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(tmp_path / "ledger.sqlite")]
    chance, before = random.Random(int(how)), 0
    for _ in range(2):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
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
    from tests.hil_devices import ReferenceDevice

    info = ReferenceDevice("plain", GRAPH).open()
    monkeypatch.setattr(ReferenceDevice, "open", lambda self: replace_info(info, firmware_hash="e" * 64))
    with pytest.raises(EdgeChaosError, match="runs firmware eeeeeeeeeeee, but ledger"):
        run(tmp_path, campaign(masks=3), resume=True)
    assert isinstance(info, DeviceInfo)


def replace_info(info: Any, **changes: Any) -> Any:
    return replace(info, **changes)


# Disasters in devices and workers


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
    ("kind", "outcome", "detail"), [("segfault", "crash", "SIGSEGV"), ("silent", "infrastructure", "no answer within 1.5 s")]
)
def test_worker_that_dies_or_hangs_is_an_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, outcome: str, detail: str
) -> None:
    monkeypatch.setattr("edgechaos.hil.pool.OPEN_TIMEOUT_S", 10.0)
    results = run_pool(tmp_path, f"scripted:{kind}", attempts=2, timeout=1.5)
    assert results.about["trials"] == {"planned": 4, "with_result": 2, "retried": 2, "without_result": {outcome: 2}}
    assert results.curves[0].points == ()
    assert results.curves[0].empty_rates == (0.5,)
    assert {row[7] for row in rows(tmp_path / "ledger.sqlite")} == {"ok", outcome}
    import sqlite3

    details = sqlite3.connect(tmp_path / "ledger.sqlite").execute("SELECT detail FROM trials WHERE outcome != 'ok'").fetchall()
    assert all(detail in d for (d,) in details)
    assert not multiprocessing.active_children()


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
    assert not multiprocessing.active_children()


def test_workers_that_cannot_start_stop_the_campaign(tmp_path: Path) -> None:
    """A script without the guard: every spawned worker would run it again."""
    script = tmp_path / "unguarded.py"
    script.write_text(SCRIPT.replace('if __name__ == "__main__":', "if True:"))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "ledger.sqlite")], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "campaign stopped: a worker process did not start" in done.stderr
    assert "a script needs `if __name__ == '__main__':`" in done.stderr


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
    assert not multiprocessing.active_children()


def test_a_board_is_held_by_one_worker() -> None:
    from collections import deque

    from edgechaos.hil.pool import _Worker

    pool = PoolExecutor(Setup(to_bytes(GRAPH), items(), open_device), workers=2)
    first, second = (_Worker(None, None) for _ in range(2))  # type: ignore[arg-type]
    groups = plan_campaign(campaign(devices=("serial:/dev/serial/by-id/a", "plain"))).groups
    queue = deque(groups)
    board = pool._next_for(first, queue)
    assert board is not None
    assert board.device.startswith("serial:")
    other = pool._next_for(second, queue)
    assert other is not None
    assert other.device == "plain"
    again = pool._next_for(first, queue)
    assert again is not None
    assert again.device.startswith("serial:")


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
    assert resolve(GRAPH, plan).stuck


def test_artifact_round_trip_reaches_workers(tmp_path: Path) -> None:
    save(GRAPH, tmp_path / "model.ecm")
    assert Bench(Setup((tmp_path / "model.ecm").read_bytes(), items(), open_device)) is not None
