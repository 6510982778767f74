"""Add in integer ONNX operations."""

from __future__ import annotations

import numpy as np

from edgechaos.export.onnx.lowering import lowers
from edgechaos.export.onnx.writer import OnnxWriter
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.add import Add


@lowers(Add)
def add(w: OnnxWriter, graph: IntegerGraph, node: Add) -> None:
    """In int32: no sum reaches 2^24."""
    x = w.op("Mul", w.cast(node.input, "int32"), w.constant("gain", np.int32(node.gain)))
    z = w.op("Mul", w.cast(node.other, "int32"), w.constant("other_gain", np.int32(node.other_gain)))
    w.name(node.output, w.op("Add", x, z))
