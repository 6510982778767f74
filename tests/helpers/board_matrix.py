"""Models on every emulated board, by every compiler of its core: the integers of the reference, clean and under faults, or why not.

Shared by tests/devices/test_board_matrix.py and `python benchmarks/matrix.py --boards`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edgechaos.devices.emulators.device import EmulatedDevice, EmulatorDevice, QemuDevice
from edgechaos.devices.emulators.unicorn.machine import is_emulated
from edgechaos.export.verify import device_backend, verify
from edgechaos.faults.plan import FaultPlan
from edgechaos.firmware_gen.board import Board, board_names, load_board
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.firmware_gen.projects.elf import build
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import BuildError, FaultError, UnsupportedError
from tests.helpers.matrix import plans

CLEAN_ITEMS, FAULTY_ITEMS = 100, 20
EMULATORS: Mapping[str, type[EmulatorDevice]] = {"qemu": QemuDevice, "unicorn": EmulatedDevice}


@dataclass(frozen=True, slots=True)
class Target:
    """A board in an emulator, and who compiles for it."""

    emulator: str
    board: str
    compiler: str

    def __str__(self) -> str:
        return f"{self.emulator}:{self.board}, {self.compiler}"


@dataclass(frozen=True, slots=True)
class Found:
    """Integers compared and how many differ; why the model does not fit, where it does not; plans that the board refused."""

    target: Target
    integers: int = 0
    mismatches: int = 0
    misfit: str = ""
    refused: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """In a table's cell."""
        refused = f", {len(self.refused)} plan(s) refused: {self.refused[0]}" if self.refused else ""
        return f"refused: {self.misfit}" if self.misfit else f"{self.mismatches} of {self.integers:,}{refused}"


def targets() -> tuple[Target, ...]:
    """Every emulated board with zig, on QEMU with the GCC of its core too."""
    found = []
    for board in map(load_board, board_names()):
        found += [Target("unicorn", board.name, "zig")] if is_emulated(board) else []
        found += [Target("qemu", board.name, compiler) for compiler in ("zig", gcc_of(board))] if board.qemu else []
    return tuple(found)


def gcc_of(board: Board) -> str:
    """The compiler that takes the core's flags for GCC."""
    return "riscv-gcc" if board.core.gcc_program.startswith("riscv") else "gcc"


def compared(graph: IntegerGraph, target: Target, items: Mapping[str, NDArray[Any]], **draws: Any) -> Found:
    """items: codes by head, of which the first 100 are compared clean and the first 20 under a plan of each kind of fault."""
    integers = mismatches = 0
    refused: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            elf = build(generate(graph, load_board(target.board)), folder, target.compiler).elf
        except (BuildError, UnsupportedError) as error:
            return Found(target, misfit=_why(error))
        with EMULATORS[target.emulator](graph, elf, target.board) as device:
            backends = {str(target): device_backend(device)}
            for head, codes in items.items():
                for name, plan in (("clean", FaultPlan()), *plans(graph)):
                    some = codes[: FAULTY_ITEMS if plan.faults else CLEAN_ITEMS]
                    try:
                        seen = verify(graph, some, backends, ((name, plan),), head=head, **draws)
                    except FaultError as error:
                        refused.append(str(error).splitlines()[0])
                    else:
                        integers += seen.integers
                        mismatches += sum(c.mismatches for c in seen.comparisons)
    return Found(target, integers, mismatches, refused=tuple(refused))


def _why(error: Exception) -> str:
    lines = str(error).splitlines()
    return next((line.strip() for line in lines if "overflowed" in line or "region" in line), lines[0])
