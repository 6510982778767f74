"""Measured joules on a simulated meter whose every error is known: the interval holds the truth, bad windows are refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgechaos.devices.meters.contract import MeterError, Recording
from edgechaos.devices.meters.simulated import SimulatedMeter
from edgechaos.firmware_gen.core import Cycles
from edgechaos.hil.energy.battery import battery_life, battery_life_s
from edgechaos.hil.energy.measurement import calibrate, evaluate, measure
from edgechaos.hil.energy.model import board_energy, energy_per_inference
from edgechaos.support.errors import ConfigError

IDLE_A, ACTIVE_A, VOLTS = 1e-3, 11e-3, 3.3
PER_INFERENCE_S, COUNT = 2e-4, 100
TRUE_J = (ACTIVE_A - IDLE_A) * VOLTS * PER_INFERENCE_S
ITEM = np.zeros((1, 4), np.uint8)


class Load:
    """A device that draws from a simulated meter."""

    def __init__(self, meter: SimulatedMeter) -> None:
        self.meter, self.runs = meter, 0

    def repeat(self, codes: NDArray[Any], times: int, *, seed: int = 0, head: str | None = None) -> None:
        self.runs += 1
        if self.runs > 1:  # the first warms up: nothing records yet
            self.meter.draw(5e-3, IDLE_A)
            self.meter.draw(times * PER_INFERENCE_S, ACTIVE_A, marker=True)
            self.meter.draw(5e-3, IDLE_A)


def recording(windows: int = 8, **errors: Any) -> tuple[SimulatedMeter, Recording]:
    meter = SimulatedMeter(voltage_v=VOLTS, **errors)
    meter.start()
    load = Load(meter)
    load.runs = 1
    for _ in range(windows):
        load.repeat(ITEM, COUNT)
    return meter, meter.stop()


def test_without_errors_it_is_the_truth() -> None:
    meter = SimulatedMeter(voltage_v=VOLTS)
    load = Load(meter)
    found = measure(load, meter, ITEM, inferences=COUNT, windows=6)
    assert load.runs == 7
    assert found.energy_j == pytest.approx(TRUE_J, rel=1e-9)
    assert found.idle_w == pytest.approx(IDLE_A * VOLTS)
    assert found.gross_j == pytest.approx(ACTIVE_A * VOLTS * PER_INFERENCE_S)
    assert found.latency_s == pytest.approx(PER_INFERENCE_S)
    assert found.origin == "simulated"
    assert [w.refused for w in found.windows] == [""] * 6


def test_the_budget_by_hand() -> None:
    meter, taken = recording(gain=1.0)
    accuracy = replace(meter.accuracy, gain=0.01, offset_a=1e-5, voltage_gain=0.002, timebase=1e-4)
    found = evaluate(taken, accuracy, COUNT)
    by_name = {c.name: c for c in found.budget}
    third = math.sqrt(3)
    assert by_name["current gain"].standard_j == pytest.approx(0.01 * TRUE_J / third)
    assert by_name["current offset"].standard_j == pytest.approx(1e-5 * VOLTS * PER_INFERENCE_S / third)
    assert by_name["voltage gain"].standard_j == pytest.approx(0.002 * TRUE_J / third)
    assert by_name["time base"].standard_j == pytest.approx(1e-4 * TRUE_J / third)
    assert by_name["edges, a sample each"].standard_j == pytest.approx(math.sqrt(2) * 1e-5 * (ACTIVE_A - IDLE_A) * VOLTS / COUNT / third)
    assert {c.type for c in found.budget[:2]} == {"A"}
    assert {c.type for c in found.budget[2:]} == {"B"}
    combined = math.sqrt(sum(c.standard_j**2 for c in found.budget))
    assert found.expanded_j == pytest.approx(1.959964 * combined, rel=1e-4)  # no scatter: all degrees of freedom
    assert found.relative() == pytest.approx(found.expanded_j / TRUE_J)


def test_scatter_widens_by_student() -> None:
    _, taken = recording(6, noise_a=0.0)
    shaken = replace(taken, current_a=taken.current_a.copy())
    starts = [w.first for w in evaluate(taken, SimulatedMeter().accuracy, COUNT).windows]
    for k, first in enumerate(starts):
        shaken.current_a[first : first + 2000] *= 1 + 0.01 * (k - 2.5)
    found = evaluate(shaken, SimulatedMeter().accuracy, COUNT)
    energies = [(w.energy_j / COUNT - found.idle_w * PER_INFERENCE_S) for w in found.windows]
    standard = np.std(energies, ddof=1) / math.sqrt(6)
    assert found.budget[0].standard_j == pytest.approx(standard)
    assert found.budget[0].freedom == 5
    assert found.expanded_j == pytest.approx(2.570582 * standard, rel=0.02)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    held = 0
    for seed in range(200):
        meter, taken = recording(6, noise_a=3e-3, seed=seed)
        found = evaluate(taken, meter.accuracy, COUNT)
        held += abs(found.energy_j - TRUE_J) <= found.expanded_j
    assert 180 <= held <= 200  # 190 are expected


def test_an_offset_and_a_drift_go_with_the_idle_baseline() -> None:
    for meter, taken in (recording(offset_a=5e-4), recording(drift_a_per_s=1e-3)):
        assert evaluate(taken, meter.accuracy, COUNT).energy_j == pytest.approx(TRUE_J, rel=0.01)


def test_a_gain_error_stays_and_is_in_the_budget() -> None:
    meter, taken = recording(gain=1.02)
    found = evaluate(taken, meter.accuracy, COUNT)
    assert found.energy_j == pytest.approx(1.02 * TRUE_J)
    assert abs(found.energy_j - TRUE_J) <= found.expanded_j


def test_windows_with_lost_or_clipped_samples_are_refused() -> None:
    meter, taken = recording(8)
    starts = [w.first for w in evaluate(taken, meter.accuracy, COUNT).windows]
    missing, clipped = taken.missing.copy(), taken.clipped.copy()
    missing[starts[0] + 7] = clipped[starts[3] + 9] = True
    found = evaluate(replace(taken, missing=missing, clipped=clipped), meter.accuracy, COUNT)
    assert [w.refused for w in found.windows] == ["samples lost", "", "", "current clipped", "", "", "", ""]
    assert found.budget[0].freedom == 5


@pytest.mark.parametrize(
    ("errors", "why"),
    [
        ({"range_a": 5e-3}, "0 of 8 windows can be used, 5 are needed \\(current clipped\\)"),
        ({"loss": 0.01, "burst": 3}, "0 of 8 windows can be used, 5 are needed \\(samples lost\\)"),
        ({"rate_hz": 4000.0}, "shorter than 100 samples"),
        ({"windows": 4}, "4 of 4 windows can be used, 5 are needed \\(the marker did not move\\)"),
    ],
)
def test_too_few_good_windows_are_an_error(errors: dict[str, Any], why: str) -> None:
    meter, taken = recording(**errors)
    with pytest.raises(MeterError, match=why):
        evaluate(taken, meter.accuracy, COUNT)


def test_a_window_at_the_end_of_the_recording_is_not_whole() -> None:
    _, taken = recording(6)
    cut = next(i for i in range(len(taken.marker)) if taken.marker[i]) + 50
    later = Recording(*(getattr(taken, n) if n == "rate_hz" else getattr(taken, n)[cut:] for n in Recording.__dataclass_fields__))
    found = evaluate(later, SimulatedMeter().accuracy, COUNT)
    assert [w.refused for w in found.windows] == ["cut off by an end of the recording", "", "", "", "", ""]


def test_no_idle_stretch_is_an_error() -> None:
    _, taken = recording(8)
    with pytest.raises(MeterError, match="0 idle stretches of good samples"):
        evaluate(replace(taken, missing=~taken.marker), SimulatedMeter().accuracy, COUNT)


def test_the_ends_of_an_idle_stretch_are_left_out() -> None:
    meter = SimulatedMeter(voltage_v=VOLTS)
    meter.start()
    for _ in range(6):
        for seconds, current_a, marker in ((2e-4, 5e-3, False), (9.6e-3, IDLE_A, False), (2e-4, 5e-3, False), (0.02, ACTIVE_A, True)):
            meter.draw(seconds, current_a, marker=marker)
    meter.draw(1e-2, IDLE_A)
    assert evaluate(meter.stop(), meter.accuracy, COUNT).idle_w == pytest.approx(IDLE_A * VOLTS)


def test_calibration_is_fitted_and_says_so() -> None:
    meter, taken = recording(gain=1.0)
    found = evaluate(taken, replace(meter.accuracy, gain=0.01), COUNT, name="JS220 000123")
    board, uncertainty = calibrate(found, Cycles(20_000, 24_000, 30_000), board_energy("stm32l4r5"))
    assert board.energy_per_cycle_j == pytest.approx(TRUE_J / 24_000)
    assert board.source.startswith("fitted: measured with JS220 000123, 6.6e-06 J +- ")
    band = 6000 / 24_000 / math.sqrt(3)
    assert uncertainty == pytest.approx(TRUE_J / 24_000 * math.hypot(found.relative(), 2 * band))


def test_battery_life_of_modelled_inferences() -> None:
    """A coin cell of 230 mAh and 3 V holds 2,484 J; the board asleep takes 429 nW of its power, whatever it infers."""
    energy = energy_per_inference({"alu": 1_000_000}, board_energy("stm32l4r5"))
    idle = battery_life(0.23, 3.0, energy, 0)
    assert idle.usual_s == idle.low_s == idle.high_s == pytest.approx(2484 / 429e-9)
    busy = battery_life(0.23, 3.0, energy, 3600)
    assert busy.usual_s == pytest.approx(2484 / (429e-9 + energy.energy_j))
    assert (busy.low_s, busy.high_s) == pytest.approx((2484 / (429e-9 + energy.high_j), 2484 / (429e-9 + energy.low_j)))
    assert "130 nA" in busy.source
    with pytest.raises(ConfigError, match="take longer than an hour"):
        battery_life(0.23, 3.0, energy, 1e6)
    with pytest.raises(ConfigError, match=r"board 'mps2-an386' states no power asleep; add \[sleep\]"):
        battery_life(0.23, 3.0, replace(energy, board="mps2-an386"), 1)


def test_battery_life_by_hand() -> None:
    """A CR2032: 0.22 Ah at 3 V is 2,376 J."""
    assert battery_life_s(0.22, 3.0, energy_j=0, per_hour=0, idle_w=2376e-6) == pytest.approx(1e6)
    assert battery_life_s(0.22, 3.0, energy_j=1e-3, per_hour=3600, idle_w=1376e-6) == pytest.approx(1e6)
    year = 365.25 * 86400
    assert battery_life_s(0.22, 3.0, energy_j=0, per_hour=0, idle_w=0, self_discharge_per_year=0.01) == pytest.approx(100 * year)
    assert battery_life_s(0.22, 3.0, energy_j=0, per_hour=0, idle_w=0) == math.inf
    with pytest.raises(MeterError, match="capacity and voltage above 0"):
        battery_life_s(0, 3.0, energy_j=0, per_hour=0, idle_w=1)
