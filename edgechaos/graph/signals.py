"""Windows of sensor samples as input: what scales a float sample to an int8 code, on the host and in generated C, bit for bit.

Codes are -127..127. One float32 subtraction and one float32 multiplication, each rounded as IEEE 754 says; everything after them is
exact, so that no compiler can fuse, and no processor round, anything to another code.
Source: docs/semantics.md, "Signals".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgechaos.support.errors import DataError

RANGE = 4.0
"""A channel's reach in units of the `std` that models normalize with: normalized values lie in -4..4."""
CODE_MAX = 127
CODE = RANGE / CODE_MAX
"""What one code is worth as a normalized value."""
MIN_REACH, MAX_REACH = 2.0**-90, 2.0**90
"""Within these, neither a factor nor a result that could be anything but 0 or saturated is outside of float32's normal numbers."""


def is_float32(value: float) -> bool:
    """Whether a number is one that float32 holds."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(value)) and float(np.float32(value)) == value


def factors(reach: tuple[float, ...]) -> NDArray[np.float32]:
    """Twice the codes per unit, (channels,) float32: rounded once, from 254 / reach in float64."""
    return (2.0 * CODE_MAX / np.array(reach, np.float64)).astype(np.float32)


def codes(samples: NDArray[np.float32], mean: tuple[float, ...], reach: tuple[float, ...]) -> NDArray[np.int8]:
    """Codes of samples (n, channels, time) float32, shape kept.

        u = (sample - mean) * factor;  code = clip((floor(u) + 1) >> 1, -127, 127)

    That is the nearest code, ties towards plus infinity; what lies out of reach saturates.
    """
    with np.errstate(over="ignore"):  # infinity saturates as any large number does
        u = (samples - np.array(mean, np.float32)[:, None]) * factors(reach)[:, None]
    whole = np.floor(np.clip(u, -2.0 * CODE_MAX - 2, 2.0 * CODE_MAX + 2)).astype(np.int32)
    return np.clip((whole + 1) >> 1, -CODE_MAX, CODE_MAX).astype(np.int8)


def require_finite(samples: NDArray[np.float32], where: str) -> None:
    """Raises DataError, naming the first item and channel, where a sample of (n, channels, time) is NaN or infinite."""
    wrong = ~np.isfinite(samples)
    if wrong.any():
        item, channel = (int(i) for i in np.argwhere(wrong)[0][:2])
        raise DataError(
            f"{where}: item {item}, channel {channel} has a sample that is NaN or infinite; leave such windows out, or mend them"
        )
