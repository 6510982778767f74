"""Arm Cortex-M0: Armv6-M, 16-bit Thumb and six longer instructions; no division, no long multiplication, no unaligned access."""

from __future__ import annotations

from edgechaos.firmware_gen.core import Core, Costs, Cycles, CycleTable, InstructionSet

# Arm DDI 0419 (Armv6-M), chapter A5. An emulator's Cortex-M0 also runs CBZ and reads BASEPRI.
_SHORT = (
    "adcs|adds?|adr|ands|asrs|b(eq|ne|hs|cs|lo|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)?|bics|bkpt|blx|bx|cmn|cmp|cps(id|ie)|eors|ldm|ldrs?[bh]|ldr"
    "|lsls|lsrs|movs?|muls|mvns|nop|orrs|pop|push|rev(16|sh)?|rsbs|sbcs|sev|stm|str[bh]?|subs?|svc|sxt[bh]|trap|tst|udf|uxt[bh]|wfe|wfi|yield"
)
_STATUS = "i?e?a?psr|xpsr|iepsr|msp|psp|primask|control"
CORE = Core(
    title="Cortex-M0",
    zig=("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m0"),
    gcc=("-mcpu=cortex-m0", "-mthumb", "-mfloat-abi=soft"),
    # Fitted by `python benchmarks/crossover.py mps2-cortex-m0`, within 18 and 15 %.
    costs=Costs(5.12, -3.95, 313.0, event_active_mac=8.4, event_active=29.4, event_input=11.0, event_output=14.6, event=0.0),
    conv_costs=Costs(9.24, 29.6, 84.4, event_active_mac=6.58, event_active=67.1, event_input=31.8, event_output=218.0, event=179.0),
    instructions=InstructionSet(
        "Armv6-M", only=rf"2 ({_SHORT})(\.n)?( .*)?|4 (bl|dmb|dsb|isb|udf\.w)( .*)?|4 msr ({_STATUS}), .*|4 mrs \w+, ({_STATUS})"
    ),
    unicorn="UC_CPU_ARM_CORTEX_M0",
    work=4,
    cycles=CycleTable(
        {
            "alu": Cycles(1, 1, 1),
            "mul_mac": Cycles(1, 1, 32),  # as the chip's maker chose the multiplier
            "div": Cycles(0, 0, 0),  # it has none
            "load": Cycles(2, 2, 2),
            "store": Cycles(2, 2, 2),
            **dict.fromkeys(("pipelined", "register_stores", "literal_loads", "address_stalls"), Cycles(0, 0, 0)),  # no pairs
            "table_branches": Cycles(0, 0, 0),  # it has none
            "load_store_multiple": Cycles(1, 1, 1),
            "multiple_registers": Cycles(1, 1, 1),
            "branch_taken": Cycles(3, 3, 4),  # BL 4
            "branch_not_taken": Cycles(1, 1, 1),
            "pc_loads": Cycles(3, 3, 3),
            "fp": Cycles(0, 0, 0),  # it has none
            "other": Cycles(1, 2, 4),  # NOP 1, WFI 2, barriers and system registers 4
        },
        "Arm Cortex-M0 Technical Reference Manual (DDI 0432), table 3-1, zero wait states",
    ),
)
