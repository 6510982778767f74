"""Devices by name: "host", "unicorn:mps2-an386", "fake", "serial:/dev/serial/by-id/...", and what plug-ins add.

`open_device` gives a Device that is not yet open, so that `with open_device(spec, graph) as device:` opens and closes it.
A plug-in is an entry point of the group "edgechaos.devices": its name is the word before the colon, its object a
DeviceEntry, or a function (argument, graph) -> Device, whose devices then count as exclusive.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType

from edgechaos.devices.contract import Device, Kind
from edgechaos.firmware_gen.board import board_names, load_board
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import ConfigError, MissingExtra
from edgechaos.support.suggest import suggestion

GROUP = "edgechaos.devices"
DEFAULT_BOARD = "mps2-an386"
DEFAULT_BAUD = 115_200
MAX_BAUD = 20_000_000
LONGEST_SHOWN = 120
"""Characters of a spec in an error: a name of any length must not become a message of that length."""

Opener = Callable[[str, IntegerGraph], Device]
"""Makes a device from what follows the colon of its spec."""


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """A kind of device. Its functions take what follows the colon of a spec.

    open: makes the device. exclusive: whether what the argument names can be driven by one worker only, as a board on a wire;
    said of every plug-in that does not deny it. check: raises ConfigError or MissingExtra for an argument that cannot be opened
    on this machine, cheaply: it builds nothing and opens no port. place: one name for all the ways to write one exclusive thing.
    """

    open: Opener
    exclusive: bool = True
    check: Callable[[str], None] = lambda argument: None
    place: Callable[[str], str] = lambda argument: argument


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
    entry, argument = _entry(spec)
    return entry.open(argument, graph)


def check_spec(spec: str, *, local: bool = True) -> None:
    """Whether a spec names a device, before anything is run. It builds nothing, starts nothing and opens no port.

    local: whether it will be opened on this machine, so that its port and packages must be here.
    Raises ConfigError, or MissingExtra where a package is not installed.
    """
    entry, argument = _entry(spec)
    if local:
        entry.check(argument)


def check_specs(specs: Iterable[str], *, local: bool = True) -> None:
    """`check_spec` of each, and no two may name the same board. Raises ConfigError, MissingExtra."""
    places: dict[str, str] = {}
    for spec in specs:
        check_spec(spec, local=local)
        if is_exclusive(spec) and (other := places.setdefault(_place(spec), spec)) != spec:
            raise ConfigError(f"'{_short(other)}' and '{_short(spec)}' are the same board; name it once", "device")


def is_exclusive(spec: str) -> bool:
    """Whether only one worker may hold what a spec names: unless its entry says that it can be shared."""
    try:
        return _entry(spec)[0].exclusive
    except ConfigError:
        return True  # nobody says that it can be shared


def device_names() -> list[str]:
    """The first words that a spec may have, sorted."""
    return sorted({*_BUILT_IN, *(p.name for p in entry_points(group=GROUP))})


def list_devices() -> list[ListedDevice]:
    """Everything that could be opened on this machine, available or not. Starts nothing and opens no port."""
    emulated = [load_board(name) for name in _emulated_boards()]
    return [
        _listed("host", "host", "this machine, from the firmware's own sources", _COMPILER),
        *(_listed(f"unicorn:{b.name}", "emulated", b.title, _EMULATION) for b in emulated),
        ListedDevice("fake", "fake", "the NumPy reference behind the wire protocol", True),
        *(ListedDevice(f"serial:{port}", "board", title, True) for port, title in _serial_ports()),
        *(_listed_plug_in(point) for point in entry_points(group=GROUP)),
    ]


def _host(argument: str, graph: IntegerGraph) -> Device:
    from edgechaos.devices.host import HostDevice

    _refuse_argument("host", argument)
    return HostDevice(graph)


def _unicorn(argument: str, graph: IntegerGraph) -> Device:
    from edgechaos.devices.emulators.device import EmulatedDevice

    _check_unicorn(argument)
    board = argument or DEFAULT_BOARD
    return EmulatedDevice(graph, emulated_firmware(graph, board), board)


def _check_unicorn(argument: str) -> None:
    from edgechaos.devices.emulators.unicorn.machine import is_emulated

    _check_packages(_EMULATION)
    known = _emulated_boards()
    if argument in ("", *known):
        return
    if Path(argument).suffix == ".toml" or argument in board_names():
        board = load_board(argument)
        if not is_emulated(board):
            raise ConfigError(f"board '{board.name}' is not emulated: emulated are {', '.join(known)}, and boards like them", "device")
        return
    raise ConfigError(
        f"no emulated board '{_short(argument)}'{suggestion(argument, known)}; there are {', '.join(known)}, or give the path of a .toml",
        "device",
    )


def _emulated_boards() -> tuple[str, ...]:
    from edgechaos.devices.emulators.unicorn.machine import is_emulated

    return tuple(name for name in board_names() if is_emulated(load_board(name)))


def emulated_firmware(graph: IntegerGraph, board: str) -> Path:
    """The ELF of a model for a board, built once and kept in the user's cache under the hash of its sources."""
    from edgechaos.firmware_gen.compilers.c.generate import generate
    from edgechaos.firmware_gen.projects.elf import build
    from edgechaos.firmware_gen.toolchains.zig import cache_folder, zig_version

    firmware = generate(graph, load_board(board))
    folder = cache_folder("firmware") / f"{firmware.firmware_hash[:32]}-zig{zig_version()}"
    elf = folder / f"{firmware.name}.elf"
    return elf if elf.exists() else build(firmware, folder).elf


