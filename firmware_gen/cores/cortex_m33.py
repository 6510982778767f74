"""Arm Cortex-M33 with the DSP extension: Armv8-M Mainline. The kernels are those of the Cortex-M4, and so are their costs."""

from __future__ import annotations

from dataclasses import replace

from edgechaos.firmware_gen.core import Cycles, CycleTable, InstructionSet
from edgechaos.firmware_gen.cores import cortex_m4

_LACKS = {group: name for group, name in cortex_m4.CORE.instructions.lacks.items() if group != "ARM_GRP_V8"}
CORE = replace(
    cortex_m4.CORE,
    title="Cortex-M33",
    zig=("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m33+dsp"),
    gcc=("-mcpu=cortex-m33", "-mthumb", "-mfloat-abi=soft"),
    instructions=InstructionSet("Armv8-M Mainline", modes=("THUMB", "MCLASS", "V8"), lacks=_LACKS),
    unicorn="UC_CPU_ARM_CORTEX_M33",
    # Pairs of short instructions may issue together, a load may hide behind what follows: the low edge. The high edge is the Cortex-M4's.
    cycles=CycleTable(
        {
            **cortex_m4.CYCLES,
            "alu": Cycles(0.5, 1, 1),
            "load": Cycles(1, 1.5, 2),
            "pipelined": Cycles(0, 0, 0),  # within the band of load
            "address_stalls": Cycles(0, 0, 1),
        },
        "a band around the Cortex-M4's figures: the Cortex-M33 Technical Reference Manual (100230) publishes no table",
    ),
)
