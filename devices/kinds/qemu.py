"""`qemu:BOARD`: a board's own firmware on QEMU's machine of it; BOARD is a name or the path of a .toml."""

from __future__ import annotations

import shutil

from edgechaos.devices.contract import Device
from edgechaos.devices.emulators.qemu.machine import REMEDIES
from edgechaos.devices.entry import DeviceEntry
from edgechaos.devices.kinds.unicorn import boards_of, check_board, emulated_firmware
from edgechaos.firmware_gen.board import Board, load_board
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import ConfigError
from edgechaos.support.extras import check_installed
from edgechaos.support.registry import shown

DEFAULT_BOARD = "mps2-an386"


def _open(argument: str, graph: IntegerGraph) -> Device:
    from edgechaos.devices.emulators.device import QemuDevice

    check_installed(DEVICE.needs)
    _check(argument)
    board = argument or DEFAULT_BOARD
    return QemuDevice(graph, emulated_firmware(graph, board), board, product_elf=lambda: emulated_firmware(graph, board, faults=False))


def _check(argument: str) -> None:
    program = check_board(argument or DEFAULT_BOARD, "qemu", _has_machine).core.qemu
    if command := _missing(argument):
        raise ConfigError(f"'qemu:{shown(argument)}' needs {program} on the PATH; on Debian: {command}", "device")


def _missing(argument: str) -> str:
    program = load_board(argument or DEFAULT_BOARD).core.qemu
    return "" if shutil.which(program) else REMEDIES[program]


def _has_machine(board: Board) -> bool:
    return bool(board.qemu)


DEVICE = DeviceEntry(
    _open,
    exclusive=False,
    check=_check,
    levels=frozenset({"model", "memory"}),
    needs=(("capstone", "emulate"), ("elftools", "emulate"), ("ziglang", "firmware")),
    missing=_missing,
    listed=lambda: [(board.name, "emulated", board.title) for board in boards_of(_has_machine)],
)
