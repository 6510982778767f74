"""Pools 2x2."""

from __future__ import annotations

import numpy as np
from kernels import Row

from edgechaos.graph.heads import Encoding
from edgechaos.graph.kinds.average_pool import AveragePool
from edgechaos.graph.kinds.max_pool import MaxPool
from edgechaos.graph.kinds.readout import Readout
from tests.helpers.mixed_graphs import Builder


def pool(name: str, kind: type[MaxPool] | type[AveragePool], shape: tuple[int, int, int], goal: float, floor: float) -> Row:
    """One pool of an image."""
    b = Builder(np.random.default_rng(0))
    image = b.tensor("image", "int8", shape)
    x = b.pool(image, kind, (2, 2), (2, 2))
    size = b.tensors[x].size
    x = x if kind is MaxPool else b.requantize(x, "mean", "int8", 300.0)
    b.head("main", image, b.matmul(x, "readout", 2, Readout), Encoding("codes"))
    codes = np.random.default_rng(1).integers(-128, 128, shape).astype(np.int8)
    return Row(f"{name} 2x2, {shape[1]}x{shape[2]}x{shape[0]}", b.graph(), (b.nodes[0].name,), codes, size, "output", goal, floor)


def rows() -> list[Row]:
    """The images of small networks."""
    shapes = ((8, 28, 28), (16, 14, 14))
    largest = [pool("max-pool", MaxPool, shape, 6.5, 4.5) for shape in shapes]
    return [*largest, *(pool("mean-pool", AveragePool, shape, 5.0, 3.75) for shape in ((1, 28, 28), shapes[1]))]
