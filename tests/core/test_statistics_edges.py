"""Intervals whose every sum can be done by hand, where one more or one less decides."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from edgechaos.support.statistics import (
    accuracy_interval,
    mean_over,
    mean_over_masks,
    mean_over_masks_and_seeds,
    non_inferiority,
    paired_difference,
    proportion,
    sample_size,
)


@pytest.mark.parametrize("table", [[[0, 0], [1, 1], [2, 2]], [[0, 1, 2], [0, 1, 2]]])
def test_an_effect_with_two_degrees_of_freedom(table: list[list[float]]) -> None:
    """Mean square of the effect 2 * 2 / 2 = 2, no other: variance 2, 2 degrees of freedom, t = 4.302653, sqrt(2 / 6)."""
    estimate = mean_over_masks_and_seeds(table)
    assert estimate.value == 1
    assert estimate.high - estimate.value == pytest.approx(4.302653 * (1 / 3) ** 0.5, rel=1e-6)


def test_never_fewer_than_one_degree_of_freedom() -> None:
    """Seeds, masks and rest each have a mean square of 4: Satterthwaite's 4^2 / 48 is less than one; t = 12.7062, sqrt(4 / 4)."""
    estimate = mean_over_masks_and_seeds([[3, -1], [-1, -1]])
    assert estimate.value == 0
    assert estimate.high == pytest.approx(12.7062, rel=1e-5)
    assert estimate.low == pytest.approx(-12.7062, rel=1e-5)


def test_every_interval_is_of_95_percent_by_default() -> None:
    one, two = [0.1, 0.2, 0.4], [0.2, 0.3, 0.6]
    for given, default in (
        (mean_over("seeds", one, 0.95), mean_over("seeds", one)),
        (mean_over_masks(one, 0.95), mean_over_masks(one)),
        (mean_over_masks_and_seeds([one, two], 0.95), mean_over_masks_and_seeds([one, two])),
        (paired_difference(one, two, 0.95), paired_difference(one, two)),
        (non_inferiority(one, two, 0.1, 0.95), non_inferiority(one, two, 0.1)),
        (proportion(3, 9, 0.95), proportion(3, 9)),
        (sample_size(0.01, 5000, 0.95, 0.5), sample_size(0.01, 5000)),
    ):
        assert given == default


@pytest.mark.parametrize(("successes", "method"), [(0, "exact"), (1, "wilson"), (8, "wilson"), (9, "exact")])
def test_only_none_and_all_are_exact(successes: int, method: str) -> None:
    estimate, wanted = proportion(successes, 9), binomtest(successes, 9).proportion_ci(0.95, method=method)
    assert (estimate.low, estimate.high) == pytest.approx((wanted.low, wanted.high), rel=1e-12, abs=0)
    assert estimate.method == ("Wilson" if method == "wilson" else "Clopper-Pearson")


def test_one_trial_is_enough() -> None:
    assert [proportion(k, 1).value for k in (0, 1)] == [0, 1]


@pytest.mark.parametrize(("accuracy", "items", "right"), [(0.25, 4, 1), (1 / 3, 9, 3), (0.9339, 10_000, 9339), (0.0, 7, 0), (1.0, 7, 7)])
def test_an_accuracy_is_a_count_of_items(accuracy: float, items: int, right: int) -> None:
    assert accuracy_interval(accuracy, items) == proportion(right, items)


@pytest.mark.parametrize(
    ("faulty", "margin", "p_value", "holds"), [(0.5, 0.25, 1.0, False), (0.75, 0.25, 1.0, False), (0.75, 0.5, 0.0, True)]
)
def test_a_loss_that_is_the_same_under_every_mask(faulty: float, margin: float, p_value: float, holds: bool) -> None:
    """It is within the margin or it is not; a loss of just the margin is not."""
    answer = non_inferiority([faulty, faulty], [1.0, 1.0], margin)
    assert (answer.lower, answer.p_value, answer.holds) == (faulty - 1, p_value, holds)


@pytest.mark.parametrize("population", [1, 2, 100])
def test_a_sample_is_never_larger_than_its_population(population: int) -> None:
    assert sample_size(1e-6, population) == population
