"""A CPU core: what compilers, kernel planner, emulators and energy model must know of it; a file of `cores/`, or a plug-in's, each.

Instruction classes of a cycle table are those of `edgechaos.devices.emulators.instruction_classes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgechaos.support.registry import Registry, one_of


@dataclass(frozen=True, slots=True)
class Costs:
    """Instructions of one matrix times one vector; `active`: per input that is not 0, the rest in every case.

    active: putting an input on the list; input: finding out that it is 0; output: taking the sums apart; event: once.
    """

    dense_mac: float
    dense_input: float
    dense_output: float
    event_active_mac: float
    event_active: float
    event_input: float
    event_output: float
    event: float


@dataclass(frozen=True, slots=True)
class Cycles:
    """Cycles of one instruction: fewest, usual, most."""

    low: float
    usual: float
    high: float


@dataclass(frozen=True, slots=True)
class CycleTable:
    """Cycles by instruction class, as published in `source`."""

    classes: Mapping[str, Cycles]
    source: str


@dataclass(frozen=True, slots=True)
class InstructionSet:
    """What a core executes: an emulator's model of it may execute more.

    name: of the architecture. architecture, modes: capstone's CS_ARCH_ and CS_MODE_ names without these prefixes. lacks: capstone's groups
    (ARM_GRP_...) that the core has not, and what they are called. only: where it is not "", a regular expression that every instruction
    of an image must match whole, as "LENGTH MNEMONIC OPERANDS" with the length in bytes.
    """

    name: str
    modes: tuple[str, ...] = ("THUMB", "MCLASS")
    lacks: Mapping[str, str] = field(default_factory=dict)
    only: str = ""
    architecture: str = "ARM"


@dataclass(frozen=True, slots=True)
class Core:
    """One core. title: in text. zig, gcc: compilers' flags for it. costs, conv_costs: of the kernels, a convolution's per window.
    pair_costs, quad_costs: of convolutions and matrices whose weights share half words (`plan.pairs`), where the core has those kernels;
    spike_costs: of matrices whose inputs are 0 or 1.

    kernels: assembly that takes the place of a C function, `<function>.S`, such as `ec_add_rows`. unicorn: the CPU model of the
    emulator, a constant of `unicorn.arm_const`; "" where it has none. qemu: the program that emulates boards with it. cycles: None where no
    table is published. work: instructions where a Cortex-M4 takes one, at most, rounded up: bounds of what hangs are multiplied by it.
    startup: the folder of what precedes `main`, in `runtime/startup/`. gcc_program: the GCC that takes the flags of `gcc`.
    """

    title: str
    zig: tuple[str, ...]
    gcc: tuple[str, ...]
    instructions: InstructionSet
    costs: Costs
    conv_costs: Costs
    pair_costs: Costs | None = None
    quad_costs: Costs | None = None
    spike_costs: Costs | None = None
    kernels: tuple[Path, ...] = ()
    unicorn: str = ""
    qemu: str = "qemu-system-arm"
    startup: str = "cortex_m"
    gcc_program: str = "arm-none-eabi-gcc"
    cycles: CycleTable | None = None
    work: int = 1


DEFAULT = "cortex-m4"
"""The core whose kernels the host library runs."""
cores = Registry("core", one_of(Core), folder="edgechaos.firmware_gen.cores", attribute="CORE", group="edgechaos.cores")
