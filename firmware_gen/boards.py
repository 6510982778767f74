"""Boards: what the firmware must know of each one, read from `boards/<name>.toml`.

Enters: a board's name or the path of a TOML file of the same form. Leaves: a frozen Board. Unknown keys and impossible
values are refused with their path. Every address in a board file names the manual it comes from.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from edgechaos.errors import ConfigError
from edgechaos.settings import read_toml, structure
from edgechaos.suggest import suggestion

BOARD_FOLDER = Path(__file__).parent / "boards"
CPU_FLAGS = MappingProxyType(
    {
        # Integers only: without the FPU there is nothing to enable at start-up and nothing to save on exceptions.
        "cortex-m4": ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m4"),
    }
)
GCC_CPU_FLAGS = MappingProxyType({"cortex-m4": ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft")})
EXTRA_FLAG = re.compile(r"-O[123sz]|-fno-unroll-loops|-fno-vectorize|-DEC_[A-Z0-9_]+(=[0-9]+)?")
"""Compiler flags that a board file may ask for; everything else could read or write files of the build machine."""

Port = Literal["mps2", "stm32l4r5"]
MIN_PAYLOAD, MAX_PAYLOAD = 128, 4096


@dataclass(frozen=True, slots=True)
class Region:
    """A span of addresses that a section is linked into."""

    origin: int
    bytes: int


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
class Board:
    """One board. port: the files `runtime/port_<port>.c`. max_payload: of a frame, bytes. timer_hz: 0 for no timer."""

    name: str
    title: str
    port: Port
    cpu: str
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
    flags: tuple[str, ...] = ()

    def compiler_flags(self) -> tuple[str, ...]:
        """Target and processor; `flags` come last on the command line, where they can overrule."""
        return CPU_FLAGS[self.cpu]


def board_names() -> tuple[str, ...]:
    """The boards that come with EdgeChaos."""
    return tuple(sorted(p.stem for p in BOARD_FOLDER.glob("*.toml")))


def load_board(name: str | os.PathLike[str]) -> Board:
    """A board by name, or from the path of a TOML file.

    Raises ConfigError for an unknown name, unknown or missing keys (with their path) or impossible values.
    """
    if name in board_names():
        return _parse(BOARD_FOLDER / f"{os.fspath(name)}.toml")
    if Path(name).suffix != ".toml":
        raise ConfigError(
            f"no board '{os.fspath(name)}'{suggestion(os.fspath(name), board_names())}; "
            f"there are {', '.join(board_names())}, or give the path of a board's .toml",
            "board",
        )
    return _parse(Path(name))


def _parse(path: Path) -> Board:
    board = structure(read_toml(path, "board file"), Board, str(path))
    _check(board, path)
    return board


def _check(board: Board, path: Path) -> None:
    rules = {
        "name": re.fullmatch(r"[a-z][a-z0-9-]{0,40}", board.name) is not None,
        "cpu": board.cpu in CPU_FLAGS,
        "clock_hz": 0 < board.clock_hz < 2**32,
        "timer_hz": 0 <= board.timer_hz < 2**32,
        "max_payload": MIN_PAYLOAD <= board.max_payload <= MAX_PAYLOAD,
        "patch_capacity": 1 <= board.patch_capacity <= 65535,
        "stack_bytes": 1024 <= board.stack_bytes <= 2**20 and board.stack_bytes % 8 == 0,
        "flash": _region_fits(board.flash),
        "ram": _region_fits(board.ram),
        "serial.base": _is_register(board.serial.base),
        "serial.irq": 0 <= board.serial.irq < 240,
        "serial.baud": 1200 <= board.serial.baud <= 4_000_000,
        "edge.base": _is_register(board.edge.base),
        "edge.pin": 0 <= board.edge.pin < 16,
        "energy.nj_per_cycle": board.energy is None or 0 < board.energy.nj_per_cycle < 1000,
    }
    for key, good in rules.items():
        if not good:
            raise ConfigError(f"{path}: impossible value @ {key}", key)
    for flag in board.flags:
        if not EXTRA_FLAG.fullmatch(flag):
            raise ConfigError(f"{path}: compiler flag {flag!r} is not on the list of allowed flags @ flags", "flags")


def _region_fits(region: Region) -> bool:
    return region.origin >= 0 and region.origin % 8 == 0 and region.bytes > 0 and region.origin + region.bytes <= 2**32


def _is_register(address: int) -> bool:
    return 0 < address < 2**32 and address % 4 == 0
