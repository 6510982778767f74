"""Activations as integer codes of one scale: what stands between two matrices of an integer graph, in torch.

Scales are calibrated: int8 takes the one of least squared error among fractions of the largest magnitude seen, int16 reaches a
quarter beyond it.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

HEADROOM = 1.25
"""Int16 reaches this much beyond the largest value seen in calibration; what still exceeds it saturates."""
FRACTIONS = np.linspace(0.3, 1.0, 29)
SEEN_MAX = 1 << 17
"""Values kept for the search: evenly spaced ones where there are more."""


class Quantizer(nn.Module):
    """Codes low..high of one scale, which `choose()` takes from the values of a calibration."""

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.scale = 1.0

    def choose(self, x: Tensor) -> None:
        """Choose the scale for these values."""
        flat = x.detach().flatten()
        flat = flat[flat != 0]  # no scale rounds 0: what never acts must not decide which values are kept
        seen = np.concatenate([np.zeros(1), flat[:: 1 + len(flat) // SEEN_MAX].double().numpy()])
        wanted = np.maximum(seen, 0.0) if self.low == 0 else seen
        peak = float(np.abs(wanted).max()) or 1.0
        if self.high > 127:
            self.scale = HEADROOM * peak / self.high
            return
        candidates = FRACTIONS * peak / self.high
        errors = [float(np.square(self._rounded(wanted, scale) - wanted).mean()) for scale in candidates]
        self.scale = float(candidates[int(np.argmin(errors))])

    def _rounded(self, x: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
        rounded: NDArray[np.float64] = np.clip(np.floor(x / scale + 0.5), self.low, self.high) * scale
        return rounded

    def forward(self, x: Tensor) -> Tensor:
        """The reals of the codes of x, same shape."""
        codes = torch.floor(x / self.scale + 0.5).clamp(self.low, self.high) * self.scale
        if not torch.is_grad_enabled():
            return codes
        clipped = x.clamp(self.low * self.scale, self.high * self.scale)
        return clipped + (codes - clipped).detach()


def gelu_table(scale: float) -> NDArray[np.float64]:
    """GELU, the erf form, of every int8 code of a scale, (256,) from code -128 on: the one definition of fake and real integers."""
    return np.array([0.5 * v * (1.0 + math.erf(v / math.sqrt(2.0))) for v in np.arange(-128, 128) * scale])
