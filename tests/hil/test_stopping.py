"""Campaigns that stop by themselves, what is seen while they run, and what they will cost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgechaos.hil.analysis.documents import check_document
from edgechaos.hil.analysis.live import Live
from edgechaos.hil.analysis.stopping import first_plan, next_plan
from edgechaos.hil.campaign.config import Campaign, Images, StopSettings, Sweep
from edgechaos.hil.campaign.plan import CampaignPlan, plan_campaign
from edgechaos.hil.campaign.reading import read_campaign, refuse
from edgechaos.hil.campaign.source import to_toml
from edgechaos.hil.execute.estimate import estimate_cost
from edgechaos.hil.report.inputs import Inputs
from edgechaos.hil.report.page import compose
from edgechaos.support.errors import ConfigError
from edgechaos.support.sequences import SEQUENTIAL
from tests.helpers.campaigns import GRAPH, campaign, items, rows, run
from tests.helpers.hil_devices import open_device

SWEEPS = (Sweep("dead", (0.0, 0.1, 0.75)),)


def stopping(width: float, most: int = 100, **changes: Any) -> Campaign:
    stop = StopSettings(width, first=20)  # type: ignore[arg-type]
    return campaign(sweep=SWEEPS, masks=most, stop=stop, images=Images(12), **changes)


def test_looks_are_decided_by_the_file_alone() -> None:
    assert list(StopSettings(0.1, first=30).looks(100)) == [30, 37, 46, 57, 71, 88, 100]  # type: ignore[arg-type]
    assert list(StopSettings(0.1, first=30).looks(30)) == [30]  # type: ignore[arg-type]
    assert list(StopSettings(0.1, first=30).looks(20)) == [20]  # type: ignore[arg-type]


def test_every_point_stops_by_itself(tmp_path: Path) -> None:
    spec = stopping(0.12)
    results = run(tmp_path, spec)
    by_rate = {p.rate: p for p in results.curves[0].points}
    looks = list(spec.stop.looks(100)) if spec.stop else []
    for point in by_rate.values():
        width = point.accuracy.high - point.accuracy.low
        assert point.masks in looks
        assert width <= 0.12 or point.masks == 100
        shares = [c / 12 for c in point.per_mask["correct"]]
        assert point.accuracy == SEQUENTIAL.mean(shares, 0.95)
        before = looks[looks.index(point.masks) - 1] if point.masks > 20 else 0
        if before:
            earlier = SEQUENTIAL.mean(shares[:before], 0.95)
            assert earlier.high - earlier.low > 0.12  # or it would have stopped there
    assert by_rate[0.75].masks > by_rate[0.0].masks
    assert results.about["trials"]["planned"] < len(plan_campaign(spec).trials)
    document = json.loads(json.dumps(results.to_json()))
    check_document("campaign", document, "results")
    assert "a confidence sequence over masks, because this campaign stopped by itself" in compose(Inputs(document)).html
    document["about"]["campaign"]["stop"] = None
    assert "intervals: t over masks, for these images" in compose(Inputs(document)).html


def test_an_interrupted_campaign_stops_at_the_same_masks(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", stopping(0.15))
    for stop_after in (1, 30, 47):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut", stopping(0.15), stop_after=stop_after, resume=(tmp_path / "cut").exists())
    again = run(tmp_path / "cut", stopping(0.15), resume=True)
    assert again.to_json() == whole.to_json()
    assert rows(tmp_path / "cut" / "ledger.sqlite") == rows(tmp_path / "whole" / "ledger.sqlite")


def test_a_point_that_has_no_results_gets_no_more_masks() -> None:
    spec = stopping(0.01)
    plan = first_plan(spec, GRAPH)
    assert {len(c.trials) for c in plan.cells} == {20}
    assert next_plan(spec, GRAPH, plan, lambda trial: None) is None
    assert next_plan(replace(spec, stop=None), GRAPH, plan, lambda trial: None) is None
    assert first_plan(replace(spec, stop=None), GRAPH) == plan_campaign(spec)


def test_a_stop_is_read_written_and_refused_with_its_place(tmp_path: Path) -> None:
    text = 'name = "c"\nmasks = 200\n[stop]\nwidth = "2 %"\nquantity = "difference"\nfirst = 40\n[[sweep]]\nfault = "dead"\nrates = [0.5]\n'
    (tmp_path / "c.toml").write_text(text)
    spec = read_campaign(tmp_path / "c.toml")
    assert spec.stop == StopSettings(0.02, "difference", 40)  # type: ignore[arg-type]
    (tmp_path / "again.toml").write_text(to_toml(spec))
    assert read_campaign(tmp_path / "again.toml") == spec
    for stop, says in (
        (StopSettings(0.0), r"stop\.width = 0 is outside"),  # type: ignore[arg-type]
        (StopSettings(0.1, first=5), r"stop\.first = 5 is outside 20"),  # type: ignore[arg-type]
        (StopSettings(0.1, "joules"), "'joules' is none of accuracy, difference"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigError, match=says):
            refuse(replace(spec, stop=stop))


class Recorder(Live):
    """A Live that keeps what it said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.plans: list[CampaignPlan] = []

    def planned(self, plan: CampaignPlan) -> None:
        self.plans.append(plan)
        super().planned(plan)

    def finished(self, trial: Any, result: Any) -> None:
        super().finished(trial, result)
        self.said.append(self.text())


def test_outcomes_and_the_interval_so_far_are_told_while_it_runs(tmp_path: Path) -> None:
    watch = Recorder()
    spec = campaign(sweep=(Sweep("dead", (0.5,)),), masks=30, images=Images(12))
    results = run(tmp_path, spec, watch=watch)
    point = results.curves[0].points[0]
    last = watch.said[-1]
    total = sum(point.outcomes.values())
    for name, count in sorted(point.outcomes.items(), key=lambda o: -o[1])[:3]:
        assert f"{name.replace('_', ' ')} {count / total * 100:.1f} %" in last
    sequence = SEQUENTIAL.mean([c / 12 for c in point.per_mask["correct"]], 0.95)
    assert f"dead 50 % on plain: {sequence.value * 100:.1f} % [{sequence.low * 100:.1f}, {sequence.high * 100:.1f}], 30 masks" in last
    assert watch.said[0] == ""  # a clean run has no outcome
    again = Recorder()
    run(tmp_path, spec, watch=again, resume=True)
    assert again.said[-1] == last  # what the ledger holds counts too


def test_what_a_campaign_will_cost() -> None:
    ticks = iter(range(1000))
    spec = stopping(0.1, devices=("plain", "serial:x"))
    whole = plan_campaign(spec)
    cost = estimate_cost(spec, GRAPH, items(), (first_plan(spec, GRAPH), whole), open_device, 4, clock=lambda: float(next(ticks)))
    plain, board = cost.devices
    assert (plain.device, plain.workers, board.workers) == ("plain", 4, 1)
    assert plain.trials == (20 * 3, 100 * 3)  # at rate 0 a trial is its own clean run
    assert plain.inferences == (20 * 3 * 12, 100 * 3 * 12)
    assert (plain.open_s, plain.trial_s, plain.item_s) == (1.0, 1.0, 1 / 12)
    assert plain.seconds == pytest.approx((1 + 15 + 60 / 4, 1 + 75 + 300 / 4))
    assert board.seconds == pytest.approx((1 + 60 + 60, 1 + 300 + 300))
    assert cost.seconds == board.seconds  # a board of its own runs beside the others
    assert cost.ledger_bytes > 600 * 700
