"""Boards: what the firmware must know of each one, read from `boards/<name>.toml`.

A board is named, or is the path of a TOML file of the same form; `NAME,patch_capacity=64` is that board with another number. Unknown keys
and impossible values are refused with their path and what there is to choose from. Every address names the manual it comes from.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgechaos.firmware_gen.core import Core, cores
from edgechaos.firmware_gen.places import BOARD_FOLDER
from edgechaos.firmware_gen.ports import SHOWN, Port, load_port, port_choices
from edgechaos.support.errors import ConfigError, UnsupportedError
from edgechaos.support.settings import read_toml, strict_converter, structure
from edgechaos.support.suggest import suggestion

EXTRA_FLAG = re.compile(r"-O[123sz]|-fno-unroll-loops|-fno-vectorize|-DEC_[A-Z0-9_]+(=[0-9]+)?")
"""Compiler flags that a board file may ask for; everything else could read or write files of the build machine."""

MIN_PAYLOAD, MAX_PAYLOAD = 128, 4096
CHANGEABLE = ("max_payload", "patch_capacity", "repair_bytes", "stack_bytes")
"""Numbers of a board that are the firmware's to choose, not the hardware's."""


@dataclass(frozen=True, slots=True)
class Region:
    """A span of addresses that a section is linked into."""

    origin: int
    bytes: int

    def holds(self, address: int) -> bool:
        """Whether an address lies in it."""
        return self.origin <= address < self.origin + self.bytes


@dataclass(frozen=True, slots=True)
class Serial:
    """The port that carries the protocol: register base, interrupt that wakes the core, 8N1."""

    base: int
    irq: int
    baud: int


@dataclass(frozen=True, slots=True)
class Edge:
    """The pin that is high while an inference runs: a power meter's trigger."""

    base: int
    pin: int
    label: str


@dataclass(frozen=True, slots=True)
class Energy:
    """Published energy per processor cycle, in nJ, and where it was published."""

    nj_per_cycle: float
    source: str


@dataclass(frozen=True, slots=True)
class Sleep:
    """Published power between inferences, in nW, of a mode of the chip, and where it was published."""

    nanowatts: float
    mode: str
    source: str


