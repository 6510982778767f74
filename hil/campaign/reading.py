"""campaign.toml as a Campaign, or one line that names what cannot be with its path (`sweep[0].rates[2] = 1.5 is outside 0..1`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from itertools import islice, product
from operator import is_
from typing import Any

from edgechaos.arithmetic.seeds import check_seed
from edgechaos.faults.base import Fault, fault_kinds
from edgechaos.hil.campaign.config import MAX_TRIALS, NAME, PLACES, Campaign, Kelvin, Sample, Seconds, Share, Sweep
from edgechaos.hil.campaign.outcomes import OUTCOMES
from edgechaos.support.errors import ConfigError, FaultError, SeedError
from edgechaos.support.limits import problems, shown_value
from edgechaos.support.settings import quantity, read_toml, strict_converter, structure

UNITS = ((Seconds, "s"), (Kelvin, "K"), (Share, "1"))
SHOWN = 5
"""Problems of a file that one message lists."""
MAX_SWEEPS = 500


def read_campaign(path: str | os.PathLike[str]) -> Campaign:
    """The campaign in a TOML file. Raises ConfigError with every defect and its path."""
    converter = strict_converter()
    for kind, unit in UNITS:
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
