"""From a diagnosis to a mended device: fit, send, compare bit for bit, measure before and after, and a record of what changed when."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.devices.contract import Device, DeviceInfo, Inference, Repairable
from edgechaos.devices.protocol.repairs import KEY
from edgechaos.faults.injections import ResolvedPlan
from edgechaos.faults.plan import apply
from edgechaos.faults.words import changed_words, with_rows
from edgechaos.graph.artifact import content_hash
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.energy.model import BoardEnergy, EnergyEstimate, energy_per_inference
from edgechaos.hil.repair.damaged import added
from edgechaos.hil.repair.diagnosis import Diagnosis
from edgechaos.hil.repair.refit import Items, refit
from edgechaos.support.errors import FaultError, VerificationError
from edgechaos.support.files import read_file, write_atomic
from edgechaos.support.statistics import Estimate, mean_over, proportion


@dataclass(frozen=True, slots=True, eq=False)
class Repair:
    """A mended model for one device.

    graph: as flashed; mended: the same with other words, under its own hash. flips: known flipped words of the device, rows by node.
    words: the rows that make the device's words the mended model's, by node.
    """

    graph: IntegerGraph
    mended: IntegerGraph
    diagnosis: Diagnosis
    flips: Mapping[str, NDArray[np.int32]]
    words: Mapping[str, NDArray[np.int32]]

    @property
    def changed(self) -> dict[str, int]:
        """Changed words by node."""
        return {name: len(rows) for name, rows in self.words.items()}

    def before(self) -> IntegerGraph:
        """What the device computes without the repair."""
        plan = self.diagnosis.plan(self.graph)
        return apply(self.graph, ResolvedPlan(plan.slots, self.flips))

    def after(self) -> IntegerGraph:
        """What it must compute with it."""
        return apply(self.mended, self.diagnosis.plan(self.mended))

    def to_json(self) -> dict[str, Any]:
        """For --json and for the log."""
        return {
            "of": content_hash(self.graph),
            "mended": content_hash(self.mended),
            "words": self.changed,
            "diagnosis": self.diagnosis.to_json(),
        }


def plan_repair(graph: IntegerGraph, diagnosis: Diagnosis, items: Items, flips: Mapping[str, NDArray[np.int32]] | None = None) -> Repair:
    """Fit what reads dead and stuck units, and put known flipped words back.

    flips: rows (row, column, delta) of words that the device is known to hold wrong, by node. Raises FaultError where the diagnosis, made
    with `edgechaos.faults.words.with_rows` of them, does not explain the device; UnsupportedError where nothing that reads the dead units
    can be fitted.
    """
    flips = dict(flips or {})
    if not diagnosis.explains:
        raise FaultError(f"{diagnosis.confidence}; a repair of dead units alone would be measured on another model")
    mended = refit(graph, diagnosis.plan(graph), items)
    facts = {
        "of": content_hash(graph),
        "layers": [layer.to_json() for layer in diagnosis.layers if layer.dead or layer.stuck],
        "flipped_words": {name: rows.tolist() for name, rows in flips.items()},
        "fitted_on": len(items.codes),
    }
    mended = replace(mended, metadata={**mended.metadata, KEY: facts})
    restored = {name: rows * np.array([1, 1, -1], np.int32) for name, rows in flips.items()}
    return Repair(graph, mended, diagnosis, flips, added(changed_words(graph, mended), restored))


@dataclass(frozen=True, slots=True)
class Accuracies:
    """On the same items, on the device where it was measured there. gain: after - before, paired over items.

    instructions: per inference, by class, before and after, where the device counts them.
    """

    before: Estimate
    after: Estimate
    gain: Estimate
    measured: bool
    instructions: tuple[Mapping[str, float], Mapping[str, float]] | None = None

    def to_json(self) -> dict[str, Any]:
        """Values with their intervals."""
        shown = {name: getattr(self, name) for name in ("before", "after", "gain")}
        return {name: {"value": e.value, "low": e.low, "high": e.high, "method": e.method, "n": e.n} for name, e in shown.items()} | {
            "measured": self.measured
        }

    def energy(self, board: BoardEnergy) -> dict[str, EnergyEstimate]:
        """Joules of an inference before and after, modelled; empty where nothing counted its instructions."""
        names = ("before", "after") if self.instructions is not None else ()
        return {name: energy_per_inference(mix, board) for name, mix in zip(names, self.instructions or (), strict=True)}


def accuracies(before: NDArray[Any], after: NDArray[Any], labels: NDArray[np.int64], *, measured: bool) -> Accuracies:
    """Of classes (items,) before and after, at least two items."""
    right = [(classes == labels).astype(np.float64) for classes in (before, after)]
    shares = [proportion(int(r.sum()), len(labels)) for r in right]
    gain = mean_over("items", (right[1] - right[0]).tolist())
    return Accuracies(shares[0], shares[1], replace(gain, method="paired t over items"), measured)


def predict(repair: Repair, items: Items) -> Accuracies:
    """What the reference gives, before and after, on the diagnosed damage."""
    runs = [reference.run(g, items.codes, seed=items.seed, head=items.head).labels for g in (repair.before(), repair.after())]
    return accuracies(runs[0], runs[1], items.labels, measured=False)


def send(device: Device, info: DeviceInfo, repair: Repair, items: Items) -> Accuracies:
    """Send the changed words to an open device, and measure. They hold until it is given another plan, or loses its RAM.

    Raises FaultError where it has no fault hooks or holds fewer words; VerificationError where it gives other logits than the mended model.
    """
    rows = sum(repair.changed.values())
    if rows > info.patch_capacity:
        raise FaultError(
            f"the repair changes {rows:,} words, device '{info.name}' holds {info.patch_capacity:,} at once; commit it, or build with more"
        )
    before = _counted(device, items)
    device.inject(ResolvedPlan({}, repair.words))
    return measured(device, before, repair, items)


def commit(device: Device, repair: Repair, items: Items) -> Accuracies:
    """Make the words part of the device's model until it restarts, and measure: they cost nothing per inference then.

    Raises FaultError where the device takes no repairs, or has no room for so many words; VerificationError as `send`.
    """
    if not isinstance(device, Repairable):
        raise FaultError("this device takes no repair that stays; send it as changed words")
    before = _counted(device, items)
    device.commit(repair.mended, with_rows(repair.graph, repair.flips) if repair.flips else None)
    return measured(device, before, repair, items)


def _counted(device: Device, items: Items) -> tuple[Inference, dict[str, float]]:
    """The items on the device, and instructions per inference by class; empty where it counts none."""
    before = device.counters().instructions
    found = device.infer(items.codes, seed=items.seed, head=items.head)
    after = device.counters().instructions
    return found, {name: (count - before.get(name, 0)) / len(items.codes) for name, count in after.items()}


def measured(device: Device, before: tuple[Inference, Mapping[str, float]], repair: Repair, items: Items) -> Accuracies:
    """Run the items on the repaired device. Raises VerificationError unless every logit is the mended model's."""
    after, mix = _counted(device, items)
    expected = reference.run(repair.after(), items.codes, seed=items.seed, head=items.head)
    wrong = int((after.logits != expected.logits).any(axis=1).sum())
    if wrong:
        share = f"{wrong} of {len(items.codes)} items"
        raise VerificationError(f"the repaired device gives other logits than the mended model on {share}; undo the repair")
    found = accuracies(before[0].labels, after.labels, items.labels, measured=True)
    return replace(found, instructions=(before[1], mix) if mix else None)


def record(path: Path, action: str, info: DeviceInfo, facts: Mapping[str, Any]) -> None:
    """Append what was changed, on which device, when: one JSON object a line. Raises EdgeChaosError where nothing can be written."""
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    entry = {"time": when, "action": action, "device": info.name, "uid": info.uid, **facts}
    old = read_file(path, "log") if path.exists() else b""
    write_atomic(path, old + json.dumps(entry).encode() + b"\n")
