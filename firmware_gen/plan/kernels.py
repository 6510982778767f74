"""Which of the two matrix kernels pays: the dense one, or the event-driven one that skips inputs that are 0.

What decides is the measured activity of a matrix's input, the share that is not 0. Costs are the core's; the host library runs the kernels
of the Cortex-M4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgechaos.firmware_gen.core import DEFAULT, Core, Costs, cores
from edgechaos.firmware_gen.plan.pairs import may_offset, may_pair, may_spike
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.weighted import Summing

Kernel = Literal["dense", "event", "packed", "pairs", "spikes", "nibbles"]
Choice = Literal["auto", "dense", "event"]


UNMEASURED = 0.5
"""Activity where none was measured."""
MOST_EVENTS = 252
"""Of a list (ec_events.h): a longer input is read list by list."""


@dataclass(frozen=True, slots=True)
class KernelChoice:
    """Why a matrix got its kernel. activity: None where it is not known; crossover: event pays below it.

    background: the code of an input that is not active, whose products are part of the bias; where it is not 0 no input is below it.
    """

    node: str
    kernel: Kernel
    activity: float | None
    crossover: float
    background: int = 0

    def __str__(self) -> str:
        active = f"other than {self.background}" if self.background else "active"
        measured = "activity not measured" if self.activity is None else f"{self.activity:.1%} of the inputs {active}"
        if self.kernel in ("packed", "nibbles"):
            return f"{self.kernel}: {measured}, only the rows of active inputs are read"
        return f"{self.kernel}: {measured}, event-driven pays below {self.crossover:.0%}"


def crossover(inputs: int, outputs: int, costs: Costs) -> float:
    """The activity below which the event-driven kernel executes fewer instructions, 0..1. inputs of a Conv: one window's."""
    macs, c = inputs * outputs, costs
    dense = c.dense_mac * macs + c.dense_input * inputs + c.dense_output * outputs
    saved = dense - c.event_input * inputs - c.event_output * outputs - c.event
    return min(1.0, max(0.0, saved / (c.event_active_mac * inputs * eights(outputs) + c.event_active * inputs)))


def eights(outputs: int) -> int:
    """Outputs that an event costs: rows are padded."""
    return -(-outputs // 8) * 8


def choose_kernels(graph: IntegerGraph, choice: Choice, core: Core | None = None, repairable: bool = False) -> dict[str, KernelChoice]:
    """A kernel for every matrix, by node name. Activity comes from graph.metadata["activity"], tensor -> fraction.

    repairable: whether stored weights may change; where they may, none share a half word. core: None for the
    host library, which folds no background and has no pairs.

    Nodes that share their weights share the kernel of the first of them: one layout is stored.
    """
    board, core = core is not None, core or cores.load(DEFAULT)
    nibbles = board and not repairable and may_offset(graph, core)
    chosen: dict[str, KernelChoice] = {}
    of_weight: dict[str, Kernel] = {}
    for node in graph.nodes:
        if isinstance(node, Summing):
            pairs = board and not repairable and may_pair(graph, node, core)
            spikes = board and not repairable and may_spike(graph, node, core)
            costs = (pairs and (core.pair_costs if node.slides else core.quad_costs)) or (core.conv_costs if node.slides else core.costs)
            costs = (spikes and core.spike_costs) or costs
            limit = crossover(node.terms(graph), len(graph.value(node.weight)), costs)
            background, activity = _background(graph, node) if board else (0, _activity(graph, node.input))
            if graph.constants[node.weight].bits < 8:
                packed: Kernel = "nibbles" if nibbles and graph.constants[node.weight].bits == 4 else "packed"
                chosen[node.name] = KernelChoice(node.name, packed, activity, limit, background)
                continue
            pays: Kernel = "event" if (UNMEASURED if activity is None else activity) < limit else "dense"
            kernel = of_weight.setdefault(node.weight, pays if choice == "auto" else choice)
            if kernel == "dense":
                kernel, background, activity = "pairs" if pairs else kernel, 0, _activity(graph, node.input)
            elif spikes:
                kernel = "spikes"
            chosen[node.name] = KernelChoice(node.name, kernel, activity, limit, background)
    return chosen


def _background(graph: IntegerGraph, node: Summing) -> tuple[int, float | None]:
    """The code of an inactive input, and the share of the others: where a table maps 0 to one code, its input's share is the smaller.

    Folded, a sum is bias + c * sum of weights + sum of weights * (x - c): both added terms must fit beside the bias, whatever the inputs.
    """
    producer, activity = graph.producer(node.input), _activity(graph, node.input)
    code = producer.background(graph) if producer is not None else 0
    if producer is None or code == 0 or node.slides or node.bias is None or node.product_gain() != 1:
        return 0, activity
    reach = 3 * node.reach(graph, 128) + int(np.abs(graph.value(node.bias).astype(np.int64)).max(initial=0))
    before = _activity(graph, producer.input)
    return (code, before) if reach < 2**31 and before is not None and before < (activity or 1.0) else (0, activity)


def _activity(graph: IntegerGraph, tensor: str) -> float | None:
    """The share of a tensor that is not 0: as measured, or at most k of n after a TopK whose zeros stay zeros."""
    measured = graph.metadata.get("activity", {})
    if tensor in measured:
        return float(measured[tensor])
    node = graph.producer(tensor)
    return None if node is None else node.most_active(graph)
