"""Faults of the link: what a device answers is the reference's or nothing, whatever happens on the wire."""

from __future__ import annotations

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.fakes.device import FakeDevice
from edgechaos.devices.host import HostDevice
from edgechaos.faults.base import Fault, fault_kinds
from edgechaos.faults.injections import CLEAN
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.link_bit_errors import LinkBitErrors
from edgechaos.faults.kinds.link_delay import LinkDelay
from edgechaos.faults.kinds.link_drop import LinkDrop
from edgechaos.faults.kinds.link_duplicate import LinkDuplicate
from edgechaos.faults.kinds.link_reset import LinkReset
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.support.errors import DeviceDetected, DeviceError, DeviceHang, DeviceReset, FaultError
from tests.helpers.graphs import chaos_graph, codes_for

GRAPH = chaos_graph()
CODES = codes_for(GRAPH, 40)
WANTED = reference.run(GRAPH, CODES).logits
KINDS: tuple[type[Fault], ...] = (LinkBitErrors, LinkDelay, LinkDrop, LinkDuplicate, LinkReset)


def plan(*faults: Fault) -> FaultPlan:
    return FaultPlan(faults)


def test_no_kind_is_left_out() -> None:
    assert {k.kind for k in KINDS} == {name for name, kind in fault_kinds().items() if kind.level == "link"}


@pytest.mark.parametrize("rate", [1e-6, 1e-5, 1e-4, 1e-3])
def test_no_wrong_result_is_accepted_at_any_bit_error_rate(rate: float) -> None:
    """Each item is right or has failed by name."""
    right = failed = 0
    with FakeDevice(GRAPH) as device:
        for seed in range(40):
            device.inject(resolve(GRAPH, plan(LinkBitErrors(rate, seed))))
            try:
                found = device.infer(CODES[seed : seed + 1], samples=[seed]).logits
            except (DeviceDetected, DeviceHang, DeviceReset):
                device.reset()
                failed += 1
            else:
                np.testing.assert_array_equal(found, WANTED[seed : seed + 1])
                right += 1
    assert right > failed


@pytest.mark.parametrize("fault", [LinkDrop(0.05, 3), LinkDuplicate(0.5, 3), LinkDelay(0.1, 3)])
def test_retries_get_past_what_happens_now_and_then(fault: Fault) -> None:
    faulty = reference.run(apply(GRAPH, plan(DeadNeurons(rate=0.3))), CODES).logits
    device = FakeDevice(GRAPH)
    with device:
        device.inject(resolve(GRAPH, plan(DeadNeurons(rate=0.3))))
        before = len(device.link.requests)
        device.infer(CODES)
        undisturbed = len(device.link.requests) - before
        device.inject(resolve(GRAPH, plan(fault, DeadNeurons(rate=0.3))))
        before = len(device.link.requests)
        np.testing.assert_array_equal(device.infer(CODES).logits, faulty)
        retried = device.counters().link["retried"]
        assert len(device.link.requests) - before != undisturbed or retried, "the fault did something"
        device.inject(CLEAN)
        np.testing.assert_array_equal(device.infer(CODES).logits, WANTED)


@pytest.mark.parametrize(
    ("fault", "error"), [(LinkDrop(1.0), DeviceHang), (LinkReset(0.1), DeviceReset), (LinkBitErrors(0.2), (DeviceDetected, DeviceHang))]
)
def test_what_always_happens_has_a_name_and_ends_with_the_plan(fault: Fault, error: type[DeviceError]) -> None:
    with FakeDevice(GRAPH) as device:
        device.inject(resolve(GRAPH, plan(fault)))
        with pytest.raises(error):
            device.infer(CODES)
        device.reset()
        np.testing.assert_array_equal(device.infer(CODES).logits, WANTED)


def test_a_device_without_a_wire_refuses() -> None:
    with HostDevice(GRAPH) as host, pytest.raises(FaultError, match="cannot carry faults of the link; use one behind a wire"):
        host.inject(resolve(GRAPH, plan(LinkDrop(0.5))))
