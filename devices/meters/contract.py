"""What a power meter is: a recording of current, voltage and one marker input, and how far its figures can be trusted.

Drivers record; what the samples mean is said once, in edgechaos/hil/energy/measurement.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgechaos.support.errors import EdgeChaosError


class MeterError(EdgeChaosError):
    """A meter is absent or busy, or what it recorded cannot be used."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Samples at a constant rate, from one `start` to one `stop`.

    current_a, voltage_v: (samples,) float64. marker: (samples,) bool, the pin that is high while inferences run. missing: (samples,) bool,
    samples that the meter or its link lost, whose values mean nothing. clipped: (samples,) bool, samples at the end of the meter's range.
    """

    rate_hz: float
    current_a: NDArray[np.float64]
    voltage_v: NDArray[np.float64]
    marker: NDArray[np.bool_]
    missing: NDArray[np.bool_]
    clipped: NDArray[np.bool_]

    def __post_init__(self) -> None:
        channels = (self.current_a, self.voltage_v, self.marker, self.missing, self.clipped)
        if len({len(channel) for channel in channels}) != 1 or self.rate_hz <= 0:
            lengths = ", ".join(str(len(channel)) for channel in channels)
            raise MeterError(f"a recording has channels of one length and a rate above 0, not {lengths} samples at {self.rate_hz:g} Hz")

    @property
    def power_w(self) -> NDArray[np.float64]:
        """Current times voltage, sample by sample."""
        return self.current_a * self.voltage_v


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Limits of a meter's errors, each a half-width, as its data sheet says them: +- of the reading, and an offset. `source` names it."""

    gain: float
    offset_a: float
    voltage_gain: float
    timebase: float
    source: str


@runtime_checkable
class Marked(Protocol):
    """A device that runs one item many times between two edges of its marker pin, and is silent on its link meanwhile."""

    def repeat(self, codes: NDArray[Any], times: int, *, seed: int = 0, head: str | None = None) -> None:
        """Run `codes`, (1, *input shape), `times` times; returns when the last one is over."""


class PowerMeter(ABC):
    """Lifecycle: open, any number of start / stop, close. close is safe at any time, repeatedly."""

    @property
    @abstractmethod
    def accuracy(self) -> Accuracy:
        """Limits of the errors in the ranges that it uses."""

    @property
    def origin(self) -> str:
        """What figures made of its recordings are called."""
        return "measured"

    def around(self, device: Marked) -> Marked:
        """The device as this meter sees it."""
        return device

    @abstractmethod
    def open(self) -> str:
        """Connect; returns what answered: kind and serial number. Raises MeterError where it is absent or busy, MissingExtra."""

    @abstractmethod
    def start(self) -> None:
        """Record from now on."""

    @abstractmethod
    def stop(self) -> Recording:
        """End the recording and hand it over. Raises MeterError where nothing was recorded."""

    @abstractmethod
    def close(self) -> None:
        """Release it."""

    def __enter__(self) -> PowerMeter:
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
