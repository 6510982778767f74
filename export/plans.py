"""The standard fault plans of `edgechaos verify`: twenty, covering every fault kind alone and together.

Enters: a graph. Leaves: named plans that this graph carries. What a graph cannot carry is replaced, never left out:
stuck-at-1 on a sampled layer by more dead neurons, bias flips without a bias by more weight flips.
"""

from __future__ import annotations

import numpy as np

from edgechaos.errors import FaultError
from edgechaos.faults import DeadNeurons, Fault, FaultPlan, Omission, StuckAtOne, WeightBitFlip, apply
from edgechaos.graph import IntegerGraph, MatMul

PATCH_ROWS = 64
"""Words flipped by any of these plans, at most: what the patch memory of a small board holds."""
BIAS_BITS = (24, 20, 15, 11, 7, 3, 0)
"""Tried in this order: the highest whose flips leave every accumulator's bound proved is used."""


def standard_plans(graph: IntegerGraph) -> tuple[tuple[str, FaultPlan], ...]:
    """Twenty (name, plan) pairs, each of which `edgechaos.faults.apply` accepts for this graph."""
    matrices = tuple(n for n in graph.nodes if isinstance(n, MatMul))
    share = max(1, PATCH_ROWS // len(matrices))
    no_stuck = any(layer.sampling != "ticks" for layer in graph.chaos_layers())

    def stuck(rate: float, seed: int) -> Fault:
        return DeadNeurons(rate=rate, seed=seed) if no_stuck else StuckAtOne(rate=rate, seed=seed)

    def flips(nodes: tuple[MatMul, ...], words: int, seed: int) -> tuple[Fault, ...]:
        return tuple(WeightBitFlip(n.name, rate=min(1.0, words / _weight_bits(graph, n)), seed=seed) for n in nodes)

    def sign_bits(words: int) -> tuple[Fault, ...]:
        return tuple(WeightBitFlip(n.name, bits=_spread(graph, n.weight, words, graph.constants[n.weight].bits - 1)) for n in matrices)

    dead_and_stuck = _every_third(graph, DeadNeurons, 0) + _every_third(graph, DeadNeurons if no_stuck else StuckAtOne, 1)
    half = max(1, share // 2)
    bias = _bias_flips(graph, matrices, half) or flips(matrices, half, 7)
    plans: list[tuple[str, tuple[Fault, ...]]] = [
        *((f"omission {rate:g}", (Omission(rate=rate),)) for rate in (0.001, 0.1, 0.5, 0.9, 1.0)),
        *((f"dead {rate:g}", (DeadNeurons(rate=rate, seed=1),)) for rate in (0.1, 0.5, 1.0)),
        *((f"stuck at 1 {rate:g}", (stuck(rate, 2),)) for rate in (0.1, 0.5)),
        *((f"weight flips, {words} in every matrix", flips(matrices, words, 3)) for words in (1, 4, share)),
        ("weight sign bits, every matrix", sign_bits(share)),
        ("weight flips, first matrix", flips(matrices[:1], PATCH_ROWS, 4)),
        ("weight flips, readout", flips(matrices[-1:], PATCH_ROWS, 5)),
        ("bias flips", bias),
        ("dead and stuck at 1", dead_and_stuck),
        ("omission, dead, weight flips", (Omission(rate=0.3), DeadNeurons(rate=0.2, seed=6), *flips(matrices, share, 6))),
        ("every kind", (Omission(rate=0.25), *dead_and_stuck, *sign_bits(half), *bias)),
    ]
    return tuple((name, FaultPlan(faults)) for name, faults in plans)


def _weight_bits(graph: IntegerGraph, node: MatMul) -> int:
    constant = graph.constants[node.weight]
    return constant.value.size * constant.bits


def _spread(graph: IntegerGraph, constant: str, words: int, bit: int) -> tuple[tuple[int, int], ...]:
    """The same bit of up to `words` words, evenly spaced over a constant."""
    size = graph.constants[constant].value.size
    return tuple((int(word), bit) for word in np.unique(np.linspace(0, size - 1, min(words, size)).astype(int)))


def _every_third(graph: IntegerGraph, kind: type[DeadNeurons] | type[StuckAtOne], start: int) -> tuple[Fault, ...]:
    sizes = {layer.name: graph.tensors[layer.input].shape[0] for layer in graph.chaos_layers()}
    return tuple(kind(name, neurons=tuple(range(start, n, 3))) for name, n in sizes.items() if n > start)


def _bias_flips(graph: IntegerGraph, matrices: tuple[MatMul, ...], words: int) -> tuple[Fault, ...]:
    """One high bit in some bias words of every matrix that has a bias; () without a bias or where no flip is safe."""
    for bit in BIAS_BITS:
        faults = tuple(WeightBitFlip(n.name, "bias", bits=_spread(graph, n.bias, words, bit)) for n in matrices if n.bias is not None)
        try:
            apply(graph, FaultPlan(faults))
        except FaultError:
            continue
        return faults
    return ()
