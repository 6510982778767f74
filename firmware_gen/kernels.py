"""Which of the two matrix kernels pays: the dense one, or the event-driven one that skips inputs that are 0.

Enters: the sizes of a matrix and the measured activity of its input (the share that is not 0). Leaves: the kernel, with
the crossover that decided. Costs are instructions of the Cortex-M4 kernels as clang -O2 compiles them, counted in an
emulator (`make bench` repeats the count).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgechaos.graph import Conv, IntegerGraph, Lut, MatMul, Requantize, TopK

Kernel = Literal["dense", "event", "packed"]
Choice = Literal["auto", "dense", "event"]

DENSE_PER_MAC = 2.0
EVENT_PER_MAC = 1.25
EVENT_PER_ACTIVE = 12.0
"""Putting an active input on the list."""
EVENT_PER_INPUT = 3.0
"""Finding out that an input is 0."""
EVENT_PER_OUTPUT = 14.0
"""Taking the packed sums apart."""
ZERO = 128
"""Where a table holds what becomes of code 0."""
UNMEASURED = 0.5
"""Activity where none was measured."""


@dataclass(frozen=True, slots=True)
class KernelChoice:
    """Why a matrix got its kernel. activity: None where it is not known; crossover: event pays below it."""

    node: str
    kernel: Kernel
    activity: float | None
    crossover: float

    def __str__(self) -> str:
        measured = "activity not measured" if self.activity is None else f"{self.activity:.1%} of the inputs active"
        if self.kernel == "packed":
            return f"packed: {measured}, only the rows of active inputs are read"
        return f"{self.kernel}: {measured}, event-driven pays below {self.crossover:.0%}"


def crossover(inputs: int, outputs: int) -> float:
    """The activity below which the event-driven kernel executes fewer instructions, 0..1."""
    saved = DENSE_PER_MAC * inputs * outputs - EVENT_PER_INPUT * inputs - EVENT_PER_OUTPUT * outputs
    return min(1.0, max(0.0, saved / (EVENT_PER_MAC * inputs * outputs + EVENT_PER_ACTIVE * inputs)))


def choose_kernels(graph: IntegerGraph, choice: Choice) -> dict[str, KernelChoice]:
    """A kernel for every matrix, by node name. Activity comes from graph.metadata["activity"], tensor -> fraction.

    Nodes that share their weights share the kernel of the first of them: one layout is stored.
    """
    chosen: dict[str, KernelChoice] = {}
    of_weight: dict[str, Kernel] = {}
    for node in graph.nodes:
        if isinstance(node, MatMul | Conv):
            weight = graph.value(node.weight)
            limit = crossover(weight.size // len(weight), len(weight))
            activity = _activity(graph, node.input)
            if graph.constants[node.weight].bits < 8:
                chosen[node.name] = KernelChoice(node.name, "packed", activity, limit)
                continue
            pays: Kernel = "event" if (UNMEASURED if activity is None else activity) < limit else "dense"
            kernel = of_weight.setdefault(node.weight, pays if choice == "auto" else choice)
            chosen[node.name] = KernelChoice(node.name, kernel, activity, limit)
    return chosen


def _activity(graph: IntegerGraph, tensor: str) -> float | None:
    """The share of a tensor that is not 0: as measured, or at most k of n after a TopK whose zeros stay zeros."""
    measured = graph.metadata.get("activity", {})
    if tensor in measured:
        return float(measured[tensor])
    node = graph.producer(tensor)
    while isinstance(node, Requantize) or (isinstance(node, Lut) and not graph.value(node.table)[..., ZERO].any()):
        node = graph.producer(node.input)
    return node.k / graph.tensors[tensor].size if isinstance(node, TopK) else None