@dataclass(frozen=True, slots=True)
class FlashWaits:
    """What data in flash cost beside the cycle table: wait states at the board's clock for every `word_bytes` that are not cached."""

    states: int
    word_bytes: int
    source: str

    def cycles(self, data_bytes: int) -> int:
        """Of data that are read once, one after another: every word of the flash waits."""
        return self.states * -(-data_bytes // self.word_bytes)


@dataclass(frozen=True, slots=True)
class Board:
    """One board. chip: as the port spells it. max_payload: of a frame, bytes. timer_hz: 0 for no timer. flags: last on the command line.

    repair_bytes: of RAM for copies of the matrices that repairs change, 0 for none.
    peripherals: the family of the serial port and pins, as ports and emulators name it; "" for a chip's own. qemu: QEMU's machine of it.
    """

    name: str
    title: str
    chip: str
    port: Port
    core: Core
    clock_hz: int
    timer_hz: int
    max_payload: int
    patch_capacity: int
    stack_bytes: int
    flash: Region
    ram: Region
    serial: Serial
    edge: Edge
    energy: Energy | None = None
    sleep: Sleep | None = None
    flash_waits: FlashWaits | None = None
    flags: tuple[str, ...] = ()
    repair_bytes: int = 0
    peripherals: str = ""
    qemu: str = ""

    def region(self, address: int, count: int) -> Region:
        """The memory that holds so many bytes from there on. Raises UnsupportedError where neither RAM nor flash does."""
        for region in (self.ram, self.flash):
            if region.origin <= address and address + count <= region.origin + region.bytes:
                return region
        raise UnsupportedError(f"board '{self.name}' has no {count} bytes of RAM or flash at {address:#010x}")


def board_names() -> tuple[str, ...]:
    """The boards that come with EdgeChaos."""
    return tuple(sorted(p.stem for p in BOARD_FOLDER.glob("*.toml")))


def named_board(name: str | os.PathLike[str]) -> tuple[str, dict[str, int]]:
    """The name or path of a board, and the numbers that follow it: "mps2-an386,patch_capacity=64".

    Raises ConfigError for what is no number of a board's first table.
    """
    text = os.fspath(name)
    if "," not in text or os.path.exists(text):
        return text, {}
    board, *changes = text.split(",")
    chosen = {}
    for change in changes:
        key, _, value = change.partition("=")
        if key not in CHANGEABLE or not (value.isascii() and value.isdecimal() and len(value) <= 10):
            raise ConfigError(
                f"board '{board}': '{change:.{SHOWN}}' changes nothing; write {', '.join(f'{k}=NUMBER' for k in CHANGEABLE)}", "board"
            )
        chosen[key] = int(value)
    return board, chosen


def load_board(name: str | os.PathLike[str]) -> Board:
    """A board by name, or from the path of a TOML file, with the numbers that follow it.

    Raises ConfigError for an unknown name, unknown or missing keys (with their path) or impossible values.
    """
    board, chosen = named_board(name)
    if board in board_names():
        return _parse(BOARD_FOLDER / f"{board}.toml", chosen)
    if Path(board).suffix != ".toml":
        there = f"there are {', '.join(board_names())}, or give the path of a board's .toml"
        raise ConfigError(f"no board '{board}'{suggestion(board, board_names())}; {there}", "board")
    return _parse(Path(board), chosen)


def _parse(path: Path, chosen: Mapping[str, int]) -> Board:
    converter = strict_converter()

    def read_port(name: Any, _: type) -> Port:
        if not isinstance(name, str):
            raise ValueError(f"expected a port's name, got {name!r:.{SHOWN}}; {port_choices()}")
        return load_port(name, path.parent)

    def read_core(name: Any, _: type) -> Core:
        if not isinstance(name, str):
            raise ValueError(f"expected a core's name, got {name!r:.{SHOWN}}; there are {', '.join(cores)}")
        if name not in cores:
            raise ValueError(cores.refusal(name))
        return cores.load(name)

    converter.register_structure_hook(Port, read_port)
    converter.register_structure_hook(Core, read_core)
    board = structure({**read_toml(path, "board file"), **chosen}, Board, str(path), converter)
    _check(board, path)
    return board


def _check(board: Board, path: Path) -> None:
    region = "an origin and a size in multiples of 8 below 4 GiB"
    register = "the address of a register, a multiple of 4 below 4 GiB"
    rules = {
        "name": (re.fullmatch(r"[a-z][a-z0-9-]{0,40}", board.name), "a-z, 0-9 and - only, at most 41"),
        "chip": (re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}", board.chip), "the chip's part number"),
        "peripherals": (re.fullmatch(r"[a-z0-9-]{0,40}", board.peripherals), "a-z, 0-9 and - only, at most 40"),
        "qemu": (re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,40}|", board.qemu), "the name of a machine, as `qemu-system-arm -M help` has it"),
        "clock_hz": (0 < board.clock_hz < 2**32, "1 to 4294967295"),
        "timer_hz": (0 <= board.timer_hz < 2**32, "0 (no timer) to 4294967295"),
        "max_payload": (MIN_PAYLOAD <= board.max_payload <= MAX_PAYLOAD, f"{MIN_PAYLOAD} to {MAX_PAYLOAD}"),
        "patch_capacity": (1 <= board.patch_capacity <= 65535, "1 to 65535"),
        "repair_bytes": (0 <= board.repair_bytes < 2**24 and board.repair_bytes % 8 == 0, "0 to 16777208, a multiple of 8"),
        "stack_bytes": (1024 <= board.stack_bytes <= 2**20 and board.stack_bytes % 8 == 0, "1024 to 1048576, a multiple of 8"),
        "flash": (_region_fits(board.flash), region),
        "ram": (_region_fits(board.ram), region),
        "serial.base": (_is_register(board.serial.base), register),
        "serial.irq": (0 <= board.serial.irq < 240, "0 to 239"),
        "serial.baud": (1200 <= board.serial.baud <= 4_000_000, "1200 to 4000000"),
        "edge.base": (_is_register(board.edge.base), register),
        "edge.pin": (0 <= board.edge.pin < 16, "0 to 15"),
        "flash_waits.states": (board.flash_waits is None or 0 <= board.flash_waits.states <= 64, "0 to 64"),
        "flash_waits.word_bytes": (board.flash_waits is None or board.flash_waits.word_bytes in (4, 8, 16, 32), "4, 8, 16 or 32"),
        "sleep.nanowatts": (board.sleep is None or 0 <= board.sleep.nanowatts < 1e9, "0 to below 1000000000"),
        "energy.nj_per_cycle": (board.energy is None or 0 < board.energy.nj_per_cycle < 1000, "above 0 and below 1000"),
    }
    for key, (good, expected) in rules.items():
        if not good:
            raise ConfigError(f"{path}: impossible value, expected {expected} @ {key}", key)
    for flag in board.flags:
        if not EXTRA_FLAG.fullmatch(flag):
            raise ConfigError(f"{path}: compiler flag {flag!r} is not on the list of allowed flags @ flags", "flags")
    _check_port(board, path)


def _check_port(board: Board, path: Path) -> None:
    """Registers of one chip on another would compile, and do nothing or harm."""
    values: dict[str, str | int] = {
        "chip": board.chip,
        "peripherals": board.peripherals,
        "clock_hz": board.clock_hz,
        "timer_hz": board.timer_hz,
        "serial.base": board.serial.base,
        "serial.irq": board.serial.irq,
        "edge.base": board.edge.base,
    }
    misfit = board.port.fit.misfit(values) if board.port.fit else None
    if misfit is not None:
        key, served = misfit
        value = f"{values[key]:#010x}" if key.endswith(".base") else values[key]
        raise ConfigError(f"{path}: port '{board.port.name}' is for {key} {served}, not {value} @ {key}; {port_choices()}", key)


def _region_fits(region: Region) -> bool:
    return region.origin >= 0 and region.origin % 8 == 0 and region.bytes > 0 and region.origin + region.bytes <= 2**32


def _is_register(address: int) -> bool:
    return 0 < address < 2**32 and address % 4 == 0
