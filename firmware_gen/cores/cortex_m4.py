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
    kernels=(
        *(
            KERNELS / "armv7em" / f"{name}.S"
            for name in ("ec_conv_quads", "ec_add_spikes", "ec_conv_sums", "ec_list_codes", "ec_list_tokens", "ec_widen")
        ),
        KERNELS / "armv7m" / "ec_add_rows.S",
    ),
    # Counted in an emulator as clang -O2 compiles the kernels (`make bench` repeats the count).
    costs=Costs(2.0, 0.0, 0.0, event_active_mac=1.25, event_active=12.0, event_input=3.0, event_output=14.0, event=0.0),
    # Of one window, gathering included: fitted to 1x28x28 -> 8, 16, 8x14x14 -> 16 and 16x14x14 -> 32 channels (3x3) at activities of
    # 20, 50 and 100 %. The dense counts lie within 6 % of the fit, the event-driven ones within 6 %.
    conv_costs=Costs(1.05, 9.5, 3.5, event_active_mac=1.15, event_active=9.7, event_input=16.6, event_output=23.3, event=98.0),
    # The same of convolutions in pairs, within 16 % of the counts of `python benchmarks/crossover.py`.
    pair_costs=Costs(0.73, 2.26, 28.67, event_active_mac=0.76, event_active=21.33, event_input=15.9, event_output=52.85, event=145.06),
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
