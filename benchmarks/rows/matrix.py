"""Matrices times vectors."""

from __future__ import annotations

import numpy as np
from kernels import Row

from edgechaos.firmware_gen.plan.kernels import Choice
from edgechaos.graph.heads import Encoding
from edgechaos.graph.kinds.readout import Readout
from tests.helpers.mixed_graphs import Builder

INPUTS = 784


def product(
    name: str, outputs: int, activity: float, reach: tuple[int, int], kernel: Choice, goal: tuple[float, float], bits: int = 8
) -> Row:
    """784 inputs, a share of them active, with codes of `reach`; event-driven, MACs of active inputs are counted. goal: and floor."""
    rng = np.random.default_rng(1)
    codes = (rng.integers(*reach, INPUTS) * (rng.random(INPUTS) < activity)).astype(np.int8)
    b = Builder(np.random.default_rng(0), bits)
    x = b.requantize(b.matmul(b.tensor("x", "int8", (INPUTS,)), "sums", outputs), "codes", "int8", 100000.0)
    b.head("main", "x", b.matmul(x, "readout", 2, Readout), Encoding("codes"))
    if kernel == "dense":
        return Row(name, b.graph(), ("matmul0", "requantize1"), codes, INPUTS * outputs, "MAC", *goal, kernel)
    return Row(name, b.graph(), ("matmul0",), codes, int(np.count_nonzero(codes)) * outputs, "active MAC", *goal, kernel)


def rows() -> list[Row]:
    """Dense with the Requantize that follows, event-driven without."""
    return [
        product("dense 784x128", 128, 1.0, (-127, 128), "dense", (0.9, 0.844)),
        product("event-driven 784x64, binary, 19 % active", 64, 0.19, (1, 2), "event", (0.75, 0.625)),
        product("event-driven 784x64, x >= 0, 19 % active", 64, 0.19, (1, 128), "event", (1.25, 1.0)),
        product("event-driven 784x64, signed, 19 % active", 64, 0.19, (-127, 128), "event", (1.5, 1.25)),
        product("event-driven 784x64, 4 bits, x >= 0, 19 % active", 64, 0.19, (1, 128), "event", (1.3, 1.125), 4),
        product("event-driven 784x64, 2 bits, x >= 0, 19 % active", 64, 0.19, (1, 128), "event", (1.2, 1.0625), 2),
    ]
