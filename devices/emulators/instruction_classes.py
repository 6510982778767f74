"""Instructions by class: what an energy model needs to know of a core's code, found once per image.

What the core does not have is refused. Disassembly is capstone's. Timing that the classes must tell apart: Arm DDI 0439, Cortex-M4
TRM, section 3.3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.devices.emulators.firmware_image import FirmwareImage
from edgechaos.firmware_gen.core import Core
from edgechaos.support.errors import UnsupportedError
from edgechaos.support.extras import need

CLASSES = (
    "alu",  # data processing, moves, shifts, saturation, IT, parallel add and subtract
    "mul_mac",  # 32-bit multiplies and multiply-accumulates, SIMD ones included
    "div",  # SDIV, UDIV: 2 to 12 cycles
    "load",  # one word or less, or a pair (LDRD)
    "store",
    "load_store_multiple",  # LDM, STM, PUSH, POP, VLDM, VSTM; their registers are counted beside
    "branch_taken",
    "branch_not_taken",
    "fp",  # floating-point arithmetic and moves
    "other",  # WFI, barriers, MSR, MRS, CPS, NOP, hints
)
"""Each instruction executed counts in exactly one of these; a predicated one counts whether or not its condition held."""

EXTRAS = ("multiple_registers", "pc_loads")
"""Counted beside the classes: registers moved by load_store_multiple; loads and pops into PC, which refill the pipeline."""

BRANCH = len(CLASSES)
"""Class number of a branch before it is known whether it was taken."""

_MULTIPLE = ("ldm", "stm", "push", "pop", "vldm", "vstm", "vpush", "vpop")
_MULTIPLY = ("mul", "mla", "mls", "smul", "smla", "smls", "smmul", "smmla", "smmls", "smua", "smus", "umul", "umla", "umaal")
_OTHER = (
    "wf",
    "sev",
    "yield",
    "dsb",
    "dmb",
    "isb",
    "msr",
    "mrs",
    "cps",
    "nop",
    "svc",
    "bkpt",
    "udf",
    "dbg",
    "clrex",
    "hint",
    "pld",
    "pli",
    "mcr",
    "mrc",
    "vmsr",
    "vmrs",
    "cdp",
)
_BRANCHES = ("tbb", "tbh", "cbz", "cbnz")


@dataclass(frozen=True, slots=True, eq=False)
class CodeMap:
    """Per halfword from `base` on: `length` in halfwords (0: no instruction starts here), class, registers, loads PC.

    length, kind, registers: uint8; loads_pc: bool; all of the same size, which spans every code range of the image.
    """

    base: int
    length: NDArray[np.uint8]
    kind: NDArray[np.uint8]
    registers: NDArray[np.uint8]
    loads_pc: NDArray[np.bool_]

    def before(self) -> NDArray[np.uint32]:
        """Instructions that start before each halfword, one entry more than halfwords: differences count a block exactly."""
        return np.concatenate([[0], np.cumsum(self.length > 0)]).astype(np.uint32)


def map_code(image: FirmwareImage, core: Core) -> CodeMap:
    """Classify every instruction of the image.

    Raises UnsupportedError where one is not the core's: an emulator executes more than the silicon does.
    """
    capstone = need("capstone", "emulate")
    arm = need("capstone.arm", "emulate")
    machine = capstone.Cs(capstone.CS_ARCH_ARM, sum(getattr(capstone, f"CS_MODE_{mode}") for mode in core.instructions.modes))
    machine.detail = True
    unknown = [group for group in core.instructions.lacks if not hasattr(arm, group)]
    if unknown:
        raise UnsupportedError(f"core '{core.title}': capstone has no group {', '.join(unknown)}; see capstone.arm for those there are")
    lacking = {getattr(arm, group): name for group, name in core.instructions.lacks.items()}
    base = image.code[0][0]
    halfwords = (max(end for _, end in image.code) - base) // 2
    length, kind, registers = (np.zeros(halfwords, np.uint8) for _ in range(3))
    code = CodeMap(base, length, kind, registers, np.zeros(halfwords, bool))
    for start, end in image.code:
        at = start
        for insn in machine.disasm(image.read(start, end - start), start):
            _refuse_foreign(image, insn, core, lacking)
            _enter(code, insn, arm.ARM_REG_PC)
            at = insn.address + insn.size
        if at + 2 <= end:
            word = image.read(at, 2).hex()
            raise UnsupportedError(
                f"{image.where(at)}: {word}... at {at:#010x} is no {core.instructions.name} instruction; build for {core.title}"
            )
    return code


def _refuse_foreign(image: FirmwareImage, insn: Any, core: Core, lacking: dict[int, str]) -> None:
    text, only = f"{insn.mnemonic} {insn.op_str}".rstrip(), core.instructions.only
    what = next((lacking[group] for group in insn.groups if group in lacking), None)
    if what is None and only and not re.fullmatch(only, f"{insn.size} {text}"):
        what = f"more than {core.instructions.name}"
    if what is not None:
        raise UnsupportedError(f"{image.where(insn.address)}: '{text}' needs {what}, which a {core.title} lacks; build for {core.title}")


def _enter(code: CodeMap, insn: Any, pc: int) -> None:
    at = (insn.address - code.base) // 2
    name = insn.mnemonic
    code.length[at] = insn.size // 2
    kind = classify(name)
    _, written = insn.regs_access()
    if kind == "load_store_multiple":
        # LDM and STM name their base register too; PUSH and POP do not.
        listed = len(insn.operands) - (0 if name.lstrip("v").startswith(("push", "pop")) else 1)
        code.registers[at] = listed
    if kind in ("load", "load_store_multiple") and pc in written:
        code.loads_pc[at] = True
    code.kind[at] = BRANCH if kind == "branch" else CLASSES.index(kind)


def classify(mnemonic: str) -> str:
    """The class of a Thumb mnemonic, or "branch". A mnemonic that is not in any list is data processing."""
    name = mnemonic.removesuffix(".w").removesuffix(".n")
    if name.startswith(_MULTIPLE):
        return "load_store_multiple"
    if name.startswith(("ldr", "vldr", "ldc")):
        return "load"
    if name.startswith(("str", "vstr", "stc")):
        return "store"
    if name.startswith(_OTHER):
        return "other"
    if name.startswith("v"):
        return "fp"
    if name.startswith(("sdiv", "udiv")):
        return "div"
    if name.startswith(_MULTIPLY):
        return "mul_mac"
    return "branch" if _is_branch(name) else "alu"


def _is_branch(name: str) -> bool:
    if name.startswith(_BRANCHES):
        return True
    stem = next((s for s in ("blx", "bl", "bx", "b") if name.startswith(s) and name[len(s) :] in _CONDITIONS), None)
    return stem is not None


_CONDITIONS = ("", "eq", "ne", "hs", "cs", "lo", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le", "al")


def counts_by_class(code: CodeMap, executed: NDArray[np.int64], taken: NDArray[np.int64]) -> dict[str, int]:
    """Sums over an image.

    executed: (halfwords,) how often the instruction there ran. taken: (halfwords,) how often control left it for another
    place than the next instruction. Keys: CLASSES, whose sum is all instructions, then EXTRAS.
    """
    starts = code.length > 0
    totals = np.bincount(code.kind[starts], weights=executed[starts], minlength=BRANCH + 1).astype(np.int64)
    branches = starts & (code.kind == BRANCH)
    jumped = int(taken[branches].sum())
    counts = {name: int(totals[i]) for i, name in enumerate(CLASSES)}
    counts["branch_taken"], counts["branch_not_taken"] = jumped, int(totals[BRANCH]) - jumped
    counts["multiple_registers"] = int((executed * code.registers).sum())
    counts["pc_loads"] = int(taken[starts & code.loads_pc].sum())
    return counts
