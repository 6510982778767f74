"""What becomes of every image of a trial, one case per outcome and per way not to be activated."""

from __future__ import annotations

import numpy as np
import pytest

from edgechaos.faults.base import Fault
from edgechaos.faults.injections import CLEAN, ResolvedPlan
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.hil.campaign.outcomes import activated, classify
from tests.helpers.graphs import chaos_graph

GRAPH = chaos_graph()


@pytest.mark.parametrize("fault", [DeadNeurons(neurons=(3,)), StuckAtOne(neurons=(2,)), Omission(rate=0.9), WeightBitFlip(bits=((0, 1),))])
def test_a_fault_that_changes_a_bit_is_activated(fault: Fault) -> None:
    assert activated(GRAPH, resolve(GRAPH, FaultPlan((fault,))))


@pytest.mark.parametrize("fault", [DeadNeurons(rate=0.0), StuckAtOne(rate=0.0), Omission(rate=20000 / 65536), WeightBitFlip(rate=0.0)])
def test_a_fault_that_changes_none_is_not(fault: Fault) -> None:
    assert not activated(GRAPH, resolve(GRAPH, FaultPlan((fault,))))
    assert not activated(GRAPH, CLEAN)


def test_a_patch_without_rows_changes_nothing() -> None:
    assert not activated(GRAPH, ResolvedPlan.of(patch={"readout": np.zeros((0, 3), np.int32)}))


def outcome(clean: int, clean_class: int, logit: int, seen: int, label: int, active: bool = True, failed: str = "") -> dict[str, int]:
    """Of one image among two; the other stays as it was."""
    return classify(
        np.array([[1, clean], [4, 5]], np.int32),
        np.array([clean_class, 1], np.uint16),
        np.array([[1, logit], [4, 5]], np.int32),
        np.array([seen, 1], np.uint16),
        np.array([label, 1]),
        {0: failed} if failed else {},
        active=active,
    )


def test_every_outcome() -> None:
    assert outcome(7, 1, 7, 1, 1) == {"masked": 2}
    assert outcome(7, 1, 7, 1, 0, active=False) == {"not_activated": 2}
    assert outcome(7, 1, 8, 1, 1) == {"tolerable": 1, "masked": 1}
    assert outcome(7, 1, 0, 0, 1) == {"sdc_critical": 1, "masked": 1}  # right became wrong
    assert outcome(7, 1, 0, 0, 0) == {"sdc_other": 1, "masked": 1}  # wrong became right
    assert outcome(7, 1, 0, 2, 0) == {"sdc_other": 1, "masked": 1}  # wrong became another wrong


@pytest.mark.parametrize("failed", ["detected", "crash", "hang", "reset"])
def test_an_image_without_an_answer_counts_as_what_happened(failed: str) -> None:
    """Whatever stands in the arrays for it."""
    for logit, seen in ((7, 1), (8, 1), (0, 0), (0, 2)):
        for label in (0, 1):
            assert outcome(7, 1, logit, seen, label, failed=failed) == {failed: 1, "masked": 1}


def test_failures_add_up() -> None:
    same = np.zeros((3, 2), np.int32)
    classes = np.zeros(3, np.uint16)
    assert classify(same, classes, same, classes, np.zeros(3, np.int64), {0: "hang", 2: "hang", 1: "crash"}, active=True) == {
        "hang": 2,
        "crash": 1,
    }
