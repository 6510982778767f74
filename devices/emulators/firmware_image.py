"""A linked ELF as an emulator needs it: bytes by load address, where code lies, names for addresses.

Code is found by the mapping symbols $t (Thumb), $x (RISC-V) and $d.
Sources: Arm IHI 0044, "ELF for the Arm Architecture", section 5.5.5; RISC-V ELF psABI 1.0, "Mapping symbol".
"""

from __future__ import annotations

import bisect
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgechaos.support.errors import ArtifactError, FaultError
from edgechaos.support.extras import need
from edgechaos.support.files import read_file
from edgechaos.support.suggest import suggestion

MACHINES = ("EM_ARM", "EM_RISCV")
MAX_BYTES = 1 << 24
"""Of an image in memory: the largest Cortex-M parts have a few megabytes."""

ALLOCATED = 2
"""SHF_ALLOC: a section that is there while the firmware runs."""

Range = tuple[int, int]
"""[start, end) addresses."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """A function: its name, first address and size in bytes (0 where the ELF does not say)."""

    name: str
    address: int
    size: int


@dataclass(frozen=True, slots=True)
class FirmwareImage:
    """segments: (load address, bytes). code: where code lies. symbols: by address. regions: sections, data and functions by name."""

    segments: tuple[tuple[int, bytes], ...]
    code: tuple[Range, ...]
    symbols: tuple[Symbol, ...]
    regions: Mapping[str, Range] = field(default_factory=dict)

    def region(self, name: str) -> Range:
        """[start, end) of a section or symbol, or of "0xADDRESS:BYTES". Raises FaultError with names like it."""
        start, _, size = name.partition(":")
        if re.fullmatch(r"0x[0-9a-fA-F]{1,8}:[0-9]{1,8}", name):
            return int(start, 16), int(start, 16) + int(size)
        if name not in self.regions:
            known = ", ".join(k for k in self.regions if k.startswith("."))
            raise FaultError(f"the firmware has no section or symbol '{name}'{suggestion(name, self.regions)}; its sections are {known}")
        return self.regions[name]

    def address(self, place: str) -> int:
        """Of "name", "name+0x10" or "0x1c4". Raises FaultError as `region`."""
        name, _, offset = place.partition("+")
        if re.fullmatch(r"(0x)?[0-9a-fA-F]{1,8}", offset or name):
            add = int(offset, 0) if offset else 0
            return int(name, 16) + add if name.startswith("0x") else self.region(name)[0] + add
        return self.region(name)[0]

    def where(self, address: int) -> str:
        """`name+0x10` for an address inside a known function, else the bare address."""
        at = bisect.bisect_right(self.symbols, address, key=lambda s: s.address) - 1
        if at >= 0 and address <= self.symbols[at].address + self.symbols[at].size:  # a return address may be the end
            offset = address - self.symbols[at].address
            return f"{self.symbols[at].name}+{offset:#x}" if offset else self.symbols[at].name
        return f"{address:#010x}"

    def read(self, address: int, size: int) -> bytes:
        """Bytes of the image. Raises KeyError where no segment holds them all."""
        for start, data in self.segments:
            if start <= address and address + size <= start + len(data):
                return data[address - start : address - start + size]
        raise KeyError(address)


def load_elf(path: str | Path) -> FirmwareImage:
    """Read a 32-bit little-endian executable for Arm or RISC-V. Raises ArtifactError where it is none, is damaged or has no symbols."""
    elftools = need("elftools.elf.elffile", "emulate")
    from elftools.common.exceptions import ELFError

    data = read_file(path, "firmware", limit=1 << 26)
    try:
        elf = elftools.ELFFile(io.BytesIO(data))
        if elf["e_machine"] not in MACHINES or (elf.elfclass, elf.little_endian) != (32, True):
            raise ArtifactError(f"{path} is no 32-bit Arm or RISC-V executable but {elf['e_machine']}; build it for this board", str(path))
        segments = tuple((int(s["p_paddr"]), s.data()) for s in elf.iter_segments("PT_LOAD") if s["p_filesz"])
        table = elf.get_section_by_name(".symtab")
        if table is None:
            raise ArtifactError(f"{path} has no symbols; emulation needs them to tell code from data: do not strip it", str(path))
        entries = [s for s in table.iter_symbols() if isinstance(s["st_shndx"], int)]
        sections = {i: s for i, s in enumerate(elf.iter_sections())}
        code = _code_ranges(entries, sections)
    except (ELFError, ValueError, KeyError, UnicodeDecodeError, OverflowError) as error:
        raise ArtifactError(f"{path} is not an ELF file, or is damaged ({error}); build the firmware again", str(path)) from error
    if sum(len(d) for _, d in segments) > MAX_BYTES or not code:
        raise ArtifactError(f"{path} holds no code, or more than any board does; build the firmware again", str(path))
    named = (s for s in entries if s["st_info"]["type"] == "STT_FUNC" and s.name)
    held = {s.name: (s["sh_addr"], s["sh_addr"] + s["sh_size"]) for s in sections.values() if s["sh_flags"] & ALLOCATED and s["sh_size"]}
    of_data = (s for s in entries if s["st_info"]["type"] in ("STT_OBJECT", "STT_FUNC") and s["st_size"] and s.name)
    for s in of_data:
        start = s["st_value"] & ~1 if s["st_info"]["type"] == "STT_FUNC" else s["st_value"]
        held[s.name] = (start, start + s["st_size"])
    symbols = sorted((Symbol(s.name, s["st_value"] & ~1, s["st_size"]) for s in named), key=lambda s: s.address)
    return FirmwareImage(segments, code, tuple(symbols), held)


def _code_ranges(entries: list[Any], sections: dict[int, Any]) -> tuple[Range, ...]:
    """Where functions and marks of code agree: data-only sections carry no marks, so that a last $t runs on into tables."""
    marks: dict[int, list[tuple[int, str]]] = {}
    for symbol in entries:
        if symbol.name[:2] in ("$t", "$d", "$a", "$x") and symbol.name[2:3] in ("", ".", "r"):  # "$xrv32imc": with these extensions
            marks.setdefault(symbol["st_shndx"], []).append((symbol["st_value"], symbol.name[1]))
    thumb: list[Range] = []
    for index, found in marks.items():
        found.sort()
        ends = [address for address, _ in found[1:]] + [sections[index]["sh_addr"] + sections[index]["sh_size"]]
        thumb += [(address, end) for (address, kind), end in zip(found, ends, strict=True) if kind in "tx" and end > address]
    return _overlaps(sorted(thumb), _union(_function_extents(entries)))


def _function_extents(entries: list[Any]) -> list[Range]:
    """Function symbols by address; one without a size reaches to the next symbol."""
    starts = sorted({s["st_value"] & ~1 for s in entries})
    extents = []
    for symbol in entries:
        if symbol["st_info"]["type"] == "STT_FUNC":
            start = symbol["st_value"] & ~1
            after = bisect.bisect_right(starts, start)
            end = start + symbol["st_size"] if symbol["st_size"] or after == len(starts) else starts[after]
            extents.append((start, end))
    return sorted(extents)


def _union(ranges: list[Range]) -> list[Range]:
    """Sorted ranges, overlapping ones merged."""
    merged: list[Range] = []
    for start, end in ranges:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _overlaps(left: list[Range], right: list[Range]) -> tuple[Range, ...]:
    pairs = ((max(a, c), min(b, d)) for a, b in left for c, d in right if a < d and c < b)
    return tuple(sorted(r for r in pairs if r[0] < r[1]))
