"""From a campaign to its trials: deterministic, each named by what it computes, paired by common random numbers.

A plan holds the cells of the curves (sweep, device, rate), the trials of each, and groups of trials that share a clean run. The seeds of
mask m depend on the campaign's seed and on m alone, not on rate or device: what differs between two trials of one mask is the fault.
Source: docs/campaigns.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.streams import MASK_STREAM
from edgechaos.devices.registry import carriers
from edgechaos.faults.base import Fault
from edgechaos.faults.injections import ResolvedPlan
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.faults.sites import stored_words
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.campaign.config import Campaign, Sample, Sweep
from edgechaos.support.errors import ConfigError, FaultError


@dataclass(frozen=True, slots=True)
class Trial:
    """One evaluation of the first `images` items on one device under one plan; `seed` is the model's, `mask` is m."""

    device: str
    plan: FaultPlan
    mask: int
    seed: int
    images: int

    @property
    def clean(self) -> bool:
        """Whether the trial has no fault: the other half of every pair."""
        return not self.plan.faults

    def __reduce__(self) -> tuple[type[Trial], tuple[Any, ...]]:
        return Trial, (self.device, self.plan, self.mask, self.seed, self.images)


Place = tuple[int, str, float]
"""Of a cell in its campaign: sweep, device, value of the swept field."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One point of a curve: its M trials, and the M clean ones they are paired with, in mask order."""

    sweep: Sweep
    device: str
    rate: float
    trials: tuple[Trial, ...]
    clean: tuple[Trial, ...]
    place: Place = (0, "", 0.0)


