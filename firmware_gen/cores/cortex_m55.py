"""Arm Cortex-M55 as an Armv8-M Mainline core with the DSP extension: its firmware uses neither Helium nor low-overhead branches."""

from __future__ import annotations

from dataclasses import replace

from edgechaos.firmware_gen.cores import cortex_m33

CORE = replace(
    cortex_m33.CORE,
    title="Cortex-M55",
    zig=("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m55-mve_fp-mve-lob"),
    # GCC 12 cannot be told to leave low-overhead branches out.
    unicorn="",
    cycles=None,  # the Cortex-M55 Technical Reference Manual (101051) publishes no table
)
