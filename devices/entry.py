"""What a kind of device says of itself: how it is opened, checked, listed, and whether two workers may share it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edgechaos.devices.contract import Device, Kind
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import ConfigError
from edgechaos.support.extras import Needs, remedy
from edgechaos.support.registry import shown

Opener = Callable[[str, IntegerGraph], Device]
"""Makes a device from what follows the colon of its spec."""


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """A kind of device. Its functions take what follows the colon of a spec.

    open: makes the device. exclusive: whether what the argument names can be driven by one worker only, as a board on a wire;
    said of every plug-in that does not deny it. check: raises ConfigError for an argument that cannot be opened on this machine,
    cheaply: it builds nothing and opens no port. place: one name for all the ways to write one exclusive thing. needs: the packages
    without which it cannot be opened. missing: the command that installs what else an argument lacks; "" where it lacks nothing.
    levels: of the faults that it carries, its firmware having hooks.
    listed: (argument, kind, title) of each that `edgechaos devices` shows.
    """

    open: Opener
    exclusive: bool = True
    check: Callable[[str], None] = lambda argument: None
    place: Callable[[str], str] = lambda argument: argument
    needs: Needs = ()
    missing: Callable[[str], str] = lambda argument: ""
    levels: frozenset[str] = frozenset({"model"})
    listed: Callable[[], Iterable[tuple[str, Kind | str, str]]] | None = None


@dataclass(frozen=True, slots=True)
class ListedDevice:
    """One line of `edgechaos devices`. remedy: the command that makes it available; empty where it is."""

    spec: str
    kind: Kind | str
    title: str
    available: bool
    remedy: str = ""


def lines(name: str, entry: DeviceEntry, default: str) -> list[ListedDevice]:
    """What `edgechaos devices` shows of an entry; one line with the title `default` where it lists nothing itself."""
    listed = list(entry.listed()) if entry.listed else [("", "plug-in", default)]
    commands = [remedy(entry.needs) or entry.missing(argument) for argument, _, _ in listed]
    return [
        ListedDevice(f"{name}:{a}" if a else name, kind, title, not command, command)
        for (a, kind, title), command in zip(listed, commands, strict=True)
    ]


def takes_no_argument(name: str) -> Callable[[str], None]:
    """The `check` of a device of which there is one."""

    def check(argument: str) -> None:
        if argument:
            raise ConfigError(f"device '{name}' takes no ':{shown(argument)}'; write '{name}'", "device")

    return check
