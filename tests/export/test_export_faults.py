"""Slots that no standard plan sets: scaled thresholds and dropped winners are the same integers in ONNX and TVM as in the reference."""

from __future__ import annotations

import pytest

from edgechaos.devices.host import HostDevice
from edgechaos.export.verify import device_backend, engine_backend, verify
from edgechaos.faults.base import Fault
from edgechaos.faults.kinds.threshold_scale import ThresholdScale
from edgechaos.faults.kinds.winner_dropped import WinnerDropped
from edgechaos.faults.plan import FaultPlan
from edgechaos.graph.integer_graph import IntegerGraph
from tests.helpers.graphs import chaos_graph, codes_for
from tests.helpers.mixed_graphs import items_for, mixed_graph

pytestmark = pytest.mark.backends
CHAOS = [chaos_graph(), chaos_graph(mode="stateful", ticks=4), chaos_graph(sampling="binomial", noise=False)]


@pytest.mark.parametrize("engine", ["onnxruntime-on", "tvm"])
@pytest.mark.parametrize(
    ("graph", "fault"),
    [
        *((graph, ThresholdScale(factor=factor, rate=0.6)) for graph in CHAOS for factor in (0.0, 0.4, 16.0)),
        (mixed_graph(family="kwta", hidden=12), WinnerDropped(ranks=(0,))),
        (mixed_graph(family="kwta", hidden=12), WinnerDropped(rate=1.0)),
    ],
    ids=lambda v: v.kind if isinstance(v, Fault) else "",
)
def test_the_same_integers(graph: IntegerGraph, fault: Fault, engine: str) -> None:
    codes = items_for(graph, 12) if isinstance(fault, WinnerDropped) else codes_for(graph, 12)
    with HostDevice(graph) as host:
        backends = {engine: engine_backend(engine), "host": device_backend(host)}
        found = verify(graph, codes, backends, plans=(("fault", FaultPlan((fault,))),)).require()
    assert {c.backend for c in found.comparisons} == {engine, "host"}
