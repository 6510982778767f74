"""Joules per inference: instructions by class, times a core's cycles, times a board's published energy per cycle.

Instruction counts are exact, from an emulator, between the edges that a meter would gate on. Nothing here is a measurement, and
every figure says so. Formulas, tables and what the band covers: docs/energy.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.core import Core, Cycles
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import ChaosLayer
from edgechaos.support.errors import EdgeChaosError

BOLTZMANN_J_PER_K = 1.380649e-23
"""Exact since the SI of 2019."""
ORIGIN = "modelled from emulated counts"
FLASH_STALLS = 1.3
"""Upper edge of what flash wait states add; the lower edge is none. CMSIS-NN at 5 of them takes 1.28 of the most (docs/energy.md)."""
DTYPE_BITS = {"int8": 8, "int16": 16, "uint16": 16, "int32": 32}


@dataclass(frozen=True, slots=True)
class BoardEnergy:
    """Published energy per core cycle of a board, in joules, where it was published, its clock and its core."""

    board: str
    clock_hz: int
    energy_per_cycle_j: float
    source: str
    core: Core


@dataclass(frozen=True, slots=True)
class EnergyEstimate:
    """Joules of one inference with the band of the cycle model; cycles and joules belong together edge by edge.

    clock_hz: of the board; `latency_s` divides the cycles by it.
    """

    energy_j: float
    low_j: float
    high_j: float
    cycles: Cycles
    clock_hz: int
    board: str
    origin: str
    source: str

    def to_json(self) -> dict[str, Any]:
        """Value, band, origin and source."""
        figures = {"value_j": self.energy_j, "low_j": self.low_j, "high_j": self.high_j}
        return {**figures, "board": self.board, "origin": self.origin, "source": self.source}

    def latency_s(self) -> Cycles:
        """Seconds of one inference at the board's clock: cycles / clock, modelled like the joules."""
        return Cycles(*(edge / self.clock_hz for edge in (self.cycles.low, self.cycles.usual, self.cycles.high)))


def board_energy(name: str) -> BoardEnergy:
    """The energy figures of a board file. Raises ConfigError (no such board), EdgeChaosError (no figures for it)."""
    board = load_board(name)
    if board.energy is None or board.core.cycles is None:
        what = "states no energy per cycle" if board.energy is None else f"has a {board.core.title}, of which no cycle table is published"
        raise EdgeChaosError(f"board '{name}' {what}; choose another one as energy.board, for example stm32l4r5")
    return BoardEnergy(
        name, board.clock_hz, board.energy.nj_per_cycle * 1e-9, f"{board.core.cycles.source}; {board.energy.source}", board.core
    )


def cycles_of(instructions: Mapping[str, float], core: Core) -> Cycles:
    """Cycles of a mix: sums over classes; the upper edge also carries FLASH_STALLS.

    Raises EdgeChaosError for a core without a table, and a class without a figure: leaving it out would understate the energy.
    """
    classes = core.cycles.classes if core.cycles else {}
    unknown = sorted(instructions.keys() - classes.keys())
    if unknown:
        raise EdgeChaosError(f"the cycle table of {core.title} has no figure for {', '.join(unknown)}; it knows {', '.join(classes)}")
    low, usual, high = (
        sum(count * getattr(classes[name], edge) for name, count in instructions.items()) for edge in ("low", "usual", "high")
    )
    return Cycles(low, usual, high * FLASH_STALLS)


def energy_per_inference(instructions: Mapping[str, float], board: BoardEnergy) -> EnergyEstimate:
    """E = e_cycle * sum_class n_class * cycles_class, in joules. instructions: per inference."""
    cycles = cycles_of(instructions, board.core)
    low, usual, high = (edge * board.energy_per_cycle_j for edge in (cycles.low, cycles.usual, cycles.high))
    return EnergyEstimate(usual, low, high, cycles, board.clock_hz, board.board, ORIGIN, board.source)


def bits_overwritten(graph: IntegerGraph, head: str | None = None) -> int:
    """Bits of values that one inference must overwrite, whatever executes it: every tensor's words, every tick's state.

    A stateful layer rewrites a 16-bit membrane and a 16-bit refractoriness per neuron and tick. Registers, addresses and
    partial sums are an implementation's and are not counted: the figure is a floor.
    """
    bits = 0
    for node in graph.path(head):
        tensor = graph.tensors[node.output]
        bits += tensor.size * DTYPE_BITS[tensor.dtype]
        if isinstance(node, ChaosLayer) and node.mode == "stateful":
            bits += node.ticks * math.prod(tensor.shape) * 32
    return bits


def landauer_bound(bits: int, temperature_k: float = 300.0) -> float:
    """The least energy that overwriting `bits` bits dissipates: bits * k * T * ln 2, in joules (Landauer 1961)."""
    return bits * BOLTZMANN_J_PER_K * temperature_k * math.log(2)
