"""Devices for campaign tests: the NumPy reference in process, and the same with scripted disasters.

Importable by name, because campaign workers open devices by a function's name. Environment variables script them,
because they reach spawned workers.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgechaos import reference
from edgechaos.devices.contract import Counters, Device, DeviceInfo, Inference
from edgechaos.faults.injections import CLEAN, ResolvedPlan
from edgechaos.faults.plan import apply
from edgechaos.graph.artifact import content_hash
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.campaign.outcomes import activated
from edgechaos.support.errors import DeviceCrash, DeviceError, DeviceHang, LinkError

PER_INFERENCE = {"alu": 1000, "load": 400, "branch_taken": 100}


class ReferenceDevice(Device):
    """Equal to the reference; counts a fixed instruction mix, plus the spikes' share of loads."""

    def __init__(self, spec: str, graph: IntegerGraph) -> None:
        self.spec, self.graph = spec, graph
        self.faulty = graph
        self.active = False
        self.count = 0
        self.boots = 0
        self.opened = False

    def open(self) -> DeviceInfo:
        self.opened = True
        return DeviceInfo(self.spec, "fake", content_hash(self.graph), "f" * 64, self.spec, frozenset({"model"}), 1 << 20, self.boots)

    def infer(
        self,
        codes: NDArray[Any],
        *,
        seed: int = 0,
        samples: ArrayLike | None = None,
        head: str | None = None,
        parameters: Mapping[str, int] | None = None,
    ) -> Inference:
        result = reference.run(self.faulty, codes, seed=seed, samples=samples, head=head, parameters=parameters)
        self.count += len(codes)
        per_image = np.full(len(codes), sum(PER_INFERENCE.values()), np.int64)
        return Inference(result.logits, result.labels, per_image if self.spec.startswith("counting") else None)

    def inject(self, plan: ResolvedPlan) -> None:
        self.active = plan is not CLEAN and activated(self.graph, plan)
        self.faulty = apply(self.graph, plan)

    def counters(self) -> Counters:
        counts = {k: v * self.count for k, v in PER_INFERENCE.items()} if self.spec.startswith("counting") else {}
        return Counters(self.count, counts)

    def reset(self) -> DeviceInfo:
        self.faulty, self.active, self.count = self.graph, False, 0
        self.boots += 1
        return self.open()

    def close(self) -> None:
        self.opened = False


class ScriptedDevice(ReferenceDevice):
    """What the spec names goes wrong, when a fault is active."""

    def infer(
        self,
        codes: NDArray[Any],
        *,
        seed: int = 0,
        samples: ArrayLike | None = None,
        head: str | None = None,
        parameters: Mapping[str, int] | None = None,
    ) -> Inference:
        kind = self.spec.partition(":")[2]
        ids = np.arange(len(codes)) if samples is None else np.asarray(samples)
        if kind == "slow":
            time.sleep(float(os.environ.get("EDGECHAOS_TEST_DELAY_S", "0.02")))
        if self.active:
            if kind == "crash-on-3" and 3 in ids:
                raise DeviceCrash("unmapped read at 0x00000000")
            if kind == "hang-always":
                raise DeviceHang("more instructions than it can take")
            if kind == "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            if kind == "silent":
                time.sleep(60)
            if kind == "exit-once" and _first_time():
                os._exit(3)
            if kind == "worker-dies-once" and _first_time():
                os.kill(os.getppid(), signal.SIGKILL)
            if kind == "link-once" and _first_time():
                raise LinkError("cable fell out")
        elif kind == "link-clean":
            raise LinkError("cable fell out")
        elif kind == "crash-clean":
            raise DeviceCrash("clean firmware crashes")
        elif kind == "defect":
            raise RuntimeError("a plug-in's defect")
        return ReferenceDevice.infer(self, codes, seed=seed, samples=samples, head=head, parameters=parameters)


def _first_time() -> bool:
    """True once per test: the marker file outlives the worker."""
    marker = Path(os.environ["EDGECHAOS_TEST_MARKER"])
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


class MoodyDevice(ReferenceDevice):
    """What $EDGECHAOS_TEST_MOOD says goes wrong now, whatever went before."""

    def open(self) -> DeviceInfo:
        mood = os.environ.get("EDGECHAOS_TEST_MOOD", "")
        if mood == "no-open" or (mood == "opens-late" and _times() <= 4):
            raise LinkError("the port is gone")
        if mood == "dies-opening" and _times() <= 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if mood == "weak":
            return replace(super().open(), levels=frozenset(), patch_capacity=3)
        return super().open()

    def infer(self, codes: NDArray[Any], **options: Any) -> Inference:
        mood = os.environ.get("EDGECHAOS_TEST_MOOD", "")
        if mood == "link":
            raise LinkError("cable fell out")
        if mood == "crash-clean" and not self.active:
            raise DeviceCrash("clean firmware crashes")
        if mood == "os-error-once" and _times() == 1:
            raise OSError(5, "Input/output error")
        return super().infer(codes, **options)


def _times() -> int:
    """How often this was called in a test, in whatever process."""
    with open(os.environ["EDGECHAOS_TEST_MARKER"], "ab") as marker:
        marker.write(b"x")
    return Path(os.environ["EDGECHAOS_TEST_MARKER"]).stat().st_size


class AbsentDevice(ReferenceDevice):
    """A board that is not there."""

    def open(self) -> DeviceInfo:
        raise DeviceError("no such port")


class Bench:
    """Opens these devices by name; all but boards on a wire can be opened many times."""

    def __call__(self, spec: str, graph: IntegerGraph) -> Device:
        kind = spec.partition(":")[0]
        return {"scripted": ScriptedDevice, "absent": AbsentDevice, "moody": MoodyDevice}.get(kind, ReferenceDevice)(spec, graph)

    def exclusive(self, spec: str) -> bool:
        return spec.startswith("serial:")


open_device = Bench()
