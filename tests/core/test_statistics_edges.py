"""Crossed intervals whose every sum can be done by hand."""

from __future__ import annotations

import pytest

from edgechaos.support.statistics import mean_over_masks_and_seeds


@pytest.mark.parametrize("table", [[[0, 0], [1, 1], [2, 2]], [[0, 1, 2], [0, 1, 2]]])
def test_an_effect_with_two_degrees_of_freedom(table: list[list[float]]) -> None:
    """Mean square of the effect 2 * 2 / 2 = 2, no other: variance 2, 2 degrees of freedom, t = 4.302653, sqrt(2 / 6)."""
    estimate = mean_over_masks_and_seeds(table)
    assert estimate.value == 1
    assert estimate.high - estimate.value == pytest.approx(4.302653 * (1 / 3) ** 0.5, rel=1e-6)