@dataclass(frozen=True, slots=True)
class SampledStratum:
    """The faults that were drawn from a stratum of `size`: sites, their trials, and the clean ones they are compared with."""

    layer: str
    bit: int | None
    size: int
    sites: tuple[int, ...]
    trials: tuple[Trial, ...]
    clean: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class SampleCell:
    """One sample on one device."""

    sample: Sample
    index: int
    device: str
    strata: tuple[SampledStratum, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Trials of one device and mask that are compared with one clean run, and run together, the clean one first.

    baseline: the clean run's record where it is known already (a resumed campaign); then `trials` does not hold it.
    """

    trials: tuple[Trial, ...]
    baseline: bytes | None = None

    @property
    def device(self) -> str:
        """Where all of them run."""
        return self.trials[0].device


@dataclass(frozen=True, slots=True)
class Probe:
    """No trial: a device is opened, to see that it can be, and what it can carry."""

    device: str
    trials: tuple[Trial, ...] = ()
    baseline: bytes | None = None


Work = Group | Probe
"""What an executor is given."""


@dataclass(frozen=True, slots=True)
class CampaignPlan:
    """cells: every point of every curve. groups: every distinct trial once; a trial may serve several cells. samples: single faults."""

    cells: tuple[Cell, ...]
    groups: tuple[Group, ...]
    samples: tuple[SampleCell, ...] = ()

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every distinct trial, in the order in which one worker would run them."""
        return tuple(t for g in self.groups for t in g.trials)


def seeds(campaign_seed: int, masks: int) -> list[tuple[int, int]]:
    """(seed of the model's random words, seed of the fault sites) of masks 0, 1, ..., all uint32; each depends on its own number alone."""
    words = random_bits.words(campaign_seed, MASK_STREAM, range(masks), 1, 2)[:, 0]
    return [(model, sites) for model, sites in words.tolist()]


def fault_plan(pattern: Fault, value: float, site_seed: int) -> FaultPlan:
    """The plan of a sweep's fault at one value for one mask; the empty plan where that value changes nothing."""
    return FaultPlan() if value == pattern.neutral else FaultPlan((pattern.at(value).seeded(site_seed),))


def plan_campaign(campaign: Campaign, masks_at: Mapping[Place, int] | None = None, samples: tuple[SampleCell, ...] = ()) -> CampaignPlan:
    """Every trial of a campaign, in an order that depends on the campaign alone.

    A sweep's masks are the first M of one sequence, so that sweeps with different M share their trials. masks_at: M of single points,
    where a campaign stops by itself. samples: the single faults drawn so far.
    """
    cells = []
    members: dict[tuple[str, int, int], dict[Trial, None]] = {}
    for k, sweep in enumerate(campaign.sweep):
        images = campaign.images_of(sweep)
        masks, pattern = seeds(campaign.seed, campaign.masks_of(sweep)), sweep.pattern
        for device in campaign.devices_of(sweep):
            clean = tuple(Trial(device, FaultPlan(), m, seed, images) for m, (seed, _) in enumerate(masks))
            for rate in sweep.points:
                here = masks[: masks_at[k, device, rate]] if masks_at else masks
                trials = tuple(Trial(device, fault_plan(pattern, rate, sites), m, seed, images) for m, (seed, sites) in enumerate(here))
                cells.append(Cell(sweep, device, rate, trials, clean[: len(here)], (k, device, rate)))
                for base, trial in zip(clean, trials, strict=False):  # fewer trials, where this point has stopped
                    members.setdefault((device, images, base.mask), {base: None})[trial] = None
    for stratum in (stratum for sample in samples for stratum in sample.strata):
        for base, trial in zip(stratum.clean, stratum.trials, strict=True):
            members.setdefault((base.device, base.images, base.mask), {base: None})[trial] = None
    return CampaignPlan(tuple(cells), tuple(Group(tuple(trials)) for trials in members.values()), samples)


def _check_samples(plan: CampaignPlan, graph: IntegerGraph, devices: Mapping[str, Mapping[str, Any]]) -> None:
    """The first fault of each stratum, or all where the graph may carry one and not another. Raises ConfigError."""
    for cell in plan.samples:
        about = devices.get(cell.device)
        for stratum in cell.strata:
            uniform = all(fault.uniform for trial in stratum.trials[:1] for fault in trial.plan.faults)
            for trial in stratum.trials[:1] if uniform else stratum.trials:
                try:
                    apply(graph, resolve(graph, trial.plan))
                except FaultError as error:
                    raise ConfigError(f"sample {cell.sample.fault}: {error}") from error
                levels = {fault.level for fault in trial.plan.faults}
                if missing := sorted(levels - set(about.get("levels", ("model",)))) if about is not None else []:
                    why = cannot_carry(cell.device, missing[0])
                    raise ConfigError(f"sample {cell.sample.fault}: {why}")


def cannot_carry(device: str, level: str) -> str:
    """The sentence that refuses a level, with the devices that would work."""
    able = ", ".join(carriers(level)) or "none is installed"
    return f"device {device} cannot carry faults of the {level}; name others in devices: {able}"


def check_plan(plan: CampaignPlan, graph: IntegerGraph) -> None:
    """Apply the fault plans to the graph, so that what cannot run is refused before anything runs.

    One plan of each cell stands for all of its masks where the fault is `uniform`. Elsewhere each mask is tried; of one that flips biases
    alone, the proof depends on the largest word of each node.
    Raises ConfigError with the sweep's fault, rate and mask.
    """
    _check_samples(plan, graph, {})
    seen: set[FaultPlan] = set()
    proved: list[dict[str, int]] = []
    for cell in plan.cells:
        uniform = all(fault.uniform for fault in cell.trials[0].plan.faults)
        for trial in cell.trials[:1] if uniform else cell.trials:
            if trial.plan in seen:
                continue
            seen.add(trial.plan)
            try:
                resolved = resolve(graph, trial.plan)
                biases_alone = not uniform and not resolved.slots
                largest = _largest_biases(graph, resolved) if biases_alone else {}
                if not biases_alone or not any(all(largest[name] <= known[name] for name in largest) for known in proved):
                    apply(graph, resolved)
                    proved += [largest] if biases_alone else []
            except FaultError as error:
                raise ConfigError(f"sweep {cell.sweep.fault} at rate {cell.rate:g}, mask {trial.mask}: {error}") from error


def _largest_biases(graph: IntegerGraph, plan: ResolvedPlan) -> dict[str, int]:
    """The largest |bias word| of every node with biases, under a plan."""
    largest = {}
    for node in graph.weighted():
        if (constant := stored_words(node, "bias")) is not None:
            bias = graph.value(constant).astype(np.int64)
            rows = plan.patch.get(node.name, np.zeros((0, 3), np.int32))
            of_bias = rows[rows[:, 1] < 0]
            np.add.at(bias, of_bias[:, 0], of_bias[:, 2])
            largest[node.name] = int(np.abs(bias).max(initial=0))
    return largest


def check_devices(plan: CampaignPlan, graph: IntegerGraph, devices: Mapping[str, Mapping[str, Any]]) -> None:
    """Whether every device can carry its sweeps. devices: by spec, what those that are known said of themselves (a DeviceInfo's fields).

    Raises ConfigError with the sweep and the device.
    """
    _check_samples(plan, graph, devices)
    for cell in plan.cells:
        about = devices.get(cell.device)
        faults = {fault.kind for fault in cell.trials[0].plan.faults}
        if about is None or not faults:
            continue
        for level in sorted({f.level for f in cell.trials[0].plan.faults} - set(about.get("levels", ("model",)))):
            raise ConfigError(f"sweep {cell.sweep.fault}: {cannot_carry(cell.device, level)}")
        _check_rows(cell, graph, int(about["patch_capacity"]))


def _check_rows(cell: Cell, graph: IntegerGraph, capacity: int) -> None:
    """Flipped words, counted for one mask, and for all where that one is near the limit: two flips may meet in a word."""
    for k, trial in enumerate(cell.trials):
        rows = sum(len(r) for r in resolve(graph, trial.plan).patch.values())
        if rows > capacity:
            raise ConfigError(
                f"sweep {cell.sweep.fault} at rate {cell.rate:g}, mask {trial.mask}: {rows:,} words change, device {cell.device} holds"
                f" {capacity:,}; lower the rate"
            )
        if k == 0 and rows < 0.9 * capacity and all(fault.uniform for fault in trial.plan.faults):
            return
