"""A device compared with the reference, under plans of every kind of fault in the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgechaos import reference
from edgechaos.devices.conformance.graphs import codes_for
from edgechaos.devices.contract import Device, checked
from edgechaos.faults.base import Fault
from edgechaos.faults.injections import CLEAN, ResolvedPlan
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.threshold_scale import ThresholdScale
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply
from edgechaos.graph.integer_graph import IntegerGraph

SEED = 0xFFFFFFF7
PLANS: Mapping[str, FaultPlan] = {
    "clean": FaultPlan(),
    "dead": FaultPlan((DeadNeurons(rate=0.4, seed=1),)),
    "stuck_at_1": FaultPlan((StuckAtOne(rate=0.3, seed=2),)),
    "omission": FaultPlan((Omission(rate=0.7),)),
    "never": FaultPlan((Omission(rate=0.0),)),
    "always": FaultPlan((Omission(rate=1.0),)),
    "weights": FaultPlan((WeightBitFlip(rate=0.002, seed=3),)),
    "bias": FaultPlan((WeightBitFlip(target="bias", bits=((0, 3), (1, 7), (2, 0))),)),
    "thresholds": FaultPlan((ThresholdScale(factor=0.6, rate=0.5, seed=5),)),
    "mixed": FaultPlan((DeadNeurons(rate=0.2, seed=9), Omission(rate=0.3), WeightBitFlip(node="readout", rate=0.001, seed=4))),
}


def difference(
    device: Device,
    graph: IntegerGraph,
    plan: ResolvedPlan = CLEAN,
    count: int = 12,
    head: str | None = None,
    parameters: Mapping[str, int] | None = None,
) -> str:
    """How the device's integers differ from the reference's under a plan that it already carries; empty where they do not."""
    codes, samples = codes_for(graph, count, seed=count, head=head), np.arange(count)[::-1] * 0x10000001 & 0xFFFFFFFF
    given: dict[str, Any] = {"seed": SEED, "samples": samples, "head": head, "parameters": parameters}
    wanted = reference.run(apply(graph, plan), codes, **given)
    seen = checked(device.infer(codes, **given), count, wanted.logits.shape[1], type(device).__name__)
    wrong = np.argwhere(seen.logits != wanted.logits)
    if len(wrong):
        item, output = wrong[0]
        here, there = seen.logits[item, output], wanted.logits[item, output]
        return f"{len(wrong)} of {wanted.logits.size} logits differ from the reference; item {item} output {output}: {here}, not {there}"
    return "" if np.array_equal(seen.labels, wanted.labels) else f"classes {seen.labels}, not the reference's {wanted.labels}"


def agrees(device: Device, graph: IntegerGraph, plan: ResolvedPlan = CLEAN, count: int = 12) -> bool:
    """Whether the device's integers are the reference's under a plan that it already carries."""
    return not difference(device, graph, plan, count)


def same(*arguments: Any, **options: Any) -> None:
    """Fails with the `difference`, where there is one."""
    found = difference(*arguments, **options)
    assert not found, found


def drawn_plan(seed: int) -> FaultPlan:
    """A plan of one to three kinds, its rates and sites drawn from a seed."""
    rng = np.random.default_rng(seed)
    node = ("*", "cortex1_matmul")[rng.integers(2)]
    faults: tuple[Fault, ...] = (
        DeadNeurons(rate=float(rng.uniform(0, 0.5)), seed=seed),
        WeightBitFlip(node=node, rate=float(rng.uniform(0, 0.02)), seed=seed),
        Omission(rate=float(rng.choice([0.0, rng.uniform(), 1.0]))),
    )
    return FaultPlan(tuple(f for f in faults if rng.random() < 0.8) or faults)
