"""Which function writes which kind of node in ONNX: one table, filled where the functions stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from edgechaos.export.onnx.writer import OnnxWriter
from edgechaos.graph.integer_graph import IntegerGraph, Node
from edgechaos.support.errors import UnsupportedError
from edgechaos.support.registry import load_all

SAMPLE = "sample"
SEED = "seed"
KINDS = "edgechaos.export.onnx.kinds"
"""The folder of kinds that have a file of their own, and the entry-point group of plug-ins' modules."""
Lowering = Callable[[OnnxWriter, IntegerGraph, Any], None]
F = TypeVar("F", bound=Lowering)
LOWERINGS: dict[type[Node], Lowering] = {}


def lowers(*kinds: type[Node]) -> Callable[[F], F]:
    """The decorated function (writer, graph, node) writes nodes of these kinds; it ends by naming the node's output."""

    def register(lowering: F) -> F:
        LOWERINGS.update(dict.fromkeys(kinds, lowering))
        return lowering

    return register


def lowering_of(node: Node) -> Lowering:
    """What writes a node. Raises UnsupportedError where ONNX has no words for its kind."""
    if type(node) not in LOWERINGS:
        load_all(KINDS, KINDS)
    if type(node) not in LOWERINGS:
        raise UnsupportedError(f"node '{node.name}': kind {type(node).__name__} is not written in ONNX; add a module to {KINDS}", node.name)
    return LOWERINGS[type(node)]
