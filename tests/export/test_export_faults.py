"""Slots that no standard plan sets are the same integers in ONNX and TVM as in the reference."""

from __future__ import annotations

import pytest

from edgechaos.devices.host import HostDevice
from edgechaos.export.verify import device_backend, engine_backend, verify
from edgechaos.faults.base import Fault
from edgechaos.faults.kinds.generator import GeneratorBiased, GeneratorPeriod, GeneratorRepeated, GeneratorStuck
from edgechaos.faults.kinds.state import StateFlip, StateSet
from edgechaos.faults.kinds.threshold_scale import ThresholdScale
from edgechaos.faults.kinds.unit_stuck import UnitStuck
from edgechaos.faults.kinds.winner_count import WinnerCount
from edgechaos.faults.kinds.winner_dropped import WinnerDropped
from edgechaos.faults.plan import FaultPlan
from edgechaos.graph.integer_graph import IntegerGraph
from tests.helpers.graphs import chaos_graph, codes_for
from tests.helpers.mixed_graphs import items_for, mixed_graph

pytestmark = pytest.mark.backends
CHAOS = [chaos_graph(), chaos_graph(mode="stateful", ticks=4), chaos_graph(sampling="binomial", noise=False)]


BROKEN = (GeneratorBiased(bits=2), GeneratorPeriod(period=7), GeneratorRepeated(seeds=5))
KWTA, PLAIN = mixed_graph(family="kwta", hidden=12), mixed_graph(family="vision", spiking=False)


@pytest.mark.parametrize("engine", ["onnxruntime-on", "tvm"])
@pytest.mark.parametrize(
    ("graph", "faults"),
    [
        *((graph, (ThresholdScale(factor=factor, rate=0.6),)) for graph in CHAOS for factor in (0.0, 0.4, 16.0)),
        *((graph, BROKEN) for graph in (*CHAOS, mixed_graph(family="thermal"))),
        (CHAOS[1], (StateFlip(rate=0.6, bit=15, lifespan=2),)),
        (CHAOS[1], (StateSet(rate=0.6, value=9000, of="refractoriness", lifespan=0), GeneratorStuck(value=70000))),
        *((KWTA, (WinnerCount(delta=delta),)) for delta in (-99, 1)),
        (PLAIN, (UnitStuck(rate=0.4, code=5),)),
        (KWTA, (WinnerDropped(ranks=(0,)),)),
        (KWTA, (WinnerDropped(rate=1.0),)),
    ],
    ids=lambda v: v[0].kind if isinstance(v, tuple) else "",
)
def test_the_same_integers(graph: IntegerGraph, faults: tuple[Fault, ...], engine: str) -> None:
    codes = codes_for(graph, 12) if graph in CHAOS else items_for(graph, 12)
    with HostDevice(graph) as host:
        backends = {engine: engine_backend(engine), "host": device_backend(host)}
        found = verify(graph, codes, backends, plans=(("fault", FaultPlan(faults)),)).require()
    assert {c.backend for c in found.comparisons} == {engine, "host"}
