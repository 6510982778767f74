"""RISC-V RV32IMC: 32-bit integers, multiplication and division, compressed instructions. Portable kernels."""

from __future__ import annotations

from edgechaos.firmware_gen.core import Core, Costs, InstructionSet

CORE = Core(
    title="RV32IMC",
    zig=("-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m+c", "-mno-relax"),
    gcc=("-march=rv32imc", "-misa-spec=2.2", "-mabi=ilp32", "-mcmodel=medany", "-msmall-data-limit=0"),
    # Fitted by `python benchmarks/crossover.py rv32-virt`.
    costs=Costs(5.0, 0.0, 0.0, event_active_mac=2.5, event_active=12.0, event_input=4.0, event_output=14.0, event=0.0),
    conv_costs=Costs(5.0, 9.5, 3.5, event_active_mac=2.5, event_active=9.7, event_input=16.6, event_output=23.3, event=98.0),
    instructions=InstructionSet(
        "RV32IMC",
        modes=("RISCV32", "RISCVC"),
        lacks={
            "RISCV_GRP_HASSTDEXTA": "atomic instructions",
            "RISCV_GRP_HASSTDEXTF": "floating point",
            "RISCV_GRP_HASSTDEXTD": "floating point",
        },
        architecture="RISCV",
    ),
    qemu="qemu-system-riscv32",
    startup="riscv",
    gcc_program="riscv64-unknown-elf-gcc",
    work=4,
)
