"""GCC for Arm, from the PATH: the same integers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from edgechaos.firmware_gen.compilers.c.generate import HOST_FLAGS, Firmware
from edgechaos.firmware_gen.toolchain import Toolchain, compile_in
from edgechaos.support.errors import BuildError

ARM_GCC = "arm-none-eabi-gcc"
REMEDY = "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi"
CLANG_ONLY = "-fno-sanitize=all"


def arm_gcc(arguments: Sequence[str], folder: Path) -> None:
    """Run `arm-none-eabi-gcc` in `folder`. Raises BuildError where it is not there, fails or takes longer than 5 minutes."""
    if shutil.which(ARM_GCC) is None:
        raise BuildError(f"{ARM_GCC} is not on the PATH; on Debian: {REMEDY}")
    compile_in((ARM_GCC,), arguments, folder, {**os.environ, "SOURCE_DATE_EPOCH": "0"})


def gcc_flags(firmware: Firmware) -> tuple[str, ...]:
    """As zig's, of the board's core and with the board file's own; memcpy comes from GCC's C library. For the host without a board."""
    if firmware.board is None:
        return tuple(flag for flag in HOST_FLAGS if flag != CLANG_ONLY)
    without, core = {*firmware.board.core.zig, CLANG_ONLY}, firmware.board.core.gcc
    return (*core, *(flag for flag in firmware.flags if flag not in without), "--specs=nano.specs", "-nostartfiles")


TOOLCHAIN = Toolchain("GCC for Arm", arm_gcc, gcc_flags, lambda: shutil.which(ARM_GCC) or "", REMEDY)
