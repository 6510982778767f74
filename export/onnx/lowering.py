"""Which function writes which kind of node in ONNX: one table, filled where the functions stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from edgechaos.export.onnx.writer import OnnxWriter
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kind_table import KindTable
from edgechaos.graph.node import Node

SAMPLE = "sample"
SEED = "seed"
Lowering = Callable[[OnnxWriter, IntegerGraph, Any], None]
F = TypeVar("F", bound=Lowering)
LOWERINGS: KindTable[Lowering] = KindTable("ONNX", "edgechaos.export.onnx.kinds")
lowering_of = LOWERINGS.of


def lowers(*kinds: type[Node]) -> Callable[[F], F]:
    """The decorated function (writer, graph, node) writes nodes of these kinds; it ends by naming the node's output."""

    def register(lowering: F) -> F:
        LOWERINGS.update(dict.fromkeys(kinds, lowering))
        return lowering

    return register
