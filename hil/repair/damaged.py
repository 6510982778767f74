"""A device with damage that nothing takes away: faults that hold below whatever plan is injected, as of worn hardware.

For practice, tests and measurements: who diagnoses it sees an ordinary device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.devices.contract import Counters, Device, DeviceInfo, Inference, Repairable
from edgechaos.faults.injections import ResolvedPlan
from edgechaos.graph.integer_graph import IntegerGraph


class DamagedDevice(Device):
    """`device` under `damage`, which stays through every `inject` and `reset`; closing it closes the device."""

    def __init__(self, device: Device, damage: ResolvedPlan) -> None:
        self.device = device
        self.damage = self._whole = damage

    def open(self) -> DeviceInfo:
        """As the contract says."""
        info = self.device.open()
        self.device.inject(self.damage)
        return info

    def infer(self, codes: NDArray[Any], **options: Any) -> Inference:
        """As the contract says."""
        return self.device.infer(codes, **options)

    def inject(self, plan: ResolvedPlan) -> None:
        """The plan on top of the damage. Raises FaultError as the device does, or where a word would leave its stored type."""
        self.device.inject(merged(self.damage, plan))

    def commit(self, mended: IntegerGraph, held: IntegerGraph | None = None) -> DeviceInfo:
        """As the protocol Repairable says. Dead and stuck units stay; flipped words do not: they are read from RAM from now on.

        What `held` says of flash is not sent: it is practice, and the words below it are whole.
        """
        assert isinstance(self.device, Repairable)
        info = self.device.commit(mended)
        self.damage = replace(self.damage, patch={})
        self.device.inject(self.damage)
        return info

    def revert(self) -> DeviceInfo:
        """As the protocol Repairable says; what was flipped in flash is read again."""
        assert isinstance(self.device, Repairable)
        info, self.damage = self.device.revert(), self._whole
        self.device.inject(self.damage)
        return info

    def counters(self) -> Counters:
        """As the contract says."""
        return self.device.counters()

    def reset(self) -> DeviceInfo:
        """As the contract says; the damage is there again."""
        info = self.device.reset()
        self.device.inject(self.damage)
        return info

    def close(self) -> None:
        """Close the device."""
        self.device.close()


def merged(damage: ResolvedPlan, plan: ResolvedPlan) -> ResolvedPlan:
    """Both at once: masks together, of other slots what is damaged stays as it is, and changes of one word add up."""
    slots = {**plan.slots, **damage.slots}
    for key in damage.slots.keys() & plan.slots.keys():
        if damage.slots[key].dtype == bool:
            slots[key] = np.logical_or(damage.slots[key], plan.slots[key])
    return ResolvedPlan(slots, added(damage.patch, plan.patch), (*damage.pokes, *plan.pokes), (*damage.strikes, *plan.strikes))


def added(first: Mapping[str, NDArray[np.int32]], second: Mapping[str, NDArray[np.int32]]) -> dict[str, NDArray[np.int32]]:
    """Patch rows of both, one row a word, in the order in which plans hold them."""
    rows: dict[str, NDArray[np.int32]] = {}
    for name in {**first, **second}:
        both = np.concatenate([p[name] for p in (first, second) if name in p])
        places, inverse = np.unique(both[:, :2], axis=0, return_inverse=True)
        delta = np.zeros(len(places), np.int64)
        np.add.at(delta, inverse.reshape(-1), both[:, 2])
        kept = delta != 0
        if kept.any():
            rows[name] = np.concatenate([places[kept], delta[kept, None]], axis=1).astype(np.int32)
    return rows
