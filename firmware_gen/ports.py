"""Ports: the C of a board's peripherals, and the chips or peripherals that each one is for.

A port of EdgeChaos is `runtime/ports/port_<name>.c` with `port_<name>.toml` beside it, which says what it takes for granted: registers,
clocks and pins that the C does not take from the board file. A port of the user's own is a C file beside the board file.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from edgechaos.firmware_gen.places import PORT_FOLDER
from edgechaos.support.errors import EdgeChaosError
from edgechaos.support.files import read_file
from edgechaos.support.settings import read_toml, structure
from edgechaos.support.suggest import suggestion

OWN = "ec_port.c"
"""Under this name a port of the user's own is among the generated sources, whatever its file is called."""
MAX_BYTES = 1 << 18
SHOWN = 60
"""Characters of a wrong value that an error repeats."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The boards that a port is right for. Empty: the port takes that value from the board file, whatever it is."""

    chips: tuple[str, ...] = ()
    peripherals: tuple[str, ...] = ()
    clock_hz: tuple[int, ...] = ()
    timer_hz: tuple[int, ...] = ()
    serial_base: tuple[int, ...] = ()
    serial_irq: tuple[int, ...] = ()
    edge_base: tuple[int, ...] = ()

    def misfit(self, values: dict[str, str | int]) -> tuple[str, str] | None:
        """The first key of a board file whose value the port cannot serve, and what it could; None where all fit."""
        for field in fields(self):
            key = "chip" if field.name == "chips" else field.name.replace("serial_", "serial.").replace("edge_", "edge.")
            served, value = getattr(self, field.name), values[key]
            if served and value not in served:
                return key, " or ".join(f"{v:#010x}" if key.endswith(".base") else str(v) for v in served)
        return None


@dataclass(frozen=True, slots=True)
class Port:
    """name: as in the board file. file, source: among the generated sources. fit: None for a port of the user's own."""

    name: str
    file: str
    source: bytes
    fit: Fit | None = None


@cache
def ports() -> MappingProxyType[str, Fit]:
    """The ports that come with EdgeChaos, by name."""
    facts = [source.with_suffix(".toml") for source in sorted(PORT_FOLDER.glob("port_*.c"))]
    return MappingProxyType({p.stem.removeprefix("port_"): structure(read_toml(p, "port"), Fit, p.name) for p in facts})


def port_choices() -> str:
    """What a board file may name, in words."""
    built_in = ", ".join(f"'{name}' for {' or '.join(fit.chips or fit.peripherals)}" for name, fit in ports().items())
    return f'there are {built_in}; or write your own, port = "my_port.c", beside the board file'


def load_port(name: str, folder: Path) -> Port:
    """The port that a board file in `folder` names. Raises ValueError where there is none, or its file may not be read."""
    if name in ports():
        file = f"port_{name}.c"
        return Port(name, file, (PORT_FOLDER / file).read_bytes(), ports()[name])
    path = PurePosixPath(name)
    if path.suffix != ".c":
        shown = name if len(name) <= SHOWN else f"{name[:SHOWN]}..."
        raise ValueError(f"no port {shown!r}{suggestion(name, ports())}; {port_choices()}")
    return Port(name, OWN, _read_own(path, folder))


def _read_own(path: PurePosixPath, folder: Path) -> bytes:
    try:
        inside = (folder / path).resolve().is_relative_to(folder.resolve())
        if path.is_absolute() or ".." in path.parts or not inside:
            raise ValueError(f"port {str(path)[:SHOWN]!r} lies outside the board file's folder; put it beside the board file")
        source = read_file(folder / path, "port", MAX_BYTES)
    except (EdgeChaosError, OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        raise ValueError(str(error)) from error
    if not source.strip() or b"\0" in source:
        raise ValueError(f"port {str(path)[:SHOWN]!r} is not C source: it {'holds a NUL' if source.strip() else 'is empty'}")
    return source
