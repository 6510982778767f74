"""Intervals against published values, and their coverage in simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t

from edgechaos.support.statistics import (
    accuracy_interval,
    mcnemar,
    mean_over,
    mean_over_masks,
    mean_over_masks_and_seeds,
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
    assert estimate.low + estimate.high == pytest.approx(2 * 0.93)
    flat = mean_over_masks([0.1, 0.1, 0.1])
    assert flat.low == flat.value == flat.high
    narrow = mean_over_masks([0.90, 0.92, 0.94, 0.96], confidence=0.5)  # t(3) = 0.764892
    assert narrow.high - narrow.value == pytest.approx(0.764892 * 0.0258199 / 2, rel=1e-5)
    assert narrow.confidence == 0.5


def test_two_units_are_enough_and_are_named() -> None:
    estimate = mean_over("seeds", [0.0, 1.0])  # s = 0.707107, t(1) = 12.7062
    assert (estimate.value, estimate.n, estimate.method) == (0.5, 2, "t over seeds")
    assert estimate.high == pytest.approx(0.5 + 12.7062 * 0.707107 / math.sqrt(2), rel=1e-5)


def test_almost_equal_values_are_not_equal() -> None:
    """Only where all are the same is the interval a point: the first and the last alone do not decide."""
    estimate = mean_over_masks([0.1, 0.2, 0.1])
    assert estimate.low < estimate.value < estimate.high


def test_paired_differences() -> None:
    estimate = paired_difference([0.90, 0.91, 0.95], [0.92, 0.92, 0.95])  # -0.02, -0.01, 0: s = 0.01, t(2) = 4.302653
    assert estimate.value == pytest.approx(-0.01)
    assert estimate.high == pytest.approx(-0.01 + 4.302653 * 0.01 / math.sqrt(3), rel=1e-5)
    assert (estimate.n, estimate.method, estimate.confidence) == (3, "paired t over masks", 0.95)
    assert paired_difference([1, 2], [0, 0], confidence=0.9).confidence == 0.9
    with pytest.raises(ValueError, match="zip"):
        paired_difference([0.9, 0.9], [0.9])


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
    assert estimate.value == successes / trials
    assert (estimate.n, estimate.method, estimate.confidence) == (trials, method, 0.95)


def test_the_smallest_proportions() -> None:
    """One trial, and one success among many: where the method changes."""
    assert proportion(0, 1).high == pytest.approx(0.975)
    assert proportion(1, 1).low == pytest.approx(0.025)
    assert [proportion(k, 9).method for k in (0, 1, 8, 9)] == ["Clopper-Pearson", "Wilson", "Wilson", "Clopper-Pearson"]
    assert proportion(3, 9, confidence=0.5).high < proportion(3, 9).high
    assert proportion(3, 9, confidence=0.5).confidence == 0.5


def test_the_interval_of_an_accuracy() -> None:
    assert accuracy_interval(0.81, 100) == proportion(81, 100)
    assert accuracy_interval(1 / 3, 9) == proportion(3, 9)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (1, 0), (-1, 5), (6, 5)])
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


def test_sample_size_at_other_confidences_and_rates() -> None:
    assert sample_size(0.05, confidence=0.99) == 664  # (2.575829^2 / 4) / 0.05^2 = 663.49
    assert sample_size(0.05, expected=0.1) == 139  # 1.959964^2 * 0.09 / 0.0025 = 138.29
    assert sample_size(0.05, 1000, expected=0.1) == 122  # 1000 / (1 + 999 / 138.29) = 121.59


@pytest.mark.parametrize("arguments", [(0.0,), (1.0,), (0.05, 0.5), (0.05, 10, 0.95, 0.0), (0.05, 10, 0.95, 1.0), (0.05, 10, 0.95, 2.0)])
def test_impossible_sample_sizes(arguments: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must lie between"):
        sample_size(*arguments)


def test_mcnemar() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(1, 9) == pytest.approx(22 / 1024)  # 2 * (1 + 10) / 2^10
    assert mcnemar(9, 1) == mcnemar(1, 9)
    assert mcnemar(0, 1) == 1.0
    assert mcnemar(0, 6) == pytest.approx(2 / 64)


def test_non_inferiority() -> None:
    clean, better = [0.95, 0.96, 0.94, 0.95], [0.95, 0.955, 0.94, 0.95]
    good = non_inferiority(better, clean, margin=0.01)
    assert good.holds
    assert good.lower == pytest.approx(-0.00125 - 2.353363 * 0.0025 / 2, rel=1e-5)
    x = (-0.00125 + 0.01) / 0.00125 / math.sqrt(3)  # t / sqrt(3): at 3 degrees of freedom the tail has a closed form
    assert good.p_value == pytest.approx(0.5 - (math.atan(x) + x / (1 + x * x)) / math.pi, rel=1e-6)
    assert good.difference == pytest.approx(-0.00125)
    assert (good.margin, good.n, good.confidence) == (0.01, 4, 0.95)
    assert non_inferiority(better, clean, margin=0.01, confidence=0.5).lower == pytest.approx(-0.00125)
    bad = non_inferiority([0.9, 0.95, 0.94, 0.95], clean, margin=0.01)
    assert not bad.holds
    assert bad.p_value > 0.05
    assert non_inferiority(clean, clean, 0.01).p_value == 0.0
    equal = non_inferiority(clean, clean, 0.0)
    assert (equal.holds, equal.p_value, equal.lower) == (False, 1.0, 0.0)  # no loss at all cannot be shown, only no loss beyond a margin
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


@pytest.mark.parametrize(("of_seeds", "of_masks", "of_rest"), [(0.01, 0.02, 0.005), (0.0, 0.02, 0.01), (0.02, 0.0, 0.01)])
def test_coverage_over_seeds_and_masks(of_seeds: float, of_masks: float, of_rest: float) -> None:
    """Every seed meets the same masks: the crossed interval covers the mean of both; an interval over masks alone does not."""
    rng = np.random.default_rng(7)
    seeds, masks, runs, truth = 3, 30, 1000, 0.9
    covered = alone = 0
    for _ in range(runs):
        table = truth + rng.normal(0, of_seeds, (seeds, 1)) + rng.normal(0, of_masks, (1, masks)) + rng.normal(0, of_rest, (seeds, masks))
        estimate = mean_over_masks_and_seeds(table.tolist())
        covered += estimate.low <= truth <= estimate.high
        over_masks = mean_over_masks(list(table.mean(axis=0)))
        alone += over_masks.low <= truth <= over_masks.high
    assert covered / runs > 0.92
    assert of_seeds == 0 or alone / runs < 0.9


def test_seeds_and_masks_that_all_agree_leave_no_interval() -> None:
    estimate = mean_over_masks_and_seeds([[0.5, 0.5], [0.5, 0.5]])
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (0.5, 0.5, 0.5, 2)
    with pytest.raises(ValueError, match=r"two of each at least, not \(1, 3\)"):
        mean_over_masks_and_seeds([[0.1, 0.2, 0.3]])


def test_the_interval_over_seeds_and_masks_by_hand() -> None:
    """Mean squares of seeds, masks and rest: 13.5, 10.5, 3.5; variance 20.5 / 6; 20.5^2 / 243.5 degrees of freedom."""
    estimate = mean_over_masks_and_seeds([[1, 2, 3], [2, 4, 9]])
    half = t.ppf(0.975, 20.5**2 / 243.5) * math.sqrt(20.5 / 6)
    assert (estimate.value, estimate.n, estimate.confidence) == (3.5, 2, 0.95)
    assert estimate.high - 3.5 == pytest.approx(half, rel=1e-9)
    assert 3.5 - estimate.low == pytest.approx(half, rel=1e-9)


def test_the_interval_over_seeds_and_masks_at_its_limits() -> None:
    """Never less than the larger of the two effects, never fewer than one degree of freedom, a point where neither has any."""
    assert mean_over_masks_and_seeds([[0, 1], [2, 1]]).high == pytest.approx(1 + 12.7062 * 0.5, rel=1e-5)
    assert mean_over_masks_and_seeds([[0, 2], [1, 1]]).high == pytest.approx(1 + 12.7062 * 0.5, rel=1e-5)
    crossed = mean_over_masks_and_seeds([[0, 1], [1, 0]])
    assert (crossed.low, crossed.value, crossed.high) == (0.5, 0.5, 0.5)
    for table in ([[1, 2]], [[1], [2]], [1, 2]):
        with pytest.raises(ValueError, match="needs two of each"):
            mean_over_masks_and_seeds(table)  # type: ignore[arg-type]
