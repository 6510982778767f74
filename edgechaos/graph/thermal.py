"""Temperature in integers: between kelvins of a dissipative model and the k of a ThermalNoise node.

T is in the model's own units. Noise N(0, 0.01 sqrt(T)) on every weight is, per output, one Gaussian of standard deviation 0.01
sqrt(T) ||x||: exact, since a sum of independent Gaussians is one. In codes, ||x|| = norm and one unit of the accumulator is worth
weight_scale times one of x, so the deviation is `norm * d` with d = 0.01 sqrt(T) / weight_scale.
Source: the published dissipative learning machine; docs/semantics.md, "ThermalNoise".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgechaos.arithmetic.random_bits import GAUSSIAN_BITS
from edgechaos.support.errors import UnsupportedError

NOISE_PER_ROOT_TEMPERATURE = 0.01
"""Standard deviation of the noise on one weight at T = 1."""
PRODUCT_BITS = 30
AMPLITUDE_MAX = 32767


@dataclass(frozen=True, slots=True)
class ThermalCodes:
    """The integers of one ThermalNoise node: k / 2^(shift_a + shift_b) is the deviation per unit of norm, over 2^13."""

    k: int
    k_max: int
    shift_a: int
    shift_b: int


def thermal_codes(temperature: float, temperature_max: float, weight_scale: float, norm_max: int, where: str) -> ThermalCodes:
    """The finest integers that carry temperatures of 0..temperature_max; norm_max: floor(sqrt(inputs * max code^2)).

    Raises UnsupportedError, naming `where`, for temperatures out of order or beyond what the integers carry.
    """
    if not (0.0 <= temperature <= temperature_max and math.isfinite(temperature_max)):
        raise UnsupportedError(
            f"'{where}': temperature {temperature:g} is outside 0..{temperature_max:g}, the largest that is wanted", where
        )
    largest = deviation(temperature_max, weight_scale)
    shift_b = _largest_shift(largest * norm_max / 2**GAUSSIAN_BITS, AMPLITUDE_MAX, where)
    per_norm = 2.0 ** (shift_b - GAUSSIAN_BITS)
    # One unit less than 2^30, and half a unit of rounding in k.
    shift_a = _largest_shift(largest * per_norm * norm_max, (1 << PRODUCT_BITS) - 1 - norm_max, where)
    scale = per_norm * 2.0**shift_a
    k, k_max = (math.floor(deviation(t, weight_scale) * scale + 0.5) for t in (temperature, temperature_max))
    return ThermalCodes(k, k_max, shift_a, shift_b)


def deviation(temperature: float, weight_scale: float) -> float:
    """Of an accumulator, in code units, per unit of norm."""
    return NOISE_PER_ROOT_TEMPERATURE * math.sqrt(temperature) / weight_scale


def _largest_shift(value: float, limit: int, where: str) -> int:
    """The largest shift in 1..30 with value * 2^shift <= limit."""
    for shift in range(30, 0, -1):
        if value * 2.0**shift <= limit:
            return shift
    raise UnsupportedError(f"'{where}': thermal noise is beyond what int32 carries; lower the largest temperature", where)
