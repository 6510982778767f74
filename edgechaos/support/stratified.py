"""Stratified samples: how many units each stratum gets, and the share over all of them with its interval.

An interval of the pooled sample would be that of another population: strata are sampled unequally on purpose. Sources: J. Neyman, Journal
of the Royal Statistical Society 97 (1934) 558; W. G. Cochran, Sampling Techniques, 3rd edition, chapter 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgechaos.support.statistics import Estimate, t_quantile

PRIOR = 2
"""Units by which a stratum's variance leans on the others'."""


def neyman(sizes: Sequence[int], deviations: Sequence[float], total: int, least: Sequence[int]) -> tuple[int, ...]:
    """Units per stratum, about in proportion to size x standard deviation; `least` of each at least, never more than there are.

    Sums to `total`, or to all units where there are fewer. Raises ValueError where `least` is more than `total` allows.
    """
    if sum(least) > total:
        raise ValueError(f"{total} units are fewer than the {sum(least)} that were asked for at least")
    given = [min(size, few) for size, few in zip(sizes, least, strict=True)]
    wanted = [size * deviation for size, deviation in zip(sizes, deviations, strict=True)]
    if not any(wanted):
        wanted = [float(size) for size in sizes]
    target = min(total, sum(sizes))
    while (left := target - sum(given)) > 0:
        # Where a stratum has what it deserves, the rest is for the others.
        goal = [target * w / sum(wanted) for w in wanted]
        lack = [min(size, g) - n if size > n else 0.0 for size, g, n in zip(sizes, goal, given, strict=True)]
        if max(lack) <= 0:
            lack = [float(size - n) for size, n in zip(sizes, given, strict=True)]
        lack = [max(0.0, x) for x in lack]
        more = [math.floor(left * x / sum(lack)) for x in lack]
        if not any(more):
            more[max(range(len(lack)), key=lambda k: (lack[k], -k))] = 1
        given = [min(size, n + m) for size, n, m in zip(sizes, given, more, strict=True)]
    return tuple(given)


def smoothed_deviations(samples: Sequence[Sequence[float]]) -> list[float]:
    """Standard deviation of each stratum, two units of the variance of all of them added: a pilot without an event is no proof of none."""
    pooled = float(np.var([v for values in samples for v in values])) if any(len(values) for values in samples) else 0.0
    return [math.sqrt((float(np.var(v)) * len(v) + PRIOR * pooled) / (len(v) + PRIOR - 1)) if len(v) else 0.0 for v in samples]


def stratified(sizes: Sequence[int], samples: Sequence[Sequence[float]], confidence: float = 0.95) -> Estimate:
    """Mean over all units from samples without replacement: sum of W_h mean_h, t interval with Satterthwaite's degrees of freedom.

    Variance: sum of W_h^2 (1 - n_h / N_h) s_h^2 / n_h, s_h smoothed. Values are shares: to the upper bound is added what the strata whose
    samples are all 0 may hide, the largest mean whose chance of showing nothing is (1 - confidence) / 2. Raises ValueError for a stratum
    that has more units than one and a sample of fewer than two.
    """
    for size, values in zip(sizes, samples, strict=True):
        if len(values) < min(2, size) or len(values) > size:
            raise ValueError(f"a stratum of {size} units has a sample of {len(values)}; two are needed")
    weights = np.array(sizes, np.float64) / sum(sizes)
    counts = np.array([len(values) for values in samples], np.float64)
    mean = float(sum(w * float(np.mean(values)) for w, values in zip(weights, samples, strict=True)))
    n = int(counts.sum())
    unseen = 1 - counts / np.array(sizes)
    silent = np.array([not np.any(values) for values in samples])
    hidden = _nothing_seen(weights[silent], counts[silent], unseen[silent], 1 - confidence)
    if silent.all():
        return Estimate(0.0, 0.0, hidden, n, "stratified, nothing seen", confidence)
    parts = np.square(weights) * unseen * np.square(smoothed_deviations(samples)) / counts
    variance = float(parts.sum())
    if variance == 0:
        return Estimate(mean, mean, mean + hidden, n, "stratified, every unit", confidence)
    freedom = variance**2 / float((np.square(parts) / np.maximum(1, counts - 1)).sum())
    half = t_quantile(0.5 + confidence / 2, max(1.0, freedom)) * math.sqrt(variance)
    return Estimate(mean, mean - half, mean + half + hidden, n, f"t over {len(sizes)} strata", confidence)


def _nothing_seen(weights: NDArray[np.float64], counts: NDArray[np.float64], unseen: NDArray[np.float64], alpha: float) -> float:
    """max of sum W_h p_h where the product of (1 - p_h)^n_h is alpha / 2: with one stratum, Clopper and Pearson's bound at 0 of n.

    A stratum that was seen whole has p_h = 0. Lagrange: 1 - p_h = min(1, c n_h / W_h), with c by bisection.
    """
    weights, counts = weights[unseen > 0], counts[unseen > 0]
    if not len(weights):
        return 0.0
    ratio = counts / weights
    low, high = 0.0, float(1 / ratio.min())
    for _ in range(200):
        c = (low + high) / 2
        kept = np.minimum(1.0, c * ratio)
        chance = float((counts * np.log(np.maximum(kept, 1e-300))).sum())
        low, high = (c, high) if chance < math.log(alpha / 2) else (low, c)
    return float((weights * (1 - np.minimum(1.0, low * ratio))).sum())
