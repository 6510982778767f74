"""Firmware sources become an ELF; whole or not at all, and the same bytes on every build."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgechaos.firmware_gen.board import Board
from edgechaos.firmware_gen.compilers.c.generate import Firmware
from edgechaos.firmware_gen.project import Made, Project
from edgechaos.firmware_gen.toolchain import DEFAULT, TOOLCHAINS
from edgechaos.support.errors import BuildError
from edgechaos.support.extras import need
from edgechaos.support.files import write_atomic


@dataclass(frozen=True, slots=True)
class Built:
    """One linked firmware. flash_bytes: code, tables and initial data; ram_bytes: everything, the stack included."""

    elf: Path
    flash_bytes: int
    ram_bytes: int
    stack_bytes: int
    firmware_hash: str
    sections: Mapping[str, int]


def record(firmware: Firmware, built: Built) -> dict[str, Any]:
    """Plain JSON of a build, for the report: whose model, for which board, how large."""
    return {
        "board": firmware.board.name if firmware.board else "",
        "model_hash": firmware.model_hash,
        "firmware_hash": built.firmware_hash,
        "faults": firmware.faults,
        "kernels": {name: str(choice) for name, choice in firmware.kernels.items()},
        "flash_bytes": built.flash_bytes,
        "ram_bytes": built.ram_bytes,
        "stack_bytes": built.stack_bytes,
        "sections": dict(built.sections),
    }


def write_sources(firmware: Firmware, folder: Path) -> None:
    """All files of a firmware under `folder`, each written atomically."""
    for path, data in firmware.files.items():
        write_atomic(folder / path, data)


def build(firmware: Firmware, out_dir: str | Path, compiler: str = DEFAULT) -> Built:
    """Compile and link for the firmware's board; sources are left beside the ELF, in `<folder>/<model>-<board>/`.

    compiler: "zig", the same bytes on every machine, "gcc", the arm-none-eabi-gcc on the PATH, or a plug-in's: the same integers.
    Raises ConfigError for a compiler that there is not; BuildError with its words, or where the result does not fit; MissingExtra.
    """
    if firmware.board is None:
        raise BuildError(f"firmware '{firmware.name}' was generated for the host; use build_host")
    toolchain, out = TOOLCHAINS.load(compiler), Path(out_dir)
    write_sources(firmware, out / f"{firmware.name}-{firmware.board.name}")
    with tempfile.TemporaryDirectory(prefix="edgechaos-build-") as scratch:
        folder = Path(scratch)
        for path, data in firmware.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        toolchain.run([*toolchain.flags(firmware), "-iquote", "src", *firmware.sources, "-o", "firmware.elf"], folder)
        elf = write_atomic(out / f"{firmware.name}.elf", (folder / "firmware.elf").read_bytes())
    return _measure(firmware, elf)


def _measure(firmware: Firmware, elf: Path) -> Built:
    elffile = need("elftools.elf.elffile", "firmware")
    with elf.open("rb") as stream:
        loaded = [s for s in elffile.ELFFile(stream).iter_sections() if s["sh_flags"] & 2]  # SHF_ALLOC
        sections = {s.name: int(s["sh_size"]) for s in loaded if s["sh_size"]}
    flash = sum(sections.get(name, 0) for name in (".text", ".data"))
    ram = sum(sections.get(name, 0) for name in (".data", ".bss", ".noinit", ".stack"))
    return Built(elf, flash, ram, sections.get(".stack", 0), firmware.firmware_hash, sections)


def make(firmware: Firmware, folder: Path, compiler: str) -> Made:
    """As `Project.make`."""
    built = build(firmware, folder, compiler)
    assert isinstance(firmware.board, Board)
    board = firmware.board
    lines = (
        f"flash   {built.flash_bytes:,} of {board.flash.bytes:,} bytes",
        f"RAM     {built.ram_bytes:,} of {board.ram.bytes:,} bytes, {built.stack_bytes:,} of them reserved for the stack",
        f"{built.elf}: firmware {built.firmware_hash[:12]} for {board.title}",
    )
    return Made(built.elf, record(firmware, built) | {"elf": str(built.elf), "compiler": compiler}, lines)


PROJECT = Project("sources and an ELF for a board", make)
