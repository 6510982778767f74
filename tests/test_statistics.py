"""Intervals against published values, and their coverage in simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgechaos.statistics import (
    mcnemar,
    mean_over_masks,
    non_inferiority,
    paired_difference,
    proportion,
    sample_size,
)


def test_t_interval_over_masks() -> None:
    estimate = mean_over_masks([0.90, 0.92, 0.94, 0.96])  # s = 0.025820, t(3) = 3.182446
    assert estimate.value == pytest.approx(0.93)
    assert estimate.high - estimate.value == pytest.approx(3.182446 * 0.0258199 / 2, rel=1e-5)
    assert (estimate.n, estimate.method, estimate.confidence) == (4, "t over masks", 0.95)
    flat = mean_over_masks([0.1, 0.1, 0.1])
    assert flat.low == flat.value == flat.high


@pytest.mark.parametrize("values", [[], [0.5]])
def test_fewer_than_two_masks(values: list[float]) -> None:
    with pytest.raises(ValueError, match="needs two masks"):
        mean_over_masks(values)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high", "method"),
    [
        (81, 263, 0.2553, 0.3662, "Wilson"),  # Newcombe 1998, table I
        (15, 148, 0.0624, 0.1605, "Wilson"),
        (0, 20, 0.0, 0.1684, "Clopper-Pearson"),  # 1 - (alpha/2)^(1/n)
        (29, 29, 0.8806, 1.0, "Clopper-Pearson"),
    ],
)
def test_proportions(successes: int, trials: int, low: float, high: float, method: str) -> None:
    estimate = proportion(successes, trials)
    assert estimate.low == pytest.approx(low, abs=5e-5)
    assert estimate.high == pytest.approx(high, abs=5e-5)
    assert estimate.method == method


@pytest.mark.parametrize(("successes", "trials"), [(1, 0), (-1, 5), (6, 5)])
def test_impossible_proportions(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="is no proportion"):
        proportion(successes, trials)


def test_zero_failures_bound() -> None:
    assert proportion(0, 3688).high < 0.001 < proportion(0, 3687).high  # "< 0.1 %" at 95 %, two-sided


@pytest.mark.parametrize(
    ("error", "population", "expected"), [(0.05, math.inf, 385), (0.01, math.inf, 9604), (0.01, 10_000, 4900), (0.05, 1, 1)]
)
def test_sample_size(error: float, population: float, expected: int) -> None:
    assert sample_size(error, population) == expected


@pytest.mark.parametrize("arguments", [(0.0,), (1.0,), (0.05, 0.5)])
def test_impossible_sample_sizes(arguments: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must lie between"):
        sample_size(*arguments)


def test_mcnemar() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(1, 9) == pytest.approx(22 / 1024)  # 2 * (1 + 10) / 2^10
    assert mcnemar(9, 1) == mcnemar(1, 9)


def test_non_inferiority() -> None:
    clean, better = [0.95, 0.96, 0.94, 0.95], [0.95, 0.955, 0.94, 0.95]
    good = non_inferiority(better, clean, margin=0.01)
    assert good.holds
    assert good.lower == pytest.approx(-0.00125 - 2.353363 * 0.0025 / 2, rel=1e-5)
    assert good.p_value < 0.05
    bad = non_inferiority([0.9, 0.95, 0.94, 0.95], clean, margin=0.01)
    assert not bad.holds
    assert bad.p_value > 0.05
    assert non_inferiority(clean, clean, 0.01).p_value == 0.0
    assert not non_inferiority(clean, clean, 0.0).holds  # no loss at all cannot be shown, only no loss beyond a margin
    with pytest.raises(ValueError, match="negative"):
        non_inferiority(clean, clean, -0.01)


def test_the_decision_and_the_p_value_agree() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        clean = rng.normal(0.9, 0.01, 12)
        faulty = clean + rng.normal(-0.008, 0.004, 12)
        answer = non_inferiority(list(faulty), list(clean), 0.01)
        assert answer.holds == (answer.p_value < 0.05)


def test_pairing_removes_what_the_pairs_share() -> None:
    rng = np.random.default_rng(1)
    clean = rng.normal(0.9, 0.02, 30)
    faulty = clean - 0.01 + rng.normal(0, 0.001, 30)
    paired = paired_difference(list(faulty), list(clean))
    assert paired.low < -0.01 < paired.high
    assert paired.high - paired.low < 0.1 * (mean_over_masks(list(faulty)).high - mean_over_masks(list(faulty)).low)


def test_coverage_over_masks_and_of_the_pooled_interval() -> None:
    """Accuracy p_m of each mask is random: the t interval covers its mean 95 times in 100; pooling the images does not."""
    rng = np.random.default_rng(2026)
    masks, images, runs, truth, spread = 30, 1000, 2000, 0.9, 0.03
    concentration = truth * (1 - truth) / spread**2 - 1
    covered = pooled = 0
    for _ in range(runs):
        accuracy = rng.beta(truth * concentration, (1 - truth) * concentration, masks)
        correct = rng.binomial(images, accuracy)
        estimate = mean_over_masks(list(correct / images))
        covered += estimate.low <= truth <= estimate.high
        mean = correct.sum() / (masks * images)
        pooled += abs(mean - truth) <= 1.96 * math.sqrt(mean * (1 - mean) / (masks * images))
    assert 0.93 < covered / runs < 0.965
    assert pooled / runs < 0.55
