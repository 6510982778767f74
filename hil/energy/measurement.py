"""Joules per inference from a power meter: windows gated by a marker, idle baseline, and an uncertainty budget.

    E = (mean of the windows' energies - P_idle * T) / N

A window is N inferences between two edges of a pin, with a silent link: the activity is the network's, not the UART's. The budget is
that of JCGM 100:2008 (GUM): type A from the scatter of windows and of idle blocks, type B from limits of the meter's errors, rectangular
(half-width / sqrt(3)); combined in quadrature, expanded by Student's t at the effective degrees of freedom (Welch-Satterthwaite).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.devices.meters.contract import Accuracy, Marked, MeterError, PowerMeter, Recording
from edgechaos.firmware_gen.core import Cycles
from edgechaos.hil.energy.model import BoardEnergy
from edgechaos.support.statistics import t_quantile

LEAST_WINDOWS = 5
"""As MLPerf Tiny takes; fewer say nothing about their scatter."""
LEAST_SAMPLES = 100
"""Of a window: its edges are known to a sample, so that fewer would make the edges the measurement."""
GUARD = 0.05
"""Share of an idle stretch left out at both its ends, where a regulator still settles."""


@dataclass(frozen=True, slots=True)
class Component:
    """One line of an uncertainty budget: standard uncertainty of the energy per inference, type A or B, degrees of freedom."""

    name: str
    type: str
    standard_j: float
    freedom: float = math.inf


@dataclass(frozen=True, slots=True)
class Window:
    """One marked stretch. refused: why it is not used; "" where it is."""

    first: int
    end: int
    energy_j: float
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Energy per inference above idle, with its expanded uncertainty at `confidence`; gross: with idle power, which a battery gives too.

    latency_s: of one inference. windows: all of them, also those that were refused.
    """

    energy_j: float
    expanded_j: float
    confidence: float
    gross_j: float
    idle_w: float
    latency_s: float
    inferences: int
    windows: tuple[Window, ...]
    budget: tuple[Component, ...]
    meter: str
    origin: str = "measured"

    def relative(self) -> float:
        """Expanded uncertainty as a share of the energy."""
        return self.expanded_j / self.energy_j


def measure(
    device: Marked,
    meter: PowerMeter,
    codes: NDArray[Any],
    *,
    inferences: int,
    windows: int = LEAST_WINDOWS,
    name: str = "meter",
    head: str | None = None,
) -> Measurement:
    """Record `windows` silent runs of `inferences` of one item, (1, *input shape), on an open device and meter, and evaluate them.

    The first run warms up and is not recorded. Raises MeterError as `evaluate` does, DeviceError as the device does.
    """
    seen = meter.around(device)
    seen.repeat(codes, inferences, head=head)
    meter.start()
    for _ in range(windows):
        seen.repeat(codes, inferences, head=head)
    return replace(evaluate(meter.stop(), meter.accuracy, inferences, name=name), origin=meter.origin)


