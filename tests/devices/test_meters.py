"""Meters: the simulated one repeats, the Joulescope's blocks make a recording, devices run silently between two edges."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgechaos.devices.conformance import GRAPHS
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.devices.fakes.device import FakeDevice
from edgechaos.devices.kinds.unicorn import emulated_firmware
from edgechaos.devices.meters import joulescope
from edgechaos.devices.meters.contract import Marked, MeterError, Recording
from edgechaos.devices.meters.joulescope import JoulescopeMeter
from edgechaos.devices.meters.registry import open_meter
from edgechaos.devices.meters.simulated import Rehearsal, SimulatedMeter
from edgechaos.hil.energy.measurement import measure
from edgechaos.support.errors import ConfigError, MissingExtra, ShapeError
from tests.helpers.graphs import codes_for

GRAPH = GRAPHS["parallel"]


def test_the_simulated_meter_repeats_and_has_the_errors_it_was_given() -> None:
    def taken(seed: int) -> Recording:
        meter = SimulatedMeter(rate_hz=1000, noise_a=1e-3, drift_a_per_s=1.0, loss=0.05, burst=4, range_a=0.9, seed=seed)
        meter.start()
        meter.draw(0.5, 0.1)
        meter.draw(0.5, 0.2, marker=True)
        return meter.stop()

    one, two = taken(1), taken(1)
    assert np.array_equal(one.current_a, two.current_a, equal_nan=True)
    assert not np.array_equal(one.missing, taken(2).missing)
    assert one.marker.tolist() == [False] * 500 + [True] * 500
    assert np.isnan(one.current_a[one.missing]).all()
    lengths = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], one.missing, [0]]).astype(int))))[::2]
    assert lengths[:-1].min() == 4
    good = ~one.missing
    slope = np.polyfit(np.arange(1000)[good & ~one.marker], one.current_a[good & ~one.marker], 1)[0]
    assert slope * 1000 == pytest.approx(1.0, rel=0.01)
    assert one.clipped[good].any()
    assert np.nanmax(one.current_a) == 0.9


def test_a_current_at_the_end_of_the_range_is_clipped() -> None:
    meter = SimulatedMeter(rate_hz=10, range_a=0.2)
    meter.start()
    for current_a in (0.1, 0.2, 0.3):
        meter.draw(0.1, current_a)
    taken = meter.stop()
    assert taken.clipped.tolist() == [False, True, True]
    assert taken.current_a.tolist() == [0.1, 0.2, 0.2]


def test_a_meter_that_was_not_started_says_so() -> None:
    meter = SimulatedMeter()
    with pytest.raises(MeterError, match="records nothing yet; call start"):
        meter.draw(1, 1)
    with pytest.raises(MeterError, match="recorded nothing"):
        meter.stop()


def test_channels_of_several_lengths_are_no_recording() -> None:
    flags = np.zeros(3, bool)
    with pytest.raises(MeterError, match="not 3, 2, 3, 3, 3 samples at 10 Hz"):
        Recording(10, np.zeros(3), np.zeros(2), flags, flags, flags)


def test_a_device_runs_silently_between_two_edges() -> None:
    codes = codes_for(GRAPH, 2)
    assert issubclass(EmulatedDevice, Marked)
    device = EmulatedDevice(GRAPH, emulated_firmware(GRAPH, "mps2-an386"))
    with device:
        device.infer(codes[:1])
        link, before = device._opened_link(), device.counters().inferences
        (once,) = link.windows
        link.windows.clear()
        device.repeat(codes[:1], 20)
        (window,) = link.windows
        assert window > 15 * once
        assert device.counters().inferences == before + 20


def test_what_cannot_be_repeated_is_refused() -> None:
    device = FakeDevice(GRAPH)
    with device:
        for codes, times in ((codes_for(GRAPH, 2), 1), (codes_for(GRAPH, 1), 0)):
            with pytest.raises(ShapeError, match="repeat takes one item and 1 to"):
                device.repeat(codes, times)
        usual = device._opened().client.timeouts
        device.repeat(codes_for(GRAPH, 1), 7)
        assert device._opened().client.timeouts == usual


def block(data: np.ndarray, sample_id: int, step: int = 2) -> dict[str, Any]:
    """A message in the driver's documented form."""
    return {"sample_id": sample_id * step, "sample_rate": 2_000_000, "decimate_factor": step, "data": data}


