"""What a graph calls its constants changes no integer under any fault, on any backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgechaos import reference
from edgechaos.devices.contract import Device
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.devices.fakes.device import FakeDevice
from edgechaos.devices.host import HostDevice
from edgechaos.devices.kinds.unicorn import emulated_firmware
from edgechaos.export.engines import run
from edgechaos.export.plans import standard_plans
from edgechaos.faults.injections import CLEAN
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import ChaosLayer
from edgechaos.graph.kinds.matmul import MatMul
from edgechaos.graph.tensors import Constant
from edgechaos.support.errors import GraphError, UnsupportedError
from tests.helpers.graphs import Spec, chaos_graph, codes_for, specs
from tests.helpers.mixed_graphs import Mixed, items_for, mixed_graph, mixed_specs
from tests.helpers.renaming import renamed

SUFFIXES = ("bias_faulty", "dead", "stuck", "patch", "bias", "faulty")


def drawn(spec: Spec | Mixed) -> IntegerGraph:
    return mixed_graph(spec) if isinstance(spec, Mixed) else chaos_graph(spec)


def with_drawn_names(graph: IntegerGraph, draw: st.DataObject) -> IntegerGraph:
    """The graph, each of its constants called as if a fault of some node had made it."""
    pool = [f"{node.name}_{suffix}" for node in graph.nodes for suffix in SUFFIXES]
    names = draw.draw(st.permutations([p for p in pool if p not in graph.constants]))
    return renamed(graph, constants=dict(zip(graph.constants, names, strict=False)))


@pytest.mark.slow
@given(st.one_of(specs(max_size=10), mixed_specs()), st.data(), st.integers(0, 19))
@settings(max_examples=60, deadline=None)
def test_no_name_of_a_graph_changes_what_a_fault_does(spec: Spec | Mixed, draw: st.DataObject, which: int) -> None:
    graph = drawn(spec)
    other = with_drawn_names(graph, draw)
    plan = standard_plans(graph)[which][1]
    for head in graph.heads:
        codes = items_for(graph, 6, head=head.name)
        wanted = reference.run(apply(graph, plan), codes, head=head.name)
        found = reference.run(apply(other, plan), codes, head=head.name)
        np.testing.assert_array_equal(found.logits, wanted.logits)
        onnx = run(apply(other, plan), codes, head=head.name, engine="onnxruntime-off")
        np.testing.assert_array_equal(onnx.logits, wanted.logits)


@pytest.mark.parametrize("backend", ["host", "unicorn", "fake"])
def test_devices_agree_where_names_are_those_of_faults(backend: str) -> None:
    graph = chaos_graph(sizes=(12, 10, 8, 4))
    names = ("readout_bias_faulty", "cortex0_dead", "cortex1_stuck", "readout_patch", "cortex0_matmul_bias_faulty", "cortex1_dead")
    other = renamed(graph, constants=dict(zip(graph.constants, names, strict=False)))
    codes = codes_for(graph, 8)
    devices: dict[str, Callable[[], Device]] = {
        "host": lambda: HostDevice(other),
        "unicorn": lambda: EmulatedDevice(other, emulated_firmware(other, "mps2-an386")),
        "fake": lambda: FakeDevice(other),
    }
    with devices[backend]() as device:
        for _, plan in standard_plans(graph):
            wanted = reference.run(apply(graph, plan), codes, seed=5)
            device.inject(resolve(other, plan))
            np.testing.assert_array_equal(device.infer(codes, seed=5).logits, wanted.logits)
            np.testing.assert_array_equal(reference.run(apply(other, plan), codes, seed=5).logits, wanted.logits)
        device.inject(CLEAN)


def test_a_second_fault_of_one_place_replaces_the_first() -> None:
    graph = chaos_graph()
    once, again = (FaultPlan((WeightBitFlip("readout", "bias", bits=((0, bit),)),)) for bit in (3, 4))
    twice = apply(apply(graph, once), again)
    both = apply(graph, FaultPlan((*once.faults, *again.faults)))
    codes = codes_for(graph, 5)
    np.testing.assert_array_equal(reference.run(twice, codes).logits, reference.run(both, codes).logits)


@pytest.mark.parametrize("name", ["readout.bias", "cortex0_matmul.bias", "readout.weight", "nothing.dead", "readout.patch", "a.b"])
def test_graphs_may_not_use_the_names_of_faults(name: str) -> None:
    """But for the field that the name says: such a graph is one that a fault made."""
    graph = chaos_graph()
    wrong = replace(graph, nodes=tuple(replace(n, threshold=name) if isinstance(n, ChaosLayer) else n for n in graph.nodes))
    wrong = replace(wrong, constants={**graph.constants, name: graph.constants["cortex0_threshold"]})
    with pytest.raises(GraphError, match=r"is what a fault puts into another place|is not of the form"):
        wrong.validate()
    unread = replace(graph, constants={**graph.constants, name: Constant(np.zeros(8, np.int32), 32)})
    with pytest.raises(GraphError, match="is not of the form"):
        unread.validate()


def test_firmware_of_a_faulty_bias_is_refused_by_name() -> None:
    graph = chaos_graph()
    faulty = apply(graph, FaultPlan((WeightBitFlip("readout", "bias", bits=((0, 3),)),)))
    readout = faulty.node("readout")
    assert isinstance(readout, MatMul)
    assert readout.bias == "readout.bias"
    with pytest.raises(UnsupportedError, match=r"node 'readout': the graph carries a fault in 'bias'.*load the plan"):
        generate(faulty, None)
