"""Where faults fall: nodes by slot, nested random entries, units of a layer, and the words of weights and biases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.streams import UNIT_STREAM
from edgechaos.faults.base import ALL, Fault, explicit
from edgechaos.faults.injections import SetSlot
from edgechaos.graph.analysis import UNIT_KINDS, Analysis
from edgechaos.graph.node import Node
from edgechaos.graph.tensors import Slot
from edgechaos.graph.weighted import Weighted
from edgechaos.support.errors import FaultError

STATES = ("membrane", "refractoriness")
"""What a stateful neuron keeps, by the number that a slot has for it."""


def nested_sites(seed: int, stream: int, count: int, rate: float) -> NDArray[np.intp]:
    """The round(rate * count) sites of lowest random word, ties to the lowest index: a lower rate's are among them."""
    chosen = int(rate * count + 0.5)
    if chosen == 0:
        return np.zeros(0, np.intp)
    word = random_bits.words(seed, stream, [0], 1, count)[0, 0]
    # Not sorted: a campaign draws a few of some hundred thousand bits, trial after trial.
    highest = np.partition(word, chosen - 1)[chosen - 1]
    below, equal = np.flatnonzero(word < highest), np.flatnonzero(word == highest)
    return np.sort(np.concatenate([below, equal[: chosen - len(below)]]))


def carriers(
    analysis: Analysis, kind: str, slot: str, name: str = ALL, what: str = "layer", plain: bool = False
) -> tuple[tuple[Node, Slot], ...]:
    """The nodes with a slot, by UNIT_KINDS, then in execution order: the one of that name, or all; all of them means the spiking and
    k-WTA layers where there are any, unless `plain`. what: such a node in words. Raises FaultError where there is none, or one refuses."""
    graph = analysis.graph
    able = [(graph.node(node), s) for node, s in analysis.slot_table if s.name == slot]
    able.sort(key=lambda pair: UNIT_KINDS.index(pair[0].unit_kind or "plain"))
    everywhere = [pair for pair in able if pair[0].unit_kind in UNIT_KINDS[:2] and not plain] or able
    found = everywhere if name == ALL else [pair for pair in able if pair[0].name == name]
    if not found:
        have = ", ".join(node.name for node, _ in able) or "none"
        raise FaultError(f"{kind}: graph '{graph.name}' has no {what} '{name}'; it has {have}")
    for node, s in found:
        if s.refused is not None:
            raise FaultError(f"{kind}: layer '{node.name}' cannot have its '{slot}' set: {s.refused}; name another layer")
    return tuple(found)


def stored_words(node: Node, target: str) -> str | None:
    """The constant that holds the words of a target, "weight" or "bias"; None where the node has no such words."""
    found = getattr(node, target, None)
    return None if found is None else str(found)


def weighted_words(analysis: Analysis, kind: str, name: str = ALL, target: str = "weight") -> dict[str, Node]:
    """Constant -> the first node that reads it, of every weight or bias at the node of that name, or at all: a shared word fails once.

    Raises FaultError with the matrices that there are.
    """
    weighted = [n for n in analysis.graph.nodes if isinstance(n, Weighted)]
    named = {stored_words(n, target) for n in weighted if name in (ALL, n.name)} - {None}
    if not named:
        have = ", ".join(n.name for n in weighted) or "none"
        raise FaultError(f"{kind}: graph '{analysis.graph.name}' has no {target} at '{name}'; its matrices are {have}")
    readers = {stored_words(n, target): n for n in reversed(weighted)}
    return {str(constant): node for constant, node in reversed(readers.items()) if constant in named}


@dataclass(frozen=True, slots=True)
class UnitFault(Fault):
    """A fault of units that a mask names. layer: a node that has the mask, or "*".

    Exactly round(rate * n) units, nested over rates; neurons: explicit indices instead of rate and seed.
    """

    uniform = True  # a layer that may have dead units may have any

    layer: str = ALL
    rate: float = 0.0
    seed: int = 0
    neurons: tuple[int, ...] = explicit()

    def mark(self, analysis: Analysis, slot: str, stream: int, what: str) -> Iterator[SetSlot]:
        """The mask `slot` of each layer with its units; a spiking layer's are drawn from `stream` and its own, others' by their site."""
        for node, mask in carriers(analysis, self.kind, slot, self.layer, what):
            drawn = stream | node.streams()[0] if node.unit_kind == "spiking" else UNIT_STREAM + analysis.graph.site(node)
            entries = self.units(node, drawn, mask.length)
            yield SetSlot(node.name, slot, entries, np.ones(len(entries), np.int64))

    def units(self, node: Node, stream: int, count: int) -> NDArray[np.intp]:
        """Those named, or those drawn from a stream."""
        if self.neurons:
            chosen = np.array(self.neurons, np.intp)
            if chosen.min() < 0 or chosen.max() >= count:
                wrong = int(chosen[(chosen < 0) | (chosen >= count)][0])
                raise FaultError(f"{self.kind}: layer '{node.name}' has neurons 0..{count - 1}, not {wrong}")
            return chosen
        return nested_sites(self.seed, stream, count, self.rate)
