"""`--fault KIND=VALUE@SEED,FIELD=VALUE`: a fault plan as words of a command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

import click

from edgechaos.support.errors import ConfigError, FaultError, SeedError
from edgechaos.support.suggest import suggestion

if TYPE_CHECKING:  # NumPy alone would double the time that --help takes
    from edgechaos.faults.base import Fault
    from edgechaos.faults.plan import FaultPlan


def _option(what: str) -> Callable[[Any], Any]:
    text = f"{what}; repeatable. `edgechaos faults` lists kinds and fields. Seed: of the sites, default 0."
    return click.option("--fault", "faults", multiple=True, metavar="KIND=VALUE[@SEED][,FIELD=VALUE]", help=text)


fault_option = _option("Inject a fault")
damage_option = _option("Practise on a device with this damage, which nothing takes away")

FAULT_OPTION = re.compile(
    r"(?P<kind>[A-Za-z_0-9:]+)=(?P<value>[^@,=]{1,40})(?:@(?P<seed>-?[0-9]{1,20}))?(?P<more>(?:,[a-z_0-9]{1,63}=[^,=]{1,80}){0,20})"
)


def parse_faults(options: tuple[str, ...]) -> FaultPlan:
    """`kind=value`, `kind=value@seed` or either with `,field=value` after it, any number of times, as one plan.

    Raises ConfigError with the kinds there are.
    """
    from edgechaos.faults.base import fault_named
    from edgechaos.faults.plan import FaultPlan

    faults = []
    for text in options:
        match = FAULT_OPTION.fullmatch(text)
        word = match["kind"] if match else text.partition("=")[0]
        try:
            kind, implied = fault_named(word)
        except FaultError as error:
            raise ConfigError(f"--fault {text!r}: {error}", "fault") from error
        if match is None:
            raise ConfigError(f"--fault {text!r}: expected {kind.kind}=VALUE[@SEED][,FIELD=VALUE]", "fault")
        given = {name: str(value) for name, value in implied.items()}
        given |= {kind.swept: match["value"], **dict(part.split("=") for part in match["more"].split(",")[1:])}
        if match["seed"] is not None:
            given["seed"] = match["seed"]
        try:
            faults.append(_fault(kind, given))
        except (ConfigError, FaultError, SeedError) as error:
            raise ConfigError(f"--fault {text!r}: {error}", "fault") from error
    return FaultPlan(tuple(faults))


def _fault(kind: type[Fault], given: Mapping[str, str]) -> Fault:
    """The fault whose fields are given as text. Raises ConfigError, FaultError or SeedError."""
    takes = kind.settings()
    values: dict[str, Any] = {}
    for name, text in given.items():
        if name == "seed" and name not in takes:
            raise ConfigError(f"{kind.kind} draws from the run's seed and takes none of its own; use --seed")
        if name not in takes:
            raise ConfigError(f"{kind.kind} has no '{name}'{suggestion(name, takes)}; it takes {', '.join(takes)}")
        try:
            values[name] = int(text, 0) if takes[name] is int else takes[name](text)
        except ValueError as error:
            raise ConfigError(f"'{text}' is not {'a whole number' if takes[name] is int else 'a number'}") from error
    missing = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING and f.name not in values]
    if missing:
        raise ConfigError(f"{kind.kind} needs {' and '.join(missing)}; add ,{missing[0]}=...")
    fault = kind(**values)
    fault.check()
    return fault
