"""Small firmwares for the emulator, compiled once per session from tests/firmware/ or from a few lines of C."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from edgechaos.firmware_gen.toolchains.zig import zig_cc
from tests.helpers.places import C_SOURCES

FLAGS = ("-target", "thumb-freestanding-eabi", "-O2", "-ffreestanding", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables")
LINK = ("-fno-sanitize=all", "-nostdlib", f"-Wl,-T,{C_SOURCES / 'commands.ld'}", "-Wl,-e,Reset_Handler")


@cache
def compiled(source: str = "") -> Path:
    """The ELF of commands.c, after any C of one's own."""
    folder = Path(tempfile.mkdtemp(prefix="edgechaos-firmware-"))
    (folder / "main.c").write_text(source + (C_SOURCES / "commands.c").read_text())
    zig_cc([*FLAGS, "-mcpu=cortex_m4", *LINK, "main.c", "-o", "firmware.elf"], folder)
    return folder / "firmware.elf"
