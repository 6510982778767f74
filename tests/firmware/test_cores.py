"""Every core that an emulator runs: the integers of the reference, clean and under faults, by every kernel; only its own instructions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.devices.emulators.firmware_image import load_elf
from edgechaos.devices.emulators.instruction_classes import classify_riscv, map_code
from edgechaos.devices.emulators.unicorn.machine import is_emulated
from edgechaos.export.plans import standard_plans
from edgechaos.faults.plan import apply, resolve
from edgechaos.firmware_gen.board import board_names, load_board
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.firmware_gen.compilers.c.work import most_instructions
from edgechaos.firmware_gen.core import cores
from edgechaos.firmware_gen.plan.kernels import Choice
from edgechaos.firmware_gen.projects.elf import build
from edgechaos.firmware_gen.toolchains.zig import zig_cc
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import UnsupportedError
from tests.helpers.graphs import Spec, chaos_graph
from tests.helpers.mixed_graphs import Mixed, items_for, mixed_graph, normalized_graph
from tests.helpers.places import C_SOURCES

BOARDS = tuple(name for name in board_names() if is_emulated(load_board(name)))
GRAPHS: dict[str, tuple[IntegerGraph, Choice]] = {
    "parallel, dense": (chaos_graph(sizes=(30, 20, 9, 4)), "dense"),
    "parallel, event": (chaos_graph(sizes=(30, 20, 9, 4)), "event"),
    "spikes, more than a list": (chaos_graph(sizes=(30, 284, 36, 70, 4), ticks=2), "event"),
    "spikes, ticks in no words": (chaos_graph(sizes=(30, 21, 20, 4), ticks=2), "event"),
    "stateful": (chaos_graph(Spec(mode="stateful", pixels=False)), "auto"),
    "binomial": (chaos_graph(Spec(sampling="binomial", noise=False)), "auto"),
    "vision, dense": (mixed_graph(Mixed("vision", depth=2)), "dense"),
    "vision, event": (mixed_graph(Mixed("vision", depth=2)), "event"),
    "text": (mixed_graph(Mixed("text")), "auto"),
    "long text, three blocks of columns": (mixed_graph(Mixed("text", length=131, size=48)), "auto"),
    "shared, 4 bits": (mixed_graph(Mixed("shared", bits=4)), "auto"),
    "kwta, 2 bits": (mixed_graph(Mixed("kwta", bits=2)), "auto"),
    "thermal": (mixed_graph(Mixed("thermal")), "auto"),
    "background, event": (normalized_graph(), "event"),
    "dense, two parts of the inputs": (normalized_graph(531, 13), "dense"),
    "dense, not in quads": (normalized_graph(40, 13, lowest=True), "dense"),
    "background, 4 bits": (normalized_graph(bits=4), "auto"),
}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("board", BOARDS)
def test_integers_are_the_references(board: str, name: str, tmp_path: Path) -> None:
    graph, kernel = GRAPHS[name]
    described = load_board(board)
    most, largest = most_instructions(graph, described.patch_capacity) * described.core.work, 0
    with EmulatedDevice(graph, build(generate(graph, described, kernel=kernel), tmp_path).elf, board) as device:
        for title, plan in (("clean", None), *standard_plans(graph)[::4]):
            resolved = resolve(graph, plan) if plan else None
            if resolved:
                device.inject(resolved)
            for head in graph.heads:
                codes = items_for(graph, 8, head=head.name)
                wanted = reference.run(apply(graph, plan) if plan else graph, codes, seed=3, head=head.name)
                found = device.infer(codes, seed=3, head=head.name)
                np.testing.assert_array_equal(found.logits, wanted.logits, err_msg=title)
                np.testing.assert_array_equal(found.labels, wanted.labels, err_msg=title)
                assert found.instructions is not None
                largest = max(largest, int(found.instructions.max()))
    assert 2 * largest < most, "what a core's `work` allows is too little"


@pytest.mark.parametrize("name", ["spikes, more than a list", "background, event", "background, 4 bits"])
def test_kernels_are_shorter_where_size_is_asked_for_and_their_integers_the_same(name: str, tmp_path: Path) -> None:
    """By GCC: zig leaves out the symbols, which an emulator needs, where size is asked for."""
    graph, kernel = GRAPHS[name]
    board = load_board("mps2-an386")
    small, large = (
        build(generate(graph, replace(board, flags=flags), kernel=kernel, faults=False), tmp_path / str(len(flags)), "gcc")
        for flags in (("-Os",), ())
    )
    codes = items_for(graph, 6)
    with EmulatedDevice(graph, small.elf, "mps2-an386") as device:
        np.testing.assert_array_equal(device.infer(codes, seed=3).logits, reference.run(graph, codes, seed=3).logits)
    assert small.flash_bytes < large.flash_bytes - 500


def test_every_core_has_an_emulated_board() -> None:
    boards = [load_board(name) for name in board_names()]
    assert {b.core.title for b in boards if is_emulated(b) or b.qemu} == {cores.load(name).title for name in cores}


FOREIGN = {
    "cortex-m0": ("movw r0, #1000", "sdiv r0, r0, r1", "cbz r0, 1f", "msr basepri, r0", "smlad r0, r0, r1, r0", "ldr.w r0, [r1]"),
    "cortex-m3": ("smlad r0, r0, r1, r0", "sxtab16 r0, r0, r1", "smlabb r0, r1, r0, r1", "uqadd8 r0, r0, r1", "sel r0, r0, r1"),
    "cortex-m4": (".inst.w 0xee310b00",),
    "cortex-m33": (".inst.w 0xee310b00",),
}
OWN = {
    "cortex-m0": ("mrs r0, primask", "msr msp, r0", "dsb", "rev16 r0, r0", "udf #1", "ldrsb r0, [r1, r0]", "cpsid i"),
    "cortex-m3": ("smlal r0, r1, r0, r1", "smull r0, r1, r0, r1", "sxtb r0, r1", "ssat r0, #4, r1", "mls r0, r1, r0, r1", "subs r0, #1"),
    "cortex-m33": ("sg", "sdiv r0, r0, r1", "smlad r0, r0, r1, r0", "msr basepri, r0"),
}
ASSEMBLED = ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m33+dsp", "-nostdlib", "-fno-sanitize=all")


def image_of(instruction: str, folder: Path) -> Path:
    """An ELF that holds the instruction, assembled for a core that has most of them, and a return."""
    head = ".syntax unified\n.thumb\n.text\n.global Reset_Handler\n.type Reset_Handler, %function\n.thumb_func\nReset_Handler:\n"
    (folder / "one.S").write_text(f"{head} {instruction}\n nop\n1: bx lr\n.size Reset_Handler, . - Reset_Handler\n")
    zig_cc([*ASSEMBLED, f"-Wl,-T,{C_SOURCES / 'commands.ld'}", "-Wl,-e,Reset_Handler", "one.S", "-o", "one.elf"], folder)
    return folder / "one.elf"


@pytest.mark.parametrize(("core", "instruction"), [(core, one) for core, found in FOREIGN.items() for one in found])
def test_what_a_core_lacks_is_refused(core: str, instruction: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=rf"Reset_Handler.*which a {cores.load(core).title} lacks"):
        map_code(load_elf(image_of(instruction, tmp_path)), cores.load(core))


@pytest.mark.parametrize(("core", "instruction"), [(core, one) for core, found in OWN.items() for one in found])
def test_what_a_core_has_is_not(core: str, instruction: str, tmp_path: Path) -> None:
    assert map_code(load_elf(image_of(instruction, tmp_path)), cores.load(core)).length.any()


@pytest.mark.parametrize(
    ("mnemonic", "kind"), [("c.lwsp", "load"), ("lbu", "load"), ("c.sw", "store"), ("sb", "store"), ("mulh", "mul_mac")]
)
def test_classes_of_riscv(mnemonic: str, kind: str) -> None:
    assert classify_riscv(mnemonic) == kind
    assert [classify_riscv(name) for name in ("c.beqz", "jalr", "lui", "sltu", "remu", "csrrs", "c.addi")] == [
        *("branch", "branch", "alu", "alu", "div", "other", "alu"),
    ]
