"""Check words of tables: one that notices a changed word (parity), or several that correct it (SEC-DED).

Each of the 32 bit positions of a block of words is a codeword of its own; the XOR of whole words checks all of them at once. A data
word has a position in a Hamming code that is no power of two; check word k is the XOR of the words whose position has bit k, the last
one makes the weight of every column odd, so that two errors are never taken for one.
Source: Hamming, "Error detecting and error correcting codes" (1950); Hsiao, "A class of optimal minimum odd-weight-column SEC-DED
codes" (1970).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]
BITS = 7
"""Of a position."""
EIGHTS = tuple(q for q in range(3, 1 << (BITS - 3)) if q & (q - 1))
"""Positions come by whole eights, 8q..8q+7, for q that are no powers of two: ec_guard.c sums eight words at a time."""
POSITIONS = np.concatenate([np.arange(8 * q, 8 * q + 8) for q in EIGHTS])


@dataclass(frozen=True, slots=True)
class Code:
    """words: of a block. checks: their check words. corrects: one error in each codeword. of: (words,) -> (checks,), shorter blocks too."""

    words: int
    checks: int
    corrects: bool
    of: Callable[[Words], Words]

    def encode(self, table: bytes) -> Words:
        """The check words of a table, little-endian words, block after block; beyond its end there are zeros."""
        words = np.frombuffer(table + bytes(-len(table) % 4), "<u4").astype(np.uint32)
        return np.concatenate([self.of(words[k : k + self.words]) for k in range(0, len(words), self.words)])


def _parity(words: Words) -> Words:
    return np.bitwise_xor.reduce(words, keepdims=True)


def _secded(words: Words) -> Words:
    position = POSITIONS[: len(words)]
    sums = [np.bitwise_xor.reduce(words[(position >> k & 1) == 1], initial=np.uint32(0)) for k in range(BITS)]
    last = np.bitwise_xor.reduce(np.array([*sums, *words], np.uint32))
    return np.array([*sums, last], np.uint32)


PARITY = Code(64, 1, corrects=False, of=_parity)
SECDED = Code(len(POSITIONS), BITS + 1, corrects=True, of=_secded)