def evaluate(recording: Recording, accuracy: Accuracy, inferences: int, *, confidence: float = 0.95, name: str = "meter") -> Measurement:
    """Energy per inference of a recording whose every marked window is `inferences` inferences.

    Raises MeterError where fewer than LEAST_WINDOWS windows, or no idle stretch, can be used, with the reasons.
    """
    found = tuple(windows_of(recording))
    used = [w for w in found if not w.refused]
    if len(used) < LEAST_WINDOWS:
        why = ", ".join(sorted({w.refused for w in found if w.refused})) or "the marker did not move"
        raise MeterError(f"{len(used)} of {len(found)} windows can be used, {LEAST_WINDOWS} are needed ({why}); see docs/energy.md")
    dt = 1 / recording.rate_hz
    idle = np.array([block.mean() for block in _idle_blocks(recording)])
    if len(idle) < 2:
        raise MeterError(f"{len(idle)} idle stretches of good samples, 2 are needed; leave pauses between the windows")
    seconds = np.array([(w.end - w.first) * dt for w in used])
    net = (np.array([w.energy_j for w in used]) - idle.mean() * seconds) / inferences
    energy, per = float(net.mean()), float(seconds.mean()) / inferences
    power = float(np.mean([w.energy_j for w in used])) / float(seconds.mean())
    volts = float(recording.voltage_v[~recording.missing].mean())
    budget = (
        Component("scatter of the windows", "A", float(net.std(ddof=1)) / math.sqrt(len(net)), len(net) - 1),
        Component("idle power", "A", float(idle.std(ddof=1)) / math.sqrt(len(idle)) * per, len(idle) - 1),
        Component("current gain", "B", accuracy.gain * abs(energy) / math.sqrt(3)),
        # An offset is in the windows and in idle alike; what of it changes between them is not known, so that none of it is taken off.
        Component("current offset", "B", accuracy.offset_a * volts * per / math.sqrt(3)),
        Component("voltage gain", "B", accuracy.voltage_gain * abs(energy) / math.sqrt(3)),
        Component("time base", "B", accuracy.timebase * abs(energy) / math.sqrt(3)),
        Component("edges, a sample each", "B", math.sqrt(2) * dt * (power - idle.mean()) / inferences / math.sqrt(3)),
    )
    combined = math.sqrt(sum(c.standard_j**2 for c in budget))
    spent = sum(c.standard_j**4 / c.freedom for c in budget)
    factor = t_quantile(0.5 + confidence / 2, combined**4 / spent if spent > 0 else math.inf)
    gross = energy + float(idle.mean()) * per
    return Measurement(energy, factor * combined, confidence, gross, float(idle.mean()), per, inferences, found, budget, name)


def windows_of(recording: Recording) -> Iterator[Window]:
    """Every stretch where the marker is high. Refused: cut off by an end of the recording, too short, samples lost or clipped."""
    power = recording.power_w
    for first, end in _stretches(recording.marker):
        energy = float(np.nansum(power[first:end])) / recording.rate_hz
        refused = ""
        if first == 0 or end == len(power):
            refused = "cut off by an end of the recording"
        elif end - first < LEAST_SAMPLES:
            refused = f"shorter than {LEAST_SAMPLES} samples"
        elif recording.missing[first:end].any():
            refused = "samples lost"
        elif recording.clipped[first:end].any():
            refused = "current clipped"
        yield Window(first, end, energy, refused)


def calibrate(measurement: Measurement, cycles: Cycles, board: BoardEnergy) -> tuple[BoardEnergy, float]:
    """A board whose energy per cycle is that of a measured run of a program with known modelled cycles, and its expanded uncertainty in J.

    The band of the cycles counts as limits (type B). The figure holds for that board, clock and supply, and validates nothing on it.
    """
    per_cycle = measurement.energy_j / cycles.usual
    band = max(cycles.high - cycles.usual, cycles.usual - cycles.low) / cycles.usual / math.sqrt(3)
    uncertainty = per_cycle * math.hypot(measurement.relative(), 2 * band)
    joules = f"{measurement.energy_j:.4g} J +- {measurement.expanded_j:.2g} J per inference"
    source = f"fitted: {measurement.origin} with {measurement.meter}, {joules}"
    return replace(board, energy_per_cycle_j=per_cycle, source=source), uncertainty


def _idle_blocks(recording: Recording) -> Iterator[NDArray[np.float64]]:
    """Power of every unmarked stretch of good samples, without its ends."""
    good = ~(recording.missing | recording.clipped)
    for first, end in _stretches(~recording.marker):
        guard = math.ceil((end - first) * GUARD)
        inside = slice(first + guard, end - guard)
        if end - first - 2 * guard >= 1 and good[inside].any():
            yield recording.power_w[inside][good[inside]]


def _stretches(high: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], high, [False]]).astype(np.int8)))
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
