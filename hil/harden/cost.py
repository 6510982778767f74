"""What a model costs as a product, without fault hooks: flash and RAM of its ELF, instructions of an inference in the emulator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.firmware_gen.projects.elf import build
from edgechaos.graph.integer_graph import IntegerGraph

COUNTED_ITEMS = 32


@dataclass(frozen=True, slots=True)
class Cost:
    """flash_bytes, ram_bytes: of the ELF, the stack included. instructions: emulated, mean over `items` inferences."""

    board: str
    flash_bytes: int
    ram_bytes: int
    instructions: float
    items: int


def cost_of(graph: IntegerGraph, codes: NDArray[Any], folder: Path, board: str, head: str | None = None) -> Cost:
    """Built into `folder` for an emulated board. codes: (n, *input shape), of which the first COUNTED_ITEMS are run."""
    built = build(generate(graph, load_board(board), faults=False), folder)
    with EmulatedDevice(graph, built.elf, board) as device:
        counted = device.infer(codes[:COUNTED_ITEMS], head=head).instructions
    assert counted is not None  # an emulator counts
    return Cost(board, built.flash_bytes, built.ram_bytes, float(counted.mean()), len(counted))
