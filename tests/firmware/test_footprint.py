"""What pixels takes of a small core: RAM with the stack as far as it was used, with the HIL server and without; code without tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.emulators.firmware_image import load_elf
from edgechaos.devices.emulators.libraries import hook_library
from edgechaos.devices.emulators.unicorn.machine import EmulatedMachine
from edgechaos.devices.kinds.unicorn import emulated_firmware
from edgechaos.devices.registry import open_device
from edgechaos.firmware_gen.board import Board, load_board
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.firmware_gen.projects.elf import Built, build
from edgechaos.firmware_gen.projects.inference import without_server
from edgechaos.graph.artifact import load
from tests.helpers.places import ROOT

PIXELS = load(ROOT / "benchmarks" / "pixels.ecm")
CODES = np.random.default_rng(1).integers(0, 128, (4, 784)).astype(np.int8)
HOST_LIBRARY = hook_library()


def used(stack: bytes) -> int:
    """Bytes from the first that was ever written: RAM comes up as zeros."""
    return len(stack) - int(np.flatnonzero(np.frombuffer(stack, np.uint8))[0])


def inference_only(board: Board, folder: Path, compiler: str = "zig") -> Built:
    return build(without_server(generate(PIXELS, board, faults=False)), folder, compiler)


def answers(machine: EmulatedMachine) -> None:
    """The integers of the reference, each inference between two edges of the pin."""
    wanted = reference.run(PIXELS, CODES)
    for k, codes in enumerate(CODES):
        answered = machine.exchange(codes.tobytes(), 10**9)
        assert answered.stopped is None
        assert len(answered.windows) == 1
        assert int.from_bytes(answered.sent[:2], "little") == wanted.labels[k]
        np.testing.assert_array_equal(np.frombuffer(answered.sent[2:], "<i4"), wanted.logits[k])


def test_the_server_with_64_patch_rows_takes_less_than_8_kb() -> None:
    board = "mps2-an386,patch_capacity=64"
    elf = emulated_firmware(PIXELS, board)
    with open_device(f"unicorn:{board}", PIXELS) as device:
        device.infer(CODES)
        start, end = load_elf(elf).region(".stack")
        stack = used(device.read_memory(start, end - start))  # type: ignore[attr-defined]
    image = load_elf(elf)
    ram = sum(e - s for name, (s, e) in image.regions.items() if name in (".data", ".bss", ".noinit")) + stack
    assert 4000 < ram < 8192, f"{ram} bytes, {stack} of them stack"


@pytest.mark.parametrize("board", ["mps2-an386", "mps2-an385", "mps2-cortex-m0"])
def test_inference_alone_has_the_integers_and_takes_less_than_4_kb(board: str, tmp_path: Path) -> None:
    built = inference_only(load_board(board), tmp_path)
    image = load_elf(built.elf)
    machine = EmulatedMachine(image, load_board(board), HOST_LIBRARY)
    machine.power_on(10**9)
    answers(machine)
    start, end = image.region(".stack")
    ram = built.ram_bytes - built.stack_bytes + used(machine.read_memory(start, end - start))
    assert 3000 < ram < 4096, f"{ram} bytes"


@pytest.mark.parametrize("compiler", ["zig", "gcc"])
def test_small_code_is_small(compiler: str, tmp_path: Path) -> None:
    """At -Os, main program, port and start-up with it; no assembly, whose loops are unrolled."""
    board = replace(load_board("mps2-an386"), flags=("-Os",))
    image = load_elf(inference_only(board, tmp_path, compiler).elf)
    code = sum(end - start for start, end in image.code)
    assert 1000 < code < 3072, f"{code} bytes"
    machine = EmulatedMachine(image, board, HOST_LIBRARY)
    machine.power_on(10**9)
    answers(machine)
