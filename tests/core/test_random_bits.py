"""Statistics of the random words, with fixed seeds: a bound is five standard errors, so that only a real defect breaks it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from edgechaos.arithmetic import random_bits
from edgechaos.faults.sites import nested_sites

SEED = 20240229
Z = 5.0


def block(samples: int = 400, ticks: int = 10, neurons: int = 256, seed: int = SEED, stream: int = 0, first: int = 0) -> NDArray[np.uint32]:
    return random_bits.words(seed, stream, np.arange(first, first + samples), ticks, neurons)


def correlation_z(a: NDArray[np.uint32], b: NDArray[np.uint32]) -> float:
    """Standard errors between the correlation of two equally long runs of words and 0."""
    x, y = a.ravel() / 2.0**32 - 0.5, b.ravel() / 2.0**32 - 0.5
    return float((x * y).mean() * 12 * np.sqrt(x.size))


@pytest.mark.parametrize("shift", [0, 8, 16, 24])
def test_every_byte_is_uniform(shift: int) -> None:
    counts = np.bincount((block() >> np.uint32(shift)).ravel() & 255, minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-6


def test_every_bit_is_fair_and_pairs_of_bits_are_independent() -> None:
    words = block(200).ravel()
    bits = (words[:, None] >> np.arange(32, dtype=np.uint32)) & 1
    z = np.corrcoef(bits.T) * np.sqrt(len(words))
    assert np.abs((bits.mean(axis=0) - 0.5) * 2 * np.sqrt(len(words))).max() < Z
    assert np.abs(z[~np.eye(32, dtype=bool)]).max() < Z


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["samples", "ticks", "neurons"])
@pytest.mark.parametrize("lag", [1, 2, 3, 8])
def test_no_lag_correlation(axis: int, lag: int) -> None:
    words = block()
    a, b = np.moveaxis(words, axis, 0)[lag:], np.moveaxis(words, axis, 0)[:-lag]
    assert abs(correlation_z(a, b)) < Z


@pytest.mark.parametrize(
    "other", [{"stream": 1}, {"stream": 2}, {"stream": 0x10000}, {"seed": SEED + 1}, {"seed": SEED ^ 1 << 31}, {"first": 400}]
)
def test_no_correlation_between_streams_and_seeds(other: dict[str, int]) -> None:
    assert abs(correlation_z(block(), block(**other))) < Z


def xor_words(seed: int, stream: int, samples: NDArray[np.int64], ticks: int, neurons: int) -> NDArray[np.uint32]:
    """A form that was tried and failed: `hA ^ n` in place of `hA + n * GOLDEN`."""
    prefix_a, prefix_b = random_bits.prefixes(seed, stream, samples, ticks)
    return rounds(prefix_a[:, :, None] ^ np.arange(neurons, dtype=np.uint32), prefix_b[:, :, None])


def single_prefix_words(seed: int, stream: int, samples: NDArray[np.int64], ticks: int, neurons: int) -> NDArray[np.uint32]:
    """The other: one 32-bit prefix for all that is not the neuron."""
    prefix_a, _ = random_bits.prefixes(seed, stream, samples, ticks)
    return rounds(prefix_a[:, :, None] + np.arange(neurons, dtype=np.uint32) * np.uint32(random_bits.GOLDEN), np.zeros(1, np.uint32))


def rounds(x: NDArray[np.uint32], second: NDArray[np.uint32]) -> NDArray[np.uint32]:
    x = (x ^ (x >> np.uint32(16))) * np.uint32(random_bits.MUL_1)
    x = ((x ^ (x >> np.uint32(15))) + second) * np.uint32(random_bits.MUL_2)
    return x ^ (x >> np.uint32(16))


def pair_z(words: Any) -> NDArray[np.float64]:
    """z of the losses at one half, over all pairs of neurons n, n ^ d, for d = 1..63; 200,000 ticks of 64 neurons."""
    products, ticks, neuron = np.zeros((64, 64)), 0, np.arange(64)
    for first in range(0, 20_000, 2000):
        drawn = words(SEED, 0, np.arange(first, first + 2000), 10, 64).reshape(-1, 64)
        sign = np.where(random_bits.lost(drawn, 32768), np.float32(1), np.float32(-1))
        products, ticks = products + sign.T @ sign, ticks + len(sign)
    return np.array([products[neuron, neuron ^ d].sum() / 2 / np.sqrt(32 * ticks) for d in range(1, 64)])


def test_losses_of_neighboring_neurons_are_independent() -> None:
    z = pair_z(random_bits.words)
    assert np.abs(z).max() < Z
    assert 0.7 < z.std() < 1.3


def test_the_same_statistic_rejects_the_form_that_failed() -> None:
    assert np.abs(pair_z(xor_words)).max() > 8


def test_sums_over_ticks_have_binomial_variance() -> None:
    counts = random_bits.lost(block(2000, 10, 64), 32768).sum(axis=1)
    error = 2.5 * np.sqrt(2 / counts.size)
    assert abs(counts.var() - 2.5) < Z * error


def repeated_blocks(words: Any) -> int:
    """How many of a million (sample, tick) pairs draw the first two words of another pair."""
    blocks = np.ascontiguousarray(words(SEED, 0, np.arange(100_000), 10, 2)).reshape(-1, 2)
    return len(blocks) - len(np.unique(blocks.view(np.uint64)))


def test_no_block_of_draws_repeats() -> None:
    assert repeated_blocks(random_bits.words) == 0


def test_one_prefix_would_repeat_blocks() -> None:
    """Birthdays in 2^32: about a hundred of a million."""
    assert repeated_blocks(single_prefix_words) > 50


def test_no_block_is_a_shifted_neighbor() -> None:
    """Neither do draws of one block stand in another at other neurons: 64-bit windows of two neighbors are all distinct."""
    words = random_bits.words(SEED, 0, np.arange(2000), 10, 33).reshape(-1, 33).astype(np.uint64)
    windows = (words[:, 1:] << np.uint64(32) | words[:, :-1]).ravel()
    assert len(np.unique(windows)) == windows.size


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0])
def test_loss_rates(rate: float) -> None:
    lost = random_bits.lost(block(), random_bits.fail_q(rate))
    exact = random_bits.fail_q(rate) / 65536
    error = np.sqrt(exact * (1 - exact) / lost.size)
    assert abs(lost.mean() - exact) <= Z * error
    assert abs(exact - rate) <= 0.5 / 65536


def test_loss_rates_hold_for_every_sample_tick_and_neuron() -> None:
    lost = random_bits.lost(block(1000, 16, 128), random_bits.fail_q(0.1))
    for axes in ((1, 2), (0, 2), (0, 1)):
        rates = lost.mean(axis=axes)
        z = (rates - 0.1) / np.sqrt(0.09 / (lost.size / rates.size))
        assert np.abs(z).max() < Z
        assert 0.7 < z.std() < 1.3


def test_omission_is_nested_over_rates() -> None:
    words = block(50)
    previous = np.zeros(words.shape, bool)
    for fail_q in (0, 1, 655, 32768, 65535, 65536):
        lost = random_bits.lost(words, fail_q)
        assert not (previous & ~lost).any()
        previous = lost
    assert previous.all()


def test_gaussian_table_and_its_draws() -> None:
    table = random_bits.gaussian_table().astype(int)
    assert (table == -table[::-1]).all()
    assert (np.diff(table) > 0).all()
    assert abs(table.std() / 2**13 - 1) < 0.003
    draws = random_bits.gaussian(block(100)) / 2**13
    assert abs(draws.mean()) < Z / np.sqrt(draws.size)
    assert abs(draws.std() - table.std() / 2**13) < Z / np.sqrt(2 * draws.size)


def test_table_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        random_bits.gaussian_table()[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        random_bits.binomial_table(4, 100)[0] = 0


@pytest.mark.parametrize("fail_q", [1, 655, 32768, 65000])
def test_binomial_counts_have_the_distribution_of_ticks(fail_q: int) -> None:
    ticks = 10
    words = random_bits.words(SEED, 0, np.arange(2000), 1, 50).ravel()
    counts = np.searchsorted(random_bits.binomial_table(ticks, fail_q), words >> np.uint32(1), side="right")
    expected = stats.binom.pmf(np.arange(ticks + 1), ticks, 1 - fail_q / 65536) * words.size
    seen = np.bincount(counts, minlength=ticks + 1)
    common = expected >= 5
    rest = expected[~common].sum()
    assert stats.chisquare(np.append(seen[common], seen[~common].sum() + 1e-9), np.append(expected[common], rest + 1e-9)).pvalue > 1e-6


@pytest.mark.parametrize("ticks", [1, 10, 127])
def test_binomial_is_exact_at_its_ends(ticks: int) -> None:
    extremes = np.array([0, 2**32 - 1], np.uint32) >> np.uint32(1)
    assert (np.searchsorted(random_bits.binomial_table(ticks, 0), extremes, side="right") == ticks).all()
    assert (np.searchsorted(random_bits.binomial_table(ticks, 65536), extremes, side="right") == 0).all()


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**17), st.integers(0, 20))
@settings(max_examples=50)
def test_words_do_not_depend_on_how_many_are_drawn(seed: int, sample: int, stream: int, tick: int) -> None:
    many = random_bits.words(seed, stream, [0, sample, 5], 21, 9)
    assert (many[1, tick, :4] == random_bits.words(seed, stream, [sample], tick + 1, 4)[0, tick]).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=50)
def test_sites_are_exact_and_nested(seed: int, count: int, rate: float, other: float) -> None:
    low, high = sorted((rate, other))
    few, many = nested_sites(seed, 0x10000, count, low), nested_sites(seed, 0x10000, count, high)
    assert len(few) == int(low * count + 0.5)
    assert set(few) <= set(many) <= set(range(count))


def test_dead_sites_are_uniform_over_seeds() -> None:
    hits = np.bincount(np.concatenate([nested_sites(seed, 0x10000, 64, 0.25) for seed in range(2000)]), minlength=64)
    z = (hits - 500) / np.sqrt(2000 * 0.25 * 0.75)
    assert np.abs(z).max() < Z


@pytest.mark.parametrize("probability", [-0.01, 1.01, float("nan")])
def test_impossible_probabilities_are_refused(probability: float) -> None:
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        random_bits.fail_q(probability)
