"""What the C target makes of a kind of node that has a file of its own: description, call, cost, C sources."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from edgechaos.firmware_gen.compilers.c.writer import Writer
from edgechaos.graph.integer_graph import IntegerGraph, Node
from edgechaos.support.errors import UnsupportedError
from edgechaos.support.registry import load_all

KINDS = "edgechaos.firmware_gen.compilers.c.kinds"
"""The folder of kinds that have a file of their own, and the entry-point group of plug-ins' modules."""


class Source(Protocol):
    """Of what is being written, what a lowering may ask."""

    graph: IntegerGraph

    def at(self, tensor: str) -> str:
        """The C expression of a tensor's first element."""
        ...

    def description(self, node: Node) -> str:
        """The C name of a node's `static const` description."""
        ...


class Lowering:
    """One kind of node in C. header: what the model includes for it; sources: its C files outside of the runtime's own."""

    header: ClassVar[str] = ""
    sources: ClassVar[tuple[Path, ...]] = ()

    def describe(self, source: Source, w: Writer, node: Any) -> None:
        """Its tables and its `static const` description, where it needs any."""

    def call(self, source: Source, w: Writer, node: Any) -> None:
        """The statement that runs it."""
        raise NotImplementedError

    def instructions(self, graph: IntegerGraph, node: Any) -> int:
        """An upper bound of the instructions of one inference on a Cortex-M4, whatever the input."""
        raise NotImplementedError


L = TypeVar("L", bound=type[Lowering])
LOWERINGS: dict[type[Node], Lowering] = {}


def lowers(*kinds: type[Node]) -> Callable[[L], L]:
    """The decorated class writes nodes of these kinds."""

    def register(lowering: L) -> L:
        LOWERINGS.update(dict.fromkeys(kinds, lowering()))
        return lowering

    return register


def lowering_of(node: Node) -> Lowering:
    """What writes a node. Raises UnsupportedError where C has no words for its kind."""
    if type(node) not in LOWERINGS:
        load_all(KINDS, KINDS)
    if type(node) not in LOWERINGS:
        raise UnsupportedError(f"node '{node.name}': kind {type(node).__name__} is not written in C; add a module to {KINDS}", node.name)
    return LOWERINGS[type(node)]
