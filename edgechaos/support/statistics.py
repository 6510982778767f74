"""Intervals and tests that a report of accuracies may state, and nothing that it may not.

Estimates name their method. Images under one mask are not independent repetitions of the mask: pooling masks x images into one
binomial covers the truth in 4 of 10 cases at 95 %, the t interval over masks in 9.4 of 10. Sources: docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its two-sided interval [low, high]; n: independent units behind it (masks, seeds, items)."""

    value: float
    low: float
    high: float
    n: int
    method: str
    confidence: float


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """Whether the loss stays within a preset margin. lower: one-sided confidence bound of the mean difference."""

    difference: float
    lower: float
    margin: float
    p_value: float
    holds: bool
    n: int
    confidence: float


def mean_over(units: str, values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """mean +- t(n-1) s / sqrt(n) over n >= 2 independent units, such as masks or seeds; what they share is fixed.

    Raises ValueError for fewer than two.
    """
    mean, error = mean_and_error(units, values)
    half = t_quantile(0.5 + confidence / 2, len(values) - 1) * error
    return Estimate(mean, mean - half, mean + half, len(values), f"t over {units}", confidence)


def mean_over_masks(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """`mean_over` masks: clusters are the masks, the images are fixed."""
    return mean_over("masks", values, confidence)


def mean_over_masks_and_seeds(values: Sequence[Sequence[float]], confidence: float = 0.95) -> Estimate:
    """Mean of values[seed][mask], every seed under the same masks: a t interval that holds for other seeds and other masks.

    Two crossed random effects: the variance of the mean is (MS_seeds + MS_masks - MS_rest) / (seeds x masks), at least the larger of
    the first two, with Satterthwaite's degrees of freedom. n: seeds. Raises ValueError for fewer than two of either.
    Source: Searle, Casella and McCulloch, Variance Components, 1992, chapter 4.
    """
    table = np.array(values, np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(f"an interval over seeds and masks needs two of each at least, not {table.shape}")
    seeds, masks = table.shape
    mean = float(table.mean())
    by_seed, by_mask = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    ms_seeds = masks * float(np.square(by_seed - mean).sum()) / (seeds - 1)
    ms_masks = seeds * float(np.square(by_mask - mean).sum()) / (masks - 1)
    ms_rest = float(np.square(table - by_seed - by_mask + mean).sum()) / ((seeds - 1) * (masks - 1))
    variance = max(ms_seeds + ms_masks - ms_rest, ms_seeds, ms_masks)
    squares = ms_seeds**2 / (seeds - 1) + ms_masks**2 / (masks - 1) + ms_rest**2 / ((seeds - 1) * (masks - 1))
    freedom = variance**2 / squares if squares > 0 else math.inf
    half = t_quantile(0.5 + confidence / 2, max(1.0, freedom)) * math.sqrt(variance / (seeds * masks))
    return Estimate(mean, mean - half, mean + half, seeds, f"t over {seeds} seeds x {masks} masks, crossed", confidence)


def paired_difference(faulty: Sequence[float], clean: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Mean of faulty - clean with a t interval over masks; pairs share every random word, so that their noise cancels."""
    estimate = mean_over_masks(_differences(faulty, clean), confidence)
    return Estimate(estimate.value, estimate.low, estimate.high, estimate.n, "paired t over masks", confidence)


def non_inferiority(faulty: Sequence[float], clean: Sequence[float], margin: float, confidence: float = 0.95) -> NonInferiority:
    """One-sided paired t test of H0: mean(faulty - clean) <= -margin, over masks, for the given images.

    margin: a share >= 0, fixed before looking. Raises ValueError for fewer than two masks or a negative margin.
    """
    if margin < 0:
        raise ValueError(f"margin {margin} is negative")
    mean, error = mean_and_error("masks", _differences(faulty, clean))
    n = len(faulty)
    lower = mean - t_quantile(confidence, n - 1) * error
    if error > 0:
        from scipy.special import stdtr

        p_value = float(stdtr(n - 1, -(mean + margin) / error))
    else:
        p_value = 0.0 if mean > -margin else 1.0
    return NonInferiority(mean, lower, margin, p_value, lower > -margin, n, confidence)


def proportion(successes: int, trials: int, confidence: float = 0.95) -> Estimate:
    """k of n independent trials: Wilson's interval, Clopper-Pearson's at k = 0 and k = n, where Wilson's is too short.

    Raises ValueError unless 0 <= k <= n and n >= 1.
    """
    from scipy.special import betaincinv, ndtri

    if not (trials >= 1 and 0 <= successes <= trials):
        raise ValueError(f"{successes} of {trials} trials is no proportion")
    share, tail = successes / trials, (1 - confidence) / 2
    if successes in (0, trials):
        low = float(betaincinv(trials, 1, tail)) if successes else 0.0
        high = 1.0 if successes else float(betaincinv(1, trials, 1 - tail))
        return Estimate(share, low, high, trials, "Clopper-Pearson", confidence)
    z2 = float(ndtri(1 - tail)) ** 2
    center, half = share + z2 / (2 * trials), math.sqrt(z2 * (share * (1 - share) + z2 / (4 * trials)) / trials)
    return Estimate(share, (center - half) / (1 + z2 / trials), (center + half) / (1 + z2 / trials), trials, "Wilson", confidence)


def accuracy_interval(accuracy: float, items: int) -> Estimate:
    """`proportion` of an accuracy that is kept as a share of `items`."""
    return proportion(round(accuracy * items), items)


def sample_size(error: float, population: float = math.inf, confidence: float = 0.95, expected: float = 0.5) -> int:
    """Faults to inject so that a rate is known to +- error: n = N / (1 + e^2 (N - 1) / (z^2 p (1 - p))), rounded up.

    Source: Leveugle et al., DATE 2009. Raises ValueError where error or expected are outside (0, 1) or N < 1.
    """
    if not (0 < error < 1 and 0 < expected < 1 and population >= 1):
        raise ValueError(f"error {error} and expected rate {expected} must lie between 0 and 1, population {population} above 0")
    infinite = NormalDist().inv_cdf(0.5 + confidence / 2) ** 2 * expected * (1 - expected) / error**2
    if math.isinf(population):
        return math.ceil(infinite)
    return math.ceil(population / (1 + (population - 1) / infinite))


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value that two devices are equally accurate, from the items that just one of them recognised."""
    from scipy.stats import binomtest

    discordant = only_first + only_second
    return float(binomtest(only_first, discordant).pvalue) if discordant else 1.0


def _differences(faulty: Sequence[float], clean: Sequence[float]) -> list[float]:
    return [f - c for f, c in zip(faulty, clean, strict=True)]


def mean_and_error(units: str, values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard error of independent units. Raises ValueError for fewer than two."""
    if len(values) < 2:
        raise ValueError(f"an interval over {units} needs two {units} at least, not {len(values)}")
    array = np.asarray(values, np.float64)
    spread = float(array.std(ddof=1)) if np.ptp(array) else 0.0  # equal values leave rounding noise in std
    return float(array.mean()), spread / math.sqrt(len(values))


def t_quantile(probability: float, freedom: float) -> float:
    """Of Student's t. From scipy.special: scipy.stats, which calls it too, takes a second to import."""
    from scipy.special import ndtri, stdtrit

    return float(ndtri(probability) if math.isinf(freedom) else stdtrit(freedom, probability))
