"""Trials that a device runs several of by itself: the same results as one by one, whatever fails on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.devices.registry import open_device
from edgechaos.graph.artifact import to_bytes
from edgechaos.hil.analysis.results import Results
from edgechaos.hil.campaign.config import Campaign, Images, Sample, Sweep
from edgechaos.hil.campaign.plan import plan_campaign
from edgechaos.hil.execute import evaluate
from edgechaos.hil.execute.estimate import estimate_cost
from edgechaos.hil.execute.evaluate import Began, Bench, Finished, Setup
from edgechaos.hil.report.inputs import find_inputs
from edgechaos.hil.report.page import compose
from edgechaos.hil.runner import run_campaign
from edgechaos.support.errors import LinkError
from tests.helpers.campaigns import GRAPH, InProcess, campaign, items

pytestmark = pytest.mark.slow

SAMPLE = Sample("ram_bit_flip", 40, strata=(), options={"address": 0x20000800, "words": 100})
SWEEPS = (
    Sweep("memory_bits", values=(1.0, 40.0), options={"region": "state"}),
    Sweep("memory_bits", values=(3.0,), options={"region": "state", "onset": 200}),
    Sweep("program_counter", values=(2.0,), options={"onset": 90}),
    Sweep("dead", rates=(0.5,)),
)


def finished(*, at_once: int = 1024, replayed: bool = True, prune: bool = False) -> list[Finished]:
    """What a worker gives; it says Began before it runs something."""
    spec = campaign(sweep=SWEEPS, devices=("unicorn",), masks=4, images=Images(3))
    bench = Bench(Setup(to_bytes(GRAPH), items(), open_device, prune))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(evaluate, "AT_ONCE", at_once)
            events = [e for group in plan_campaign(spec).groups for e in bench.evaluate(group)]
    finally:
        bench.close()
    found = [e for e in events if isinstance(e, Finished)]
    begun = [e.trial for e in events if isinstance(e, Began)]
    if replayed:
        firsts = {g.trials[k] for g in plan_campaign(spec).groups for k in range(0, len(g.trials), max(1, at_once // 3))}
        assert firsts | {e.trial for e in found if "crash" in e.result.outcomes} <= {*begun}
        assert len(begun) < len(found) or at_once < 6
    else:
        assert begun == [e.trial for e in found]
    return found


@pytest.fixture(scope="module")
def one_by_one() -> list[Finished]:
    """As with a device that cannot do more than one plan."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "Replaying", type("Nobody", (), {}))
        return finished(replayed=False)


@pytest.mark.parametrize("at_once", [1, 6, 1024])
def test_results_are_those_of_one_trial_after_the_other(one_by_one: list[Finished], at_once: int) -> None:
    found = finished(at_once=at_once)
    assert found == one_by_one
    outcomes = {name for event in found for name in event.result.outcomes}
    assert {"masked", "crash"} <= outcomes, "the comparison is of something"


def test_a_device_that_fails_meanwhile_is_asked_again_trial_by_trial(one_by_one: list[Finished], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise LinkError("the emulator process was killed")

    monkeypatch.setattr(EmulatedDevice, "infer_under", fails)
    assert finished(replayed=False) == one_by_one


def test_inferred_results_are_those_that_were_run(one_by_one: list[Finished]) -> None:
    pruned = finished(prune=True)
    assert [replace(event, result=replace(event.result, inferred=False)) for event in pruned] == one_by_one
    inferred = [event for event in pruned if event.result.inferred]
    assert 4 <= len(inferred) < len(pruned) // 2
    assert {event.trial.plan.faults[0].kind for event in inferred} == {"memory_bits"}


def results_of(folder: Path, **changes: Any) -> tuple[Campaign, Results]:
    spec = campaign(sweep=SWEEPS[:1], sample=(SAMPLE,), devices=("unicorn",), masks=6, images=Images(1), **changes)
    made = InProcess(Setup(to_bytes(GRAPH), items(), open_device, spec.prune))
    return spec, run_campaign(spec, GRAPH, items(), folder / "ledger.sqlite", executor=made, opener=open_device)


def test_a_campaign_says_what_was_inferred(tmp_path: Path) -> None:
    """The same figures, with and without; what was not run is counted apart, read back, and taken on by a ledger that is resumed."""
    spec, pruned = results_of(tmp_path / "pruned", prune=True)
    _, run = results_of(tmp_path / "run")
    count = pruned.about["trials"]["inferred"]
    (curve,), (sample,) = pruned.curves, pruned.samples
    assert count == sum(point.inferred for point in curve.points) + sample.inferred
    assert 0 < sample.inferred < sample.faults
    assert all("inferred" not in text for text in run.statements())
    assert f"{curve.points[0].inferred} masks inferred, not run" in pruned.statements()[0]
    assert f"{sample.inferred} of them inferred" in pruned.statements()[-1]
    assert replace(sample, inferred=0) == run.samples[0]
    for one, other in zip(curve.points, run.curves[0].points, strict=True):
        assert replace(one, per_mask={name: of for name, of in one.per_mask.items() if name != "inferred"}) == other
    assert "prune = true" in pruned.about["campaign_file"]
    resumed = run_campaign(spec, GRAPH, items(), tmp_path / "pruned" / "ledger.sqlite", resume=True, opener=open_device)
    assert resumed.to_json() == pruned.to_json()
    pruned.write(tmp_path)
    page = compose(find_inputs(tmp_path))
    assert f"{count} of {pruned.about['trials']['with_result']} trials were not run" in " ".join(page.html.split())
    assert f"{count} of them inferred by def-use pruning" in page.markdown


def test_an_estimate_knows_of_pruning() -> None:
    spec = campaign(sweep=SWEEPS[:1], devices=("unicorn",), masks=6, images=Images(1), prune=True)
    plan = plan_campaign(spec)
    costs = [estimate_cost(replace(spec, prune=on), GRAPH, items(), (plan, plan), open_device, 2).devices[0] for on in (True, False)]
    assert costs[0].inferred > 0
    assert costs[1].inferred == 0
    assert costs[0].trial_s == 0, "several plans are one request"
