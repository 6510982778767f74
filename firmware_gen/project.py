"""What sources are made into, by name: an ELF, a library, a server, or a plug-in's (entry-point group "edgechaos.projects")."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgechaos.firmware_gen.compilers.c.generate import Firmware
from edgechaos.support.registry import Registry, one_of


@dataclass(frozen=True, slots=True)
class Made:
    """One project on the disk. path: what is used of it. record: plain JSON for `build.json`. lines: what a person should know of it."""

    path: Path
    record: Mapping[str, Any]
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Project:
    """A kind of project. title: in text. make: of (firmware, folder, compiler); raises ConfigError, BuildError, MissingExtra.
    for_board: whether its firmware is a board's; else it is this host's."""

    title: str
    make: Callable[[Firmware, Path, str], Made]
    for_board: bool = True


DEFAULT = "elf"
PROJECTS = Registry(
    "project",
    one_of(Project),
    table={
        "elf": "edgechaos.firmware_gen.projects.elf:PROJECT",
        "library": "edgechaos.firmware_gen.projects.host:LIBRARY",
        "server": "edgechaos.firmware_gen.projects.host:SERVER",
        "inference": "edgechaos.firmware_gen.projects.inference:PROJECT",
    },
    group="edgechaos.projects",
)
