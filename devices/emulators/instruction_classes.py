"""Instructions by class: what an energy model needs to know of a core's code, found once per image.

What the core does not have is refused. Disassembly is capstone's. Timing that the classes must tell apart: Arm Cortex-M4 Technical
Reference Manual (DDI 0439, 100166), section 3.3, instruction timings and load/store timings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.devices.contract import EXTRAS
from edgechaos.devices.emulators.firmware_image import FirmwareImage
from edgechaos.firmware_gen.core import Core
from edgechaos.support.errors import UnsupportedError
from edgechaos.support.extras import need

CLASSES = (
    "alu",  # data processing, moves, shifts, saturation, IT, parallel add and subtract
    "mul_mac",  # 32-bit multiplies and multiply-accumulates, SIMD ones included
    "div",  # SDIV, UDIV: 2 to 12 cycles
    "load",  # one word or less
    "store",
    "load_store_multiple",  # LDM, STM, PUSH, POP, LDRD, STRD, VLDM, VSTM; their registers are counted beside
    "branch_taken",
    "branch_not_taken",
    "fp",  # floating-point arithmetic and moves
    "other",  # WFI, barriers, MSR, MRS, CPS, NOP, hints
)
"""Each instruction executed counts in exactly one of these; a predicated one counts whether or not its condition held."""

DATA_PROCESSING = ("alu", "mul_mac", "div")
BRANCH = len(CLASSES)
"""Class number of a branch before it is known whether it was taken."""

_MULTIPLE = ("ldm", "stm", "push", "pop", "ldrd", "strd", "vldm", "vstm", "vpush", "vpop")
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
    """Per halfword from `base` on: `length` in halfwords (0: no instruction starts here), class, and by name of EXTRAS how many.

    length, kind, beside, read, written: uint8, all of the same size, which spans every code range of the image. read, written: bytes of
    memory that the instruction there moves.
    """

    base: int
    length: NDArray[np.uint8]
    kind: NDArray[np.uint8]
    beside: Mapping[str, NDArray[np.uint8]]
    read: NDArray[np.uint8]
    written: NDArray[np.uint8]

    def before(self) -> NDArray[np.uint32]:
        """Instructions that start before each halfword, one entry more than halfwords: differences count a block exactly."""
        return np.concatenate([[0], np.cumsum(self.length > 0)]).astype(np.uint32)


def map_code(image: FirmwareImage, core: Core) -> CodeMap:
    """Classify every instruction of the image.

    Raises UnsupportedError where one is not the core's: an emulator executes more than the silicon does.
    """
    capstone = need("capstone", "emulate")
    own = core.instructions
    names = need(f"capstone.{own.architecture.lower()}", "emulate")
    modes = sum(getattr(capstone, f"CS_MODE_{mode}") for mode in own.modes)
    machine = capstone.Cs(getattr(capstone, f"CS_ARCH_{own.architecture}"), modes)
    machine.detail = True
    unknown = [group for group in own.lacks if not hasattr(names, group)]
    if unknown:
        where = f"capstone.{own.architecture.lower()}"
        raise UnsupportedError(f"core '{core.title}': capstone has no group {', '.join(unknown)}; see {where} for those there are")
    lacking = {getattr(names, group): name for group, name in own.lacks.items()}
    accesses = _Accesses.of if own.architecture == "ARM" else _Accesses.of_riscv
    base = image.code[0][0]
    halfwords = (max(end for _, end in image.code) - base) // 2
    length, kind, read, written = (np.zeros(halfwords, np.uint8) for _ in range(4))
    code = CodeMap(base, length, kind, {name: np.zeros(halfwords, np.uint8) for name in EXTRAS}, read, written)
    for start, end in image.code:
        at, previous = start, None
        for insn in machine.disasm(image.read(start, end - start), start):
            _refuse_foreign(image, insn, core, lacking)
            found = accesses(insn, names)
            _enter(code, insn.address, insn.size, found, previous)
            at, previous = insn.address + insn.size, found
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


@dataclass(frozen=True, slots=True)
class _Accesses:
    """What pairs of instructions are timed by. address: registers of its address; listed: registers that it moves."""

    kind: str
    name: str
    written: frozenset[int]
    result: int
    address: frozenset[int]
    indexed: bool
    listed: int
    pc: int

    @classmethod
    def of(cls, insn: Any, arm: Any) -> _Accesses:
        name, operands = insn.mnemonic, insn.operands
        kind = classify(name)
        memory = next((o.mem for o in operands if o.type == arm.ARM_OP_MEM), None)
        address, listed = {memory.base, memory.index} if memory else set(), 0
        if kind == "load_store_multiple" and memory:
            listed = 2  # LDRD, STRD
        elif kind == "load_store_multiple":
            # LDM and STM name their base register too; PUSH and POP do not.
            own = not name.lstrip("v").startswith(("push", "pop"))
            listed, address = len(operands) - own, {operands[0].reg if own else arm.ARM_REG_SP}
        result = operands[0].reg if kind == "load" and name.startswith("ldr") else 0
        written = frozenset(insn.regs_access()[1])
        return cls(kind, name, written, result, frozenset(address - {0}), bool(memory and memory.index), listed, arm.ARM_REG_PC)

    @classmethod
    def of_riscv(cls, insn: Any, names: Any) -> _Accesses:
        """No table times pairs of RISC-V instructions."""
        kind = classify_riscv(insn.mnemonic)
        return cls(kind, insn.mnemonic, frozenset(), 0, frozenset(), False, 0, 0)


def _enter(code: CodeMap, address: int, size: int, insn: _Accesses, previous: _Accesses | None) -> None:
    at = (address - code.base) // 2
    code.length[at] = size // 2
    code.kind[at] = BRANCH if insn.kind == "branch" else CLASSES.index(insn.kind)
    into_pc = insn.kind in ("load", "load_store_multiple") and insn.pc in insn.written
    indexed_store = insn.kind == "store" and insn.indexed
    after_load = previous is not None and previous.result and previous.result not in insn.address
    made_address = previous is not None and previous.kind in DATA_PROCESSING and not previous.written.isdisjoint(insn.address)
    beside = {
        "multiple_registers": insn.listed,
        "register_stores": indexed_store,
        "literal_loads": insn.kind == "load" and insn.pc in insn.address,
        "table_branches": insn.name in ("tbb", "tbh"),
        "pc_loads": into_pc,
        # An STR with an immediate takes one cycle in any case.
        "pipelined": after_load and (indexed_store or (insn.result and not into_pc)),
        "address_stalls": made_address and insn.kind in ("load", "store", "load_store_multiple"),
    }
    for name, value in beside.items():
        code.beside[name][at] = value
    if insn.kind in ("load", "store", "load_store_multiple"):
        moved = code.read if insn.name.lstrip("v").startswith(("ld", "pop")) else code.written
        moved[at] = 4 * insn.listed or _width(insn.name)


def _width(mnemonic: str) -> int:
    """Bytes that a load or store of one register moves."""
    name = mnemonic.removesuffix(".w").removesuffix("ex").removesuffix("t")
    return {"b": 1, "h": 2}.get(name[-1], 4)


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


def classify_riscv(mnemonic: str) -> str:
    """The class of a RISC-V mnemonic, or "branch". A mnemonic that is not in any list is data processing."""
    name = mnemonic.removeprefix("c.")
    if name.startswith(("mul", "div", "rem")):
        return "mul_mac" if name.startswith("mul") else "div"
    if name.startswith(("fence", "ecall", "ebreak", "wfi", "csr", "mret", "nop", "unimp", "rd")):
        return "other"
    if name.startswith(("b", "j", "ret", "call", "tail")):
        return "branch"
    width = name.removesuffix("sp").removesuffix("u")
    return "load" if width in ("lb", "lh", "lw") else "store" if width in ("sb", "sh", "sw") else "alu"


def _is_branch(name: str) -> bool:
    if name.startswith(_BRANCHES):
        return True
    stem = next((s for s in ("blx", "bl", "bx", "b") if name.startswith(s) and name[len(s) :] in _CONDITIONS), None)
    return stem is not None


_CONDITIONS = ("", "eq", "ne", "hs", "cs", "lo", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le", "al")


class ClassCounts:
    """Sums over an image's instructions: what about them depends on the code alone is found once."""

    def __init__(self, code: CodeMap) -> None:
        starts = np.flatnonzero(code.length)
        self._kind = code.kind[starts]
        self._branches = self._kind == BRANCH
        self.after = 1 + np.flatnonzero(starts[:-1] + code.length[starts[:-1]] == starts[1:])
        self._beside: list[tuple[str, list[str], NDArray[np.float64]]] = []
        for often in dict.fromkeys(EXTRAS.values()):
            at = starts[self.after] if often == "sequential" else starts
            names = [name for name, of in EXTRAS.items() if of == often]
            self._beside.append((often, names, np.array([code.beside[name][at] for name in names], float)))

    def sequential(self, executed: NDArray[np.int64]) -> NDArray[np.int64]:
        """How often control came from the instruction before, of those that have one: nothing that begins a pair branches."""
        return np.minimum(executed[..., self.after - 1], executed[..., self.after])

    def sums(self, executed: NDArray[np.int64], taken: NDArray[np.int64], sequential: NDArray[np.int64] | None = None) -> dict[str, int]:
        """executed: (instructions,) how often each ran. taken: (instructions,) how often control left it for another place than the next.

        sequential: as of `sequential`, where these are a part of all that ran. Keys: CLASSES, whose sum is all instructions, then EXTRAS.
        Sums stay below 2^53, where floats are exact.
        """
        totals = np.bincount(self._kind, weights=executed, minlength=BRANCH + 1)
        counts = {name: int(totals[i]) for i, name in enumerate(CLASSES)}
        jumped = int(taken[self._branches].sum())
        counts["branch_taken"], counts["branch_not_taken"] = jumped, int(totals[BRANCH]) - jumped
        sequential = self.sequential(executed) if sequential is None else sequential
        often = {"executed": executed, "taken": taken, "sequential": sequential}
        found = {n: int(v) for of, names, beside in self._beside for n, v in zip(names, (beside @ often[of]).tolist(), strict=True)}
        return counts | {name: found[name] for name in EXTRAS}
