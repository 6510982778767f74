"""Which layer an instruction works for: read off the debug information of a firmware, and off who called it.

The model's file calls a function per layer. What the compiler put in that place belongs to the layer by itself; what stands apart, a
kernel that several layers share, belongs to the one whose call led there. Where the compiler merged the calls of several heads, nothing
says whose they are, and they count as outside. Source: DWARF 4, sections 3.3.8 (inlined subroutines) and 6.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.devices.contract import OUTSIDE, HotLine, Part, Profile
from edgechaos.devices.emulators.firmware_image import FirmwareImage
from edgechaos.devices.emulators.instruction_classes import BRANCH, ClassCounts, CodeMap
from edgechaos.support.errors import ArtifactError
from edgechaos.support.extras import need

CALLER = 255
"""Of an instruction that works for whichever layer called it."""
SERVER = ("main.c", "startup.c", "ec_server.c", "ec_frame.c", "ec_repair.c", "ec_model.c")
"""Files whose code works for no layer, as does that of a port."""
HOTTEST = 20


@dataclass(frozen=True, slots=True)
class Attribution:
    """Of each instruction: the number of its layer in `layers`, the first of which is OUTSIDE, or CALLER; and its line.

    calls: (address, layer) of the instructions that lead out of a layer's own code.
    """

    layers: tuple[str, ...]
    of: NDArray[np.uint8]
    calls: tuple[tuple[int, int], ...]
    lines: tuple[str, ...]


@dataclass(slots=True)
class _Lines:
    """By address: the line that it was compiled from, the line of the model that it was put in the place of, the unit it stands in."""

    of: dict[int, tuple[str, int]] = field(default_factory=dict)
    inlined: dict[int, int] = field(default_factory=dict)
    unit: dict[int, str] = field(default_factory=dict)


def attribute(elf: Path, image: FirmwareImage, code: CodeMap, source: str, layers: Mapping[int, str]) -> Attribution:
    """source: the model's file. layers: by its lines. Raises ArtifactError for firmware without debug information."""
    starts = np.flatnonzero(code.length)
    addresses: list[int] = (code.base + 2 * starts).tolist()
    names = (OUTSIDE, *dict.fromkeys(layers.values()))
    number = {line: names.index(name) for line, name in layers.items()}
    model = Path(source).name
    found = _read(elf, {(model, line) for line in number}, addresses)
    outside = (model, *SERVER)
    of, before, function = np.full(len(addresses), CALLER, np.uint8), 0, ""
    for k, address in enumerate(addresses):
        here = image.where(address).split("+")[0]
        before, function = (before, here) if here == function else (0, here)
        unit = found.unit.get(address, "")
        if unit in outside or unit.startswith("port_"):
            file, line = found.of.get(address, ("", 0))
            if address in found.inlined:
                before = number[found.inlined[address]]
            elif file == model and line in number:
                before = number[line]
            elif line and (file in outside or file.startswith("port_")):
                before = 0
            of[k] = before  # a line that is not known is that of its neighbour
    lines = tuple(f"{place[0]}:{place[1]}" if (place := found.of.get(a)) else "" for a in addresses)
    return Attribution(names, of, tuple(_calls(image, code, addresses, of)), lines)


def _read(elf: Path, calls: Set[tuple[str, int]], addresses: list[int]) -> _Lines:
    elftools = need("elftools.elf.elffile", "emulate")
    lines = _Lines()
    with elf.open("rb") as stream:
        file = elftools.ELFFile(stream)
        if not file.has_dwarf_info() or not any(s.name.startswith(".debug_info") for s in file.iter_sections()):
            raise ArtifactError(f"{elf} has no debug information, which says what its instructions are for; build it with -g", str(elf))
        dwarf = file.get_dwarf_info()
        known = np.array(addresses)
        for unit in dwarf.iter_CUs():
            top = unit.get_top_DIE()
            name = Path(top.attributes["DW_AT_name"].value.decode(errors="replace")).name
            program = dwarf.line_program_for_CU(unit)
            files = [Path(f.name.decode(errors="replace")).name for f in program["file_entry"]] if program else []
            for start, end, where in _line_runs(program, addresses[0]):
                for address in known[np.searchsorted(known, start) : np.searchsorted(known, end)].tolist():
                    lines.of[address] = files[where.file - 1], int(where.line or 0)
            for die in top.iter_children():
                if die.tag == "DW_TAG_subprogram":
                    for address in _addresses(dwarf, die, known):
                        lines.unit[address] = name
                    _inlined(dwarf, die, calls, files, known, lines)
    return lines


def _line_runs(program: Any, lowest: int) -> Iterator[tuple[int, int, Any]]:
    """Of functions that are there: those that the linker left out begin at 0, below the lowest instruction."""
    previous, first = None, 0
    for entry in program.get_entries() if program else ():
        if entry.state is None:
            continue
        if previous is None:
            first = entry.state.address
        elif first >= lowest:
            yield previous.address, entry.state.address, previous
        previous = None if entry.state.end_sequence else entry.state


def _inlined(dwarf: Any, die: Any, calls: Set[tuple[str, int]], files: list[str], known: NDArray[np.int64], lines: _Lines) -> None:
    for child in die.iter_children():
        if child.tag == "DW_TAG_inlined_subroutine" and "DW_AT_call_file" in child.attributes:
            place = files[child.attributes["DW_AT_call_file"].value - 1], child.attributes["DW_AT_call_line"].value
            if place in calls:
                for address in _addresses(dwarf, child, known):
                    lines.inlined[address] = place[1]
        if child.tag in ("DW_TAG_inlined_subroutine", "DW_TAG_lexical_block"):
            _inlined(dwarf, child, calls, files, known, lines)


