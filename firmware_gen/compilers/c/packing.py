"""Weights of 4 or 2 bits as C stores them: two's complement, low bits first, every row in whole bytes.

Source: `ec_packed_code` of runtime/core/ec_layers.h.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

GROUP = 8
"""Codes that the kernel takes at a time: rows are padded with zeros to whole groups."""


def pack(codes: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """(rows, n) codes within `bits` bits, 4 or 2, to (rows, ceil(n / 8) * bits) bytes."""
    rows, n = codes.shape
    padded = np.zeros((rows, -(-n // GROUP) * GROUP), np.uint8)
    padded[:, :n] = codes.astype(np.int8).view(np.uint8) & ((1 << bits) - 1)
    per_byte = 8 // bits
    fields = padded.reshape(rows, -1, per_byte) << (bits * np.arange(per_byte, dtype=np.uint8))
    return np.bitwise_or.reduce(fields, axis=2).astype(np.uint8)
