"""Counter-based random words: every target draws the same 32 bits for (seed, sample, tick, stream, neuron).

Source: docs/semantics.md, "Random words"; the mixer is a two-round multiply-xorshift in the style of lowbias32. Two independent
prefixes feed two rounds, because a single 32-bit prefix repeats whole blocks of draws (610 of 100,000 (sample, tick) pairs) and `hA
^ n` correlates neighbours (z = 14).
"""

from __future__ import annotations

from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgechaos.arithmetic.seeds import check_seed

RANDOM_ID = 0xEC000001
"""Identifies this function on the wire: a device that draws other words must report another number."""

GOLDEN = 0x9E3779B9
MUL_1 = 0x21F0AAAD
MUL_2 = 0xD35A2D97
SECOND_PREFIX = 0x85EBCA6B
FAIL_ONE = 65536
"""`fail_q` of probability 1."""
GAUSSIAN_BITS = 13
"""The Gaussian table holds standard deviations times 2^13."""

U32 = NDArray[np.uint32]


def mix(x: U32) -> U32:
    """Avalanche 32 bits: x ^= x>>16; x *= MUL_1; x ^= x>>15; x *= MUL_2; x ^= x>>15 (modulo 2^32)."""
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(MUL_1)
    x = x ^ (x >> np.uint32(15))
    x = x * np.uint32(MUL_2)
    return x ^ (x >> np.uint32(15))


def _u32(values: ArrayLike) -> U32:
    return np.atleast_1d(np.asarray(values)).astype(np.uint32)


def stream_head(seed: int, stream: int) -> int:
    """h = mix(seed ^ GOLDEN * (stream + 1)): the part of the prefix that neither sample nor tick changes.

    Raises SeedError: whatever draws words passes here, so that no seed is cut to 32 bits unseen.
    """
    return int(mix(_u32((check_seed(seed) ^ (GOLDEN * (stream + 1))) & 0xFFFFFFFF))[0])


def second_head(head: int) -> int:
    """mix(h + SECOND_PREFIX): the same for the second prefix, which shares no step with the first."""
    return int(mix(_u32((head + SECOND_PREFIX) & 0xFFFFFFFF))[0])


def prefixes(seed: int, stream: int, samples: ArrayLike, ticks: int) -> tuple[U32, U32]:
    """The two prefixes (hA, hB), each (samples, ticks) uint32."""
    head = np.uint32(stream_head(seed, stream))
    head_b = np.uint32(second_head(int(head)))
    sample = _u32(samples)[:, None]
    tick = np.arange(ticks, dtype=np.uint32)[None, :]
    return mix(mix(head ^ sample) ^ tick), mix(mix(head_b + sample) + tick)


def words(seed: int, stream: int, samples: ArrayLike, ticks: int, neurons: int) -> U32:
    """The random words of one stream, (samples, ticks, neurons) uint32.

    x = hA + n * GOLDEN;  x ^= x>>16;  x *= MUL_1;  x ^= x>>15;  x += hB;  x *= MUL_2;  x ^= x>>16
    """
    prefix_a, prefix_b = prefixes(seed, stream, samples, ticks)
    x = prefix_a[:, :, None] + np.arange(neurons, dtype=np.uint32) * np.uint32(GOLDEN)
    x ^= x >> np.uint32(16)
    x *= np.uint32(MUL_1)
    x ^= x >> np.uint32(15)
    x += prefix_b[:, :, None]
    x *= np.uint32(MUL_2)
    x ^= x >> np.uint32(16)
    return x


def lost(word: U32, fail_q: int) -> NDArray[np.bool_]:
    """Which spikes an omission probability of fail_q / 65536 loses; 0 never, 65536 always."""
    return (word & np.uint32(0xFFFF)) < np.uint32(fail_q)


def fail_q(probability: float) -> int:
    """The integer threshold of a loss probability in 0..1: floor(65536 p + 1/2)."""
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"probability {probability} is outside 0..1")
    return int(probability * FAIL_ONE + 0.5)


@cache
def gaussian_table() -> NDArray[np.int16]:
    """1,024 Gaussian quantiles at (i + 1/2) / 1024, int16 in units of 2^-13 sigma: a table Gaussian of +-3.3 sigma."""
    half = [int(NormalDist().inv_cdf((1023 - i + 0.5) / 1024) * 2**GAUSSIAN_BITS + 0.5) for i in range(512)]
    table = np.array([-q for q in half] + half[::-1], dtype=np.int16)
    table.flags.writeable = False
    return table


def gaussian(word: U32) -> NDArray[np.int16]:
    """One table-Gaussian draw per word: G[word >> 22]."""
    return gaussian_table()[word >> np.uint32(22)]


@cache
def binomial_table(ticks: int, fail_threshold: int) -> NDArray[np.uint32]:
    """Cumulative distribution of Binomial(ticks, 1 - fail_q/65536) at 0..ticks-1, times 2^31, (ticks,) uint32.

    Computed in exact integers, so that no platform's floats enter it. The count drawn by a word is the number of
    entries <= word >> 1: with 31 bits an entry of probability 1 is 2^31, which no draw reaches (at 32 bits it would
    not fit, and a certain loss would let one spike in 2^32 through).
    """
    survive, fail, total, weight = FAIL_ONE - fail_threshold, fail_threshold, 0, 1
    entries = []
    for k in range(ticks):
        total += weight * survive**k * fail ** (ticks - k)
        entries.append((total << 31) // FAIL_ONE**ticks)
        weight = weight * (ticks - k) // (k + 1)
    table = np.array(entries, dtype=np.uint32)
    table.flags.writeable = False
    return table
