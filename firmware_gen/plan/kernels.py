"""Which of the two matrix kernels pays: the dense one, or the event-driven one that skips inputs that are 0.

What decides is the measured activity of a matrix's input, the share that is not 0. Costs are the core's; the host library runs the kernels
of the Cortex-M4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgechaos.firmware_gen.core import DEFAULT, Core, Costs, cores
from edgechaos.firmware_gen.plan.pairs import may_pair
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.weighted import Summing

Kernel = Literal["dense", "event", "packed", "pairs"]
Choice = Literal["auto", "dense", "event"]


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


def crossover(inputs: int, outputs: int, costs: Costs) -> float:
    """The activity below which the event-driven kernel executes fewer instructions, 0..1. inputs of a Conv: one window's."""
    macs, c = inputs * outputs, costs
    dense = c.dense_mac * macs + c.dense_input * inputs + c.dense_output * outputs
    saved = dense - c.event_input * inputs - c.event_output * outputs - c.event
    return min(1.0, max(0.0, saved / (c.event_active_mac * macs + c.event_active * inputs)))


def choose_kernels(graph: IntegerGraph, choice: Choice, core: Core | None = None, repairable: bool = False) -> dict[str, KernelChoice]:
    """A kernel for every matrix, by node name. Activity comes from graph.metadata["activity"], tensor -> fraction.

    repairable: whether stored weights may change; where they may, none share a half word.

    Nodes that share their weights share the kernel of the first of them: one layout is stored.
    """
    core = core or cores.load(DEFAULT)
    chosen: dict[str, KernelChoice] = {}
    of_weight: dict[str, Kernel] = {}
    for node in graph.nodes:
        if isinstance(node, Summing):
            pairs = not repairable and may_pair(graph, node, core)
            costs = (pairs and core.pair_costs) or (core.conv_costs if node.slides else core.costs)
            limit = crossover(node.terms(graph), len(graph.value(node.weight)), costs)
            activity = _activity(graph, node.input)
            if graph.constants[node.weight].bits < 8:
                chosen[node.name] = KernelChoice(node.name, "packed", activity, limit)
                continue
            pays: Kernel = "event" if (UNMEASURED if activity is None else activity) < limit else "dense"
            kernel = of_weight.setdefault(node.weight, pays if choice == "auto" else choice)
            chosen[node.name] = KernelChoice(node.name, "pairs" if pairs and kernel == "dense" else kernel, activity, limit)
    return chosen


def _activity(graph: IntegerGraph, tensor: str) -> float | None:
    """The share of a tensor that is not 0: as measured, or at most k of n after a TopK whose zeros stay zeros."""
    measured = graph.metadata.get("activity", {})
    if tensor in measured:
        return float(measured[tensor])
    node = graph.producer(tensor)
    return None if node is None else node.most_active(graph)
