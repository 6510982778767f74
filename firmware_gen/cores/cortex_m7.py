"""Arm Cortex-M7: Armv7E-M that issues two instructions together. The kernels are those of the Cortex-M4, and so are their counts."""

from __future__ import annotations

from dataclasses import replace

from edgechaos.firmware_gen.core import Cycles, CycleTable
from edgechaos.firmware_gen.cores import cortex_m4

CORE = replace(
    cortex_m4.CORE,
    title="Cortex-M7",
    zig=("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m7"),
    gcc=("-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=soft"),
    unicorn="UC_CPU_ARM_CORTEX_M7",
    # Two of most instructions issue together, and branches are predicted: the low edge. The high edge is the Cortex-M4's.
    cycles=CycleTable(
        {
            **cortex_m4.CYCLES,
            "alu": Cycles(0.5, 0.75, 1),
            "mul_mac": Cycles(0.5, 1, 1),
            "load": Cycles(0.5, 1, 2),
            "pipelined": Cycles(0, 0, 0),  # within the band of load
            "store": Cycles(0.5, 1, 2),
            "address_stalls": Cycles(0, 0, 1),
            "branch_taken": Cycles(0.5, 1, 4),
            "branch_not_taken": Cycles(0.5, 1, 1),
        },
        "a band around the Cortex-M4's figures: the Cortex-M7 Technical Reference Manual (DDI 0489) publishes no table",
    ),
)
