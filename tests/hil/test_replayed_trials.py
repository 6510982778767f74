"""Trials that a device runs several of by itself: the same results as one by one, whatever fails on the way."""

from __future__ import annotations

from typing import Any

import pytest

from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.devices.registry import open_device
from edgechaos.graph.artifact import to_bytes
from edgechaos.hil.campaign.config import Images, Sweep
from edgechaos.hil.campaign.plan import plan_campaign
from edgechaos.hil.execute import evaluate
from edgechaos.hil.execute.evaluate import Began, Bench, Finished, Setup
from edgechaos.support.errors import LinkError
from tests.helpers.campaigns import GRAPH, campaign, items

pytestmark = pytest.mark.slow

SWEEPS = (
    Sweep("memory_bits", values=(1.0, 40.0), options={"region": "state"}),
    Sweep("memory_bits", values=(3.0,), options={"region": ".stack", "onset": 200}),
    Sweep("program_counter", values=(2.0,), options={"onset": 90}),
    Sweep("dead", rates=(0.5,)),
)


def finished(*, at_once: int = 1024, replayed: bool = True) -> list[Finished]:
    """What a worker gives; it says Began before it runs something."""
    spec = campaign(sweep=SWEEPS, devices=("unicorn",), masks=4, images=Images(3))
    bench = Bench(Setup(to_bytes(GRAPH), items(), open_device))
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
