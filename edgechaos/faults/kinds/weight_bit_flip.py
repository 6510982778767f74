"""Flipped bits of stored weights and biases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic.streams import FLIP_STREAM
from edgechaos.faults.base import ALL, LATER, Fault, explicit
from edgechaos.faults.injections import FlipBits
from edgechaos.faults.sites import nested_sites, weighted_words
from edgechaos.graph.analysis import Analysis
from edgechaos.graph.node import Graph, Node
from edgechaos.support.errors import FaultError
from edgechaos.support.limits import among

TARGETS = ("weight", "bias")
"""Which words of a node may flip."""


@dataclass(frozen=True, slots=True)
class WeightBitFlip(Fault):
    """Permanent bit flips in the stored words of the weights or biases of a MatMul, Readout, Conv or EmbeddingBag.

    node: such a node's name, or "*". target: "weight" or "bias". Words that several nodes read flip for all of them.
    bit: "any"; or "sign", or a number from 0, only that bit of each word. Exactly round(rate * bits) distinct bits of those that may
    flip, nested over rates; or `bits`, explicit (flat word index, bit) pairs.
    """

    kind = "weight_bit_flip"
    title = "Flipped weight bits"
    axis = "stored bits permanently flipped (%)"
    phrase = "permanently flipped"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "SpikeFI:BitflippedSynapse": {},
        "MRFI:IntRandomBitFlip": {},
        "MRFI:IntSignBitFlip": {"bit": "sign"},
        "MRFI:IntFixedBitFlip": {"bit": "0"},
    }

    node: str = ALL
    target: Annotated[str, among(*TARGETS)] = "weight"
    rate: float = 0.0
    seed: int = 0
    bits: tuple[tuple[int, int], ...] = explicit()
    bit: str = field(default="any", metadata=LATER)

    @property
    def place(self) -> str:
        which = "" if self.bit == "any" else "sign " if self.bit == "sign" else f"(number {self.bit}) "
        bits = f"{self.target} {which}bits"
        return f"{bits}, all layers" if self.node == ALL else f"{bits} of {self.node}"

    @property
    def uniform(self) -> bool:  # type: ignore[override]
        """Overflow is proved for every word that a weight may hold, but for the biases as they are."""
        return self.target != "bias"

    def check(self) -> None:
        """Raises FaultError for a bit that no word has, too."""
        super(WeightBitFlip, self).check()  # a class with slots has no bare super()
        if self.bit not in ("any", "sign") and not (self.bit.isascii() and self.bit.isdecimal() and len(self.bit) <= 2):
            raise FaultError(f"{self.kind}: unknown bit '{self.bit:.40}'; use 'any', 'sign', or a number from 0")
        if self.bits and self.bit != "any":
            raise FaultError(f"{self.kind}: 'bits' say which bits flip; leave 'bit' out")

    def resolve(self, analysis: Analysis) -> Iterator[FlipBits]:
        """The bits of every constant once, drawn by the first node that reads it: nodes may share constants."""
        for constant, node in weighted_words(analysis, self.kind, self.node, self.target).items():
            yield FlipBits(constant, self._sites(analysis.graph, node, constant))

    def may_flip(self, node: Node, width: int) -> range:
        """The bits that may flip of the words of a node, `width` bits wide. Raises FaultError for a bit that they do not have."""
        if self.bit == "any":
            return range(width)
        bit = width - 1 if self.bit == "sign" else int(self.bit)
        if bit >= width:
            raise FaultError(f"{self.kind}: the {self.target} words of '{node.name}' have bits 0 to {width - 1}, not {bit}")
        return range(bit, bit + 1)

    def _sites(self, graph: Graph, node: Node, constant: str) -> NDArray[np.int64]:
        size, width = graph.constants[constant].value.size, graph.constants[constant].bits
        if not self.bits:
            stream, bits = FLIP_STREAM + 2 * graph.site(node) + (self.target == "bias"), self.may_flip(node, width)
            words, offsets = np.divmod(nested_sites(self.seed, stream, size * len(bits), self.rate).astype(np.int64), len(bits))
            return words * width + bits.start + offsets
        for word, bit in self.bits:
            if not (0 <= word < size and 0 <= bit < width):
                raise FaultError(f"{self.kind}: '{node.name}' has {size} {self.target} words of {width} bits, not word {word} bit {bit}")
        return np.unique(np.array([word * width + bit for word, bit in self.bits], np.int64))
