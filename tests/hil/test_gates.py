"""Gates on curves that are written by hand: which points are asked, whole sentences, and limits met exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgechaos.hil.analysis.compare import ComparedCurve, ComparedPoint
from edgechaos.hil.analysis.gates import Gate, Limit, Policy, check_run, judge, outcome_share, parse_gate, sentence, shown
from edgechaos.hil.analysis.points import Curve, Point
from edgechaos.hil.energy.model import board_energy, energy_per_inference
from edgechaos.support.errors import ConfigError
from edgechaos.support.sequences import SEQUENTIAL
from edgechaos.support.statistics import Estimate, mean_over_masks, non_inferiority, proportion


def estimate(value: float, half: float = 0.02, method: str = "t over masks") -> Estimate:
    return Estimate(value, value - half, value + half, 5, method, 0.9)


def point(rate: float, **changes: Any) -> Point:
    made = Point(
        rate=rate,
        masks=5,
        lost=0,
        accuracy=estimate(0.9),
        accuracy_over_images=estimate(0.8),
        clean=estimate(0.95),
        clean_over_images=estimate(0.85),
        difference=estimate(-0.05),
        no_harm=non_inferiority([0.9, 0.8], [0.9, 0.9], 0.1),
        harmed=estimate(0.3),
        worst_mask=3,
        worst_accuracy=0.7,
        outcomes={"crash": 5, "masked": 95},
        instructions={},
        energy=None,
        per_mask={"mask": (0, 1, 2, 3, 4), "crash": (1, 0, 2, 1, 1), "masked": (19, 20, 18, 19, 19), "hang": (20, 20, 20, 20, 20)},
    )
    return replace(made, **changes)


def curve(*points: Point, **changes: Any) -> Curve:
    return replace(Curve("dead", "permanent", "neurons, all layers", "host", 20, points, ()), **changes)


SHORT = (point(0.25), point(0.5), point(0.5 + 1e-8))


def asked(gate: str, *curves: Any) -> list[str]:
    return [v.point for v in judge([parse_gate(gate)], curves or (curve(*SHORT),))]


def test_which_points_are_asked() -> None:
    assert asked("accuracy>=0.1") == ["25 %", "50 %", "50 %"]
    assert len(asked("accuracy>=0.1,at=0.5")) == 1, "one part in 1e9, not in 1e8"
    assert asked("accuracy>=0.1,at=0.5000000000001") == ["50 %"]
    assert asked("accuracy>=0.1,at=1e-13", curve(point(0.0), point(0.1))) == ["0 %"]
    with pytest.raises(ConfigError, match=r"at 1e-11, and no point is that; there are permanently dead .* on host at 0, 0\.1"):
        asked("accuracy>=0.1,at=1e-11", curve(point(0.0), point(0.1)))
    several = (curve(SHORT[0]), curve(SHORT[1], device="unicorn"), curve(SHORT[1], site="neurons of a"), curve(SHORT[0], fault="omission"))
    for more, count in (("fault=dead", 3), ("device=unicorn", 1), ("site=neurons of a", 1), ("fault=dead,device=host,at=0.25", 1)):
        assert len(asked(f"accuracy>=0.1,{more}", *several)) == count, more
    with pytest.raises(ConfigError, match="is asked of all points, and no point is that; there are no curve"):
        judge([parse_gate("accuracy>=0.1")], [])
    with pytest.raises(ConfigError, match=r"is asked of fault dead, site x, device y, at 0\.5, and no point"):
        asked("accuracy>=0.1,fault=dead,site=x,device=y,at=0.5")
    empty = curve(SHORT[0], empty_rates=(0.125, 0.75))
    assert asked("accuracy>=0.1", empty) == ["25 %", "12.5 %", "75 %"]
    assert asked("accuracy>=0.1,at=0.75", empty) == ["75 %"]
    with pytest.raises(ConfigError, match=r"at 0\.125, 0\.25, 0\.75"):
        asked("accuracy>=0.1,at=0.5", empty)


@pytest.mark.parametrize(
    ("gate", "says"),
    [
        ("accuracy>=0.88", "accuracy >= 88.00 %: 90.00 % [88.0, 92.0] at 25 % permanently dead neurons, all layers on host: holds"),
        (
            "accuracy>=0.9",
            "accuracy >= 90.00 %: 90.00 % [88.0, 92.0] at 25 % permanently dead neurons, all layers on host: lower bound 88.00 % is below"
            " 90.00 %; the interval holds the limit, so that more masks may decide",
        ),
        (
            "accuracy>=0.93",
            "accuracy >= 93.00 %: 90.00 % [88.0, 92.0] at 25 % permanently dead neurons, all layers on host: lower bound 88.00 % is below"
            " 93.00 %",
        ),
        (
            "difference<=-0.06",
            "difference <= −6.00 points: −5.00 points [−7.0, −3.0] at 25 % permanently dead neurons, all layers on host: upper bound"
            " −3.00 points is above −6.00 points; the interval holds the limit, so that more masks may decide",
        ),
        (
            "worst_accuracy>=0.7",
            "worst_accuracy >= 70.00 %: 70.00 % [70.0, 70.0] at 25 % permanently dead neurons, all layers on host: holds",
        ),
        (
            "energy_j<=1 uJ",
            "energy_j <= 1.00 µJ: no result at 25 % permanently dead neurons, all layers on host: not measured here: no device counts"
            " instructions, or no board is named",
        ),
    ],
)
def test_a_verdict_in_one_line(gate: str, says: str) -> None:
    (verdict,) = judge([parse_gate(gate)], [curve(SHORT[0])])
    assert sentence(verdict) == says
    assert verdict.passed is says.endswith("holds")


def test_limits_that_are_met_exactly_hold() -> None:
    low, high = Limit(estimate(0.9).low), Limit(estimate(0.9).high)
    (verdict,) = judge([Gate("accuracy", at_least=low, at_most=high)], [curve(SHORT[0])])
    assert verdict.passed
    for gate in (Gate("accuracy", at_least=high), Gate("accuracy", at_most=low)):
        (verdict,) = judge([gate], [curve(SHORT[0])])
        assert verdict.reason.endswith("more masks may decide"), "the limit is the interval's other end"


def test_joules_have_their_band() -> None:
    energy = energy_per_inference({"alu": 1000.0}, board_energy("stm32l4r5"))
    (verdict,) = judge([Gate("energy_j", at_most=Limit(energy.high_j))], [curve(point(0.5, energy=energy))])
    assert verdict.passed
    assert verdict.estimate == Estimate(energy.energy_j, energy.low_j, energy.high_j, 5, energy.origin, 0.9)
    assert "µJ" in sentence(verdict) or "nJ" in sentence(verdict)
    assert not judge([Gate("energy_j", at_most=Limit(energy.energy_j))], [curve(point(0.5, energy=energy))])[0].passed


def test_shares_of_outcomes() -> None:
    here = SHORT[0]
    assert outcome_share(here, "crash", 20) == mean_over_masks([0.05, 0.0, 0.1, 0.05, 0.05], 0.9)
    assert outcome_share(here, "hang", 20) == proportion(20, 20, 0.9), "all of all: over images"
    assert outcome_share(here, "detected", 20) == proportion(0, 20, 0.9)
    stopped = replace(here, accuracy=estimate(0.9, method="confidence sequence, t over masks"))
    assert outcome_share(stopped, "crash", 20) == SEQUENTIAL.mean([0.05, 0.0, 0.1, 0.05, 0.05], 0.9)
    (verdict,) = judge([parse_gate("hang<=1")], [curve(here)])
    assert verdict.estimate == proportion(20, 20, 0.9)


def test_a_gate_of_a_comparison_is_asked_of_the_second_device() -> None:
    compared = ComparedPoint(
        rate=0.5,
        masks=5,
        alone=0,
        first=estimate(0.9),
        second=estimate(0.8),
        change=estimate(-0.1),
        clean_change=estimate(0.0),
        loss_change=estimate(-0.2),
        sdc_change=estimate(0.1),
        no_worse=non_inferiority([0.9, 0.8], [0.9, 0.9], 0.1),
    )
    pair = ComparedCurve("dead", "neurons, all layers", ("host", "unicorn"), 20, "rate", (compared,))
    (verdict,) = judge([parse_gate("change>=-0.13,device=unicorn")], [pair])
    assert verdict.passed
    assert "neurons, all layers on host and unicorn: holds" in sentence(verdict)
    (verdict,) = judge([parse_gate("loss_change>=-0.1")], [pair])
    assert verdict.reason.startswith("lower bound −22.00 points is below −10.00 points")
    with pytest.raises(ConfigError, match="no point is that"):
        judge([parse_gate("change>=-0.12,device=host")], [pair])


def test_a_run_as_a_whole() -> None:
    policy = Policy(1, masks=5, lost=Limit(0.2))
    assert list(check_run(policy, [curve(point(0.5, masks=8, lost=2))])) == [], "2 of 10 may be lost, 5 are enough"
    where = "permanently dead neurons, all layers on host at 50 %"
    assert list(check_run(policy, [curve(point(0.5, masks=4, lost=2))])) == [
        f"{where}: 4 masks, fewer than 5",
        f"{where}: 2 of 6 masks lost to the infrastructure",
    ]
    assert list(check_run(policy, [curve(point(0.5))])) == []
    assert list(check_run(policy, [curve()], [object()])) == []
    assert len(list(check_run(policy, [curve()]))) == 1


def test_values_with_their_unit() -> None:
    assert (shown("accuracy", 0.5), shown("clean_change", -0.015), shown("difference", 0.0)) == ("50.00 %", "−1.50 points", "0.00 points")
    assert (shown("energy_j", 1.5e-6), shown("sdc_critical", 0.012)) == ("1.50 µJ", "1.20 %")
    assert str(Gate("accuracy", Limit(0.5), Limit(0.9))) == "accuracy >= 50.00 % and accuracy <= 90.00 %"
    assert Gate("change").compares
    assert not Gate("accuracy").compares