def _fake(argument: str, graph: IntegerGraph) -> Device:
    from edgechaos.devices.fakes.device import FakeDevice

    _refuse_argument("fake", argument)
    return FakeDevice(graph)


def _serial(argument: str, graph: IntegerGraph) -> Device:
    from edgechaos.devices.boards.serial_board import SerialBoard

    return SerialBoard(graph, *_port_and_baud(argument))


def _check_serial(argument: str) -> None:
    port, _ = _port_and_baud(argument)
    if os.name == "posix" and not os.path.exists(port):
        there = [name for name, _ in _serial_ports()]
        raise ConfigError(
            f"no port '{_short(port)}'{suggestion(port, there)}; "
            + (f"there are {', '.join(there)}" if there else "no serial port is plugged in here"),
            "device",
        )


def _port_and_baud(argument: str) -> tuple[str, int]:
    port, _, baud = argument.partition("@")
    if not port:
        raise ConfigError(f"'serial:{_short(argument)}' names no port; write serial:/dev/serial/by-id/NAME or serial:PORT@BAUD", "device")
    if baud and not (baud.isascii() and baud.isdecimal() and len(baud) <= 8 and 0 < int(baud) <= MAX_BAUD):
        raise ConfigError(f"'serial:{_short(argument)}': a baud rate is a whole number, 1 to {MAX_BAUD}; write serial:PORT@BAUD", "device")
    return port, int(baud or DEFAULT_BAUD)


def _serial_place(argument: str) -> str:
    return os.path.realpath(_port_and_baud(argument)[0])


def _refuse_argument(name: str, argument: str) -> None:
    if argument:
        raise ConfigError(f"device '{name}' takes no ':{_short(argument)}'; write '{name}'", "device")


def _check_host(argument: str) -> None:
    _refuse_argument("host", argument)
    _check_packages(_COMPILER)


def _check_packages(packages: tuple[tuple[str, str], ...]) -> None:
    for package, extra in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, extra)


_COMPILER = (("ziglang", "firmware"),)
_EMULATION = (("unicorn", "emulate"), ("capstone", "emulate"), ("elftools", "emulate"), *_COMPILER)
_BUILT_IN: Mapping[str, DeviceEntry] = MappingProxyType(
    {
        "host": DeviceEntry(_host, exclusive=False, check=_check_host),
        "unicorn": DeviceEntry(_unicorn, exclusive=False, check=_check_unicorn),
        "fake": DeviceEntry(_fake, exclusive=False, check=partial(_refuse_argument, "fake")),
        "serial": DeviceEntry(_serial, check=_check_serial, place=_serial_place),
    }
)


def _entry(spec: str) -> tuple[DeviceEntry, str]:
    name, _, argument = spec.partition(":")
    return _BUILT_IN.get(name) or _plug_in(name, spec), argument


def _place(spec: str) -> str:
    entry, argument = _entry(spec)
    return f"{spec.partition(':')[0]}:{entry.place(argument)}"


def _plug_in(name: str, spec: str) -> DeviceEntry:
    for point in entry_points(group=GROUP, name=name):
        try:
            loaded: DeviceEntry | Opener = point.load()
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"device '{name}': its plug-in {point.value} does not load ({error}); install it again", "device") from error
        return loaded if isinstance(loaded, DeviceEntry) else DeviceEntry(loaded)
    known = device_names()
    raise ConfigError(
        f"no device '{_short(spec)}'{suggestion(name, known)}; its first word must be one of {', '.join(known)}; see `edgechaos devices`",
        "device",
    )


def _short(text: str) -> str:
    shown = "".join(c if c.isprintable() else "?" for c in text[:LONGEST_SHOWN])
    return shown if len(text) <= LONGEST_SHOWN else f"{shown}..."


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
