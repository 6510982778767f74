"""GCC for Arm, from the PATH, and what GCCs for other architectures share with it: the same integers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from edgechaos.firmware_gen.compilers.c.generate import HOST_FLAGS, Firmware
from edgechaos.firmware_gen.toolchain import Toolchain, compile_in
from edgechaos.support.errors import BuildError

CLANG_ONLY = ("-fno-sanitize=all", "-mno-relax")


def gcc_toolchain(title: str, program: str, remedy: str, link: tuple[str, ...]) -> Toolchain:
    """A GCC. program: as on the PATH, and as cores name theirs. link: its libraries, without their start-up."""

    def run(arguments: Sequence[str], folder: Path) -> None:
        if shutil.which(program) is None:
            raise BuildError(f"{program} is not on the PATH; on Debian: {remedy}")
        compile_in((program,), arguments, folder, {**os.environ, "SOURCE_DATE_EPOCH": "0"})

    def flags(firmware: Firmware) -> tuple[str, ...]:
        """As zig's, of the board's core and with the board file's own. For the host without a board."""
        if firmware.board is None:
            return tuple(flag for flag in HOST_FLAGS if flag not in CLANG_ONLY)
        core = firmware.board.core
        if core.gcc_program != program:
            raise BuildError(f"{program} does not compile for {core.title} (board '{firmware.board.name}'): that is {core.gcc_program}'s")
        without = {*core.zig, *CLANG_ONLY}
        return (*core.gcc, *(flag for flag in firmware.flags if flag not in without), *link)

    return Toolchain(title, run, flags, lambda: shutil.which(program) or "", remedy)


TOOLCHAIN = gcc_toolchain(
    "GCC for Arm",
    "arm-none-eabi-gcc",
    "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi",
    ("--specs=nano.specs", "-nostartfiles"),
)
