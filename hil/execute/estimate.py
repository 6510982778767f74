"""What a campaign will cost, before it runs: trials and inferences counted, seconds from a few inferences on each device.

The seconds are measured where the estimate runs, on the first items: an order of magnitude to decide by, not a promise.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgechaos.devices.contract import Replaying
from edgechaos.faults.injections import CLEAN
from edgechaos.faults.plan import resolve
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.campaign.config import Campaign
from edgechaos.hil.campaign.plan import CampaignPlan, Trial
from edgechaos.hil.execute.evaluate import EvaluationSet, Opener
from edgechaos.hil.execute.executor import exclusive

MEASURED_ITEMS = 32
MEASURED_PLANS = 32
"""Trials that share a clean run, on a device that runs several by itself."""
BYTES_PER_TRIAL = 700
"""Of a faulty trial's row, without its one bit per item."""


@dataclass(frozen=True, slots=True)
class DeviceCost:
    """trials and inferences: at least (before the first look of a campaign that stops by itself) and at most.

    open_s, trial_s, item_s: to open the device, to inject a plan, for one item; seconds: at least and at most, over its workers.
    inferred: the share of its trials that need not be run, of those that were tried.
    """

    device: str
    trials: tuple[int, int]
    inferences: tuple[int, int]
    workers: int
    open_s: float
    trial_s: float
    item_s: float
    seconds: tuple[float, float]
    inferred: float = 0.0


@dataclass(frozen=True, slots=True)
class Cost:
    """devices: one after the other on shared workers, boards of their own in parallel. ledger_bytes: at most."""

    devices: tuple[DeviceCost, ...]
    seconds: tuple[float, float]
    ledger_bytes: int


def estimate_cost(
    campaign: Campaign,
    graph: IntegerGraph,
    items: EvaluationSet,
    plans: tuple[CampaignPlan, CampaignPlan],
    opener: Opener,
    workers: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Cost:
    """plans: the least and the most that the campaign will run. Opens each device once and closes it; raises as the device does."""
    costs = []
    for device in dict.fromkeys(t.device for t in plans[1].trials):
        trials = tuple([t for t in plan.trials if t.device == device] for plan in plans)
        alone = exclusive(device, opener)
        first = next((t for t in trials[1] if not t.clean), trials[1][0])
        alike = [t for t in trials[1] if (t.seed, t.images) == (first.seed, first.images)][:MEASURED_PLANS]
        taken, inferred = _measure(device, graph, items, first, alike, opener, clock, campaign.prune)
        hands = 1 if alone else workers
        inferences = tuple(sum(t.images for t in some) for some in trials)
        seconds = tuple(
            taken[0] + math.ceil(len(some) / hands) * taken[1] + count / hands * taken[2]
            for some, count in zip(trials, inferences, strict=True)
        )
        counts = (len(trials[0]), len(trials[1])), (inferences[0], inferences[1])
        costs.append(DeviceCost(device, *counts, hands, *taken, (seconds[0], seconds[1]), inferred))
    shared = [c for c in costs if not exclusive(c.device, opener)]
    alone_s = [max((c.seconds[k] for c in costs if c not in shared), default=0.0) for k in (0, 1)]
    total = [max(alone_s[k], sum(c.seconds[k] for c in shared)) for k in (0, 1)]
    outputs = len(graph.head(items.head).classes)
    clean_bytes = sum(t.images * (4 * outputs + 2) for t in plans[1].trials if t.clean)
    size = len(plans[1].trials) * BYTES_PER_TRIAL + sum(t.images // 8 for t in plans[1].trials) + clean_bytes
    return Cost(tuple(costs), (total[0], total[1]), size)


def _measure(
    spec: str,
    graph: IntegerGraph,
    items: EvaluationSet,
    trial: Trial,
    alike: list[Trial],
    opener: Opener,
    clock: Callable[[], float],
    prune: bool,
) -> tuple[tuple[float, float, float], float]:
    """Seconds to open, to inject the trial's plan, and per item; the share of trials `alike` that are inferred."""
    start = clock()
    device = opener(spec, graph)
    try:
        device.open()
        opened = clock()
        device.inject(CLEAN if trial.clean else resolve(graph, trial.plan))
        injected = clock()
        count = min(MEASURED_ITEMS, trial.images)
        codes, samples = items.codes[:count], np.arange(count, dtype=np.uint32)
        options: dict[str, Any] = {"seed": trial.seed, "samples": samples, "head": items.head, "parameters": items.parameters}
        device.inject(CLEAN)
        device.infer(codes, **options)  # the first run fills caches
        if isinstance(device, Replaying):
            plans = [CLEAN if t.clean else resolve(graph, t.plan) for t in alike]
            device.infer_under(plans[:1], codes, **options)
            began = clock()
            found = [one for one in device.infer_under(plans, codes, prune=prune, **options) if one is not None]
            taken = (clock() - began) / (len(plans) * count)
            if len(found) > len(plans) // 2:
                return (opened - start, 0.0, taken), sum(one.inferred for one in found) / len(plans)
        began = clock()
        device.infer(codes, **options)
        return (opened - start, injected - opened, (clock() - began) / count), 0.0
    finally:
        device.close()
