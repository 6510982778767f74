"""`serial:PORT` or `serial:PORT@BAUD`: a real board on a wire."""

from __future__ import annotations

import os
from pathlib import Path

from edgechaos.devices.contract import Device
from edgechaos.devices.entry import DeviceEntry
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import ConfigError
from edgechaos.support.registry import shown
from edgechaos.support.suggest import suggestion

DEFAULT_BAUD = 115_200
MAX_BAUD = 20_000_000


def serial_ports() -> list[tuple[str, str]]:
    """(port, description), by stable name where the system gives one."""
    from serial.tools import list_ports

    stable = {str(link.resolve()): str(link) for link in sorted(Path("/dev/serial/by-id").glob("*"))}
    ports = [p for p in list_ports.comports() if p.vid is not None or p.device in stable]
    return sorted((stable.get(p.device, p.device), p.description) for p in ports)


def _open(argument: str, graph: IntegerGraph) -> Device:
    from edgechaos.devices.boards.serial_board import SerialBoard

    return SerialBoard(graph, *_port_and_baud(argument))


def _check(argument: str) -> None:
    port, _ = _port_and_baud(argument)
    if os.name == "posix" and not os.path.exists(port):
        there = [name for name, _ in serial_ports()]
        listed = f"there are {', '.join(there)}" if there else "no serial port is plugged in here"
        raise ConfigError(f"no port '{shown(port)}'{suggestion(port, there)}; {listed}", "device")


def _port_and_baud(argument: str) -> tuple[str, int]:
    port, _, baud = argument.partition("@")
    if not port:
        raise ConfigError(f"'serial:{shown(argument)}' names no port; write serial:/dev/serial/by-id/NAME or serial:PORT@BAUD", "device")
    if baud and not (baud.isascii() and baud.isdecimal() and len(baud) <= 8 and 0 < int(baud) <= MAX_BAUD):
        raise ConfigError(f"'serial:{shown(argument)}': a baud rate is a whole number, 1 to {MAX_BAUD}; write serial:PORT@BAUD", "device")
    return port, int(baud or DEFAULT_BAUD)


DEVICE = DeviceEntry(
    _open,
    levels=frozenset({"model", "link"}),
    check=_check,
    place=lambda argument: os.path.realpath(_port_and_baud(argument)[0]),
    listed=lambda: [(port, "board", title) for port, title in serial_ports()],
)
