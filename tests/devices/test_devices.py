"""The conformance suite over the devices that come with EdgeChaos, and devices by name."""

from __future__ import annotations

import importlib.util
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from edgechaos.devices.boards.serial_board import SerialBoard
from edgechaos.devices.conformance import GRAPHS, DeviceConformance, agrees
from edgechaos.devices.contract import Device
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.devices.fakes.board import FakeBoard
from edgechaos.devices.fakes.device import FakeDevice
from edgechaos.devices.host import HostDevice
from edgechaos.devices.kinds.unicorn import emulated_firmware
from edgechaos.devices.registry import list_devices, open_device
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.projects.host import build_host
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support import registry
from edgechaos.support.errors import ConfigError, MissingExtra
from edgechaos.support.registry import Place
from tests.helpers.ptys import ServedPty


class TestHost(DeviceConformance):
    def make(self, graph: IntegerGraph, holds: IntegerGraph) -> Device:
        return HostDevice(graph, build_host(holds))


class TestEmulator(DeviceConformance):
    ram_address = load_board("mps2-an386").ram.origin + 0x20_0000

    def make(self, graph: IntegerGraph, holds: IntegerGraph) -> Device:
        return EmulatedDevice(graph, emulated_firmware(holds, "mps2-an386"))


class TestFake(DeviceConformance):
    def make(self, graph: IntegerGraph, holds: IntegerGraph) -> Device:
        return FakeDevice(graph, board=FakeBoard(holds))


class TestSerial(DeviceConformance):
    """Boards that answer from the reference behind ptys."""

    served: list[ServedPty]

    @pytest.fixture(autouse=True, scope="class")
    def _ports(self, request: pytest.FixtureRequest) -> Iterator[None]:
        request.cls.served = []
        yield
        for port in request.cls.served:
            port.close()

    def make(self, graph: IntegerGraph, holds: IntegerGraph) -> Device:
        self.served.append(ServedPty(FakeBoard(holds, uid=secrets.token_bytes(16))))  # locked by UID: tests run side by side
        return SerialBoard(graph, self.served[-1].path)


@pytest.mark.parametrize("spec", ["host", "unicorn", "unicorn:mps2-an386", "fake"])
def test_devices_by_name(spec: str) -> None:
    with open_device(spec, GRAPHS["parallel"]) as device:
        assert agrees(device, GRAPHS["parallel"])


def test_a_serial_board_by_name() -> None:
    device = open_device("serial:/dev/serial/by-id/usb-board-if00@9600", GRAPHS["parallel"])
    assert isinstance(device, SerialBoard)
    assert (device.port, device.baud) == ("/dev/serial/by-id/usb-board-if00", 9600)


@pytest.mark.parametrize("spec", ["", "board", "host:2", "fake:x", "serial:", "serial:/dev/ttyACM0@fast", "unicorn:arduino", ":"])
def test_names_of_no_device_are_refused(spec: str) -> None:
    with pytest.raises(ConfigError):
        open_device(spec, GRAPHS["parallel"])


def test_the_list_says_what_is_there() -> None:
    listed = {d.spec: d for d in list_devices()}
    assert {"host", "unicorn:mps2-an386", "fake"} <= listed.keys()
    assert all(d.available and not d.remedy for d in listed.values())


def test_the_list_says_how_to_install_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("unicorn", "ziglang") else find(name))
    listed = {d.spec: d for d in list_devices()}
    assert listed["unicorn:mps2-an386"].remedy == "pip install 'edgechaos[emulate,firmware]'"
    assert listed["host"].remedy == "pip install 'edgechaos[firmware]'"
    assert not listed["host"].available
    with pytest.raises(MissingExtra, match="emulate"):
        open_device("unicorn", GRAPHS["parallel"])


@dataclass
class PluggedIn(FakeDevice):
    """What a plug-in's opener returns."""

    argument: str
    model: IntegerGraph

    def __post_init__(self) -> None:
        super().__init__(self.model)


def test_plug_ins_are_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place("bench", "tests.devices.test_devices:PluggedIn", "", plug_in=True)
    monkeypatch.setattr(registry, "plug_ins", lambda group: (place,) if group == "edgechaos.devices" else ())
    with open_device("bench:slot 3", GRAPHS["parallel"]) as device:
        assert isinstance(device, PluggedIn)
        assert device.argument == "slot 3"
        assert agrees(device, GRAPHS["parallel"])
    assert "bench" in {d.spec for d in list_devices()}
    with pytest.raises(ConfigError, match="fake, host, qemu, serial, unicorn, bench"):
        open_device("bank", GRAPHS["parallel"])
