"""`unicorn:BOARD`: a board's own firmware in the emulator Unicorn; BOARD is a name or the path of a .toml."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from edgechaos.devices.contract import Device
from edgechaos.devices.entry import DeviceEntry
from edgechaos.firmware_gen.board import Board, board_names, load_board, named_board
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import ConfigError
from edgechaos.support.extras import check_installed
from edgechaos.support.registry import shown
from edgechaos.support.suggest import suggestion

DEFAULT_BOARD = "mps2-an386"


def emulated_firmware(graph: IntegerGraph, board: str, *, faults: bool = True) -> Path:
    """The ELF of a model for a board, with fault hooks or without, built once and cached under the hash of its sources."""
    from edgechaos.firmware_gen.compilers.c.generate import generate
    from edgechaos.firmware_gen.projects.elf import build
    from edgechaos.firmware_gen.toolchain import cache_folder
    from edgechaos.firmware_gen.toolchains.zig import zig_version

    firmware = generate(graph, load_board(board), faults=faults)
    folder = cache_folder("firmware") / f"{firmware.firmware_hash[:32]}-zig{zig_version()}"
    elf = folder / f"{firmware.name}.elf"
    return elf if elf.exists() else build(firmware, folder).elf


def debuggable_firmware(graph: IntegerGraph, board: str) -> tuple[Path, str, Mapping[int, str]]:
    """The ELF without hooks that also says its lines, the model's file, and the layers by its lines."""
    from edgechaos.firmware_gen.compilers.c.generate import generate, with_debug_information
    from edgechaos.firmware_gen.projects.elf import build
    from edgechaos.firmware_gen.toolchain import cache_folder
    from edgechaos.firmware_gen.toolchains.zig import zig_version

    firmware = with_debug_information(generate(graph, load_board(board), faults=False))
    folder = cache_folder("firmware") / f"{firmware.firmware_hash[:32]}-zig{zig_version()}-g"
    elf = folder / f"{firmware.name}.elf"
    return elf if elf.exists() else build(firmware, folder).elf, firmware.source, firmware.layers


def _open(argument: str, graph: IntegerGraph) -> Device:
    from edgechaos.devices.emulators.device import EmulatedDevice

    check_installed(DEVICE.needs)
    _check(argument)
    board = argument or DEFAULT_BOARD
    return EmulatedDevice(
        graph,
        emulated_firmware(graph, board),
        board,
        product_elf=lambda: emulated_firmware(graph, board, faults=False),
        debug_elf=lambda: debuggable_firmware(graph, board),
    )


def boards_of(runs: Callable[[Board], bool]) -> list[Board]:
    """The boards of EdgeChaos that an emulator runs."""
    return [board for name in board_names() if runs(board := load_board(name))]


def check_board(argument: str, emulator: str, runs: Callable[[Board], bool]) -> Board:
    """The board that follows an emulator's colon. Raises ConfigError where there is none, or the emulator does not run it."""
    known, (name, _) = [board.name for board in boards_of(runs)], named_board(argument)
    if name not in known and Path(name).suffix != ".toml" and name not in board_names():
        there = f"there are {', '.join(known)}, or give the path of a .toml"
        raise ConfigError(f"no emulated board '{shown(name)}'{suggestion(name, known)}; {there}", "device")
    board = load_board(argument)
    if not runs(board):
        raise ConfigError(f"board '{board.name}' is not emulated by {emulator}; there are {', '.join(known)}", "device")
    return board


def _runs(board: Board) -> bool:
    from edgechaos.devices.emulators.unicorn.machine import is_emulated

    return is_emulated(board)


def _check(argument: str) -> None:
    check_board(argument or DEFAULT_BOARD, "unicorn", _runs)


DEVICE = DeviceEntry(
    _open,
    exclusive=False,
    check=_check,
    levels=frozenset({"model", "memory", "machine"}),
    needs=(("unicorn", "emulate"), ("capstone", "emulate"), ("elftools", "emulate"), ("ziglang", "firmware")),
    listed=lambda: [(board.name, "emulated", board.title) for board in boards_of(_runs)],
)
