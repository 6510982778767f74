"""Convolutions of every geometry, with the dense and the event-driven kernel, and which of the two is cheaper."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply, resolve
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


@pytest.mark.parametrize("kernel", ["dense", "event"])
def test_geometries_on_a_cortex_m4(kernel: Choice, tmp_path: Path) -> None:
    graph = convolutions()
    plan = resolve(graph, FaultPlan((WeightBitFlip(rate=0.05, seed=2),)))
    built = build(generate(graph, load_board("mps2-an386"), kernel=kernel), tmp_path)
    rng = np.random.default_rng(4)
    with EmulatedDevice(graph, built.elf) as device:
        device.inject(plan)
        for head in graph.heads:
            codes = rng.integers(-128, 128, (3, *graph.tensors[head.input].shape)).astype(np.int8)
            wanted = reference.run(apply(graph, plan), codes, head=head.name)
            np.testing.assert_array_equal(device.infer(codes, head=head.name).logits, wanted.logits)


def test_the_crossover_is_where_the_counts_cross(tmp_path: Path) -> None:
    """Convolutions, 8 -> 16 channels: fewer instructions for the kernel that the formula prefers, on both sides of its crossover."""
    b = Builder(np.random.default_rng(0))
    image = b.tensor("image", "int8", (8, 8, 8))
    codes = b.requantize(b.conv(image, "conv", 16, (3, 3), (1, 1), (1, 1)), "conv", "int8", 20000.0)
    b.head("main", image, b.matmul(codes, "readout", 2, Readout), Encoding("codes"))
    graph = b.graph()
    limit = crossover(72, 16, load_board("mps2-an386").core.conv_costs)
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
