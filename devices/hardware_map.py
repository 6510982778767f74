"""A hardware map as Zephyr's Twister writes and reads it: which boards hang on which ports of this machine.

Read here: `connected`, `id`, `platform`, `product`, `serial`, `baud`, `fixtures`; the other keys of the schema are for flashing, which
EdgeChaos leaves to your own tool, and are left alone. Source: Zephyr, scripts/schemas/twister/hwmap-schema.yaml.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edgechaos.support.errors import ConfigError
from edgechaos.support.extras import need
from edgechaos.support.files import read_file
from edgechaos.support.settings import deeper_than, strict_converter, structure

MAX_BYTES = 1 << 20
MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class MappedBoard:
    """A board of a map. platforms: the names it answers to; fixtures: what is wired to it, `name` or `name:argument`."""

    id: str
    platforms: tuple[str, ...]
    product: str
    serial: str
    baud: int = 115_200
    fixtures: tuple[str, ...] = ()

    @property
    def spec(self) -> str:
        """As a device of EdgeChaos."""
        return f"serial:{self.serial}@{self.baud}"

    def has(self, fixture: str) -> bool:
        """Whether a fixture is wired to it; one asked for without an argument is met by any argument."""
        return any(fixture in (f, f.partition(":")[0]) for f in self.fixtures)


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of the map, as far as it is read."""

    connected: bool
    id: str
    platform: Any
    product: str
    runner: str
    serial: str | None = None
    serial_pty: str | None = None
    baud: int = 115_200
    fixtures: tuple[str, ...] = ()


def read_hardware_map(path: str | os.PathLike[str]) -> tuple[MappedBoard, ...]:
    """The boards that are connected. Raises ConfigError with the entry, MissingExtra, EdgeChaosError where it cannot be read."""
    where = f"hardware map {os.fspath(path)}"
    document = _yaml(read_file(path, "hardware map", MAX_BYTES), where)
    if not isinstance(document, list):
        raise ConfigError(f"{where}: is no list of boards; write it with twister --generate-hardware-map", "hardware map")
    converter = strict_converter()
    converter.forbid_extra_keys = False
    boards = []
    for k, item in enumerate(document):
        entry = structure(item, _Entry, f"{where}: entry {k}", converter)
        if not entry.connected:
            continue
        if entry.serial is None:
            why = "it has serial_pty, which is not supported" if entry.serial_pty else "it has no serial"
            raise ConfigError(f"{where}: entry {k} ({entry.id}) is connected but {why}; name its port with serial", "serial")
        names = entry.platform.split() if isinstance(entry.platform, str) else entry.platform
        if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
            raise ConfigError(f"{where}: entry {k} ({entry.id}): platform is no name and no list of names", "platform")
        boards.append(MappedBoard(entry.id, tuple(names), entry.product, entry.serial, entry.baud, entry.fixtures))
    ports = [board.serial for board in boards]
    twice = next((port for port in ports if ports.count(port) > 1), None)
    if twice is not None:
        raise ConfigError(f"{where}: two connected boards have the port {twice}; one of them is not there", "serial")
    return tuple(boards)


def chosen(boards: Iterable[MappedBoard], platform: str = "", fixtures: Iterable[str] = ()) -> tuple[MappedBoard, ...]:
    """Those of a platform, by default of all, that have every fixture."""
    wanted = tuple(fixtures)
    return tuple(b for b in boards if platform in ("", *b.platforms) and all(b.has(fixture) for fixture in wanted))


def _yaml(data: bytes, where: str) -> Any:
    """Plain YAML without aliases: some kilobytes of them can stand for gigabytes."""
    yaml = need("yaml", "pytest")
    try:
        text = data.decode("utf-8-sig")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, Loader=yaml.SafeLoader)):
            raise ConfigError(f"{where}: has an alias (*name), which is not read; write the entry out", "hardware map")
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{where} is not valid YAML: {' '.join(str(error).split()):.300}", "hardware map") from error
    except RecursionError as error:
        raise ConfigError(f"{where}: brackets are nested too deeply", "hardware map") from error
    if deeper_than(document, MAX_DEPTH):
        raise ConfigError(f"{where}: is nested more than {MAX_DEPTH} deep", "hardware map")
    return document
