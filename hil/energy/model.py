"""Joules per inference: instructions by class, times a core's cycles, times a board's published energy per cycle.

Instruction counts are exact, from an emulator, between the edges that a meter would gate on. Nothing here is a measurement, and
every figure says so. Formulas, tables and what the band covers: docs/energy.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edgechaos.firmware_gen.board import load_board
from edgechaos.graph.integer_graph import ChaosLayer, IntegerGraph
from edgechaos.support.errors import EdgeChaosError

BOLTZMANN_J_PER_K = 1.380649e-23
"""Exact since the SI of 2019."""
ORIGIN = "modelled from emulated counts"
FLASH_STALLS = 1.25
"""Upper edge of what wait states behind a flash accelerator add on such cores; the lower edge is no stall."""
DTYPE_BITS = {"int8": 8, "int16": 16, "uint16": 16, "int32": 32}


@dataclass(frozen=True, slots=True)
class Cycles:
    """Cycles of one instruction: fewest, usual, most."""

    low: float
    usual: float
    high: float


@dataclass(frozen=True, slots=True)
class CycleModel:
    """Cycles per instruction class of one core (`edgechaos.devices.emulators.instruction_classes`), and where they are published."""

    core: str
    classes: Mapping[str, Cycles]
    source: str

    def cycles(self, instructions: Mapping[str, float]) -> Cycles:
        """Cycles of a mix: sums over classes; the upper edge also carries FLASH_STALLS.

        Raises EdgeChaosError for a class without a figure: leaving it out would understate the energy.
        """
        unknown = sorted(instructions.keys() - self.classes.keys())
        if unknown:
            raise EdgeChaosError(f"cycle model of {self.core} has no figure for {', '.join(unknown)}; it knows {', '.join(self.classes)}")
        low, usual, high = (
            sum(count * getattr(self.classes[name], edge) for name, count in instructions.items()) for edge in ("low", "usual", "high")
        )
        return Cycles(low, usual, high * FLASH_STALLS)


@dataclass(frozen=True, slots=True)
class BoardEnergy:
    """Published energy per core cycle of a board, in joules, where it was published, its clock, and the cycle model of its core."""

    board: str
    clock_hz: int
    energy_per_cycle_j: float
    source: str
    model: CycleModel


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

    def latency_s(self) -> Cycles:
        """Seconds of one inference at the board's clock: cycles / clock, modelled like the joules."""
        return Cycles(*(edge / self.clock_hz for edge in (self.cycles.low, self.cycles.usual, self.cycles.high)))


def board_energy(name: str) -> BoardEnergy:
    """The energy figures of a board file. Raises ConfigError (no such board), EdgeChaosError (no figures for it)."""
    board = load_board(name)
    if board.energy is None or board.cpu not in CYCLE_MODELS:
        what = "states no energy per cycle" if board.energy is None else f"has a {board.cpu}, which has no cycle model"
        raise EdgeChaosError(f"board '{name}' {what}; choose another one as energy.board, for example stm32l4r5")
    return BoardEnergy(name, board.clock_hz, board.energy.nj_per_cycle * 1e-9, board.energy.source, CYCLE_MODELS[board.cpu])


def energy_per_inference(instructions: Mapping[str, float], board: BoardEnergy) -> EnergyEstimate:
    """E = e_cycle * sum_class n_class * cycles_class, in joules. instructions: per inference."""
    cycles = board.model.cycles(instructions)
    low, usual, high = (edge * board.energy_per_cycle_j for edge in (cycles.low, cycles.usual, cycles.high))
    return EnergyEstimate(usual, low, high, cycles, board.clock_hz, board.board, ORIGIN, f"{board.model.source}; {board.source}")


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


CORTEX_M4 = CycleModel(
    "cortex-m4",
    MappingProxyType(
        {
            "alu": Cycles(1, 1, 1),
            "mul_mac": Cycles(1, 1, 1),
            "div": Cycles(2, 7, 12),
            "load": Cycles(1, 2, 2),  # neighbours pipeline to one cycle each
            "store": Cycles(1, 1, 2),  # the write buffer hides the second
            "load_store_multiple": Cycles(1, 1, 1),
            "multiple_registers": Cycles(1, 1, 1),
            "branch_taken": Cycles(2, 3, 4),  # 1 + P, P = 1 to 3 to refill the pipeline
            "branch_not_taken": Cycles(1, 1, 1),
            "pc_loads": Cycles(1, 2, 3),  # P
            "fp": Cycles(1, 1, 14),  # VDIV and VSQRT take 14, VMLA 3
            "other": Cycles(1, 1, 4),
        }
    ),
    "Arm Cortex-M4 Technical Reference Manual (100166), table 3-1, zero wait states",
)
CYCLE_MODELS: Mapping[str, CycleModel] = MappingProxyType({model.core: model for model in (CORTEX_M4,)})
"""By core. Cores without a published table per instruction are not here."""
