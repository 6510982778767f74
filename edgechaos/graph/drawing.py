"""What the kinds of node share that draw random words: the faults of the generator that gives them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgechaos.arithmetic import random_bits
from edgechaos.graph.node import Draws, Node
from edgechaos.graph.rules import require
from edgechaos.graph.tensors import Slot

GENERATOR = ("draw_clear", "draw_set", "draw_period", "draw_repeat")
"""Its slots, one word each, neighbors in this order."""
LARGEST = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing(Node):
    """A node that draws random words. Set by faults alone, 0 where the generator works:

    draw_clear, draw_set: bits of every word that are 0, that are 1. draw_period: after so many words of an inference, counted
    tick * neurons + neuron, they begin anew. draw_repeat: sample ids count modulo this, so that items are given the draws of others.
    """

    draw_clear: int = 0
    draw_set: int = 0
    draw_period: int = 0
    draw_repeat: int = 0

    def generator_slots(self) -> tuple[Slot, ...]:
        """One per fault of the generator."""
        return tuple(Slot(name, "uint32", 1, 0, LARGEST, added=1) for name in GENERATOR)

    def check_generator(self) -> None:
        """Raises GraphError for what no 32 bits hold."""
        for name in GENERATOR:
            require(0 <= getattr(self, name) <= LARGEST, self, f"{name} {getattr(self, name)} is outside 0..{LARGEST}")

    def drawn(self, draws: Draws, stream: int, ticks: int, neurons: int) -> random_bits.U32:
        """(batch, ticks, neurons) words of a stream as this node's generator gives them."""
        samples = draws.samples % np.uint32(self.draw_repeat) if self.draw_repeat else draws.samples
        word = random_bits.words(draws.seed, stream, samples, ticks, neurons)
        if self.draw_period:
            at = np.arange(ticks * neurons) % self.draw_period
            word = word.reshape(len(word), -1)[:, at].reshape(word.shape)
        return word & np.uint32(~self.draw_clear & LARGEST) | np.uint32(self.draw_set)
