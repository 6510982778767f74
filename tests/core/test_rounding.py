"""Rounding, saturation, multipliers: the bounds that the C and ONNX back ends rely on."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgechaos.arithmetic import rounding
from edgechaos.arithmetic.random_bits import gaussian_table
from edgechaos.support.errors import UnsupportedError

factors = st.floats(2.0**-31, 1.0)
accumulators = st.integers(-(2**30) + 1, 2**30 - 1)


@given(factor=factors, acc=accumulators)
@settings(max_examples=200)
def test_a_multiplier_is_in_range_and_next_to_its_factor(factor: float, acc: int) -> None:
    multiplier, shift = rounding.multiplier_shift(factor, "here")
    assert 2**30 <= multiplier[0] < 2**31
    assert 31 <= shift[0] <= 61
    exact = Fraction(factor) * acc
    got = int(rounding.requantize(np.array([acc], np.int32), multiplier, shift, -(2**31), 2**31 - 1)[0])
    assert abs(got - exact) <= Fraction(1, 2) + Fraction(abs(acc), 2**31) + abs(exact) / 2**31


@given(acc=accumulators)
def test_a_factor_of_one_is_the_identity(acc: int) -> None:
    multiplier, shift = rounding.multiplier_shift([1.0, 1.0 - 2.0**-40], "here")
    result = rounding.requantize(np.array([acc, acc], np.int32), multiplier, shift, -(2**31), 2**31 - 1)
    assert result.tolist() == [acc, acc]


@pytest.mark.parametrize("factor", [0.0, 1.0001, 2.0**-32, float("nan"), float("inf"), -0.5])
def test_factors_out_of_range_are_refused_by_name(factor: float) -> None:
    with pytest.raises(UnsupportedError, match=r"'cortex7': rescaling by .* is outside") as caught:
        rounding.multiplier_shift(factor, "cortex7")
    assert caught.value.node == "cortex7"


def test_ties_go_up_and_values_saturate() -> None:
    assert rounding.round_half_up([-1.5, -0.5, 0.5, 1.5]).tolist() == [-1, 0, 1, 2]
    assert rounding.rounded_shift(np.array([-6, -2, 2, 6, 5], np.int32), 2).tolist() == [-1, 0, 1, 2, 1]
    assert rounding.saturate16(np.array([-40000, 5, 40000], np.int32)).tolist() == [-32768, 5, 32767]
    half = rounding.multiplier_shift(0.5, "x")
    assert rounding.requantize(np.array([-3, -1, 1, 300], np.int32), *half, -128, 127).tolist() == [-1, 0, 1, 127]


@given(threshold=st.floats(0.01, 100), scale=st.floats(1e-6, 1.0), around=st.integers(-3, 3))
def test_integer_thresholds_spike_exactly_where_the_reals_do(threshold: float, scale: float, around: int) -> None:
    code = int(rounding.threshold_codes(threshold, [scale])[0])
    acc = code + around
    assert (acc > code) == (Fraction(acc) * Fraction(scale) > Fraction(scale) * Fraction(code))
    if abs(threshold / scale - round(threshold / scale)) > 1e-6:
        assert (acc > code) == (Fraction(acc) * Fraction(scale) > Fraction(threshold))


def test_thresholds_floor_and_stay_within_int32() -> None:
    assert rounding.threshold_codes(13.7, [1.0, 1e-12, 2.0]).tolist() == [13, 2**31 - 1, 6]


@given(stds=st.lists(st.floats(0.0, 1e5), min_size=1, max_size=8))
def test_sigma_multipliers_fit_and_give_the_deviation(stds: list[float]) -> None:
    sigma, shift = rounding.sigma_multipliers(stds, "here")
    assert 1 <= shift <= 30
    assert sigma.min() >= 0
    assert sigma.max() < 2**15
    assert int(sigma.max()) * int(np.abs(gaussian_table().astype(int)).max()) < 2**30
    np.testing.assert_allclose(sigma * 2.0**13 / 2.0**shift, stds, atol=max(max(stds) / 2**14, 2.0**-18))


def test_noise_beyond_int32_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"'cortex0': noise of 1e\+10 code units"):
        rounding.sigma_multipliers([1e10], "cortex0")
