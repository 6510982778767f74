"""Devices by name: refused before anything runs, with a suggestion; who may be driven by several workers at once."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgechaos.devices.conformance import GRAPHS
from edgechaos.devices.contract import Device
from edgechaos.devices.entry import DeviceEntry
from edgechaos.devices.fakes.device import FakeDevice
from edgechaos.devices.kinds import serial
from edgechaos.devices.registry import check_spec, check_specs, is_exclusive, open_device
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.execute.executor import exclusive
from edgechaos.support import registry
from edgechaos.support.errors import ConfigError, EdgeChaosError, MissingExtra
from edgechaos.support.registry import Place
from edgechaos.support.suggest import suggestion
from tests.helpers.ptys import Pty

GRAPH = GRAPHS["parallel"]


def open_fake(argument: str, graph: IntegerGraph) -> Device:
    return FakeDevice(graph)


SHARED = DeviceEntry(open_fake, exclusive=False)


def refuse_slot_9(argument: str) -> None:
    if argument == "slot 9":
        raise ConfigError("the bench has 8 slots", "device")


CHECKED = DeviceEntry(open_fake, check=refuse_slot_9, place=lambda argument: argument.casefold())


@pytest.fixture
def plug_ins(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def install(**values: str) -> None:
        places = tuple(Place(name, value, "", plug_in=True) for name, value in values.items())
        monkeypatch.setattr(registry, "plug_ins", lambda group: places if group == "edgechaos.devices" else ())

    return install


@pytest.mark.parametrize("spec", ["host", "fake", "unicorn", "unicorn:mps2-an386", "serial:/dev/null", "serial:/dev/null@921600"])
def test_a_good_spec_passes(spec: str) -> None:
    check_spec(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("hots", r"no device 'hots', did you mean 'host'\?; there are fake, host, qemu, serial, unicorn"),
        ("Unicorn:mps2-an386", r"did you mean 'unicorn'\?"),
        ("unicron", r"did you mean 'unicorn'\?"),
        ("zzz", r"no device 'zzz'; there are"),
        ("", "no device ''"),
        ("host:2", "takes no ':2'; write 'host'"),
        ("fake:2", "takes no ':2'; write 'fake'"),
        ("unicorn:mps2-an368", r"no emulated board 'mps2-an368', did you mean 'mps2-an386'\?; there are mps2-an385"),
        ("unicorn:stm32l4r5", "board 'stm32l4r5' is not emulated by unicorn; there are mps2-an385"),
        ("unicorn:/no/such.toml", "/no/such.toml"),
        ("serial:", "names no port; write serial:/dev/serial/by-id/NAME"),
        ("serial:/dev/null@fast", "a baud rate is a whole number"),
        ("serial:/dev/null@0", "a baud rate is a whole number"),
        ("serial:/dev/null@" + "9" * 5000, "a baud rate is a whole number"),
        ("\x1b[31mred", r"no device '\?\[31mred'"),
        ("serial:a\0b", "no port"),
        ("serial:/dev/no-such-port", "no port '/dev/no-such-port'"),
        ("x" * 600_000, "no device 'xxx"),
        ("unicorn:" + "x" * 600_000, "no emulated board 'xxx"),
        ("serial:" + "x" * 600_000, "no port 'xxx"),
    ],
)
def test_what_names_no_device_is_refused_in_one_short_line(spec: str, message: str) -> None:
    with pytest.raises(EdgeChaosError, match=message) as refused:
        check_spec(spec)
    assert len(str(refused.value)) < 600
    assert "\n" not in str(refused.value)


def test_an_absent_port_is_compared_with_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial, "serial_ports", lambda: [("/dev/ttyACM7", "a board"), ("/dev/ttyUSB3", "a cable")])
    with pytest.raises(ConfigError, match=r"no port '/dev/ttyACM77', did you mean '/dev/ttyACM7'\?; there are /dev/ttyACM7, /dev/ttyUSB3"):
        check_spec("serial:/dev/ttyACM77")
    monkeypatch.setattr(serial, "serial_ports", list)
    with pytest.raises(ConfigError, match="no serial port is plugged in here"):
        check_spec("serial:/dev/ttyACM77")


def test_a_board_of_another_machine_needs_no_port_here() -> None:
    check_spec("serial:/dev/no-such-port", local=False)
    with pytest.raises(ConfigError, match="did you mean 'serial'"):
        check_spec("seral:/dev/no-such-port", local=False)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("unicorn", "ziglang") else find(name))
    with pytest.raises(MissingExtra, match="emulate"):
        check_spec("unicorn")
    with pytest.raises(MissingExtra, match="firmware"):
        check_spec("host")
    check_spec("unicorn", local=False)


def test_an_emulated_board_of_ones_own_passes(tmp_path: Path) -> None:
    from edgechaos.firmware_gen.places import BOARD_FOLDER

    text = (BOARD_FOLDER / "mps2-an386.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace('name = "mps2-an386"', 'name = "mine"'))
    check_spec(f"unicorn:{tmp_path / 'mine.toml'}")


def test_two_names_of_one_board_are_refused(tmp_path: Path, plug_ins: Callable[..., None]) -> None:
    port = Pty()
    link = tmp_path / "usb-board-if00"
    os.symlink(port.path, link)
    check_specs(["host", "host", "fake", f"serial:{port.path}", "serial:/dev/null"])
    with pytest.raises(ConfigError, match="are the same board; name it once"):
        check_specs([f"serial:{port.path}", "host", f"serial:{link}"])
    with pytest.raises(ConfigError, match="are the same board"):
        check_specs([f"serial:{port.path}", f"serial:{port.path}@9600"])
    plug_ins(bench="tests.devices.test_registry:CHECKED")
    with pytest.raises(ConfigError, match="are the same board"):
        check_specs(["bench:A", "bench:a"])
    port.close()


def test_exclusive_is_what_an_entry_says(plug_ins: Callable[..., None]) -> None:
    assert [is_exclusive(s) for s in ("host", "unicorn:mps2-an386", "fake", "serial:/dev/ttyACM0")] == [False, False, False, True]
    plug_ins(board="tests.devices.test_registry:open_fake", farm="tests.devices.test_registry:SHARED")
    assert is_exclusive("board:1"), "a plug-in that says nothing may be a board"
    assert not is_exclusive("farm:1")
    assert is_exclusive("nobody:1")
    assert exclusive("board:1", open_device)
    assert not exclusive("farm:1", open_device)


def test_a_plug_in_checks_its_own_argument(plug_ins: Callable[..., None]) -> None:
    plug_ins(
        bench="tests.devices.test_registry:CHECKED", broken="tests.no_such_module:opener", empty="tests.devices.test_registry:no_such_name"
    )
    check_spec("bench:slot 8")
    with pytest.raises(ConfigError, match="the bench has 8 slots"):
        check_spec("bench:slot 9")
    for name in ("broken", "empty"):
        with pytest.raises(ConfigError, match=f"device '{name}': its plug-in tests.* does not load"):
            check_spec(name)
    with pytest.raises(ConfigError, match=r"did you mean 'bench'\?"):
        check_spec("bensh:slot 1")


def test_suggestions() -> None:
    names = ("mps2-an386", "stm32l4r5")
    assert suggestion("STM32L4R5", names) == ", did you mean 'stm32l4r5'?"
    assert suggestion("stm32l4r", names) == ", did you mean 'stm32l4r5'?"
    assert suggestion("arduino", names) == suggestion("x" * 1_000_000, names) == suggestion("a", ()) == ""
