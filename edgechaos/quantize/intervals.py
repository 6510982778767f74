"""Intervals of the accuracies that quantization reports: over items where they are independent trials, over masks where masks are.

Enters: counts, or one accuracy per mask. Leaves: an `Interval`. Sources: Wilson, Probable inference, the law of succession, and
statistical inference, JASA 22 (1927); docs/statistics.md. Campaigns have their own, more of them: `edgechaos.hil.statistics`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgechaos.errors import UnsupportedError

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A share with its two-sided 95 % interval low..high; n: items, or masks, behind it."""

    value: float
    low: float
    high: float
    n: int


def over_items(accuracy: float, items: int) -> Interval:
    """Wilson's interval of the share of independent items that are right."""
    from scipy.stats import binomtest

    interval = binomtest(round(accuracy * items), items).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(accuracy, float(interval.low), float(interval.high), items)


def over_masks(values: Sequence[float]) -> Interval:
    """Student's t interval of the mean over masks, within 0..1. Raises UnsupportedError for fewer than two."""
    from scipy.stats import t

    if len(values) < 2:
        raise UnsupportedError(f"an interval over masks needs two at least, not {len(values)}; use more masks")
    array = np.asarray(values, np.float64)
    reach = 0.0 if (array == array[0]).all() else float(t.ppf(0.5 + CONFIDENCE / 2, len(array) - 1) * array.std(ddof=1))
    mean, half = float(array.mean()), reach / math.sqrt(len(array))
    return Interval(mean, max(0.0, mean - half), min(1.0, mean + half), len(array))
