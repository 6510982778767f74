"""Arm Cortex-M33 with the DSP extension: Armv8-M Mainline. The kernels are those of the Cortex-M4, and so are their costs."""

from __future__ import annotations

from dataclasses import replace

from edgechaos.firmware_gen.core import InstructionSet
from edgechaos.firmware_gen.cores import cortex_m4

_LACKS = {group: name for group, name in cortex_m4.CORE.instructions.lacks.items() if group != "ARM_GRP_V8"}
CORE = replace(
    cortex_m4.CORE,
    title="Cortex-M33",
    zig=("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m33+dsp"),
    gcc=("-mcpu=cortex-m33", "-mthumb", "-mfloat-abi=soft"),
    instructions=InstructionSet("Armv8-M Mainline", modes=("THUMB", "MCLASS", "V8"), lacks=_LACKS),
    unicorn="UC_CPU_ARM_CORTEX_M33",
    cycles=None,  # its Technical Reference Manual (100230) publishes none
)
