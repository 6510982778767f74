"""Confidence sequences: intervals that hold at every look at once, so that a campaign may stop because one is narrow enough.

An interval of a fixed sample size holds for one look that was planned; looked at until it pleases, it covers less than it says. A sequence
pays for its freedom with about half as much width again. Sources: H. Robbins, Annals of Mathematical Statistics 41 (1970) 1397; T. L. Lai,
Annals of Statistics 4 (1976) 265; H. Wang and A. Ramdas, "Anytime-valid t-tests and confidence sequences for Gaussian means with unknown
variance" (2023). Their coverage is simulated in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edgechaos.support.statistics import (
    Estimate,
    NonInferiority,
    mean_and_error,
    mean_over_masks,
    non_inferiority,
    paired_difference,
    proportion,
)

EFFECT_VARIANCE = 0.08
"""Of the normal mixture over effect sizes, mean / standard deviation: narrowest at 150 units, within 5 % of that from 50 to 500."""
METHOD = "confidence sequence, t"


def sequence_over(units: str, values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """The mean of n >= 2 independent units with an interval that holds for all n at once.

    mean +- s / sqrt(n) sqrt((n - 1) (L - 1) / (1 - L / k)), k = 1 + n g, L = (k / alpha^2)^(1 / n), g = EFFECT_VARIANCE; infinite while
    L >= k. Exact where the units are normal, as the t interval is. Raises ValueError for fewer than two.
    """
    mean, error = mean_and_error(units, values)
    n = len(values)
    half = math.sqrt((n - 1) * _bound(n, 1 - confidence)) * error if error else 0.0
    return Estimate(mean, mean - half, mean + half, n, f"{METHOD} over {units}", confidence)


def _bound(n: int, alpha: float) -> float:
    """The largest t^2 / (n - 1) at which the mixture's Bayes factor stays below 1 / alpha."""
    k = 1 + n * EFFECT_VARIANCE
    level = (k / alpha**2) ** (1 / n)
    return (level - 1) / (1 - level / k) if level < k else math.inf


def _within(estimate: Estimate, low: float, high: float) -> Estimate:
    """Shares cannot leave their range; and the first looks know nothing, which JSON cannot write as infinity."""
    return replace(estimate, low=max(low, estimate.low), high=min(high, estimate.high))


def _masks(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    return _within(sequence_over("masks", values, confidence), 0.0, 1.0)


def _difference(faulty: Sequence[float], clean: Sequence[float], confidence: float = 0.95) -> Estimate:
    estimate = sequence_over("pairs of masks", [f - c for f, c in zip(faulty, clean, strict=True)], confidence)
    return _within(estimate, -2.0, 2.0)  # a difference of two losses may be that large


def _no_harm(faulty: Sequence[float], clean: Sequence[float], margin: float, confidence: float = 0.95) -> NonInferiority:
    """The lower bound of the two-sided sequence; p: 1 / the Bayes factor at -margin, valid at every look."""
    fixed = non_inferiority(faulty, clean, margin, confidence)  # its checks, mean and n
    lower = _difference(faulty, clean, confidence).low
    mean, error = mean_and_error("masks", [f - c for f, c in zip(faulty, clean, strict=True)])
    if error == 0 or mean <= -margin:
        return replace(fixed, lower=lower, p_value=0.0 if mean > -margin else 1.0, holds=lower > -margin)
    n, u = len(faulty), ((mean + margin) / error) ** 2 / (len(faulty) - 1)
    k = 1 + n * EFFECT_VARIANCE
    factor = n / 2 * (math.log1p(u) - math.log1p(u / k)) - math.log(k) / 2
    return replace(fixed, lower=lower, p_value=min(1.0, math.exp(-factor)), holds=lower > -margin)


def proportion_sequence(successes: int, trials: int, confidence: float = 0.95) -> Estimate:
    """k of n independent trials, for all n at once: the rates whose likelihood is not alpha times below that of the Beta(1/2, 1/2) mixture.

    Exact for every rate. Raises ValueError unless 0 <= k <= n and n >= 1.
    """
    from scipy.optimize import brentq
    from scipy.special import betaln, xlog1py, xlogy

    if not (trials >= 1 and 0 <= successes <= trials):
        raise ValueError(f"{successes} of {trials} trials is no proportion")
    k, n = successes, trials
    mixture = betaln(k + 0.5, n - k + 0.5) - betaln(0.5, 0.5)

    def excess(p: float) -> float:
        return float(mixture - xlogy(k, p) - xlog1py(n - k, -p) + math.log(1 - confidence))

    share, tiny = k / n, 1e-15
    low = brentq(excess, tiny, share) if k and excess(tiny) > 0 else 0.0
    high = brentq(excess, share, 1 - tiny) if k < n and excess(1 - tiny) > 0 else 1.0
    return Estimate(share, low, high, n, "confidence sequence, beta-binomial", confidence)


@dataclass(frozen=True, slots=True)
class Intervals:
    """How a campaign's figures get their intervals: for a number of masks that was fixed before, or for looks at any time."""

    mean: Callable[[Sequence[float], float], Estimate]
    difference: Callable[[Sequence[float], Sequence[float], float], Estimate]
    no_harm: Callable[[Sequence[float], Sequence[float], float, float], NonInferiority]
    share: Callable[[int, int, float], Estimate]


FIXED = Intervals(mean_over_masks, paired_difference, non_inferiority, proportion)
SEQUENTIAL = Intervals(_masks, _difference, _no_harm, proportion_sequence)


def intervals_like(estimate: Estimate) -> Intervals:
    """Those that another figure of the same results must have."""
    return SEQUENTIAL if estimate.method.startswith(METHOD) else FIXED
