"""What decides between dense and event-driven kernels: `costs`, `conv_costs` and `pair_costs` of a `Core`, fitted to emulated counts.

Single layers of several sizes and activities are built for a board and run; every count is of a run whose integers are the reference's.
Of a fit only differences matter: what both kernels share is in both outputs' figures.

    python benchmarks/crossover.py mps2-cortex-m0
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace

import numpy as np
from rows.conv import SHAPES, convolution

from edgechaos import reference
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.firmware_gen.board import Board, load_board
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.firmware_gen.core import Costs
from edgechaos.firmware_gen.plan.kernels import Choice, eights
from edgechaos.firmware_gen.plan.pairs import KERNEL, MATRIX_KERNEL
from edgechaos.firmware_gen.projects.elf import build
from edgechaos.graph.heads import Encoding, Head
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.argmax import ArgMax
from edgechaos.graph.kinds.readout import Readout
from edgechaos.graph.tensors import Constant, Tensor

ACTIVITIES = (0.05, 0.2, 0.5, 1.0)
SIZES = ((30, 4), (64, 10), (128, 64), (256, 10), (512, 16), (784, 64), (1024, 96))
"""Inputs and outputs of the matrices."""


def matrix(inputs: int, outputs: int) -> IntegerGraph:
    """One matrix times one vector, and the largest of its outputs."""
    rng = np.random.default_rng(0)
    tensors = {
        "x": Tensor("x", "int8", (inputs,)),
        "logits": Tensor("logits", "int32", (outputs,)),
        "label": Tensor("label", "uint16", (1,)),
    }
    constants = {
        "weight": Constant(rng.integers(-127, 128, (outputs, inputs)).astype(np.int8), 8, (0.02,)),
        "bias": Constant(np.zeros(outputs, np.int32), 32),
    }
    nodes = (Readout("readout", "x", "logits", weight="weight", bias="bias"), ArgMax("argmax", "logits", "label"))
    head = Head("main", "x", "logits", "label", tuple(f"c{i}" for i in range(outputs)), Encoding("codes"))
    return IntegerGraph("matrix", tensors, constants, nodes, (head,)).validate()


def counts(graph: IntegerGraph, board: Board, kernel: Choice) -> list[float]:
    """Instructions per inference at each of ACTIVITIES. Raises SystemExit where an integer is not the reference's."""
    shape = graph.tensors[graph.head().input].shape
    rng, found = np.random.default_rng(1), []
    with tempfile.TemporaryDirectory() as folder:
        elf = build(generate(graph, board, kernel=kernel, faults=False), folder).elf
        with EmulatedDevice(graph, elf, board.name) as device:
            for activity in ACTIVITIES:
                codes = (rng.integers(1, 128, (2, *shape)) * (rng.random((2, *shape)) < activity)).astype(np.int8)
                answer = device.infer(codes)
                if not np.array_equal(answer.logits, reference.run(graph, codes).logits) or answer.instructions is None:
                    raise SystemExit(f"{board.name}, {kernel}, {shape}: not the reference's integers: no count of it means anything")
                found.append(float(answer.instructions.mean()))
    return found


def fit(layers: list[tuple[IntegerGraph, int, int, int]], board: Board, *, base: bool) -> tuple[Costs, float]:
    """Costs of layers (graph, windows, inputs of a window, outputs), and the largest relative error of a count.

    base: whether an event-driven window has costs of its own.
    """
    terms, wanted = [], []
    for graph, windows, n, m in layers:
        for activity, dense, event in zip(ACTIVITIES, counts(graph, board, "dense"), counts(graph, board, "event"), strict=True):
            macs = windows * n * m
            terms += [
                [1, macs, windows * n, windows * m, 0, 0, 0, 0, 0],
                [1, 0, 0, 0, activity * windows * n * eights(m), windows * activity * n, windows * n, windows * m, windows * base],
            ]
            wanted += [dense, event]
    design, values = np.array(terms, float), np.array(wanted)
    found, *_ = np.linalg.lstsq(design / values[:, None], np.ones(len(values)), rcond=None)
    return Costs(*(round(float(v), 2) for v in found[1:])), float(np.abs(design @ found / values - 1).max())


def main() -> None:
    """Print the costs of a board's core."""
    board = load_board(sys.argv[1] if len(sys.argv) > 1 else "mps2-an386")
    alone = tuple(path for path in board.core.kernels if path.name not in (KERNEL, MATRIX_KERNEL))
    single = replace(board, core=replace(board.core, kernels=alone))
    matrices = [(matrix(n, m), 1, n, m) for n, m in SIZES]
    convolutions = [(convolution(*s), s[1] * s[2], s[0] * 9, s[3]) for s in SHAPES]
    kinds = [("costs", matrices, single), ("conv_costs", convolutions, single)]
    if single.core != board.core:
        kinds += [("quad_costs", matrices, board), ("pair_costs", convolutions, board)]
    for name, layers, described in kinds:
        costs, error = fit(layers, described, base=True)
        print(f"{board.core.title}: {name}={costs}, within {error:.0%}")


if __name__ == "__main__":
    main()