def _addresses(dwarf: Any, die: Any, known: NDArray[np.int64]) -> Iterator[int]:
    for start, end in _ranges(dwarf, die):
        if start >= known[0]:  # the linker left out what begins below
            yield from known[np.searchsorted(known, start) : np.searchsorted(known, end)].tolist()


def _ranges(dwarf: Any, die: Any) -> Iterator[tuple[int, int]]:
    attributes = die.attributes
    if "DW_AT_high_pc" in attributes:
        low, high = attributes["DW_AT_low_pc"].value, attributes["DW_AT_high_pc"]
        yield low, high.value if high.form == "DW_FORM_addr" else low + high.value
    elif "DW_AT_ranges" in attributes:
        base = die.cu.get_top_DIE().attributes.get("DW_AT_low_pc")
        start = base.value if base else 0
        for entry in dwarf.range_lists().get_range_list_at_offset(attributes["DW_AT_ranges"].value, die.cu):
            if hasattr(entry, "base_address"):
                start = entry.base_address
            else:
                yield start + entry.begin_offset, start + entry.end_offset


def _calls(image: FirmwareImage, code: CodeMap, addresses: list[int], of: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Branches out of code that has a layer into code that has that of its caller, and all whose target is in a register."""
    layer = dict(zip(addresses, of.tolist(), strict=True))
    for address in addresses:
        at = (address - code.base) // 2
        if layer[address] != CALLER and code.kind[at] == BRANCH:
            words = image.read(address, 2 * int(code.length[at]))
            target = branch_target(address, words)
            if layer.get(target, CALLER) == CALLER if target is not None else words[1] == 0x47 and words[0] >= 0x80:
                yield address, layer[address]


def branch_target(address: int, words: bytes) -> int | None:
    """Where a B or BL without a condition goes; None for any other instruction. Arm DDI 0403, A7.7.12 and A7.7.18."""
    first = int.from_bytes(words[:2], "little")
    if len(words) == 2:
        short = first & 0x7FF
        return address + 4 + 2 * (short - (short >> 10 << 11)) if first >> 11 == 0b11100 else None
    second = int.from_bytes(words[2:], "little")
    if first >> 11 != 0b11110 or second & 0x9000 != 0x9000:
        return None
    sign = first >> 10 & 1
    bits = ((second >> 13 & 1) ^ sign ^ 1) << 1 | ((second >> 11 & 1) ^ sign ^ 1)
    offset = (sign << 24 | bits << 22 | (first & 0x3FF) << 12 | (second & 0x7FF) << 1) - (sign << 25)
    return address + 4 + offset


def profile_of(image: FirmwareImage, code: CodeMap, sites: Attribution, parts: NDArray[np.int64], inferences: int) -> Profile:
    """parts: (layers, 3, instructions + 1), as `Hooks.parts`, a part for what each layer called. Sums over it are those over all."""
    starts = np.flatnonzero(code.length)
    classes, into_pc = ClassCounts(code), code.beside["pc_loads"][starts] > 0
    executed, taken = np.cumsum(parts[:, 0] - parts[:, 1], axis=1)[:, :-1], parts[:, 2, 1:]
    sequential = _sequential(classes, executed, sites.of)
    executed, taken = (_by_layer(rows, sites.of) for rows in (executed, taken))
    functions = np.array([image.where(a).split("+")[0] for a in (code.base + 2 * starts).tolist()])
    found = []
    for k, layer in enumerate(sites.layers):
        for function in dict.fromkeys(functions[(executed[k] > 0)].tolist()):
            inside = functions == function
            ran = executed[k] * inside
            counts = classes.sums(ran, taken[k] * inside, sequential[k] * inside[classes.after])
            moving = np.where(into_pc, taken[k] * inside, ran)  # a return that is predicated reads where it is taken
            moved = (int(moving @ side[starts].astype(np.int64)) for side in (code.read, code.written))
            found.append(Part(layer, function, counts, *moved))
    total = executed.sum(axis=0)
    hot: dict[tuple[str, str], int] = {}
    for line, function, count in zip(sites.lines, functions.tolist(), total.tolist(), strict=True):
        hot[line, function] = hot.get((line, function), 0) + count
    ranked = sorted(hot.items(), key=lambda item: (-item[1], item[0]))[:HOTTEST]
    lines = tuple(HotLine(line, function, count) for (line, function), count in ranked if count)
    return Profile(inferences, tuple(found), lines)


def _by_layer(rows: NDArray[np.int64], of: NDArray[np.uint8]) -> NDArray[np.int64]:
    """What has a layer of its own counts there, whatever part it was counted in."""
    own = np.flatnonzero(of != CALLER)
    moved = rows.copy()
    moved[:, own] = 0
    moved[of[own], own] = rows[:, own].sum(axis=0)
    return moved


def _sequential(classes: ClassCounts, executed: NDArray[np.int64], of: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pairs by layer, whose sum is that of the whole: where the pair began in another part, it counts where it ends."""
    whole, rows = classes.sequential(executed.sum(axis=0)), _by_layer(executed, of)
    pairs = classes.sequential(rows)
    rest = whole - pairs.sum(axis=0)
    last = np.argmax(rows[:, classes.after], axis=0)
    np.add.at(pairs, (last, np.arange(len(last))), rest)
    return pairs
