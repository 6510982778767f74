"""What a fault did to each image, against the clean run of the same mask.

The two runs share every random word.
Source: the vocabulary of fault-injection campaigns, with silent data corruption split by whether a right answer was lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from edgechaos.faults.injections import ResolvedPlan
from edgechaos.graph.integer_graph import IntegerGraph

OUTCOMES: Mapping[str, str] = MappingProxyType(
    {
        "not_activated": "the plan changes nothing in this model",
        "masked": "the same logits",
        "tolerable": "other logits, the same class",
        "sdc_critical": "a right answer became wrong, silently",
        "sdc_other": "another class, but no right answer was lost",
        "detected": "the device reported the fault",
        "crash": "the device took a fault exception, or its memory no longer made sense",
        "hang": "more instructions than the model can take under any plan, or silence for as long",
        "reset": "the device restarted on its own",
        "infrastructure": "link, host or worker failed: not in any denominator",
    }
)
"""Every outcome and what it means. All but the last are results."""
NO_ANSWER = ("detected", "crash", "hang", "reset")
"""Outcomes of an image that a device raises; the image counts as not recognised."""


def activated(graph: IntegerGraph, plan: ResolvedPlan) -> bool:
    """Whether a plan changes anything: an entry of a slot, a stored word, or a word of a device's memory."""
    changed = any(bool((graph.node(node).slot_value(graph, slot) != values).any()) for (node, slot), values in plan.slots.items())
    return changed or any(len(rows) > 0 for rows in plan.patch.values()) or bool(plan.pokes or plan.strikes or plan.wires)


def classify(
    clean_logits: NDArray[np.int32],
    clean_classes: NDArray[np.uint16],
    logits: NDArray[np.int32],
    classes: NDArray[np.uint16],
    labels: NDArray[np.int64],
    failed: Mapping[int, str],
    *,
    active: bool,
) -> dict[str, int]:
    """Images per outcome, zeros left out. logits (n, outputs), classes and labels (n,); failed: image -> its outcome."""
    answered = np.ones(len(labels), bool)
    answered[list(failed)] = False
    same_logits = (logits == clean_logits).all(axis=1)
    same_class = classes == clean_classes
    lost_right = (clean_classes == labels) & ~same_class
    counts = {
        "not_activated" if not active else "masked": int((answered & same_logits).sum()),
        "tolerable": int((answered & ~same_logits & same_class).sum()),
        "sdc_critical": int((answered & lost_right).sum()),
        "sdc_other": int((answered & ~same_class & ~lost_right).sum()),
    }
    for outcome in failed.values():
        counts[outcome] = counts.get(outcome, 0) + 1
    return {name: count for name, count in counts.items() if count}
