"""Cycles of instruction sequences, counted by hand from Arm's Cortex-M4 TRM, section 3.3, beside what the emulated stream gives."""

from __future__ import annotations

import pytest

from edgechaos.devices.emulators.firmware_image import load_elf
from edgechaos.devices.emulators.instruction_classes import CLASSES
from edgechaos.devices.emulators.libraries import hook_library
from edgechaos.devices.emulators.unicorn.machine import EmulatedMachine
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.core import cores
from edgechaos.firmware_gen.toolchains.zig import zig_cc
from edgechaos.hil.energy.model import FLASH_STALLS, cycles_of
from tests.helpers.places import C_SOURCES

HEAD = """.syntax unified
.thumb
.section .vectors, "a"
.word stack_top, Reset_Handler
.text
.global Reset_Handler
.type Reset_Handler, %function
.thumb_func
Reset_Handler:
"""
WINDOW = """
 wfi
 ldr r7, =0x40010004
 movs r6, #1
 movs r5, #0
 ldr r1, =0x20000100
 mov r2, r1
 mov r3, r1
 movs r4, #4
 movs r0, #0
 b 9f
 .pool
 .balign 4
9: str r6, [r7]
"""
TAIL = """
 wfi
 b .
 .pool
.size Reset_Handler, . - Reset_Handler
"""
SEQUENCES = {
    # fewest, usual and most cycles, without the store that ends the window (1, 1, 2)
    "one load": ("ldr r0, [r1]", 2, 2, 2),
    "two neighbours": ("ldr r0, [r1]\n ldr r3, [r2]", 3, 3, 3),
    "three neighbours": ("ldr r0, [r1, r4]\n ldr r1, [r2]\n ldr r2, [r3, #4]", 4, 4, 4),
    "its result is the address": ("ldr r0, [r1]\n ldr r3, [r0]", 4, 4, 4),
    "a written-back base is no result": ("ldr r0, [r1], #4\n ldr r3, [r1], #4", 3, 3, 3),
    "something between": ("ldr r0, [r1]\n adds r6, r6, #1\n ldr r3, [r2]", 5, 5, 5),
    "a store with an immediate": ("ldr r0, [r1, r4]\n str r0, [r3, #20]", 3, 3, 4),
    "a store with a register": ("ldr r0, [r1, r4]\n str r6, [r3, r4]", 3, 3, 4),
    "a store with a register alone": ("str r0, [r3, r4]", 2, 2, 3),
    "nothing after a store": ("str r0, [r3]\n ldr r0, [r1]", 3, 3, 4),
    "a pair": ("ldrd r0, r6, [r1]", 3, 3, 3),
    "pairs never pipeline": ("ldr r6, [r2]\n ldrd r0, r3, [r1]\n ldr r0, [r2]", 7, 7, 7),
    "a pair stored": ("strd r0, r6, [r1]", 3, 3, 3),
    "several": ("ldm r1, {r0, r2, r3}\n ldr r0, [r1]", 6, 6, 6),
    "an address just made": ("add r3, r1, #4\n ldr r0, [r3]", 3, 4, 4),
    "an offset just made": ("movs r4, #8\n str r0, [r3, r4]", 3, 4, 5),
    "an address made before": ("add r3, r1, #4\n movs r0, #0\n ldr r0, [r3]", 4, 4, 4),
    "a literal": ("ldr r0, =0x12345678", 2, 2, 3),
    "a loop: its first load follows a branch": ("movs r0, #3\n1: ldr r6, [r1]\n ldr r6, [r2]\n subs r0, #1\n bne 1b", 18, 20, 22),
    "a loop of one load and a branch": ("movs r0, #3\n1: ldr r6, [r1]\n subs r0, #1\n bne 1b", 15, 17, 19),
    "entered between two loads": ("b 2f\n1: ldr r0, [r1]\n2: ldr r3, [r2]\n adds r6, #1\n cmp r6, #3\n bne 1b", 14, 16, 18),
    "a function": ("bl 1f\n b 2f\n1: push {r4, lr}\n pop {r4, pc}\n2: movs r0, #0", 12, 15, 18),
    "a switch": ("movs r0, #1\n tbb [pc, r0]\n1: .byte 1, 1\n2: movs r0, #0", 5, 8, 9),
}


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, int]]:
    """What each sequence counts between two edges: one firmware sleeps before each of them."""
    folder = tmp_path_factory.mktemp("sequences")
    text = HEAD + "".join(f"{WINDOW} {body}\n str r5, [r7]\n" for body, *_ in SEQUENCES.values()) + TAIL
    (folder / "all.S").write_text(text)
    flags = ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m4", "-nostdlib", "-fno-sanitize=all")
    zig_cc([*flags, f"-Wl,-T,{C_SOURCES / 'commands.ld'}", "-Wl,-e,Reset_Handler", "all.S", "-o", "all.elf"], folder)
    machine = EmulatedMachine(load_elf(folder / "all.elf"), load_board("mps2-an386"), hook_library())
    machine.power_on(1000)
    found = {}
    for name in SEQUENCES:
        machine.hooks.clear_counts()
        exchange, found[name] = machine.exchange(b"", 1000), machine.hooks.counts()
        assert exchange.windows == [sum(found[name][kind] for kind in CLASSES)]
    return found


@pytest.mark.parametrize("name", SEQUENCES)
def test_cycles_by_hand(name: str, counted: dict[str, dict[str, int]]) -> None:
    _, *by_hand = SEQUENCES[name]
    cycles = cycles_of(counted[name], cores.load("cortex-m4"))
    assert (cycles.low - 1, cycles.usual - 1, cycles.high / FLASH_STALLS - 2) == pytest.approx(by_hand)
