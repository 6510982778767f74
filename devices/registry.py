"""Devices by name: "host", "unicorn:mps2-an386", "fake", "serial:/dev/serial/by-id/...", and what plug-ins add.

`open_device` gives a Device that is not yet open, so that `with open_device(spec, graph) as device:` opens and closes it.
A plug-in is an entry point of the group "edgechaos.devices": its name is the word before the colon, its object a
DeviceEntry, or a function (argument, graph) -> Device, whose devices then count as exclusive.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from edgechaos.devices.contract import Device
from edgechaos.devices.entry import DeviceEntry, ListedDevice, lines
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import ConfigError
from edgechaos.support.extras import check_installed
from edgechaos.support.registry import Registry, shown


def _take(found: Any) -> DeviceEntry | None:
    return found if isinstance(found, DeviceEntry) else DeviceEntry(found) if callable(found) else None


DEVICES = Registry("device", _take, folder="edgechaos.devices.kinds", attribute="DEVICE", group="edgechaos.devices")


def open_device(spec: str, graph: IntegerGraph) -> Device:
    """The device of a spec; entering it, or its `open`, starts it.

    Raises ConfigError for a spec that names no device; MissingExtra, BuildError and UnsupportedError from what it needs.
    """
    entry, argument = _entry(spec)
    return entry.open(argument, graph)


def check_spec(spec: str, *, local: bool = True) -> None:
    """Whether a spec names a device, before anything is run. It builds nothing, starts nothing and opens no port.

    local: whether it will be opened on this machine, so that its port and packages must be here.
    Raises ConfigError, or MissingExtra where a package is not installed.
    """
    entry, argument = _entry(spec)
    if local:
        check_installed(entry.needs)
        entry.check(argument)


def check_specs(specs: Iterable[str], *, local: bool = True) -> None:
    """`check_spec` of each, and no two may name the same board. Raises ConfigError, MissingExtra."""
    places: dict[str, str] = {}
    for spec in specs:
        check_spec(spec, local=local)
        if is_exclusive(spec) and (other := places.setdefault(_place(spec), spec)) != spec:
            raise ConfigError(f"'{shown(other)}' and '{shown(spec)}' are the same board; name it once", "device")


def is_exclusive(spec: str) -> bool:
    """Whether only one worker may hold what a spec names: unless its entry says that it can be shared."""
    try:
        return _entry(spec)[0].exclusive
    except ConfigError:
        return True  # nobody says that it can be shared


def carriers(level: str) -> list[str]:
    """The kinds of device that carry faults of a level, plug-ins among them, by name; those that do not load are left out."""
    found = []
    for place in DEVICES.places():
        with suppress(ConfigError):
            found += [place.name] if level in DEVICES.load(place.name).levels else []
    return sorted(found)


def list_devices() -> list[ListedDevice]:
    """Everything that could be opened on this machine, available or not. Starts nothing and opens no port."""
    listed = []
    for place in DEVICES.places():
        title = f"plug-in of {place.package}" if place.package else "plug-in"
        try:
            listed += lines(place.name, DEVICES.load(place.name), title)
        except ConfigError:
            listed.append(
                ListedDevice(place.name, "plug-in", title, False, f"install {place.package or place.value} again: it does not load")
            )
    return listed


def _entry(spec: str) -> tuple[DeviceEntry, str]:
    name, _, argument = spec.partition(":")
    return DEVICES.load(name, spec), argument


def _place(spec: str) -> str:
    entry, argument = _entry(spec)
    return f"{spec.partition(':')[0]}:{entry.place(argument)}"
