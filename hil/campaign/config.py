"""What a campaign is: which faults, at which rates, on which devices, over how many masks and images. Documented in docs/campaigns.md."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, NewType

from edgechaos.faults.base import ALL, Fault, fault_kinds, fault_named
from edgechaos.support.errors import FaultError
from edgechaos.support.limits import among, within
from edgechaos.support.settings import structure

Seconds = NewType("Seconds", float)
Kelvin = NewType("Kelvin", float)
Share = NewType("Share", float)

MIN_MASKS = 2
"""A t interval needs a variance."""
GOOD_MASKS = 30
"""Below this the t interval leans on the masks' accuracies being normal; the report says so."""
MAX_MASKS = 100_000
FEWEST_LOOKED_AT = 20
"""Masks before which a confidence sequence says next to nothing."""
STOPPED_BY = ("accuracy", "difference")
"""What the width of a point's interval may be asked of."""
MAX_TRIALS = 250_000
"""Of a campaign: what is planned, and kept in memory of the ledger, stays within some hundred megabytes."""
MAX_IMAGES = 10_000_000
PLACES: Mapping[str, str] = MappingProxyType({"layer": ALL, "node": ALL, "target": "weight"})
"""Fields of a fault that a sweep has as keys of its own, and their defaults."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Sweep:
    """One fault kind over several values of its swept field; one curve per device.

    fault: a kind of `edgechaos.faults.base.fault_kinds`, or another tool's name.
    rates: where the swept field is its rate; values: where it is another.
    layer: where neurons fail; node and target: where weight bits flip; options: other fields of the kind.
    devices, masks, images: the campaign's unless given.
    """

    fault: str
    rates: tuple[float, ...] = ()
    layer: str = ALL
    node: str = ALL
    target: str = "weight"
    devices: tuple[str, ...] = ()
    masks: Annotated[int, within(MIN_MASKS, MAX_MASKS)] | None = None
    images: Annotated[int, within(1, MAX_IMAGES)] | None = None
    values: tuple[float, ...] = ()
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Another tool's name for a kind of fault becomes this kind, with the fields that the name implies."""
        with suppress(FaultError):  # what is not known is refused with its place in the file
            kind, implied = fault_named(self.fault)
            object.__setattr__(self, "fault", kind.kind)
            object.__setattr__(self, "options", {**implied, **self.options})

    @property
    def points(self) -> tuple[float, ...]:
        """What the swept field is set to."""
        return self.rates or self.values

    @property
    def pattern(self) -> Fault:
        """The fault without its seed and its point. Raises ConfigError where the options do not fit the kind."""
        return _pattern(self, f"sweep {self.fault}")

    @property
    def site(self) -> str:
        """Where the faults fall, in words, with the options that these do not say."""
        place = self.pattern.place
        ways = {name: {f"{value}", f"{value:x}" if type(value) is int else f"{value}"} for name, value in self.options.items()}
        hidden = [name for name, texts in ways.items() if not any(text in place for text in texts)]
        return ", ".join((place, *(f"{name} {self.options[name]}" for name in hidden)))


@dataclass(frozen=True, slots=True)
class Sample:
    """Single faults of one kind, drawn at random from all that there are: what share of images has an outcome, and which sites matter.

    faults: in all, on each device. strata: "layer" and "bit", of which each has `pilot` faults first; the rest go where size times standard
    deviation is largest (Neyman). Without strata the faults are drawn from all sites alike. outcome: whose share is estimated.
    layer, node, target, options, devices, images: as of a sweep.
    """

    fault: str
    faults: Annotated[int, within(2, MAX_TRIALS)]
    strata: tuple[str, ...] = ("layer",)
    pilot: Annotated[int, within(2, MAX_TRIALS)] = 30
    outcome: str = "sdc_critical"
    layer: str = ALL
    node: str = ALL
    target: str = "weight"
    devices: tuple[str, ...] = ()
    images: Annotated[int, within(1, MAX_IMAGES)] | None = None
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def pattern(self) -> Fault:
        """The fault without a site. Raises ConfigError where the options do not fit the kind."""
        return _pattern(self, f"sample {self.fault}")


def _pattern(given: Sweep | Sample, where: str) -> Fault:
    kind = fault_kinds()[given.fault]
    named = {name: getattr(given, name) for name in PLACES if kind.takes(name)}
    return structure({**named, **given.options}, kind, where)


