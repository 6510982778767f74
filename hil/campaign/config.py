"""campaign.toml: which faults, at which rates, on which devices, over how many masks and images.

Unknown keys, values of another type and impossible values are refused with their path (`sweep[0].rates[2] = 1.5 is outside 0..1`).
Documented in docs/campaigns.md.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, product
from operator import is_
from types import MappingProxyType
from typing import Annotated, Any, NewType

from edgechaos.arithmetic.seeds import check_seed
from edgechaos.faults.base import ALL, Fault, fault_kinds, fault_named
from edgechaos.hil.campaign.outcomes import OUTCOMES
from edgechaos.support.errors import ConfigError, FaultError, SeedError
from edgechaos.support.limits import among, problems, shown_value, within
from edgechaos.support.settings import quantity, read_toml, strict_converter, structure

Seconds = NewType("Seconds", float)
Kelvin = NewType("Kelvin", float)
Share = NewType("Share", float)
_UNITS = ((Seconds, "s"), (Kelvin, "K"), (Share, "1"))

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
SHOWN = 5
"""Problems of a file that one message lists."""
MAX_SWEEPS = 500
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


def read_campaign(path: str | os.PathLike[str]) -> Campaign:
    """The campaign in a TOML file. Raises ConfigError with every defect and its path."""
    converter = strict_converter()
    for kind, unit in _UNITS:
        converter.register_structure_hook_func(partial(is_, kind), partial(_quantity, unit))
    campaign = structure(expand_grids(read_toml(path, "campaign")), Campaign, os.fspath(path), converter)
    refuse(campaign, f"{os.fspath(path)}: ")
    return campaign


def expand_grids(document: dict[str, Any]) -> dict[str, Any]:
    """The document with every sweep that has a `grid` as one sweep for each of its combinations, in order.

    grid: {field = [values]}, a key of the sweep or an option of its kind. Raises ConfigError for a grid of anything else than lists.
    """
    sweeps = document.get("sweep")
    if not isinstance(sweeps, list):
        return document
    expanded: list[Any] = []
    for k, sweep in enumerate(sweeps):
        grid = sweep.get("grid") if isinstance(sweep, dict) else None
        if grid is None:
            expanded.append(sweep)
            continue
        if not isinstance(grid, dict) or not grid or not all(isinstance(values, list) and values for values in grid.values()):
            raise ConfigError(f"sweep[{k}].grid is no table of lists, such as {{ layer = ['cortex0', 'cortex1'] }}", f"sweep[{k}].grid")
        for values in product(*grid.values()):
            chosen = dict(zip(grid, values, strict=True))
            own = {name: value for name, value in chosen.items() if name in PLACES}
            options = {**sweep.get("options", {}), **{n: v for n, v in chosen.items() if n not in own}}
            rest = {name: value for name, value in sweep.items() if name not in ("grid", "options")}
            expanded.append({**rest, **own, **({"options": options} if options else {})})
    if len(expanded) > MAX_SWEEPS:
        raise ConfigError(f"the grids make {len(expanded):,} sweeps, {MAX_SWEEPS} are the most", "sweep")
    return {**document, "sweep": expanded}


def refuse(campaign: Campaign, where: str = "") -> None:
    """Raises ConfigError with the first values that cannot be; `where` names the file."""
    wrong = list(islice(check(campaign), SHOWN + 1))
    if wrong:
        more = "; and more" if len(wrong) > SHOWN else ""
        raise ConfigError(where + "; ".join(text for _, text in wrong[:SHOWN]) + more, wrong[0][0])


def _quantity(unit: str, value: object, _: object) -> float:
    return quantity(value, unit)


def check(campaign: Campaign) -> Iterator[tuple[str, str]]:
    """(path, message) of every value that cannot be."""
    if not NAME.fullmatch(campaign.name):
        yield "name", f"name = {campaign.name!r} is not a name of 1..64 letters, digits, blanks, '.', '_', '-'"
    try:
        check_seed(campaign.seed)
    except SeedError as error:
        yield "seed", str(error)
    yield from ((path, f"{path} = {shown_value(value)} {wrong}") for path, value, wrong in problems(campaign))
    yield from _devices("devices", campaign.devices)
    if not campaign.sweep and not campaign.sample:
        yield "sweep", "sweep is empty: a campaign needs at least one [[sweep]] or [[sample]]"
    for k, sample in enumerate(campaign.sample):
        yield from _check_sample(f"sample[{k}]", sample)
    for k, sweep in enumerate(campaign.sweep):
        yield from _check_sweep(f"sweep[{k}]", sweep)
    trials = sum(campaign.masks_of(s) * len(campaign.devices_of(s)) * (len(s.points) + 1) for s in campaign.sweep)
    trials += sum(s.faults * len(campaign.devices_of(s)) for s in campaign.sample)
    if trials > MAX_TRIALS:
        yield "masks", f"masks, rates and devices make up to {trials:,} trials, {MAX_TRIALS:,} are the most; lower masks"


def _check_sample(path: str, sample: Sample) -> Iterator[tuple[str, str]]:
    if sample.fault not in fault_kinds():
        yield f"{path}.fault", f"{path}.fault = {sample.fault!r} is not one of {', '.join(fault_kinds())}"
    else:
        try:
            sample.pattern.check()
        except (ConfigError, FaultError) as error:
            yield path, f"{path}: {error}"
    if sample.outcome not in OUTCOMES or sample.outcome == "infrastructure":
        yield f"{path}.outcome", f"{path}.outcome = {sample.outcome!r} is no outcome of an image"
    if len({*sample.strata}) < len(sample.strata) or {*sample.strata} - {"layer", "bit"}:
        yield f"{path}.strata", f'{path}.strata = {list(sample.strata)} is not made of "layer" and "bit"'
    if sample.devices:
        yield from _devices(f"{path}.devices", sample.devices)


def _check_sweep(path: str, sweep: Sweep) -> Iterator[tuple[str, str]]:
    if sweep.fault not in fault_kinds():
        yield f"{path}.fault", f"{path}.fault = {sweep.fault!r} is not one of {', '.join(fault_kinds())}"
    else:
        yield from _check_points(path, sweep, fault_kinds()[sweep.fault])
    if sweep.devices:
        yield from _devices(f"{path}.devices", sweep.devices)


def _check_points(path: str, sweep: Sweep, kind: type[Fault]) -> Iterator[tuple[str, str]]:
    """The swept values, and the fields of the kind that are the same at each."""
    key, other = ("rates", "values") if kind.swept == "rate" else ("values", "rates")
    if getattr(sweep, other):
        yield f"{path}.{other}", f"{path}.{other} does not apply to {sweep.fault}, whose {kind.swept} is swept; write {key}"
    elif not getattr(sweep, key):
        yield f"{path}.{key}", f"{path}.{key} is empty"
    seen: set[float] = set()
    for k, value in enumerate(sweep.points):
        if not kind.limits[0] <= value <= kind.limits[1]:
            yield f"{path}.{key}[{k}]", "{} = {:g} is outside {:g}..{:g}".format(f"{path}.{key}[{k}]", value, *kind.limits)
        if value in seen:
            yield f"{path}.{key}[{k}]", f"{path}.{key}[{k}] = {value:g} stands there twice"
        seen.add(value)
    free = [name for name in kind.settings() if name not in (*PLACES, "seed", kind.swept)]
    for name, default in PLACES.items():
        if getattr(sweep, name) != default and not kind.takes(name):
            instead = " or ".join(n for n in PLACES if kind.takes(n)) or "options"
            yield f"{path}.{name}", f"{path}.{name} does not apply to {sweep.fault}; name the place with {instead}"
    for name in sweep.options:
        if name not in free:
            takes = f"takes {', '.join(free)}" if free else "takes none"
            yield f"{path}.options.{name}", f"{path}.options.{name} is no option of {sweep.fault}, which {takes}"
            return
    try:
        pattern = sweep.pattern
        for value in sweep.points:
            if kind.limits[0] <= value <= kind.limits[1]:
                pattern.at(value).check()
    except (ConfigError, FaultError) as error:
        yield path, f"{path}: {error}"


def _devices(path: str, devices: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if not devices:
        yield path, f'{path} is empty; name at least one, for example "host"'
    seen: set[str] = set()
    for k, spec in enumerate(devices):
        if not spec or spec in seen:
            yield f"{path}[{k}]", f"{path}[{k}] = {spec!r:.200} is empty or stands there twice"
        seen.add(spec)


def warnings(campaign: Campaign) -> tuple[str, ...]:
    """What a reader of the results must know about the campaign's design."""
    few = [s for s in campaign.sweep if campaign.masks_of(s) < GOOD_MASKS]
    if not few:
        return ()
    sweeps = [f"{s.fault.replace('_', ' ')} on {', '.join(campaign.devices_of(s))} ({campaign.masks_of(s)} masks)" for s in few]
    named = "; ".join(dict.fromkeys(sweeps))
    return (f"Fewer than {GOOD_MASKS} masks: {named}. The t interval then leans on the accuracies being normal across masks.",)
