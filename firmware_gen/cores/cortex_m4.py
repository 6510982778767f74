"""Arm Cortex-M4: Armv7E-M."""

from __future__ import annotations

from edgechaos.firmware_gen.core import Core, Costs, Cycles, CycleTable, InstructionSet
from edgechaos.firmware_gen.places import KERNELS

CYCLES = {
    "alu": Cycles(1, 1, 1),
    "mul_mac": Cycles(1, 1, 1),
    "div": Cycles(2, 7, 12),
    "load": Cycles(2, 2, 2),
    "pipelined": Cycles(-1, -1, -1),  # a neighbour of a load, see EXTRAS
    "literal_loads": Cycles(0, 0, 1),  # "might add a cycle because of contention with the fetch unit"
    "store": Cycles(1, 1, 2),  # with an immediate "always one cycle"; the second where the write buffer is full
    "register_stores": Cycles(1, 1, 1),
    "address_stalls": Cycles(0, 1, 1),  # "no forwarding path for this scenario"
    "load_store_multiple": Cycles(1, 1, 1),  # 1 + N, LDRD and STRD with N = 2, never pipelined
    "multiple_registers": Cycles(1, 1, 1),
    "branch_taken": Cycles(2, 3, 4),  # 1 + P, P = 1 to 3 to refill the pipeline
    "branch_not_taken": Cycles(1, 1, 1),
    "table_branches": Cycles(1, 3, 3),  # 2 + P in the table, "at least six" in the text
    "pc_loads": Cycles(1, 2, 3),  # P
    "fp": Cycles(1, 1, 14),  # VDIV and VSQRT take 14, VMLA 3
    "other": Cycles(1, 1, 4),
}
CORE = Core(
    title="Cortex-M4",
    # Integers only: without the FPU there is nothing to enable at start-up and nothing to save on exceptions.
    zig=("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m4"),
    gcc=("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft"),
    kernels=tuple(path for folder in ("armv7em", "armv7m") for path in sorted((KERNELS / folder).glob("*.S"))),
    # `python benchmarks/crossover.py`, within 23 % of its counts: lists of few or scattered events cost more than the fit.
    costs=Costs(1.48, 6.46, 57.69, event_active_mac=1.12, event_active=5.13, event_input=0.99, event_output=11.19, event=610.36),
    quad_costs=Costs(0.85, 1.64, 8.53, event_active_mac=1.12, event_active=5.13, event_input=0.99, event_output=11.19, event=82.05),
    spike_costs=Costs(0.85, 1.64, 8.53, event_active_mac=0.64, event_active=6.0, event_input=0.4, event_output=6.0, event=150.0),
    # Of one window, gathering included, and of one in pairs: `python benchmarks/crossover.py`, within 4 % of its counts.
    conv_costs=Costs(1.01, 13.98, 22.73, event_active_mac=0.76, event_active=6.7, event_input=27.91, event_output=37.87, event=112.02),
    pair_costs=Costs(0.76, 0.98, 22.51, event_active_mac=0.83, event_active=5.36, event_input=26.45, event_output=37.87, event=87.48),
    instructions=InstructionSet(
        "Armv7E-M",
        lacks={
            "ARM_GRP_DPVFP": "double-precision floating point",
            "ARM_GRP_NEON": "NEON",
            "ARM_GRP_V8": "Armv8-M",
            "ARM_GRP_CRYPTO": "cryptography",
            "ARM_GRP_FPARMV8": "Armv8 floating point",
        },
    ),
    unicorn="UC_CPU_ARM_CORTEX_M4",
    cycles=CycleTable(
        CYCLES,
        "Arm Cortex-M4 Technical Reference Manual (100166), table 3-1 and load/store timings, zero wait states",
    ),
)
