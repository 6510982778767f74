"""`fake`: the NumPy reference behind the wire protocol."""

from __future__ import annotations

from edgechaos.devices.contract import Device
from edgechaos.devices.entry import DeviceEntry, takes_no_argument
from edgechaos.graph.integer_graph import IntegerGraph


def _open(argument: str, graph: IntegerGraph) -> Device:
    from edgechaos.devices.fakes.device import FakeDevice

    DEVICE.check(argument)
    return FakeDevice(graph)


DEVICE = DeviceEntry(
    _open,
    exclusive=False,
    levels=frozenset({"model", "link"}),
    check=takes_no_argument("fake"),
    listed=lambda: [("", "fake", "the NumPy reference behind the wire protocol")],
)
