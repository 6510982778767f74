"""Faults of the link: what a device answers is the reference's or nothing, whatever happens on the wire."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.streams import fault_stream
from edgechaos.devices.fakes.device import FakeDevice
from edgechaos.devices.host import HostDevice
from edgechaos.devices.protocol.client import Link
from edgechaos.devices.protocol.faulty_link import FaultyLink
from edgechaos.faults.base import Fault, fault_kinds
from edgechaos.faults.injections import CLEAN
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.link import LinkBitErrors, LinkDelay, LinkDrop, LinkDuplicate, LinkFault, LinkReset
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


class Recorder(Link):
    """Keeps what is written, and gives `answer` to every read."""

    def __init__(self) -> None:
        self.depth = 100
        self.written: list[bytes | str] = []
        self.answer = b""

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def read(self, timeout_s: float) -> bytes:
        return self.answer

    def now(self) -> float:
        return 7.0

    def hard_reset(self) -> None:
        self.written.append("reset")

    def close(self) -> None:
        self.written.append("close")


def words(fault: Fault, number: int, count: int) -> NDArray[np.uint32]:
    """Of the number-th draw of a fault."""
    return random_bits.words(fault.seed, fault_stream(fault.kind), [number], 1, count)[0, 0]  # type: ignore[attr-defined]


def test_bits_are_inverted_both_ways_by_draws_of_their_own() -> None:
    below, fault = Recorder(), LinkBitErrors(0.4, 5)
    link = FaultyLink(below, resolve(GRAPH, plan(fault)).wires)
    sent = bytes(range(40))
    for number, way in enumerate(("there", "there", "back"), 1):
        below.answer = sent
        if way == "there":
            link.write(sent)
        seen = below.written[-1] if way == "there" else link.read(1.0)
        wanted = np.unpackbits(np.frombuffer(sent, np.uint8)) ^ (words(fault, number, 8 * len(sent)) < 0.4 * 2**32)
        assert seen == np.packbits(wanted).tobytes()
    below.answer = b""
    assert link.read(1.0) == b""
    below.answer = b"\x0f\xf0"
    always = FaultyLink(below, resolve(GRAPH, plan(LinkBitErrors(1.0))).wires)
    assert always.read(1.0) == b"\xf0\x0f"
    assert FaultyLink(below, resolve(GRAPH, plan(LinkDrop(1.0))).wires).read(1.0) == b"\x0f\xf0", "answers are not requests"
    assert (link.depth, link.now()) == (100, 7.0)
    link.close()
    assert below.written[-1] == "close"


@pytest.mark.parametrize("kind", [LinkDrop, LinkDuplicate, LinkDelay, LinkReset])
def test_what_happens_to_a_request(kind: type[LinkFault]) -> None:
    below, fault = Recorder(), kind(0.4, 5)
    link = FaultyLink(below, resolve(GRAPH, plan(fault)).wires)
    late, wanted = b"", list[bytes | str]()
    for number in range(1, 30):
        request = b"abcd%02d." % number
        if not words(fault, number, 1)[0] < 0.4 * 2**32:
            wanted.append(late + request)
            late = b""
        elif kind is LinkDuplicate:
            wanted.append(request + request)
        elif kind is LinkReset:
            wanted += [request[:3], "reset"]
        elif kind is LinkDelay:
            wanted += [late] if late else []
            late = request
        link.write(request)
    assert below.written == wanted
