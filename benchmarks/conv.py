"""Instructions per multiply-accumulate of single convolutions on the emulated Cortex-M4, by kernel and weight width.

A generated model is linked with a main function that runs its convolution alone; every executed instruction is counted, and the
accumulators are compared with the NumPy reference before a count is printed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from elftools.elf.elffile import ELFFile
from numpy.typing import NDArray
from unicorn import UC_ARCH_ARM, UC_HOOK_CODE, UC_MODE_THUMB, Uc, arm_const

from edgechaos import reference
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.generate import Firmware, generate
from edgechaos.firmware_gen.plan.kernels import Choice
from edgechaos.firmware_gen.projects.elf import write_sources
from edgechaos.firmware_gen.toolchains.zig import zig_cc
from edgechaos.graph.heads import Encoding, Head
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.argmax import ArgMax
from edgechaos.graph.kinds.conv import Conv
from edgechaos.graph.kinds.readout import Readout
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.tensors import Constant, Tensor

BOARD = load_board("mps2-an386")
SHAPES = ((1, 28, 28, 8), (1, 28, 28, 16), (8, 14, 14, 16), (16, 14, 14, 32))
"""Input channels, height, width, output channels; 3x3, padded by 1."""
COLUMNS: tuple[tuple[int, Choice], ...] = ((8, "dense"), (8, "event"), (4, "event"), (2, "event"))
REACH = {8: 127, 4: 7, 2: 1}
MAIN = """#include "conv.h"
#include "ec_conv.h"
#include "conv.c"

conv_state bench_state;
conv_state *volatile bench_where = &bench_state;

void bench_entry(void)
{
    conv_state *const state = bench_where;
    const ec_run one = {.scratch = &state->scratch}, *const run = &one;
    CALL
    for (;;)
        __asm__ volatile("wfi");
}

int main(void)
{
    return 0;
}
"""


def convolution(channels: int, height: int, width: int, outputs: int, bits: int) -> IntegerGraph:
    """A valid graph around one convolution; what follows it is not run here."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-REACH[bits], REACH[bits] + 1, (outputs, channels, 3, 3)).astype(np.int8)
    size = outputs * height * width
    tensors = {
        "image": Tensor("image", "int8", (channels, height, width)),
        "acc": Tensor("acc", "int32", (outputs, height, width)),
        "codes": Tensor("codes", "int8", (outputs, height, width)),
        "logits": Tensor("logits", "int32", (2,)),
        "label": Tensor("label", "uint16", (1,)),
    }
    constants = {
        "weight": Constant(weight, bits, (0.02,)),
        "bias": Constant(rng.integers(-80, 81, outputs).astype(np.int32), 32),
        "multiplier": Constant(np.array([2**30], np.int32), 32),
        "shift": Constant(np.array([40], np.int32), 32),
        "readout_weight": Constant(np.ones((2, size), np.int8), 8, (0.02,)),
        "readout_bias": Constant(np.zeros(2, np.int32), 32),
    }
    nodes = (
        Conv("conv0", "image", "acc", weight="weight", bias="bias", stride=(1, 1), pad=(1, 1)),
        Requantize("rescale", "acc", "codes", multiplier="multiplier", shift="shift", low=-128, high=127),
        Readout("readout", "codes", "logits", weight="readout_weight", bias="readout_bias"),
        ArgMax("argmax", "logits", "label"),
    )
    head = Head("main", "image", "logits", "label", ("a", "b"), Encoding("codes"))
    return IntegerGraph("conv", tensors, constants, nodes, (head,)).validate()


def compile_alone(firmware: Firmware, folder: Path) -> Path:
    """An ELF whose entry runs the convolution and waits."""
    write_sources(firmware, folder)
    (call,) = (line.strip() for line in (folder / "src/conv.c").read_text().splitlines() if line.lstrip().startswith("ec_conv(&"))
    (folder / "src/bench.c").write_text(MAIN.replace("CALL", call))
    sources = [p for p in firmware.sources if p not in ("src/conv.c", "src/main.c")]
    flags = [flag for flag in firmware.flags if not flag.startswith("-Wl,-e")]
    zig_cc([*flags, "-Wl,-e,bench_entry", "-Isrc", *sources, "src/bench.c", "-o", "bench.elf"], folder)
    return folder / "bench.elf"


def count(elf: Path, codes: NDArray[np.int8], words_at: int, input_at: int, size: int) -> tuple[int, NDArray[np.int32]]:
    """Instructions from entry to `wfi`, and the accumulators."""
    machine = Uc(UC_ARCH_ARM, UC_MODE_THUMB)
    machine.ctl_set_cpu_model(getattr(arm_const, BOARD.core.unicorn))
    for region in (BOARD.flash, BOARD.ram):
        machine.mem_map(region.origin, region.bytes)
    with elf.open("rb") as stream:
        image = ELFFile(stream)
        for segment in image.iter_segments():
            if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]:
                for address in {segment["p_paddr"], segment["p_vaddr"]}:
                    machine.mem_write(address, segment.data())
        symbols = {s.name: s["st_value"] for s in image.get_section_by_name(".symtab").iter_symbols()}
    state = symbols["bench_state"]
    machine.mem_write(state + input_at, codes.tobytes())
    machine.reg_write(arm_const.UC_ARM_REG_SP, BOARD.ram.origin + BOARD.ram.bytes - 64)
    executed = [0]

    def step(machine: Uc, address: int, size: int, user: object) -> None:
        executed[0] += 1

    machine.hook_add(UC_HOOK_CODE, step)
    machine.emu_start(symbols["bench_entry"] | 1, 0xFFFFFFFE)
    return executed[0], np.frombuffer(bytes(machine.mem_read(state + words_at, 4 * size)), np.int32)


def per_mac(shape: tuple[int, int, int, int], bits: int, kernel: Choice) -> float:
    """Instructions per MAC. Raises SystemExit where the sums are not the reference's."""
    graph = convolution(*shape, bits)
    codes = np.random.default_rng(1).integers(1, 128, shape[:3]).astype(np.int8)
    firmware = generate(graph, BOARD, kernel=kernel, faults=False)
    size = graph.tensors["acc"].size
    with tempfile.TemporaryDirectory() as folder:
        elf = compile_alone(firmware, Path(folder))
        words = 4 * max(firmware.plan.pools["words"], 1)
        executed, sums = count(elf, codes, 4 * firmware.plan.places["acc"].first, words, size)
    if not np.array_equal(sums, reference.run(graph, codes[None], keep=("acc",)).tensors["acc"].reshape(-1)):
        raise SystemExit(f"{shape}, {bits} bits, {kernel}: not the reference's integers: no count of it means anything")
    return executed / (size * shape[0] * 9)


def main() -> None:
    """Print the table."""
    print("channels, image".ljust(20), *(f"{bits} bits {kernel}".rjust(14) for bits, kernel in COLUMNS))
    for shape in SHAPES:
        name = f"{shape[0]} to {shape[3]}, {shape[1]}x{shape[2]}"
        print(name.ljust(20), *(f"{per_mac(shape, bits, kernel):14.2f}" for bits, kernel in COLUMNS), flush=True)


if __name__ == "__main__":
    main()
