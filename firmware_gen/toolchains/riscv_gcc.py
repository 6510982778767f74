"""GCC for RISC-V, from the PATH."""

from __future__ import annotations

from edgechaos.firmware_gen.toolchains.gcc import gcc_toolchain

TOOLCHAIN = gcc_toolchain(
    "GCC for RISC-V",
    "riscv64-unknown-elf-gcc",
    "apt-get install gcc-riscv64-unknown-elf",
    ("-nostdlib", "-lgcc"),
)
