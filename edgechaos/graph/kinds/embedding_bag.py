"""The mean vector of a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgechaos.arithmetic.rounding import requantize
from edgechaos.graph.node import Array, Draws, Graph, Interval, constant_field
from edgechaos.graph.rules import ACCUMULATOR, FINER_BITS, MAX_GATHERED, check_rescaling, need, require
from edgechaos.graph.tokenizer import PAD, UNKNOWN
from edgechaos.graph.weighted import Weighted

MAX_VOCABULARY = 1 << 16
"""Token ids are uint16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingBag(Weighted):
    """The mean vector of a text: rows of the token ids that are not 0, summed in int32, rescaled for their count.

        q = clip((int64(sum) * multiplier[count] + 2^(shift[count]-1)) >> shift[count], low, high);  no tokens: 0

    Input uint16 (L,): id 0 is padding, an id >= vocabulary counts as 1, the unknown word. weight (vocabulary, dim) int8;
    multiplier, shift (L + 1,) int32, as of Requantize but shift >= 31 - FINER_BITS, entry 0 unused; low <= 0 <= high; output int8
    (dim,). patch rows are (id, column, delta).
    """

    multiplier: str = constant_field()
    shift: str = constant_field()
    low: int = -128
    high: int = 127

    def terms(self, graph: Graph) -> int:
        """One vector per token."""
        return graph.tensors[self.input].size

    def vocabulary(self, graph: Graph) -> int | None:
        """One per row."""
        return len(graph.value(self.weight))

    def macs(self, graph: Graph) -> int:
        """None: a token adds its vector, without products."""
        return 0

    def check(self, graph: Graph) -> None:
        x, y = self.io(graph)
        weight = graph.value(self.weight)
        require(
            x.dtype == "uint16" and x.ticks == 0 and len(x.shape) == 1, self, f"takes a uint16 vector of token ids, not {x.dtype} {x.shape}"
        )
        good = weight.dtype == np.int8 and weight.ndim == 2 and 2 <= len(weight) <= MAX_VOCABULARY
        require(good, self, f"weight {weight.shape} is not int8 (2..{MAX_VOCABULARY} ids, vector)")
        require((y.dtype, y.shape, y.ticks) == ("int8", weight.shape[1:], 0), self, f"output must be int8 {weight.shape[1:]}")
        require(x.size * y.size <= MAX_GATHERED, self, f"its vectors take {x.size * y.size} codes, more than {MAX_GATHERED}")
        how_many, clip = f"one per count of tokens, 0..{x.shape[0]}", (self.low, self.high)
        check_rescaling(graph, self, (self.multiplier, self.shift), clip, ((x.shape[0] + 1,),), how_many, 31 - FINER_BITS)
        require(self.low <= 0 <= self.high, self, f"clip {self.low}..{self.high} must hold 0, the vector of a text without tokens")
        self.check_patch(graph)

    def bound(self, graph: Graph, bounds: Mapping[str, Interval]) -> Interval:
        """Of the clip; the finer sum is proved, and with it the sum."""
        what = f"{1 << FINER_BITS} times the sum of {self.terms(graph)} token vectors"
        need(self, self.reach(graph, 1) << FINER_BITS, ACCUMULATOR, what)
        return self.low, self.high

    def evaluate(self, graph: Graph, tensors: Mapping[str, Array], draws: Draws) -> Array:
        """int8 (batch, vector)."""
        x = tensors[self.input]
        weight = self.faulty_weight(graph)
        ids = np.where(x < len(weight), x, np.uint16(UNKNOWN))
        real = ids != PAD
        total = (weight[ids] * real[:, :, None]).sum(axis=1, dtype=np.int32)
        count = real.sum(axis=1)
        multiplier, shift = (graph.value(name)[count][:, None] for name in (self.multiplier, self.shift))
        return requantize(total, multiplier, shift, self.low, self.high).astype(np.int8)
