"""Convolutions of every geometry, with the dense and the event-driven kernel, and which of the two is cheaper."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.firmware_gen.plan.kernels import Choice, crossover
from edgechaos.firmware_gen.projects.elf import build
from edgechaos.graph.heads import Encoding
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.conv import Conv
from edgechaos.graph.kinds.readout import Readout
from tests.firmware.test_firmware_exact import NATIVE
from tests.firmware.test_firmware_nodes import check
from tests.helpers.emulated import BOARD, check_on_a_cortex_m4, portable
from tests.helpers.firmware_host import library
from tests.helpers.mixed_graphs import Builder

pytestmark = pytest.mark.slow

GEOMETRIES = (
    # image, outputs, kernel, stride, pad
    ((1, 9, 9), 3, (3, 3), (1, 1), (1, 1)),
    ((2, 6, 5), 5, (3, 3), (1, 1), (0, 0)),  # rows of 3 positions: narrower than a block
    ((3, 5, 1), 2, (2, 1), (1, 1), (1, 0)),
    ((2, 9, 13), 1, (3, 2), (2, 2), (2, 1)),
    ((1, 4, 20), 4, (1, 5), (3, 4), (0, 4)),
    ((5, 7, 7), 6, (2, 2), (1, 1), (1, 1)),
    # three columns wide at steps of 1: in pairs on cores that have the kernel
    ((2, 5, 14), 8, (3, 3), (1, 1), (1, 1)),
    ((1, 4, 15), 4, (3, 3), (1, 1), (1, 1)),
    ((3, 7, 31), 7, (2, 3), (2, 1), (0, 1)),  # two strips, the second of two columns
    ((4, 3, 62), 2, (3, 3), (1, 1), (2, 2)),  # three strips
    ((2, 3, 2), 5, (1, 3), (1, 1), (0, 2)),
)


def convolutions() -> IntegerGraph:
    """One head for each geometry; the last convolution has no bias."""
    b = Builder(np.random.default_rng(2))
    for i, (shape, outputs, kernel, stride, pad) in enumerate(GEOMETRIES):
        b.prefix = f"g{i}_"
        image = b.tensor("image", "int8", shape)
        acc = b.conv(image, f"conv{i}", outputs, kernel, stride, pad)
        codes = b.requantize(acc, f"conv{i}", "int8", 9000.0)
        b.head(f"head{i}", image, b.matmul(codes, f"readout{i}", 3, Readout), Encoding("codes"))
    graph = b.graph()
    last = [n for n in graph.nodes if isinstance(n, Conv)][-1]
    constants = {name: c for name, c in graph.constants.items() if name != last.bias}
    return replace(graph, constants=constants, nodes=tuple(replace(n, bias=None) if n is last else n for n in graph.nodes)).validate()


@pytest.mark.parametrize("flags", [(), NATIVE, ("-fsanitize=undefined", "-fno-sanitize-recover=all")], ids=["plain", "native", "sanitized"])
@pytest.mark.parametrize("kernel", ["dense", "event"])
def test_geometries(kernel: Choice, flags: tuple[str, ...], tmp_path: Path) -> None:
    graph = convolutions()
    host = library(graph, tmp_path, kernel=kernel, flags=flags)
    for faults in ((), (WeightBitFlip(rate=0.05, seed=2),)):
        check(graph, host, resolve(graph, FaultPlan(faults)), seed=3)
    host.close()


FLIPS = FaultPlan((WeightBitFlip(rate=0.05, seed=2),))


@pytest.mark.parametrize("kernel", ["dense", "event"])
def test_geometries_on_a_cortex_m4(kernel: Choice, tmp_path: Path) -> None:
    firmware = generate(convolutions(), BOARD, kernel=kernel)
    paired = [name for name, choice in firmware.kernels.items() if choice.kernel == "pairs" and "_conv" in name]
    assert len(paired) == (7 if kernel == "dense" else 0)
    check_on_a_cortex_m4(convolutions(), firmware, tmp_path, FLIPS)


def test_portable_c_gives_the_same_integers(tmp_path: Path) -> None:
    firmware = generate(convolutions(), BOARD, kernel="dense")
    assert len(portable(firmware).sources) < len(firmware.sources)
    check_on_a_cortex_m4(convolutions(), portable(firmware), tmp_path, FLIPS)


def one_convolution(weight: NDArray[np.int8], bias: NDArray[np.int32]) -> IntegerGraph:
    """An image of eight columns."""
    b = Builder(np.random.default_rng(0))
    b.constant("conv_w", weight, 8, (0.02,))
    b.constant("conv_b", bias, 32)
    image = b.tensor("image", "int8", (weight.shape[1], 3, 8))
    codes = b.requantize(b.conv(image, "conv", len(weight), (3, 3), (1, 1), (1, 1)), "conv", "int8", 9e5)
    b.head("main", image, b.matmul(codes, "readout", 3, Readout), Encoding("codes"))
    return b.graph()


def words(channels: int, even: int, odd: int, bias: int) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """Four outputs, alternately of one code and of another, with one bias."""
    codes = np.array([even, odd, even, odd], np.int8)
    return np.broadcast_to(codes[:, None, None, None], (4, channels, 3, 3)), np.full(4, bias, np.int32)


@pytest.mark.parametrize(
    ("shape", "kernel"),
    [
        ((57, -1, -127, -49279), "pairs"),  # 57 * 9 * 127 * 128 + 49279 < 2^23
        ((57, 3, -128, 0), "dense"),  # 57 * 9 * 128 * 128 > 2^23
        ((58, -1, 127, 0), "dense"),
        ((57, -1, -127, 49280), "dense"),  # 2^23 itself
        ((57, -1, -127, 49279), "pairs"),
        ((2, -1, -128, 0), "dense"),  # 256 * -128 - 1 is no int16
        ((2, 0, -128, 0), "pairs"),
        ((2, -128, -127, 0), "pairs"),
    ],
)
def test_what_cannot_be_proved_has_one_weight_a_word(shape: tuple[int, int, int, int], kernel: str, tmp_path: Path) -> None:
    graph = one_convolution(*words(*shape))
    firmware = generate(graph, BOARD, kernel="dense")
    assert firmware.kernels["conv0"].kernel == kernel
    check_on_a_cortex_m4(graph, firmware, tmp_path, FLIPS)


def test_weights_that_a_repair_may_change_share_no_word() -> None:
    graph = one_convolution(*words(2, 1, 1, 0))
    assert generate(graph, replace(BOARD, repair_bytes=4096), kernel="dense").kernels["conv0"].kernel == "dense"
    assert generate(graph, replace(BOARD, repair_bytes=4096), kernel="dense", faults=False).kernels["conv0"].kernel == "pairs"
    assert generate(graph, None, kernel="dense").kernels["conv0"].kernel == "dense"
    assert generate(graph, load_board("mps2-cortex-m0"), kernel="dense").kernels["conv0"].kernel == "dense"


def test_the_crossover_is_where_the_counts_cross(tmp_path: Path) -> None:
    """Convolutions 4x4, 8 -> 24 channels: fewer instructions for the kernel that the formula prefers, on both sides of its crossover."""
    b = Builder(np.random.default_rng(0))
    image = b.tensor("image", "int8", (8, 8, 8))
    codes = b.requantize(b.conv(image, "conv", 24, (4, 4), (1, 1), (1, 1)), "conv", "int8", 20000.0)
    b.head("main", image, b.matmul(codes, "readout", 2, Readout), Encoding("codes"))
    graph = b.graph()
    limit = crossover(128, 24, load_board("mps2-an386").core.conv_costs)
    assert 0.1 < limit < 0.4
    counts: dict[str, list[float]] = {}
    for kernel in ("dense", "event"):
        built = build(generate(graph, load_board("mps2-an386"), kernel=kernel), tmp_path / kernel)  # type: ignore[arg-type]
        with EmulatedDevice(graph, built.elf) as device:
            for activity in (limit / 2, min(1.0, 2 * limit)):
                rng = np.random.default_rng(1)
                images = rng.integers(1, 128, (4, 8, 8, 8)) * (rng.random((4, 8, 8, 8)) < activity)
                instructions = device.infer(images.astype(np.int8)).instructions
                assert instructions is not None
                counts.setdefault(kernel, []).append(float(instructions.mean()))
    assert counts["event"][0] < counts["dense"][0]
    assert counts["event"][1] > counts["dense"][1]
