"""What the C target makes of a kind of node: its limits, working memory, description, call, cost and C sources, in a file each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from edgechaos.firmware_gen.compilers.c.source import Source
from edgechaos.firmware_gen.compilers.c.writer import Writer
from edgechaos.firmware_gen.plan.kernels import KernelChoice
from edgechaos.firmware_gen.plan.memory import Scratch
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kind_table import KindTable
from edgechaos.graph.node import Node

CALL = 300
"""Instructions of a kernel's own beginning and end, its loops over nothing included."""

BROKEN = 120
"""Of a word from a generator with faults: two prefixes of its own, divisions by period and repeat."""


class Lowering:
    """One kind of node in C.

    header: what the model includes for it. sources: its C files that the runtime does not have. matrix: of a kind with weights, the
    member of its description that is an ec_matrix; "": the description is one.
    """

    header: ClassVar[str] = ""
    sources: ClassVar[tuple[Path, ...]] = ()
    matrix: ClassVar[str] = ""

    def noisy(self, node: Any) -> bool:
        """Whether it draws Gaussian words: their table is linked then."""
        return False

    def scratch(self, graph: IntegerGraph, node: Any, kernel: str) -> Scratch:
        """The working memory that it needs. kernel: of its matrix, "" where it has none."""
        return Scratch()

    def describe(self, source: Source, w: Writer, node: Any) -> None:
        """Its tables and its `static const` description, where it needs any."""

    def call(self, source: Source, w: Writer, node: Any) -> None:
        """The statement that runs it."""
        raise NotImplementedError

    def readout_gain(self, source: Source, node: Any) -> str:
        """The C expression of `node.readout_gain()`, whatever faults hold."""
        return "1"

    def instructions(self, graph: IntegerGraph, node: Any) -> int:
        """An upper bound of the instructions of one inference on a Cortex-M4, whatever the input; patch rows apart."""
        raise NotImplementedError

    def row_instructions(self, graph: IntegerGraph, node: Any) -> int:
        """The same of one patch row, of a kind with weights."""
        raise NotImplementedError


L = TypeVar("L", bound=type[Lowering])
LOWERINGS: KindTable[Lowering] = KindTable("C", "edgechaos.firmware_gen.compilers.c.kinds")
lowering_of = LOWERINGS.of


def working_memory(graph: IntegerGraph, kernels: Mapping[str, KernelChoice]) -> Scratch:
    """Of a whole model."""
    chosen = {name: choice.kernel for name, choice in kernels.items()}
    return Scratch.shared(lowering_of(node).scratch(graph, node, chosen.get(node.name, "")) for node in graph.nodes)


def lowers(*kinds: type[Node]) -> Callable[[L], L]:
    """The decorated class writes nodes of these kinds."""

    def register(lowering: L) -> L:
        LOWERINGS.update(dict.fromkeys(kinds, lowering()))
        return lowering

    return register
