"""Element by element: Requantize, Lut and TopK."""

from __future__ import annotations

import numpy as np
from kernels import Row
from numpy.typing import NDArray

from edgechaos.graph.heads import Encoding
from edgechaos.graph.kinds.readout import Readout
from edgechaos.graph.kinds.topk import TopK
from tests.helpers.mixed_graphs import Builder

INPUTS = 64


def requantize(per_channel: bool) -> Row:
    """Of 1,024 outputs, one multiplier and shift for all or one each."""
    b = Builder(np.random.default_rng(0))
    x = b.requantize(b.matmul(b.tensor("x", "int8", (INPUTS,)), "sums", 1024), "codes", "int8", 30000.0, per_channel)
    b.head("main", "x", b.matmul(x, "readout", 2, Readout), Encoding("codes"))
    codes = np.random.default_rng(1).integers(-128, 128, INPUTS).astype(np.int8)
    name, goal = ("requantize, a shift per output", 5.1) if per_channel else ("requantize", 4.6)
    return Row(name, b.graph(), ("requantize1",), codes, 1024, "output", goal, 3.75 if per_channel else 3.25)


def lut() -> Row:
    """One table for 1,024 codes."""
    b = Builder(np.random.default_rng(0))
    b.head("main", "x", b.matmul(b.lut(b.tensor("x", "int8", (1024,)), "gelu"), "readout", 2, Readout), Encoding("codes"))
    codes = np.random.default_rng(1).integers(-128, 128, 1024).astype(np.int8)
    return Row("LUT", b.graph(), ("lut0",), codes, 1024, "element", 3.6, 3.0)


def winners(name: str, codes: NDArray[np.int8], goal: float, floor: float) -> Row:
    """12 of 256."""
    b = Builder(np.random.default_rng(0))
    b.constant("sums_b", np.zeros(256, np.int32), 32)
    x = b.requantize(b.matmul(b.tensor("x", "int8", (INPUTS,)), "sums", 256), "rank", "int16", 60000.0)
    x = b.add(TopK, x, "int16", (256,), k=12)
    b.head("main", "x", b.matmul(b.requantize(x, "codes", "int8", 12000.0), "readout", 2, Readout), Encoding("codes"))
    return Row(f"k-WTA 256, k = 12, {name}", b.graph(), ("topk2",), codes, 256, "unit", goal, floor)


def rows() -> list[Row]:
    """Sums of random codes are normal; sums of zeros are all equal."""
    normal = np.random.default_rng(1).integers(-128, 128, INPUTS).astype(np.int8)
    return [
        requantize(False),
        requantize(True),
        lut(),
        winners("normal data", normal, 11.5, 6.0),
        winners("all equal", np.zeros(INPUTS, np.int8), 48.0, 12.0),
    ]
