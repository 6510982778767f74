"""Points, agreements and samples from results that are written by hand: every figure, and what is lost and counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgechaos.hil.analysis.results import _agreements, point_of, statement
from edgechaos.hil.analysis.results import _curves as curves_of
from edgechaos.hil.analysis.sampled import MOST_CRITICAL, next_samples, sample_results, sample_statement
from edgechaos.hil.analysis.stopping import first_plan, next_plan
from edgechaos.hil.campaign.config import Campaign, EnergySettings, Images, Sample, StopSettings, Sweep
from edgechaos.hil.campaign.plan import Cell, Trial, plan_campaign
from edgechaos.hil.energy.model import board_energy, energy_per_inference
from edgechaos.hil.execute.evaluate import TrialResult
from edgechaos.support.sequences import SEQUENTIAL
from edgechaos.support.statistics import mcnemar, mean_over_masks, non_inferiority, paired_difference, proportion
from edgechaos.support.stratified import neyman, smoothed_deviations, stratified
from tests.helpers.campaigns import GRAPH, campaign

IMAGES = 20
NOTHING = TrialResult(0, (), {}, "", b"", None, {}, 0)


def given(right: int, outcomes: Mapping[str, int] = {}, **more: Any) -> TrialResult:
    bits = np.packbits(np.arange(IMAGES) < right).tobytes()
    return replace(NOTHING, correct=right, outcomes=dict(outcomes), correct_bits=bits, **more)


def one_cell(masks: int = 5, **changes: Any) -> tuple[Campaign, Cell]:
    spec = campaign(sweep=(Sweep("dead", (0.5,)),), masks=masks, images=Images(IMAGES), margin=0.1, **changes)
    return spec, plan_campaign(spec).cells[0]


def test_a_point_in_every_field() -> None:
    spec, cell = one_cell(energy=EnergySettings("stm32l4r5"))
    right, clean = [15, 12, 18, 12, 20], [18, 18, 18, 19, 20]
    results = {
        t: given(r, {"sdc_critical": 20 - r, "masked": r}, instructions={"alu": 40 * (k + 1), "load": 20}, counted=10 * (k + 1))
        for k, (t, r) in enumerate(zip(cell.trials, right, strict=True))
    }
    results |= {t: given(c) for t, c in zip(cell.clean, clean, strict=True)}
    del results[cell.trials[2]]
    point = point_of(spec, cell, results)
    assert point is not None
    kept = [0, 1, 3, 4]
    faulty, whole = [right[k] / IMAGES for k in kept], [clean[k] / IMAGES for k in kept]
    assert (point.rate, point.masks, point.lost) == (0.5, 4, 1)
    assert (point.accuracy, point.clean) == (mean_over_masks(faulty, 0.95), mean_over_masks(whole, 0.95))
    assert point.difference == paired_difference(faulty, whole, 0.95)
    assert point.no_harm == non_inferiority(faulty, whole, 0.1, 0.95)
    assert point.harmed == proportion(3, 4, 0.95), "three masks lose more than 2 images"
    assert (point.worst_mask, point.worst_accuracy) == (1, 0.6), "of two that are equal the first"
    assert point.outcomes == {"masked": 59, "sdc_critical": 21}
    assert point.per_mask["mask"] == (0, 1, 3, 4)
    assert (point.per_mask["correct"], point.per_mask["clean"]) == ((15, 12, 12, 20), (18, 18, 19, 20))
    assert point.per_mask["sdc_critical"] == (5, 8, 8, 0)
    over = proportion(round(np.mean(faulty) * IMAGES), IMAGES, 0.95)
    assert (point.accuracy_over_images.low, point.accuracy_over_images.high) == (over.low, over.high)
    assert point.accuracy_over_images.value == pytest.approx(np.mean(faulty))
    assert point.instructions == {"alu": 4.0, "load": pytest.approx(np.mean([2, 1, 1 / 2, 2 / 5]))}
    assert point.energy == energy_per_inference(point.instructions, board_energy("stm32l4r5"))
    uncounted = {**results, cell.trials[0]: given(15, {"masked": 20})}
    bare = point_of(spec, cell, uncounted)
    assert bare is not None
    assert (bare.instructions, bare.energy) == ({}, None), "a mask that was not counted leaves none"
    for gone in (*cell.trials[:1], *cell.clean[3:]):
        del results[gone]
    assert point_of(spec, cell, results) is None
    (curve,) = curves_of(spec, plan_campaign(spec), results)
    assert (curve.points, curve.empty_rates) == ((), (0.5,))


@pytest.mark.parametrize(("lost", "harmed"), [(2, 0), (3, 3)])
def test_harm_is_more_than_the_margin_in_whole_images(lost: int, harmed: int) -> None:
    spec, cell = one_cell(masks=3)
    results = {t: given(18 - lost) for t in cell.trials} | {t: given(18) for t in cell.clean}
    point = point_of(spec, cell, results)
    assert point is not None
    assert point.harmed == proportion(harmed, 3, 0.95)
    assert point.outcomes == {"not_activated": 3 * IMAGES}, "a trial without outcomes is its own clean run"
    hundred = replace(spec, images=Images(100), margin=0.29)  # type: ignore[arg-type]
    cell = plan_campaign(hundred).cells[0]
    odd = point_of(hundred, cell, {t: given(60) for t in cell.trials} | {t: given(89) for t in cell.clean})
    assert odd is not None
    assert 0.29 * 100 < 29
    assert odd.harmed == proportion(0, 3, 0.95), "29 of 100 images are not more than 0.29"


def test_a_campaign_that_stops_by_itself_has_sequences() -> None:
    spec, cell = one_cell(masks=30, stop=StopSettings(0.2))  # type: ignore[arg-type]
    results = {t: given(15 + t.mask % 3) for t in cell.trials} | {t: given(18) for t in cell.clean}
    point = point_of(spec, cell, results)
    assert point is not None
    assert point.accuracy == SEQUENTIAL.mean([(15 + m % 3) / IMAGES for m in range(30)], 0.95)
    assert point.harmed == SEQUENTIAL.share(10, 30, 0.95)


@pytest.mark.parametrize(("width", "grows"), [(0.1, False), (0.001, True)])
def test_a_point_goes_on_while_its_interval_is_too_wide(width: float, grows: bool) -> None:
    spec, _ = one_cell(masks=50, stop=StopSettings(width, first=20))  # type: ignore[arg-type]
    plan = first_plan(spec, GRAPH)
    results = {t: given(15 + t.mask % 2) for t in plan.trials}
    point = point_of(spec, plan.cells[0], results)
    assert point is not None
    found = next_plan(spec, GRAPH, plan, results.get)
    assert (found is not None) is grows
    if found is not None:
        assert len(found.cells[0].trials) == 25
        results = {t: given(15 + t.mask % 2) for t in found.trials}
        exact = replace(spec, stop=StopSettings(_width(spec, found.cells[0], results), first=20))  # type: ignore[arg-type]
        assert next_plan(exact, GRAPH, found, results.get) is None, "as wide as allowed is narrow enough"
        last = plan_campaign(spec)
        assert next_plan(spec, GRAPH, last, {t: given(15 + t.mask % 2) for t in last.trials}.get) is None, "no more masks"


def _width(spec: Campaign, cell: Cell, results: Mapping[Trial, TrialResult]) -> float:
    point = point_of(spec, cell, results)
    assert point is not None
    return point.accuracy.high - point.accuracy.low


def test_devices_are_compared_with_the_first_on_the_trials_of_both() -> None:
    spec, _ = one_cell(masks=3, devices=("a", "b", "c"))
    plan = plan_campaign(spec)
    results = {}
    for t in plan.trials:
        if t.device == "c" or (t.device == "b" and t.mask == 2):
            continue
        right = 15 if t.device == "a" else 13 if t.mask == 0 else 16
        results[t] = given(right, digest=f"{t.mask} {t.clean}" if t.device == "a" or t.mask == 1 else "other")
    (agreement,) = _agreements(plan, results)
    assert (agreement.reference, agreement.device, agreement.trials, agreement.identical, agreement.images) == ("a", "b", 4, 2, 80)
    assert (agreement.only_reference, agreement.only_device) == (4, 2)
    assert agreement.p_value == mcnemar(4, 2)


def test_a_statement_says_what_was_lost_and_what_is_shown() -> None:
    spec, cell = one_cell()
    results = {t: given(18) for t in cell.trials[1:]} | {t: given(18) for t in cell.clean}
    (curve,) = curves_of(spec, plan_campaign(spec), results)
    text = statement(curve, curve.points[0])
    assert "(M = 4 masks, 20 images, 1 masks lost to the infrastructure)" in text
    assert "no loss beyond 10.0 points is shown for these images (one-sided at 95 % over masks, lower bound 0.0 points)" in text
    worse = {t: given(9 + t.mask) for t in cell.trials} | {t: given(18) for t in cell.clean}
    (curve,) = curves_of(spec, plan_campaign(spec), worse)
    assert "masks lost" not in statement(curve, curve.points[0])
    assert "no loss beyond 10.0 points is not shown" in statement(curve, curve.points[0])


FLIPS = Sample("weight_bit_flip", 80, ("layer", "bit"), pilot=4)


def sampled(*samples: Sample) -> Campaign:
    return campaign(sweep=(), sample=samples, images=Images(IMAGES))


def harm(trial: Trial) -> int:
    """Images that a flip costs: high bits and low words more."""
    (fault,) = trial.plan.faults
    word, bit = fault.bits[0]  # type: ignore[attr-defined]
    return min(IMAGES, max(0, bit - 3) * (3 + word % 3)) if fault.node == "readout" else bit // 4  # type: ignore[attr-defined]


def test_faults_after_the_pilot_go_where_they_vary() -> None:
    spec = sampled(FLIPS)
    plan = first_plan(spec, GRAPH)
    results = {
        t: given(
            0,
            {"sdc_critical": harm(t)} if not t.clean else {},
        )
        for t in plan.trials
    }
    results = {t: replace(r, correct_bits=b"") for t, r in results.items()}
    (cell,) = plan.samples
    shares = [[harm(t) / IMAGES for t in s.trials] for s in cell.strata]
    wanted = neyman([s.size for s in cell.strata], smoothed_deviations(shares), 80, [4] * len(shares))
    (grown,) = next_samples(spec, GRAPH, plan, results.get)
    assert tuple(len(s.sites) for s in grown.strata) == wanted
    assert len(set(wanted)) > 1
    (same,) = next_samples(spec, GRAPH, plan, lambda trial: None)
    assert same == cell, "nothing is known: no more are drawn"
    full = replace(plan, samples=(grown,))
    assert next_samples(spec, GRAPH, full, results.get) == (grown,)


def test_shares_by_layer_and_bit_and_the_worst_sites() -> None:
    spec = sampled(FLIPS)
    plan = first_plan(spec, GRAPH)
    (cell,) = plan.samples
    results = {t: replace(given(0, {"sdc_critical": harm(t)}), correct_bits=b"") for t in plan.trials if not t.clean}
    missing = cell.strata[5].trials[1]
    del results[missing]
    (found,) = sample_results(spec, plan, results.get)
    values = [[harm(t) / IMAGES for t in s.trials if t != missing] for s in cell.strata]
    sizes = [s.size for s in cell.strata]
    assert found.share == stratified(sizes, values, 0.95)
    assert (found.population, found.faults, found.whole) == (sum(sizes), 4 * len(sizes) - 1, False)
    assert [s.lost for s in found.strata] == [int(k == 5) for k in range(len(sizes))]
    assert [s.share for s in found.strata] == [stratified([n], [v], 0.95) for n, v in zip(sizes, values, strict=True)]
    for row in (*found.layers, *found.bits):
        chosen = [k for k, s in enumerate(cell.strata) if (s.layer == row.layer or row.layer == "*") and row.bit in (None, s.bit)]
        assert row.share == stratified([sizes[k] for k in chosen], [values[k] for k in chosen], 0.95)
        assert (row.size, row.faults) == (sum(sizes[k] for k in chosen), sum(len(values[k]) for k in chosen))
    for rows in (found.layers, found.bits):
        assert [r.share.value for r in rows] == sorted((r.share.value for r in rows), reverse=True)
    ties = [r for r in found.bits if r.share.value == found.bits[-1].share.value]
    assert [r.bit for r in ties] == sorted(r.bit or 0 for r in ties)
    every = []
    for t in results:
        word, bit = t.plan.faults[0].bits[0]  # type: ignore[attr-defined]
        every.append((-harm(t), t.plan.faults[0].node, (word, bit)))  # type: ignore[attr-defined]
    every = sorted(e for e in every if e[0])
    assert len(every) > MOST_CRITICAL == 20
    assert [(c.layer, c.what, c.share) for c in found.critical] == [
        (node, f"word {word} bit {bit}", proportion(-lost, IMAGES, 0.95)) for lost, node, (word, bit) in every[:20]
    ]
    assert f"faults: {found.faults} of {found.population:,}, {len(sizes)} strata; 20 images" in sample_statement(found)
    assert f"most in {found.layers[0].layer} (" in sample_statement(found)
    for t in cell.strata[0].trials[1:]:
        results.pop(t, None)
    assert sample_results(spec, plan, results.get) == (), "a stratum with one result leaves no interval"


def test_one_stratum_has_no_rows_by_layer_or_bit() -> None:
    spec = sampled(replace(FLIPS, strata=()), Sample("synapse_dead", 10, pilot=5))
    plan = first_plan(spec, GRAPH)
    results = {t: replace(given(0, {"sdc_critical": t.mask % 2}), correct_bits=b"") for t in plan.trials if not t.clean}
    flips, dead = sample_results(spec, plan, results.get)
    assert (flips.layers, flips.bits) == ((), ())
    assert "most in" not in sample_statement(flips)
    assert {c.what.partition(" ")[0] for c in dead.critical} == {"synapse"}
    assert {c.layer for c in dead.critical} <= {n.name for n in GRAPH.weighted()}
