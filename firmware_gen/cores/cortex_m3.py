"""Arm Cortex-M3: Armv7-M, without the DSP extension. The event-driven kernels are those of the Cortex-M4."""

from __future__ import annotations

from dataclasses import replace

from edgechaos.firmware_gen.core import Costs, Cycles, CycleTable, InstructionSet
from edgechaos.firmware_gen.cores import cortex_m4
from edgechaos.firmware_gen.places import KERNELS

# Arm DDI 0403 (Armv7-M), table A5-1 and the DSP extension's instructions, of which the disassembler's group lacks some.
_DSP = (
    "[su]xta|[su]xtb16|pkh|q(d?add|d?sub|asx|sax)|[su]h?(add|sub)(8|16)|[su]h?(asx|sax)|uq(add|sub|asx|sax)|sel|[su]sat16|umaal|usad"
    "|smlal?[bt][bt]|smlal?d|smlaw|smls|smm|smu[as]|smul[btw][bt]"
)
CORE = replace(
    cortex_m4.CORE,
    title="Cortex-M3",
    zig=("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m3"),
    gcc=("-mcpu=cortex-m3", "-mthumb", "-mfloat-abi=soft"),
    kernels=(KERNELS / "armv7m" / "ec_add_rows.S",),
    costs=Costs(4.0, 0.0, 0.0, event_active_mac=1.25, event_active=12.0, event_input=3.0, event_output=14.0, event=0.0),
    conv_costs=Costs(4.0, 9.5, 3.5, event_active_mac=1.15, event_active=9.7, event_input=16.6, event_output=23.3, event=98.0),
    pair_costs=None,
    instructions=InstructionSet(
        "Armv7-M",
        only=rf"(?!\d ({_DSP})).*",
        lacks={
            "ARM_GRP_THUMB2DSP": "the DSP extension",
            "ARM_GRP_VFP2": "floating point",
            **cortex_m4.CORE.instructions.lacks,
        },
    ),
    unicorn="UC_CPU_ARM_CORTEX_M3",
    work=3,
    # A multiplication takes one cycle, an accumulating one two, a long one three to seven.
    cycles=CycleTable(
        {**cortex_m4.CYCLES, "mul_mac": Cycles(1, 2, 7)},
        "Arm Cortex-M3 Technical Reference Manual (DDI 0337), table 3-1 and load/store timings, zero wait states",
    ),
)