class Driver:
    """What of pyjoulescope_driver the meter uses: three streams in blocks, one block of current lost, one sample without value."""

    paths = ("u/js220/000123", "u/js220/000456")
    done: list[Any]

    def __init__(self) -> None:
        Driver.done = []

    def device_paths(self) -> list[str]:
        return list(self.paths)

    def open(self, path: str) -> None:
        self.done.append(("open", path))

    def close(self, path: str) -> None:
        self.done.append(("close", path))

    def finalize(self) -> None:
        self.done.append("finalize")

    def publish(self, topic: str, value: Any) -> None:
        self.done.append((topic, value))

    def unsubscribe(self, topic: str, function: Any) -> None:
        self.done.append(("unsubscribe", topic))

    def subscribe(self, topic: str, flags: str, function: Any) -> None:
        assert flags == "pub"
        if topic.endswith("s/i/!data"):
            current = np.linspace(0.1, 0.2, 64, dtype=np.float32)
            current[40], current[50] = np.nan, 3.0
            for first in (0, 16, 48):  # 32 to 47 never come
                function(topic, block(current[first : first + 16], 100 + first))
        elif topic.endswith("s/v/!data"):
            function(topic, block(np.full(70, 3.3, np.float32), 96))
        else:
            function(topic, block(np.array([0, 0, 0xF0, 0xFF, 0x0F, 0, 0, 0, 0], np.uint8), 100))


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> type[Driver]:
    monkeypatch.setitem(sys.modules, "pyjoulescope_driver", SimpleNamespace(Driver=Driver))
    monkeypatch.setattr(joulescope, "SETTLE_S", 0.0)
    return Driver


def test_joulescope_blocks_make_a_recording(driver: type[Driver]) -> None:
    with JoulescopeMeter("000456") as meter:
        meter.start()
        taken = meter.stop()
    assert taken.rate_hz == 1_000_000
    assert len(taken.current_a) == 64
    assert np.flatnonzero(taken.missing).tolist() == [*range(32, 48)]
    assert np.flatnonzero(taken.clipped).tolist() == [50]
    assert np.flatnonzero(taken.marker).tolist() == [*range(20, 36)]
    assert np.allclose(taken.voltage_v, 3.3)
    path = "u/js220/000456"
    streams = [(f"{path}/{s}/ctrl", on) for on in (1, 0) for s in ("s/i", "s/v", "s/gpi/0")]
    assert [d for d in driver.done if d in streams] == streams
    assert driver.done[0] == ("open", path)
    assert driver.done[-2:] == [("close", path), "finalize"]


def test_a_sample_without_value_is_missing(driver: type[Driver]) -> None:
    found = {name: joulescope.Blocks(bits=name == "marker") for name in joulescope.SIGNALS}
    found["current"].add(block(np.array([0.1, np.nan, 0.1], np.float32), 0))
    found["voltage"].add(block(np.full(3, 3.3, np.float32), 0))
    found["marker"].add(block(np.array([7], np.uint8), 0))
    assert joulescope.assemble(found).missing.tolist() == [False, True, False]
    found["voltage"].rate_hz = 7.0
    with pytest.raises(MeterError, match=r"do not belong together: rates \[7\.0, 1000000\.0\]"):
        joulescope.assemble(found)


def test_which_joulescope_must_be_clear(driver: type[Driver]) -> None:
    meter = JoulescopeMeter()
    with pytest.raises(
        MeterError, match="2 Joulescopes match ''; name one by its serial number, there are: u/js220/000123, u/js220/000456"
    ):
        meter.open()
    assert driver.done == ["finalize"]
    meter.close()
    found = {name: joulescope.Blocks() for name in joulescope.SIGNALS}
    with pytest.raises(MeterError, match="sent no samples"):
        joulescope.assemble(found)


def test_without_its_driver_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyjoulescope_driver", None)
    with pytest.raises((MissingExtra, ConfigError), match="joulescope"):
        JoulescopeMeter().open()


def test_meters_have_names() -> None:
    assert isinstance(open_meter("joulescope:000123"), JoulescopeMeter)
    with pytest.raises(ConfigError, match="no meter 'jouleskope:1', did you mean 'joulescope'\\?; there are joulescope, rehearsal"):
        open_meter("jouleskope:1")
    with pytest.raises(MeterError, match="takes nothing after it, not '5'"):
        open_meter("rehearsal:5")


def test_a_rehearsal_hands_everything_on_and_draws_while_it_records() -> None:
    given: list[Any] = []

    class Device:
        def repeat(self, codes: Any, times: int, *, seed: int = -1, head: str | None = "") -> None:
            given.append((codes, times, seed, head))

    meter = Rehearsal()
    seen = meter.around(Device())
    seen.repeat("codes", 3)  # type: ignore[arg-type]
    meter.start()
    seen.repeat("codes", 200, seed=7, head="main")  # type: ignore[arg-type]
    assert given == [("codes", 3, 0, None), ("codes", 200, 7, "main")]
    taken = meter.stop()
    pause, run = (round(s * meter.rate_hz) for s in (5e-3, 200 * 2e-4))
    assert taken.marker.tolist() == [False] * pause + [True] * run + [False] * pause
    assert taken.current_a[taken.marker].mean() == pytest.approx(10e-3, rel=0.01)
    assert taken.current_a[~taken.marker].mean() == pytest.approx(1e-3, rel=0.05)


def test_a_rehearsal_runs_the_device_and_says_that_it_is_none() -> None:
    meter, codes = Rehearsal(), codes_for(GRAPH, 1)
    device = FakeDevice(GRAPH)
    with device, meter:
        found = measure(device, meter, codes, inferences=60, windows=5)
        assert device.counters().inferences == 60 * 6
    assert found.origin == "simulated"
    assert abs(found.energy_j - 9e-3 * 3.3 * 2e-4) <= 2 * found.expanded_j
