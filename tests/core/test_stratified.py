"""Neyman's allocation and the stratified mean, by hand and in simulation; and the single faults that strata are made of."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.ram_bit_flip import RamBitFlip
from edgechaos.faults.kinds.synapse import SynapseDead
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.faults.strata import strata
from edgechaos.support.errors import FaultError
from edgechaos.support.statistics import proportion
from edgechaos.support.stratified import neyman, smoothed_deviations, stratified
from tests.helpers.graphs import chaos_graph

GRAPH = chaos_graph(sizes=(12, 8, 6, 4))


def test_faults_go_where_size_times_deviation_is_largest() -> None:
    assert neyman([100, 100], [1.0, 3.0], 80, [2, 2]) == (20, 60)
    assert neyman([100, 300], [1.0, 1.0], 80, [2, 2]) == (20, 60)
    assert neyman([1000, 1000, 10], [0.1, 0.3, 0.5], 200, [30, 30, 30])[2] == 10  # no more than there are
    assert neyman([1000, 1000], [0.0, 1.0], 100, [30, 30]) == (30, 70)  # no fewer than its pilot
    assert sum(neyman([1000, 1000, 1000], [0.1, 0.2, 0.4], 333, [5, 5, 5])) == 333
    assert neyman([5, 5], [0.0, 0.0], 7, [1, 1]) == (4, 3)
    assert neyman([10, 5], [1.0, 1.0], 1000, [2, 2]) == (10, 5)
    with pytest.raises(ValueError, match="3 units are fewer than the 4"):
        neyman([10, 10], [1.0, 1.0], 3, [2, 2])


def test_the_stratified_mean_by_hand() -> None:
    """W = .75 and .25; every unit of the second was seen, so that only the first leaves doubt."""
    estimate = stratified([6, 2], [[0.0, 0.2, 0.4], [1.0, 0.8]])
    first, pooled = np.var([0, 0.2, 0.4]), np.var([0, 0.2, 0.4, 1.0, 0.8])
    deviation = math.sqrt((3 * first + 2 * pooled) / 4)
    assert smoothed_deviations([[0.0, 0.2, 0.4], [1.0, 0.8]])[0] == pytest.approx(deviation)
    variance = 0.75**2 * 0.5 * deviation**2 / 3
    assert estimate.value == pytest.approx(0.75 * 0.2 + 0.25 * 0.9)
    assert estimate.high - estimate.value == pytest.approx(4.302653 * math.sqrt(variance), rel=1e-6)  # t of 2 degrees of freedom
    assert (estimate.n, estimate.method) == (5, "t over 2 strata")
    whole = stratified([2, 1], [[0.0, 0.3], [0.6]])
    assert whole.method == "stratified, every unit"
    assert whole.low == whole.value == whole.high == pytest.approx(0.3)
    for sizes, samples in (([5], [[0.1]]), ([2], [[0.1, 0.2, 0.3]])):
        with pytest.raises(ValueError, match="two are needed"):
            stratified(sizes, samples)


def test_where_nothing_was_seen_the_bound_is_clopper_and_pearsons() -> None:
    assert stratified([10_000], [[0.0] * 30]).high == pytest.approx(proportion(0, 30).high)
    assert stratified([500, 500], [[0.0] * 15, [0.0] * 15]).high == pytest.approx(proportion(0, 30).high)
    uneven = stratified([900, 100], [[0.0] * 5, [0.0] * 25])
    assert uneven.high > proportion(0, 30).high  # the large stratum was hardly looked at
    assert stratified([2, 2], [[0.0, 0.0], [0.0, 0.0]]).high == 0.0  # every unit was seen


def test_coverage_of_a_stratified_sample_and_what_it_gains() -> None:
    """Three strata that differ: pilot, Neyman, and an interval a fifth narrower or more than that of as many faults drawn alike."""
    rng = np.random.default_rng(1)
    sizes, rates = [4000, 4000, 500], [0.02, 0.4, 0.9]
    units = [(rng.random(n) < p) * rng.random(n) for n, p in zip(sizes, rates, strict=True)]
    truth, everything = sum(u.sum() for u in units) / sum(sizes), np.concatenate(units)
    covered, widths, plain, runs = 0, 0.0, 0.0, 300
    for _ in range(runs):
        drawn = [rng.permutation(u) for u in units]
        counts = neyman(sizes, smoothed_deviations([list(d[:30]) for d in drawn]), 400, [30] * 3)
        estimate = stratified(sizes, [list(d[:n]) for d, n in zip(drawn, counts, strict=True)])
        covered += estimate.low <= truth <= estimate.high
        widths += estimate.high - estimate.low
        alike = stratified([sum(sizes)], [list(rng.choice(everything, 400, replace=False))])
        plain += alike.high - alike.low
    assert covered / runs > 0.92
    assert widths < 0.9 * plain


def test_every_single_fault_of_a_kind() -> None:
    dead = strata(GRAPH, DeadNeurons())
    assert [(s.layer, s.bit, s.size) for s in dead] == [("cortex0", None, 8), ("cortex1", None, 6)]
    assert dead[1].at(4) == DeadNeurons("cortex1", neurons=(4,))
    assert [s.layer for s in strata(GRAPH, DeadNeurons("cortex1"))] == ["cortex1"]
    flips = strata(GRAPH, WeightBitFlip())
    assert len({s.layer for s in flips}) == 3
    assert {s.bit for s in flips} == set(range(8))
    assert flips[7].at(3) == WeightBitFlip(flips[7].layer, bits=((3, 7),))
    assert [s.size for s in strata(GRAPH, SynapseDead())] == [12 * 8, 8 * 6, 6 * 4]
    assert strata(GRAPH, SynapseDead())[0].at(5).synapses == (5,)  # type: ignore[attr-defined]
    memory = strata(GRAPH, RamBitFlip(0x20000000, 16))
    assert (len(memory), memory[31].size, memory[31].at(2).bits) == (32, 16, ((2, 31),))  # type: ignore[attr-defined]
    with pytest.raises(FaultError, match="has no field that names single sites; sample one of dead"):
        strata(GRAPH, Omission())


def test_every_single_fault_can_be_applied() -> None:
    for pattern in (DeadNeurons(), WeightBitFlip(), SynapseDead()):
        for stratum in strata(GRAPH, pattern):
            resolve(GRAPH, FaultPlan((stratum.at(0),)))
            resolve(GRAPH, FaultPlan((stratum.at(stratum.size - 1),)))
            with pytest.raises(FaultError):
                resolve(GRAPH, FaultPlan((stratum.at(stratum.size),)))
