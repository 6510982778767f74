"""Accuracies of one network before and after something, compared so that the verdict holds for any training on any processor.

Both meet the same items and the same random words. Of n items only those tell that exactly one of the two gets right; their number
gives the standard error of the difference (McNemar). A test fails where the loss is larger than allowed by more than `SIGMAS` of it:
by chance once in 30,000 comparisons, whatever was trained.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGMAS = 4.0
MASK_SIGMAS = 5.0
"""Of an error that is itself estimated from some twenty masks: Student's t, once in 12,000 comparisons."""


def assert_loses_at_most(before: NDArray[Any], after: NDArray[Any], share: float, what: str = "") -> None:
    """before, after: (n,) bool, which items are right. share: of the items, in 0..1."""
    difference = before.astype(float) - after.astype(float)
    error = max(float(np.sqrt(np.square(difference).sum())), 1.0) / len(difference)
    loss = float(difference.mean())
    assert loss <= share + SIGMAS * error, f"{what}: loses {loss:.4f}, allowed {share:.4f} and {SIGMAS:g} standard errors of {error:.4f}"


def assert_follows(before: NDArray[Any], after: NDArray[Any], share: float, what: str = "") -> None:
    """before, after: (masks, n) bool, which items are right under each mask of a fault. share: allowed either way, in 0..1.

    Items that meet one mask are not independent of each other: where few neurons are left, a pattern of spikes that two classes tie in
    decides about many of them. The standard error is that of the mean over masks, or over items where that is larger.
    """
    difference = before.astype(float) - after.astype(float)
    by_mask = difference.mean(axis=1)
    over_items = max(float(np.sqrt(np.square(difference).sum())), 1.0) / difference.size
    error = max(float(by_mask.std(ddof=1)) / len(by_mask) ** 0.5, over_items)
    mean = float(by_mask.mean())
    allowed = share + MASK_SIGMAS * error
    assert abs(mean) <= allowed, f"{what}: float - int8 = {mean:+.4f}, allowed {allowed:.4f}"
