"""Joulescope JS220 through pyjoulescope_driver: current, voltage and general-purpose input 0 as the marker. Untried on hardware.

The driver publishes blocks of samples of each signal, numbered; a gap in the numbers is lost samples, and NaN is a sample that the
instrument had no value for. Blocks: joulescope_driver, `pyjoulescope_driver.record` and its topic list (`s/i/!data`, `s/gpi/0/!data`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.devices.meters.contract import Accuracy, MeterError, PowerMeter, Recording
from edgechaos.support.extras import need

SIGNALS = {"current": "s/i", "voltage": "s/v", "marker": "s/gpi/0"}
RANGE_A = 3.0
"""The largest current of its ranges; a reading there says only that there was as much."""
SETTLE_S = 0.1
"""What the driver may still hold back when a stream is stopped."""


class Blocks:
    """The samples of one signal, put together from numbered blocks. bits: eight samples a byte, as of an input pin."""

    def __init__(self, *, bits: bool = False) -> None:
        self.bits, self.rate_hz, self.found = bits, 0.0, list[tuple[int, NDArray[Any]]]()

    def add(self, block: Mapping[str, Any]) -> None:
        """One message of the driver: `sample_id` of its first sample at `sample_rate`, `decimate_factor` of them for one of `data`."""
        step = int(block["decimate_factor"])
        data = np.asarray(block["data"])
        self.rate_hz = float(block["sample_rate"]) / step
        self.found.append((int(block["sample_id"]) // step, np.unpackbits(data.view(np.uint8), bitorder="little") if self.bits else data))

    def extent(self) -> tuple[int, int]:
        """First number and the one after the last. Raises MeterError where nothing came."""
        if not self.found:
            raise MeterError("the Joulescope sent no samples of a signal that was asked for; check that its instrument side has power")
        return min(first for first, _ in self.found), max(first + len(data) for first, data in self.found)

    def between(self, first: int, end: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Values of those numbers, and which of them never came."""
        values, missing = np.full(end - first, np.nan), np.ones(end - first, bool)
        for start, data in self.found:
            low, high = max(start, first), min(start + len(data), end)
            if low < high:
                values[low - first : high - first] = data[low - start : high - start]
                missing[low - first : high - first] = False
        return values, missing


def assemble(blocks: Mapping[str, Blocks]) -> Recording:
    """The recording that the blocks of current, voltage and marker make: the samples that all three may have."""
    extents = [b.extent() for b in blocks.values()]
    first, end = max(low for low, _ in extents), min(high for _, high in extents)
    rates = {b.rate_hz for b in blocks.values()}
    if len(rates) != 1 or first >= end:
        raise MeterError(f"the Joulescope's signals do not belong together: rates {sorted(rates)}, samples {first} to {end}")
    (current, no_i), (voltage, no_v), (marker, no_m) = (blocks[name].between(first, end) for name in SIGNALS)
    missing = no_i | no_v | no_m | np.isnan(current) | np.isnan(voltage)
    return Recording(rates.pop(), current, voltage, marker == 1, missing, ~missing & (np.abs(current) >= RANGE_A))


class JoulescopeMeter(PowerMeter):
    """serial_number: of one of several, as printed on it, the end of its path; "": the only one. Untried on hardware."""

    def __init__(self, serial_number: str = "") -> None:
        self.serial_number = serial_number
        self._driver: Any = None
        self._path = ""
        self._blocks: dict[str, Blocks] = {}

    @property
    def accuracy(self) -> Accuracy:
        """Assumed until the instrument's own certificate is given: write a subclass with yours."""
        return Accuracy(
            0.001, 1e-6, 0.001, 50e-6, "assumed, JS220: 0.1 % of current and voltage, 1 uA; use the certificate of the instrument"
        )

    def open(self) -> str:
        """As in the base class."""
        self._driver = need("pyjoulescope_driver", "joulescope").Driver()
        try:
            found = [path for path in self._driver.device_paths() if path.endswith(self.serial_number)]
            if len(found) != 1:
                there = ", ".join(self._driver.device_paths()) or "none"
                raise MeterError(
                    f"{len(found)} Joulescopes match '{self.serial_number}'; name one by its serial number, there are: {there}"
                )
            self._path = found[0]
            self._driver.open(self._path)
            self._driver.publish(f"{self._path}/s/i/range/mode", "auto")
        except BaseException:
            self.close()
            raise
        return self._path

    def start(self) -> None:
        """As in the base class."""
        self._blocks = {name: Blocks(bits=name == "marker") for name in SIGNALS}
        for topic in SIGNALS.values():
            self._driver.subscribe(f"{self._path}/{topic}/!data", "pub", self._receive)
            self._driver.publish(f"{self._path}/{topic}/ctrl", 1)

    def stop(self) -> Recording:
        """As in the base class."""
        time.sleep(SETTLE_S)
        for topic in SIGNALS.values():
            self._driver.publish(f"{self._path}/{topic}/ctrl", 0)
            self._driver.unsubscribe(f"{self._path}/{topic}/!data", self._receive)
        return assemble(self._blocks)

    def close(self) -> None:
        """As in the base class."""
        driver, self._driver = self._driver, None
        if driver is not None:
            if self._path:
                driver.close(self._path)
            driver.finalize()
        self._path = ""

    def _receive(self, topic: str, block: Mapping[str, Any]) -> None:
        name = next(name for name, place in SIGNALS.items() if topic.endswith(f"/{place}/!data"))
        self._blocks[name].add(block)
