"""Every kind of fault does what it says on every device that claims it: where it acts on the graph, the reference's integers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.conformance import difference
from edgechaos.devices.contract import Device
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.devices.fakes.device import FakeDevice
from edgechaos.devices.host import HostDevice
from edgechaos.devices.kinds.unicorn import emulated_firmware
from edgechaos.faults.base import Fault, fault_kinds
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.generator import GeneratorBiased, GeneratorPeriod, GeneratorRepeated, GeneratorStuck
from edgechaos.faults.kinds.layer_scale import LeakScale, RefractoryScale
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.state import StateFlip, StateSet
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.synapse import SynapseDead, SynapseScale, SynapseStuck
from edgechaos.faults.kinds.threshold_scale import ThresholdScale
from edgechaos.faults.kinds.unit_stuck import UnitStuck
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.kinds.winner_count import WinnerCount
from edgechaos.faults.kinds.winner_dropped import WinnerDropped
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.graph.integer_graph import IntegerGraph
from tests.helpers.graphs import chaos_graph
from tests.helpers.mixed_graphs import items_for, mixed_graph

pytestmark = pytest.mark.slow

GENERATORS: tuple[Fault, ...] = (
    GeneratorStuck(value=0x00010002),
    GeneratorBiased(bits=3),
    GeneratorBiased(bits=2, value=1),
    GeneratorPeriod(period=5),
    GeneratorRepeated(seeds=1),
    GeneratorRepeated(seeds=3),
)
CASES: tuple[tuple[str, Fault], ...] = (
    ("stateful", DeadNeurons(rate=0.4, seed=1)),
    ("stateful", StuckAtOne(rate=0.3, seed=2)),
    ("stateful", Omission(rate=0.6)),
    ("stateful", ThresholdScale(factor=0.5, rate=0.7)),
    ("stateful", LeakScale(factor=0.0)),
    ("stateful", LeakScale("cortex1", 16.0)),
    ("stateful", RefractoryScale(factor=0.0)),
    ("stateful", RefractoryScale("cortex0", 1.02)),
    ("stateful", WeightBitFlip(rate=0.01, seed=3)),
    ("stateful", SynapseDead(rate=0.3, seed=4)),
    ("stateful", SynapseStuck("readout", 0.2, 5, code=-128)),
    ("stateful", SynapseScale(factor=1.7, rate=0.5)),
    *((graph, fault) for graph in ("stateful", "noisy", "binomial", "thermal") for fault in GENERATORS),
    ("stateful", StateFlip(rate=0.5, bit=14, lifespan=0)),
    ("stateful", StateFlip("cortex0", 1.0, onset=2)),
    ("stateful", StateFlip("cortex0", 1.0, of="refractoriness", onset=1, lifespan=2)),
    ("stateful", StateSet(rate=0.7, value=-20000, onset=1, lifespan=3)),
    ("stateful", StateSet(rate=0.7, value=32768, of="refractoriness")),
    ("kwta", WinnerCount(delta=-1)),
    ("kwta", WinnerCount(delta=2)),
    ("kwta", WinnerCount(delta=99)),
    ("kwta", WinnerCount(delta=-99)),
    ("kwta", SynapseDead(rate=0.3, seed=4)),
    ("kwta", WinnerDropped(ranks=(0, 2))),
    ("kwta", DeadNeurons(rate=0.3)),
    ("vision", DeadNeurons(rate=0.4, seed=1)),
    ("vision", UnitStuck(rate=0.3)),
    ("vision", UnitStuck(rate=0.3, code=3, seed=7)),
    ("vision", SynapseScale(factor=0.4, rate=0.2)),
    ("vision", SynapseStuck(rate=0.1)),
)
MAKERS: Mapping[str, Callable[[IntegerGraph], Device]] = {
    "host": HostDevice,
    "fake": FakeDevice,
    "unicorn": lambda graph: EmulatedDevice(graph, emulated_firmware(graph, "mps2-an386")),
}


@cache
def graph_of(name: str) -> IntegerGraph:
    if name == "stateful":
        return chaos_graph(sizes=(20, 12, 8, 4), mode="stateful", ticks=6, fail_q=8000, seed=9)
    if name in ("noisy", "binomial"):
        sampling: Any = {"noisy": "ticks"}.get(name, name)
        return chaos_graph(sizes=(20, 12, 4), ticks=6, fail_q=20000, noise=name == "noisy", sampling=sampling, seed=3)
    if name == "thermal":
        return mixed_graph(family="thermal")
    return mixed_graph(family="kwta", hidden=12) if name == "kwta" else mixed_graph(family="vision", spiking=False)


@pytest.fixture(scope="module", params=MAKERS)
def devices(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Device]]:
    opened = {name: MAKERS[request.param](graph_of(name)) for name in dict.fromkeys(name for name, _ in CASES)}
    try:
        for device in opened.values():
            device.open()
        yield opened
    finally:
        for device in opened.values():
            device.close()


@pytest.mark.parametrize(("name", "fault"), CASES, ids=lambda v: v.kind if isinstance(v, Fault) else v)
def test_the_integers_under_a_fault_are_the_references_and_not_the_clean_ones(
    devices: Mapping[str, Device], name: str, fault: Fault
) -> None:
    graph, device = graph_of(name), devices[name]
    plan = resolve(graph, FaultPlan((fault,)))
    device.inject(plan)
    assert difference(device, graph, plan) == ""
    items = items_for(graph, 12)
    assert (reference.run(apply(graph, plan), items, seed=5).logits != reference.run(graph, items, seed=5).logits).any()


def test_no_kind_is_left_out() -> None:
    of_models = {name for name, kind in fault_kinds().items() if kind.level == "model" and kind.__module__.startswith("edgechaos.")}
    assert of_models == {fault.kind for _, fault in CASES}


def test_what_the_faults_set() -> None:
    """A few integers by hand, so that reference and devices do not agree on nothing."""
    graph = graph_of("stateful")
    layer, words = graph.chaos_layers()[1], graph.value("readout_weight").reshape(-1).astype(int)

    def under(fault: Fault) -> IntegerGraph:
        return apply(graph, FaultPlan((fault,)))

    for factor, wanted in ((0.0, 0), (0.5, (layer.decay_q15 + 1) // 2), (16.0, min(32768, 16 * layer.decay_q15))):
        found = under(LeakScale("cortex1", factor)).node("cortex1").slot_value(graph, "decay_q15").tolist()
        assert found == [wanted]
    for faulty, wanted_words in (
        (SynapseDead("readout", synapses=(3, 0)), [0 if k in (0, 3) else w for k, w in enumerate(words)]),
        (SynapseStuck("readout", synapses=(1,), code=-128), [-128 if k == 1 else w for k, w in enumerate(words)]),
        (SynapseScale("readout", factor=2.5), [max(-128, min(127, int(np.floor(2.5 * w + 0.5)))) for w in words]),
    ):
        node = under(faulty).node("readout")
        found_words = node.faulty_weight(under(faulty))  # type: ignore[attr-defined]
        assert found_words.reshape(-1).tolist() == wanted_words
