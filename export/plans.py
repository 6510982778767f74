"""The standard fault plans of `edgechaos verify`: twenty, covering every fault kind that a graph carries, alone and together.

What a graph cannot carry is replaced, never left out: stuck-at-1 on a sampled layer by more dead neurons, bias flips without a bias
by more weight flips, and so is every fault of spikes in a graph that has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from edgechaos.faults.base import Fault
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply
from edgechaos.faults.sites import stored_words
from edgechaos.graph.analysis import UNIT_KINDS
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.node import Node
from edgechaos.graph.weighted import Weighted
from edgechaos.support.errors import FaultError

PATCH_ROWS = 64
"""Words flipped by any of these plans, at most: what the patch memory of a small board holds."""
BIAS_BITS = (24, 20, 15, 11, 7, 3, 0)
"""Tried in this order: the highest whose flips leave every accumulator's bound proved is used."""


def standard_plans(graph: IntegerGraph) -> tuple[tuple[str, FaultPlan], ...]:
    """Twenty (name, plan) pairs, each of which `edgechaos.faults.plan.apply` accepts for this graph."""
    matrices = _one_per_constant(graph, "weight")
    share = max(1, PATCH_ROWS // len(graph.weighted()))
    spiking = graph.chaos_layers()
    carried = graph.analysis.unit_nodes
    able = [name for name, slot in graph.analysis.slot_table if slot.name == "dead"]
    everywhere = bool(carried) and (carried[0].unit_kind in UNIT_KINDS[:2] or len(carried) == len(able))
    no_stuck = any(layer.sampling != "ticks" for layer in spiking)

    def omission(rate: float) -> tuple[Fault, ...]:
        return (Omission(rate=rate),) if spiking else flips(matrices, rate * share, 10)

    def dead(rate: float, seed: int) -> tuple[Fault, ...]:
        return (DeadNeurons(rate=rate, seed=seed),) if everywhere else flips(matrices, rate * share, seed + 20)

    def stuck(rate: float, seed: int) -> tuple[Fault, ...]:
        return (StuckAtOne(rate=rate, seed=seed),) if spiking and not no_stuck else dead(rate, seed)

    def flips(nodes: tuple[Weighted, ...], words: float, seed: int) -> tuple[Fault, ...]:
        """At least one bit; a word that several nodes read takes a row of patch memory in each."""
        faults = []
        for node in nodes:
            bits, readers = _weight_bits(graph, node), sum(n.weight == node.weight for n in graph.weighted())
            faults.append(WeightBitFlip(node.name, rate=min(1.0, max(1, int(words / readers)) / bits), seed=seed))
        return tuple(faults)

    def sign_bits(words: int) -> tuple[Fault, ...]:
        return tuple(WeightBitFlip(n.name, bits=_spread(graph, n.weight, words, graph.constants[n.weight].bits - 1)) for n in matrices)

    dead_and_stuck = _every_third(graph, DeadNeurons, carried, 0) + _every_third(graph, DeadNeurons if no_stuck else StuckAtOne, spiking, 1)
    half = max(1, share // 2)
    bias = _bias_flips(graph, half) or flips(matrices, half, 7)
    plans: list[tuple[str, tuple[Fault, ...]]] = [
        *((f"omission {rate:g}", omission(rate)) for rate in (0.001, 0.1, 0.5, 0.9, 1.0)),
        *((f"dead {rate:g}", dead(rate, 1)) for rate in (0.1, 0.5, 1.0)),
        *((f"stuck at 1 {rate:g}", stuck(rate, 2)) for rate in (0.1, 0.5)),
        *((f"weight flips, {words} in every matrix", flips(matrices, words, 3)) for words in (1, 4, share)),
        ("weight sign bits, every matrix", sign_bits(share)),
        ("weight flips, first matrix", flips(matrices[:1], PATCH_ROWS, 4)),
        ("weight flips, readout", flips(matrices[-1:], PATCH_ROWS, 5)),
        ("bias flips", bias),
        ("dead and stuck at 1", dead_and_stuck or dead(0.4, 8)),
        (
            "omission, dead, weight flips",
            (*(omission(0.3) if spiking else ()), *(dead(0.2, 6) if everywhere else ()), *flips(matrices, share, 6)),
        ),
        ("every kind", (*(omission(0.25) if spiking else ()), *dead_and_stuck, *sign_bits(half), *bias)),
    ]
    return tuple((name, FaultPlan(faults)) for name, faults in plans)


def _one_per_constant(graph: IntegerGraph, target: Literal["weight", "bias"]) -> tuple[Weighted, ...]:
    """Of the nodes that share their words, the first: flipping the same bit twice would restore it."""
    nodes = {stored: node for node in reversed(graph.weighted()) if (stored := stored_words(node, target)) is not None}
    return tuple(reversed(nodes.values()))


def _weight_bits(graph: IntegerGraph, node: Weighted) -> int:
    constant = graph.constants[node.weight]
    return constant.value.size * constant.bits


def _spread(graph: IntegerGraph, constant: str, words: int, bit: int) -> tuple[tuple[int, int], ...]:
    """The same bit of up to `words` words, evenly spaced over a constant."""
    size = graph.constants[constant].value.size
    return tuple((int(word), bit) for word in np.unique(np.linspace(0, size - 1, min(words, size)).astype(int)))


def _every_third(graph: IntegerGraph, kind: type[DeadNeurons] | type[StuckAtOne], layers: Sequence[Node], start: int) -> tuple[Fault, ...]:
    sizes = {layer.name: graph.tensors[layer.input].shape[0] for layer in layers}
    return tuple(kind(name, neurons=tuple(range(start, n, 3))) for name, n in sizes.items() if n > start)


def _bias_flips(graph: IntegerGraph, words: int) -> tuple[Fault, ...]:
    """One high bit in some words of every bias; () without a bias or where no flip is safe."""
    biases = [(node.name, str(stored_words(node, "bias"))) for node in _one_per_constant(graph, "bias")]
    for bit in BIAS_BITS:
        faults = tuple(WeightBitFlip(name, "bias", bits=_spread(graph, constant, words, bit)) for name, constant in biases)
        try:
            apply(graph, FaultPlan(faults))
        except FaultError:
            continue
        return faults
    return ()
