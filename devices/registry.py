"""Devices by name: "host", "unicorn:mps2-an386", "fake", "serial:/dev/serial/by-id/...", and what plug-ins add.

Enters: a spec and a graph. Leaves: a Device, not yet open, so that `with open_device(spec, graph) as device:` opens and
closes it. A plug-in is an entry point of the group "edgechaos.devices": its name is the word before the colon, its object a
function (argument, graph) -> Device.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType

from edgechaos.devices.contract import Device, Kind
from edgechaos.errors import ConfigError
from edgechaos.firmware_gen.boards import board_names, load_board
from edgechaos.graph import IntegerGraph

GROUP = "edgechaos.devices"
DEFAULT_BOARD = "mps2-an386"
DEFAULT_BAUD = 115_200

Opener = Callable[[str, IntegerGraph], Device]
"""Makes a device from what follows the colon of its spec."""


@dataclass(frozen=True, slots=True)
class ListedDevice:
    """One line of `edgechaos devices`. remedy: the command that makes it available; empty where it is."""

    spec: str
    kind: Kind | str
    title: str
    available: bool
    remedy: str = ""


def open_device(spec: str, graph: IntegerGraph) -> Device:
    """The device of a spec; entering it, or its `open`, starts it.

    Raises ConfigError for a spec that names no device; MissingExtra, BuildError and UnsupportedError from what it needs.
    """
    name, _, argument = spec.partition(":")
    opener = _BUILT_IN.get(name) or _plug_in(name, spec)
    return opener(argument, graph)


def list_devices() -> list[ListedDevice]:
    """Everything that could be opened on this machine, available or not. Starts nothing and opens no port."""
    emulated = [load_board(name) for name in board_names()]
    return [
        _listed("host", "host", "this machine, from the firmware's own sources", (("ziglang", "firmware"),)),
        *(_listed(f"unicorn:{b.name}", "emulated", b.title, _EMULATION) for b in emulated if b.port == "mps2"),
        ListedDevice("fake", "fake", "the NumPy reference behind the wire protocol", True),
        *(ListedDevice(f"serial:{port}", "board", title, True) for port, title in _serial_ports()),
        *(_listed_plug_in(point) for point in entry_points(group=GROUP)),
    ]


def _host(argument: str, graph: IntegerGraph) -> Device:
    from edgechaos.devices.host import HostDevice

    _refuse_argument("host", argument)
    return HostDevice(graph)


def _unicorn(argument: str, graph: IntegerGraph) -> Device:
    from edgechaos.devices.emulator import EmulatedDevice, check_installed

    check_installed()
    board = argument or DEFAULT_BOARD
    return EmulatedDevice(graph, emulated_firmware(graph, board), board)


def emulated_firmware(graph: IntegerGraph, board: str) -> Path:
    """The ELF of a model for a board, built once and kept in the user's cache under the hash of its sources."""
    from edgechaos.firmware_gen.build import build
    from edgechaos.firmware_gen.generate import generate
    from edgechaos.firmware_gen.toolchain import cache_folder, zig_version

    firmware = generate(graph, load_board(board))
    folder = cache_folder("firmware") / f"{firmware.firmware_hash[:32]}-zig{zig_version()}"
    elf = folder / f"{firmware.name}.elf"
    return elf if elf.exists() else build(firmware, folder).elf


def _fake(argument: str, graph: IntegerGraph) -> Device:
    from edgechaos.devices.fake import FakeDevice

    _refuse_argument("fake", argument)
    return FakeDevice(graph)


def _serial(argument: str, graph: IntegerGraph) -> Device:
    from edgechaos.devices.serial_board import SerialBoard

    port, _, baud = argument.partition("@")
    if not port or (baud and not baud.isdecimal()):
        raise ConfigError(f"'serial:{argument}' names no port; write serial:/dev/serial/by-id/NAME or serial:PORT@BAUD", "device")
    return SerialBoard(graph, port, int(baud or DEFAULT_BAUD))


_BUILT_IN: Mapping[str, Opener] = MappingProxyType({"host": _host, "unicorn": _unicorn, "fake": _fake, "serial": _serial})
_EMULATION = (("unicorn", "emulate"), ("capstone", "emulate"), ("elftools", "emulate"), ("ziglang", "firmware"))


def _refuse_argument(name: str, argument: str) -> None:
    if argument:
        raise ConfigError(f"device '{name}' takes no ':{argument}'; write '{name}'", "device")


def _plug_in(name: str, spec: str) -> Opener:
    for point in entry_points(group=GROUP, name=name):
        loaded: Opener = point.load()
        return loaded
    known = sorted({*_BUILT_IN, *(p.name for p in entry_points(group=GROUP))})
    raise ConfigError(f"no device '{spec}': its first word must be one of {', '.join(known)}; see `edgechaos devices`", "device")


def _listed(spec: str, kind: Kind, title: str, packages: tuple[tuple[str, str], ...]) -> ListedDevice:
    missing = sorted({extra for package, extra in packages if importlib.util.find_spec(package) is None})
    return ListedDevice(spec, kind, title, not missing, f"pip install 'edgechaos[{','.join(missing)}]'" if missing else "")


def _listed_plug_in(point: EntryPoint) -> ListedDevice:
    title = f"plug-in of {point.dist.name}" if point.dist else "plug-in"
    available = importlib.util.find_spec(point.module.partition(".")[0]) is not None
    return ListedDevice(point.name, "plug-in", title, available, "" if available else f"install the package that holds {point.module}")


def _serial_ports() -> list[tuple[str, str]]:
    """(port, description), by stable name where the system gives one."""
    from serial.tools import list_ports

    stable = {str(link.resolve()): str(link) for link in sorted(Path("/dev/serial/by-id").glob("*"))}
    ports = [p for p in list_ports.comports() if p.vid is not None or p.device in stable]
    return sorted((stable.get(p.device, p.device), p.description) for p in ports)
