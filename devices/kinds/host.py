"""`host`: the firmware's own sources as a library of this machine."""

from __future__ import annotations

from edgechaos.devices.contract import Device
from edgechaos.devices.entry import DeviceEntry, takes_no_argument
from edgechaos.graph.integer_graph import IntegerGraph


def _open(argument: str, graph: IntegerGraph) -> Device:
    from edgechaos.devices.host import HostDevice

    DEVICE.check(argument)
    return HostDevice(graph)


DEVICE = DeviceEntry(
    _open,
    exclusive=False,
    check=takes_no_argument("host"),
    needs=(("ziglang", "firmware"),),
    listed=lambda: [("", "host", "this machine, from the firmware's own sources")],
)
