"""A meter without hardware, whose every error is known: noise, gain, offset, drift, lost samples, a range that ends.

What it sees is what `draw` was told. The draws come from a generator with a seed of its own, so that a recording repeats.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.devices.meters.contract import Accuracy, Marked, MeterError, PowerMeter, Recording


class SimulatedMeter(PowerMeter):
    """Records the currents of `draw`.

    noise_a: standard deviation per sample. gain, offset_a: of the reading, as a real one's calibration is off. drift_a_per_s: added from
    `start` on. loss: probability of a run of `burst` samples being lost, per sample. range_a: readings end there and count as clipped.
    """

    def __init__(
        self,
        *,
        rate_hz: float = 100_000.0,
        voltage_v: float = 3.3,
        noise_a: float = 0.0,
        gain: float = 1.0,
        offset_a: float = 0.0,
        drift_a_per_s: float = 0.0,
        loss: float = 0.0,
        burst: int = 1,
        range_a: float = np.inf,
        seed: int = 0,
    ) -> None:
        self.rate_hz, self.voltage_v, self.noise_a, self.range_a = rate_hz, voltage_v, noise_a, range_a
        self.gain, self.offset_a, self.drift_a_per_s, self.loss, self.burst = gain, offset_a, drift_a_per_s, loss, burst
        self._rng = np.random.default_rng(seed)
        self._drawn: list[tuple[int, float, bool]] | None = None
        self._time_s = 0.0

    @property
    def origin(self) -> str:
        """Not a measurement."""
        return "simulated"

    @property
    def accuracy(self) -> Accuracy:
        """The errors that it was made with."""
        return Accuracy(abs(self.gain - 1), abs(self.offset_a), 0.0, 0.0, "simulated: the errors it was made with")

    @property
    def recording(self) -> bool:
        """Whether it was started and not stopped."""
        return self._drawn is not None

    def open(self) -> str:
        """Nothing to connect."""
        return "simulated meter"

    def start(self) -> None:
        """Forget what was drawn before."""
        self._drawn, self._time_s = [], 0.0

    def draw(self, seconds: float, current_a: float, *, marker: bool = False) -> None:
        """What the load does next: a current for some time, and its marker pin. Raises MeterError before `start`."""
        if self._drawn is None:
            raise MeterError("the simulated meter records nothing yet; call start first")
        before = round(self._time_s * self.rate_hz)
        self._time_s += seconds
        self._drawn.append((round(self._time_s * self.rate_hz) - before, current_a, marker))

    def stop(self) -> Recording:
        """As in the base class."""
        drawn, self._drawn = self._drawn, None
        if not drawn:
            raise MeterError("the simulated meter recorded nothing; call start, then draw")
        counts, currents, markers = zip(*drawn, strict=True)
        current = np.repeat(np.array(currents, np.float64), counts)
        seconds = np.arange(len(current)) / self.rate_hz
        current = current * self.gain + self.offset_a + self.drift_a_per_s * seconds + self._rng.normal(0, self.noise_a, len(current))
        missing = np.convolve(self._rng.random(len(current)) < self.loss, np.ones(self.burst))[: len(current)] > 0
        clipped = current >= self.range_a
        current = np.where(missing, np.nan, np.minimum(current, self.range_a))
        return Recording(
            self.rate_hz, current, np.full(len(current), self.voltage_v), np.repeat(np.array(markers, bool), counts), missing, clipped
        )

    def close(self) -> None:
        """Nothing to release."""


class Rehearsal(SimulatedMeter):
    """The whole procedure without a meter: whatever runs draws 10 mA for 0.2 ms an inference, and 1 mA at rest, with noise."""

    IDLE_A, ACTIVE_A, INFERENCE_S, PAUSE_S = 1e-3, 10e-3, 2e-4, 5e-3

    def __init__(self, argument: str = "") -> None:
        """argument: of a spec; there is none."""
        if argument:
            raise MeterError(f"the meter 'rehearsal' takes nothing after it, not '{argument:.40}'")
        super().__init__(noise_a=1e-4)

    def around(self, device: Marked) -> Marked:
        """Draws while the device runs."""
        return _Drawing(self, device)


class _Drawing:
    def __init__(self, meter: Rehearsal, device: Marked) -> None:
        self._meter, self._device = meter, device

    def repeat(self, codes: NDArray[Any], times: int, *, seed: int = 0, head: str | None = None) -> None:
        self._device.repeat(codes, times, seed=seed, head=head)
        if self._meter.recording:
            self._meter.draw(Rehearsal.PAUSE_S, Rehearsal.IDLE_A)
            self._meter.draw(times * Rehearsal.INFERENCE_S, Rehearsal.ACTIVE_A, marker=True)
            self._meter.draw(Rehearsal.PAUSE_S, Rehearsal.IDLE_A)