@dataclass(frozen=True, slots=True)
class Images:
    """The first `count` test items. dataset: a name or an .npz file with `items` and `labels`; empty: the model's own."""

    count: Annotated[int, within(1, MAX_IMAGES)] = 1000
    dataset: str = ""


@dataclass(frozen=True, slots=True)
class EnergySettings:
    """board: whose published energy per cycle the counts are multiplied by; temperature: of the Landauer bound, in kelvin."""

    board: str
    temperature: Annotated[Kelvin, within(1.0, 1000.0)] = Kelvin(300.0)


@dataclass(frozen=True, slots=True)
class StopSettings:
    """A point takes no more masks once the confidence sequence of `quantity` is no wider than `width`, from bound to bound.

    first: masks before the first look. The campaign's masks are then the most that a point may take.
    """

    width: Annotated[Share, within(1e-6, 1.0)]
    quantity: Annotated[str, among(*STOPPED_BY)] = "accuracy"
    first: Annotated[int, within(FEWEST_LOOKED_AT, MAX_MASKS)] = GOOD_MASKS

    def looks(self, most: int) -> Iterator[int]:
        """The numbers of masks at which a point is looked at: a quarter more each time, at last the most."""
        masks = min(self.first, most)
        while masks < most:
            yield masks
            masks = min(most, masks + max(1, masks // 4))
        yield most


@dataclass(frozen=True, slots=True)
class Campaign:
    """A whole campaign.

    seed: of the masks and of the models' random words. masks: M, independent repetitions. alpha: 1 - confidence.
    margin: the loss of accuracy, as a share, that still counts as no harm. attempts: of a trial that the
    infrastructure failed. timeout: of one trial, in seconds, before its worker is replaced. head: which task of a model
    with several. temperature: of a DLM's weights; by default the model's. stop: masks only until intervals are narrow enough.
    prune: what memory faults give is inferred, not run, where the clean run shows that it must be the same.
    """

    name: str
    sweep: tuple[Sweep, ...] = ()
    artifact: str = ""
    devices: tuple[str, ...] = ("host",)
    seed: int = 1
    masks: Annotated[int, within(MIN_MASKS, MAX_MASKS)] = GOOD_MASKS
    images: Images = Images()
    alpha: Annotated[float, within(1e-6, 0.5)] = 0.05
    margin: Annotated[Share, within(0.0, 1.0)] = Share(0.01)
    attempts: Annotated[int, within(1, 100)] = 3
    timeout: Annotated[Seconds, within(1e-3, 86400.0)] = Seconds(300.0)
    energy: EnergySettings | None = None
    head: str = ""
    temperature: Annotated[float, within(0.0, math.inf)] | None = None
    stop: StopSettings | None = None
    sample: tuple[Sample, ...] = ()
    prune: bool = False

    def devices_of(self, sweep: Sweep | Sample) -> tuple[str, ...]:
        """The devices that a sweep runs on."""
        return sweep.devices or self.devices

    def masks_of(self, sweep: Sweep) -> int:
        """M of a sweep."""
        return self.masks if sweep.masks is None else sweep.masks

    def images_of(self, sweep: Sweep | Sample) -> int:
        """How many test items a sweep's trials evaluate."""
        return self.images.count if sweep.images is None else sweep.images

    @property
    def image_count(self) -> int:
        """The most items that any trial needs."""
        return max(self.image_counts)

    @property
    def image_counts(self) -> frozenset[int]:
        """How many items its trials need, each number once."""
        return frozenset((*map(self.images_of, self.sweep), *map(self.images_of, self.sample)))

    @property
    def every_device(self) -> tuple[str, ...]:
        """All that it names, each once."""
        named = (*map(self.devices_of, self.sweep), *map(self.devices_of, self.sample))
        return tuple(dict.fromkeys(device for devices in named for device in devices))


def warnings(campaign: Campaign) -> tuple[str, ...]:
    """What a reader of the results must know about the campaign's design."""
    few = [s for s in campaign.sweep if campaign.masks_of(s) < GOOD_MASKS]
    if not few:
        return ()
    sweeps = [f"{s.fault.replace('_', ' ')} on {', '.join(campaign.devices_of(s))} ({campaign.masks_of(s)} masks)" for s in few]
    named = "; ".join(dict.fromkeys(sweeps))
    return (f"Fewer than {GOOD_MASKS} masks: {named}. The t interval then leans on the accuracies being normal across masks.",)
