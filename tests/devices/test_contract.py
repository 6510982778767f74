"""What a device answers is checked before it is believed, a plug-in's answers too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgechaos.devices.contract import Inference, checked
from edgechaos.graph.artifact import to_bytes
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.campaign.plan import plan_campaign
from edgechaos.hil.execute.evaluate import Bench, Event, Failed, Finished, Setup
from edgechaos.support.errors import LinkError
from tests.helpers.campaigns import GRAPH, campaign, items
from tests.helpers.hil_devices import ReferenceDevice

LOGITS, LABELS, COUNTS = np.zeros((3, 4), np.int32), np.array([0, 3, 1], np.uint16), np.array([1, 2, 3], np.int64)


def test_what_can_be_passes() -> None:
    for counts in (None, COUNTS):
        inference = Inference(LOGITS, LABELS, counts)
        assert checked(inference, 3, 4, "bench") is inference
    checked(Inference(LOGITS[:0], LABELS[:0], COUNTS[:0]), 0, 4, "bench")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": LOGITS[:2]}, r"returned logits int32 \(2, 4\), not int32 \(3, 4\)"),
        ({"logits": LOGITS[:, :3]}, "returned logits"),
        ({"logits": LOGITS.astype(np.int64)}, "returned logits int64"),
        ({"labels": LABELS[:2]}, "returned classes uint16"),
        ({"labels": LABELS.astype(np.int64)}, "returned classes int64"),
        ({"labels": np.array([0, 4, 1], np.uint16)}, "device 'bench' answered class 4 of 4 for item 1"),
        ({"labels": np.array([0, 1, 60000], np.uint16)}, "answered class 60000 of 4 for item 2"),
        ({"instructions": np.array([1, 0, 2], np.int64)}, "impossible instructions"),
        ({"instructions": np.array([1, -5, 2], np.int64)}, "impossible instructions"),
        ({"instructions": COUNTS[:2]}, "impossible instructions"),
        ({"instructions": COUNTS.astype(float)}, "impossible instructions"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(LinkError, match=message):
        checked(Inference(**{"logits": LOGITS, "labels": LABELS, "instructions": COUNTS, **change}), 3, 4, "bench")


class Lying(ReferenceDevice):
    """A plug-in that now and then answers a class that is none."""

    def infer(self, *arguments: Any, **options: Any) -> Inference:
        answer = super().infer(*arguments, **options)
        if self.active:
            answer.labels[-1] = 60_000
        return answer


def open_lying(spec: str, graph: IntegerGraph) -> Lying:
    return Lying(spec, graph)


def test_a_campaign_believes_no_plug_in_that_lies() -> None:
    group = plan_campaign(campaign()).groups[0]
    bench = Bench(Setup(to_bytes(GRAPH), items(), open_lying))
    events: list[Event] = [e for e in bench.evaluate(group) if isinstance(e, Failed | Finished)]
    bench.close()
    assert {type(e) for e in events if isinstance(e, Finished) and not e.trial.clean and e.trial.plan.faults} == set()
    failed = [e for e in events if isinstance(e, Failed)]
    assert failed
    assert all(e.outcome == "infrastructure" and "answered class 60000 of 4 for item 23" in e.detail for e in failed)
