"""The one definition of rounding, saturation and integer multipliers; the reference and the quantizer both use it.

Every rounding of a stored value is floor(v + 1/2), every shift arithmetic with ties up, as a Cortex-M does it. Source:
docs/semantics.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgechaos.arithmetic.random_bits import GAUSSIAN_BITS
from edgechaos.support.errors import AccumulatorOverflow, UnsupportedError

INT32_MAX = 2**31 - 1
SIGMA_MAX = 2**15 - 1


def round_half_up(values: ArrayLike) -> NDArray[np.int64]:
    """floor(v + 1/2) in float64, as int64."""
    return np.floor(np.asarray(values, np.float64) + 0.5).astype(np.int64)


def saturate16(x: NDArray[Any]) -> NDArray[np.int32]:
    """Clamp to -32768..32767, in int32."""
    return np.clip(x, -32768, 32767).astype(np.int32)


def rounded_shift(x: NDArray[np.int32], shift: int) -> NDArray[np.int32]:
    """(x + 2^(shift-1)) >> shift for |x| < 2^30: arithmetic, ties go up."""
    return (x + np.int32(1 << (shift - 1))) >> np.int32(shift)


def requantize(acc: NDArray[Any], multiplier: NDArray[Any], shift: NDArray[Any], low: int, high: int) -> NDArray[np.int64]:
    """clip((int64(acc) * multiplier + 2^(shift-1)) >> shift, low, high) for |acc| < 2^30; channels on the last axis."""
    wide = shift.astype(np.int64)
    return np.clip((acc.astype(np.int64) * multiplier.astype(np.int64) + (np.int64(1) << (wide - 1))) >> wide, low, high)


def multiplier_shift(factors: ArrayLike, where: str, most: int = 1) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(multiplier, shift) int32 with multiplier / 2^shift next to each factor, 2^30 <= multiplier < 2^31, shift <= 61.

    A factor of `most`, a power of two, becomes (2^31 - 1) / 2^31 of it; where that is 1, this is the identity on every |acc| < 2^30.
    Raises UnsupportedError, naming `where`, for a factor outside 2^-31..most.
    """
    real = np.atleast_1d(np.asarray(factors, np.float64))
    if not bool(((real >= 2.0**-31) & (real <= most)).all()):
        span = f"{real.min():g}..{real.max():g}"
        raise UnsupportedError(f"'{where}': rescaling by {span} is outside 2^-31..{most}; calibrate on inputs of the real range", where)
    mantissa, exponent = np.frexp(real)
    multiplier, shift = round_half_up(mantissa * 2.0**31), 31 - exponent
    carried = multiplier == 2**31
    multiplier, shift = np.where(carried, 2**30, multiplier), np.where(carried, shift - 1, shift)
    least = 31 - (most.bit_length() - 1)
    beyond = shift < least
    return np.where(beyond, INT32_MAX, multiplier).astype(np.int32), np.where(beyond, least, shift).astype(np.int32)


def bias_codes(codes: ArrayLike, where: str) -> NDArray[np.int64]:
    """A bias in units of its accumulator, rounded. Raises AccumulatorOverflow, naming `where`, beyond int32."""
    rounded = round_half_up(codes)
    if (np.abs(rounded) > INT32_MAX).any():
        largest = int(np.abs(rounded).max())
        raise AccumulatorOverflow(f"node '{where}': bias of {largest:,} code units exceeds int32; train with more weight decay", where)
    return rounded


def sigma_multipliers(std_codes: ArrayLike, where: str) -> tuple[NDArray[np.int32], int]:
    """(sigma, sigma_shift) so that (G * sigma) >> sigma_shift has these standard deviations, in code units, per neuron.

    G is the table Gaussian in units of 2^-13; the shift is the largest in 1..30 that keeps every sigma in 0..32767.
    Raises UnsupportedError, naming `where`, for a deviation that no shift carries.
    """
    target = np.asarray(std_codes, np.float64) / 2.0**GAUSSIAN_BITS
    for shift in range(30, 0, -1):
        sigma = round_half_up(target * 2.0**shift)
        if (sigma <= SIGMA_MAX).all():
            return sigma.astype(np.int32), shift
    largest = float(np.max(std_codes))
    raise UnsupportedError(f"'{where}': noise of {largest:g} code units is beyond what int32 carries; lower noise_std", where)


def threshold_codes(threshold: float, scales: ArrayLike) -> NDArray[np.int32]:
    """floor(threshold / scale) per neuron, so that `acc > code` is `acc * scale > threshold` exactly.

    Rounding would be wrong: at threshold / scale = 13.7 an accumulator of 14 must spike.
    A threshold beyond int32 stays at its end, where no accumulator can pass it.
    """
    codes = np.floor(threshold / np.asarray(scales, np.float64))
    return np.clip(codes, -INT32_MAX, INT32_MAX).astype(np.int32)


def q15(fraction: float) -> int:
    """A fraction of 0..1 in units of 2^-15."""
    return int(round_half_up(fraction * 32768))
