"""Power that fails at any moment of a batch: what was measured on a model without its faults is never believed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.devices.host import HostDevice
from edgechaos.devices.kinds.unicorn import emulated_firmware
from edgechaos.devices.protocol.client import Client
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.firmware_gen.protocol import Hello
from edgechaos.graph.artifact import to_bytes
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.campaign.config import Images, Sweep
from edgechaos.hil.execute.evaluate import Setup
from edgechaos.hil.runner import run_campaign
from edgechaos.support.errors import DeviceError, DevicePowerLoss, DeviceReset, LinkError
from tests.helpers.campaigns import GRAPH as CAMPAIGN_GRAPH
from tests.helpers.campaigns import InProcess, campaign, items, rows
from tests.helpers.firmware_host import library
from tests.helpers.graphs import chaos_graph, codes_for
from tests.helpers.power import Board, CServer, EmulatedBoard, PoweredDevice, PythonBoard, kept, kept_but_for_the_boot_counter, noise, zeros

pytestmark = pytest.mark.slow

GRAPH = chaos_graph(sizes=(30, 12, 5), seed=6)
CODES = codes_for(GRAPH, 4)
PLAN = resolve(GRAPH, FaultPlan((StuckAtOne(rate=0.5, seed=1), WeightBitFlip(rate=0.01, seed=2))))
FAULTY = reference.run(apply(GRAPH, PLAN), CODES).logits
MOMENTS = 50
RAMS = {f.__name__: f for f in (zeros, noise, kept, kept_but_for_the_boot_counter)}


@pytest.fixture(scope="module")
def makers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable[[], Board]]:
    folder: Path = tmp_path_factory.mktemp("power")
    library(GRAPH, folder).close()
    elf = emulated_firmware(GRAPH, "mps2-an386")
    emulated = {f"emulated, {name}": partial(EmulatedBoard, elf, ram) for name, ram in RAMS.items()}
    return {"fake": partial(PythonBoard, GRAPH), "C server": partial(CServer, GRAPH, next(folder.glob("*.so"))), **emulated}


BOARDS = ("fake", "C server", *(f"emulated, {name}" for name in RAMS))


def work(device: PoweredDevice) -> bool:
    """A trial: load the faults, run the items; whether the integers are those of the faulty model."""
    device.inject(PLAN)
    return np.array_equal(device.infer(CODES).logits, FAULTY)


def steps_of(device: PoweredDevice) -> list[int]:
    """Of every exchange of an undisturbed trial."""
    device.link.arm()
    assert work(device)
    return list(device.link.steps)


def cut(device: PoweredDevice, at: int, share: float, steps: list[int]) -> bool | DeviceError:
    """One trial on a board just switched on, whose power goes again in exchange `at`; its verdict, or the error."""
    device.close()
    device.link.board.lose_power()
    device.open()
    device.link.arm(at, share, steps[at])
    try:
        return work(device)
    except DeviceError as error:
        return error


def test_the_faults_of_these_trials_change_every_item() -> None:
    assert (reference.run(GRAPH, CODES).logits != FAULTY).any(axis=1).all()


@pytest.mark.parametrize("name", BOARDS)
def test_power_cut_in_every_exchange_is_found(name: str, makers: dict[str, Callable[[], Board]]) -> None:
    # Where RAM survives, the firmware cannot know that it was the power: a restart like any other.
    expected = DeviceReset if "kept" in name else DevicePowerLoss
    device = PoweredDevice(GRAPH, makers[name]())
    with device:
        steps = steps_of(device)
        assert len(steps) >= 2 * len(CODES) + 4
        for at in range(len(steps)):
            for share in (-1.0, 0.0, 0.4, 0.7, 0.9999):
                found = cut(device, at, share, steps)
                if found is True:  # only after the last word that the device had to say
                    assert at == len(steps) - 1
                    assert share > 0
                else:
                    assert isinstance(found, expected), f"exchange {at}, after {share:.0%} of it: {found!r}"
        device.reset()
        assert work(device), "it goes on after a reset"


@pytest.mark.parametrize("name", BOARDS)
def test_power_cut_at_random_moments_accepts_no_wrong_result(name: str, makers: dict[str, Callable[[], Board]]) -> None:
    verdicts = random_cuts(makers[name])
    assert verdicts.count(False) == 0
    assert sum(isinstance(v, DeviceError) for v in verdicts) > 0.8 * MOMENTS


@pytest.mark.parametrize("name", ["fake", "C server", "emulated, zeros", "emulated, noise", "emulated, kept_but_for_the_boot_counter"])
def test_the_boot_counter_alone_would_be_fooled(name: str, makers: dict[str, Callable[[], Board]], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same moments, with a host that looks at nothing else: what the session's number is for."""

    def check(self: Client, hello: Hello) -> None:
        if hello.boot_counter != self._boots:
            raise DevicePowerLoss("the counter moved")

    monkeypatch.setattr(Client, "_check", check)
    assert random_cuts(makers[name]).count(False) > 0.2 * MOMENTS


