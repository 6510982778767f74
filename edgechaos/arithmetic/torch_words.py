"""The counter-based random words of `edgechaos.arithmetic.random_bits` in torch, bit for bit.

int32 tensors hold the bit patterns of the uint32 words, because torch has no uint32 arithmetic: int32 products and sums wrap to the
same bits, and a right shift is masked to a logical one.
Source: docs/semantics.md, "Random words".
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.random_bits import GAUSSIAN_BITS, GOLDEN, MUL_1, MUL_2, second_head, stream_head


def _signed(word: int) -> int:
    """The int32 that has the bits of a uint32."""
    return (word & 0x7FFFFFFF) - (word & 0x80000000)


def _xor_shift_(x: Tensor, shift: int) -> Tensor:
    """x ^= x >> shift, logical, in place."""
    return x.bitwise_xor_((x >> shift).bitwise_and_((1 << (32 - shift)) - 1))


def mix_(x: Tensor) -> Tensor:
    """`random_bits.mix` in place on int32 bit patterns."""
    _xor_shift_(x, 16).mul_(_signed(MUL_1))
    _xor_shift_(x, 15).mul_(_signed(MUL_2))
    return _xor_shift_(x, 15)


def words(seed: int, stream: int, samples: Tensor, ticks: int, neurons: int) -> Tensor:
    """The random words of one stream, (samples, ticks, neurons) int32 bit patterns. samples: (batch,) integers."""
    head = stream_head(seed, stream)
    sample = samples.to(torch.int32)[:, None]  # wraps ids of 2^31 and more to their bits
    tick = torch.arange(ticks, dtype=torch.int32)
    prefix_a = mix_(mix_(sample ^ _signed(head)) ^ tick)[:, :, None]
    prefix_b = mix_(mix_(sample + _signed(second_head(head))) + tick)[:, :, None]
    x = prefix_a + torch.arange(neurons, dtype=torch.int32) * _signed(GOLDEN)
    _xor_shift_(x, 16).mul_(_signed(MUL_1))
    _xor_shift_(x, 15).add_(prefix_b).mul_(_signed(MUL_2))
    return _xor_shift_(x, 16)


def lost(word: Tensor, fail_q: int) -> Tensor:
    """Which spikes an omission probability of fail_q / 65536 loses, bool; 0 never, 65536 always."""
    return (word & 0xFFFF) < fail_q


def gaussian(word: Tensor, dtype: torch.dtype) -> Tensor:
    """One table-Gaussian draw of standard deviation 1 per word."""
    table = torch.tensor(random_bits.gaussian_table(), dtype=dtype) / 2**GAUSSIAN_BITS
    return table[(word >> 22) & 0x3FF]
