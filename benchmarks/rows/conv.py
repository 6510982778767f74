"""Convolutions 3x3, padded, with the Requantize that follows; every input is active."""

from __future__ import annotations

import numpy as np
from kernels import Row

from edgechaos.graph.heads import Encoding
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.readout import Readout
from tests.helpers.mixed_graphs import Builder

SHAPES = ((1, 28, 28, 8), (1, 28, 28, 16), (8, 14, 14, 16), (16, 14, 14, 32))
"""Input channels, height, width, output channels."""


def convolution(channels: int, height: int, width: int, outputs: int) -> IntegerGraph:
    """A convolution and a head behind it."""
    b = Builder(np.random.default_rng(0))
    image = b.tensor("image", "int8", (channels, height, width))
    acc = b.conv(image, "conv", outputs, (3, 3), (1, 1), (1, 1))
    codes = b.requantize(acc, "conv", "int8", 127 * 60.0 * (9 * channels) ** 0.5, relu=True)
    b.head("main", image, b.matmul(codes, "readout", 2, Readout), Encoding("codes"))
    return b.graph()


def rows() -> list[Row]:
    """MACs with the padding counted."""
    found = []
    for shape in SHAPES:
        channels, height, width, outputs = shape
        graph = convolution(*shape)
        codes = np.random.default_rng(1).integers(1, 128, shape[:3]).astype(np.int8)
        name = f"conv 3x3, {height}x{width}x{channels} -> {outputs}"
        goal, floor = (2.0, 1.4) if channels == 1 else (0.9, 0.8)
        found.append(
            Row(name, graph, ("conv0", "requantize1"), codes, 9 * channels * height * width * outputs, "MAC", goal, floor, "dense")
        )
    return found