def random_cuts(make: Callable[[], Board]) -> list[bool | DeviceError]:
    """The verdicts of 50 trials, each cut at a random moment."""
    rng = np.random.default_rng(2026)
    device = PoweredDevice(GRAPH, make())
    with device:
        steps = steps_of(device)
        verdicts = []
        for _ in range(MOMENTS):
            verdicts.append(cut(device, int(rng.integers(len(steps))), rng.uniform(-0.3, 1.0), steps))
    return verdicts


def test_the_host_library_started_anew_is_found() -> None:
    device = HostDevice(GRAPH)
    with device:
        device.inject(PLAN)
        assert np.array_equal(device.infer(CODES).logits, FAULTY)
        assert device._link is not None
        device._link.hard_reset()
        for call in (lambda: device.infer(CODES), device.counters):
            with pytest.raises(DevicePowerLoss, match="reset cause pin"):
                call()
        device.reset()
        device.inject(PLAN)
        assert np.array_equal(device.infer(CODES).logits, FAULTY)


@pytest.mark.parametrize("event", ["power_cycle", "hard_reset"])
def test_the_emulators_own_process_started_anew_is_found(event: str) -> None:
    device = EmulatedDevice(GRAPH, emulated_firmware(GRAPH, "mps2-an386"))
    with device:
        device.inject(PLAN)
        assert np.array_equal(device.infer(CODES).logits, FAULTY)
        getattr(device._opened_link(), event)()
        for call in (lambda: device.infer(CODES), device.counters):
            with pytest.raises(DeviceReset, match="restarted by itself"):
                call()
        device.reset()
        device.inject(PLAN)
        assert np.array_equal(device.infer(CODES).logits, FAULTY)


def test_a_killed_emulator_comes_back_clean_and_is_not_believed() -> None:
    device = EmulatedDevice(GRAPH, emulated_firmware(GRAPH, "mps2-an386"))
    with device:
        device.inject(PLAN)
        os.kill(device._opened_link().process.pid, signal.SIGKILL)
        with pytest.raises(LinkError, match="was killed by SIGKILL"):
            device.infer(CODES)
        device._opened_link().hard_reset()  # another process, with the clean model
        with pytest.raises(DevicePowerLoss, match="boot counter 1 -> 1"):
            device.infer(CODES)
        device.reset()
        device.inject(PLAN)
        assert np.array_equal(device.infer(CODES).logits, FAULTY)


class Bench:
    """Opens powered devices on one fake board, whose power goes before, in or after exchanges drawn at random over the campaign."""

    def __init__(self, graph: IntegerGraph, exchanges: int, cuts: int) -> None:
        rng = np.random.default_rng(11)
        self.board = PythonBoard(graph)
        self.moments = dict(zip(rng.choice(exchanges, cuts, replace=False), rng.integers(-1, 3, cuts), strict=True)) if cuts else {}
        self.count = 0
        exchange = self.board.exchange

        def counted(data: bytes, steps: int | None = None) -> tuple[bytes, int]:
            moment = self.moments.get(self.count)
            self.count += 1
            if moment == -1:
                self.board.lose_power()
                moment = None
            return exchange(data, moment)

        self.board.exchange = counted  # type: ignore[method-assign]

    def __call__(self, spec: str, graph: IntegerGraph) -> PoweredDevice:
        return PoweredDevice(graph, self.board)


def test_a_campaign_on_a_bench_whose_power_fails_gives_the_same_results(tmp_path: Path) -> None:
    spec = campaign(masks=3, images=Images(8), attempts=20, sweep=(Sweep("stuck_at_1", (0.25, 0.5)), Sweep("weight_bit_flip", (0.01,))))
    found = []
    exchanges, cuts = 1, 0
    for cuts in (0, MOMENTS):
        bench = Bench(CAMPAIGN_GRAPH, exchanges, cuts)
        data = items(8)
        executor = InProcess(Setup(to_bytes(CAMPAIGN_GRAPH), data, bench))
        folder = tmp_path / str(cuts)
        results = run_campaign(spec, CAMPAIGN_GRAPH, data, folder / "ledger.sqlite", executor=executor, opener=bench)
        figures = {k: v for k, v in results.to_json().items() if k != "about"}  # which holds the boot counter
        ledger = [row[:6] + row[7:] for row in rows(folder / "ledger.sqlite")]  # attempts differ
        found.append(((figures, ledger), bench.count))
        exchanges = bench.count
    (clean, undisturbed), (cut_up, disturbed) = found
    assert cut_up == clean
    assert disturbed > 1.3 * undisturbed, "trials were repeated"
