"""What is found by a name: one registry for exporters, devices, cores, faults, commands. Only here are modules imported by name.

What a registry holds is built in (a table of places, or every file of a folder) or comes from an installed package by an entry point.
Nothing is imported before it is asked for. A built-in name wins: what `onnx` means must not depend on what else is installed.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from edgechaos.support.errors import ConfigError
from edgechaos.support.suggest import suggestion

T = TypeVar("T")
LONGEST_SHOWN = 120
"""Characters of a name in an error: a name of any length must not become a message of that length."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a thing stands. value: "package.module:object". package: the installed package that brought it; "" for a built-in."""

    name: str
    value: str
    package: str = ""
    plug_in: bool = False


def load(value: str) -> Any:
    """The object of "package.module:object", or the module of "package.module". Raises ImportError, AttributeError."""
    module, _, name = value.partition(":")
    found = importlib.import_module(module)
    return getattr(found, name) if name else found


def modules(package: str) -> tuple[str, ...]:
    """The names of the modules in a package's folder, sorted; those that begin with an underscore are helpers of the others."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(load(package).__path__) if not m.name.startswith("_")))


def load_all(package: str, group: str = "") -> None:
    """Import every module of a package's folder and what plug-ins add: for classes that register where they are defined.

    Raises ConfigError for a plug-in that does not load.
    """
    for name in modules(package):
        load(f"{package}.{name}")
    for place in plug_ins(group) if group else ():
        _load_plug_in(place, group)


def plug_ins(group: str) -> tuple[Place, ...]:
    """What installed packages add to an entry-point group, by name."""
    from importlib.metadata import entry_points  # takes as long as the rest of `import edgechaos`

    return tuple(Place(p.name, p.value, p.dist.name if p.dist else "", plug_in=True) for p in sorted(entry_points(group=group)))


def shown(name: str) -> str:
    """A name that somebody typed, made fit for a line of text: printable and not longer than an error should be."""
    text = "".join(c if c.isprintable() else "?" for c in name[:LONGEST_SHOWN])
    return text if len(name) <= LONGEST_SHOWN else f"{text}..."


def one_of(kind: type[T]) -> Callable[[Any], T | None]:
    """For `Registry(take=...)`: objects of a class; a subclass without arguments stands for its one object."""

    def take(found: Any) -> T | None:
        made = found() if isinstance(found, type) and issubclass(found, kind) else found
        return made if isinstance(made, kind) else None

    return take


class Registry(Generic[T]):
    """Things of one kind by name.

    noun: what one is called in errors. take: makes a loaded object into one; None says that it is none.
    table: name -> "package.module:object". folder: a package of which every module holds one, called `attribute`; the module's name with
    hyphens for underscores is its name. group: the entry-point group by which installed packages add theirs.
    """

    def __init__(
        self,
        noun: str,
        take: Callable[[Any], T | None],
        *,
        table: Mapping[str, str] | None = None,
        folder: str = "",
        attribute: str = "",
        group: str = "",
    ) -> None:
        self.noun, self.group = noun, group
        self._take, self._table, self._folder, self._attribute = take, dict(table or {}), folder, attribute
        self._loaded: dict[str, T] = {}

    def built_in(self) -> tuple[Place, ...]:
        """Those of the table in its order, then those of the folder by name."""
        files = modules(self._folder) if self._folder else ()
        listed = {name.replace("_", "-"): f"{self._folder}.{name}:{self._attribute}" for name in files}
        return tuple(Place(*pair) for pair in {**self._table, **listed}.items())

    def places(self) -> tuple[Place, ...]:
        """All there are, the built-in ones first; nothing of them is imported."""
        own = self.built_in()
        return own + tuple({p.name: p for p in self._plug_ins() if p.name not in {o.name for o in own}}.values())

    def names(self) -> tuple[str, ...]:
        """The names of `places`."""
        return tuple(place.name for place in self.places())

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return any(place.name == name for place in self.places())

    def load(self, name: str, said: str | None = None) -> T:
        """The thing of that name. said: the words in which it was asked for, where the name is a part of them.

        Raises ConfigError for a name that there is not, with the names there are, and for a plug-in that does not load or is something
        else; MissingExtra from what a built-in one imports.
        """
        place = next((p for p in self.built_in() if p.name == name), None) or next((p for p in self._plug_ins() if p.name == name), None)
        if place is None:
            raise ConfigError(self.refusal(name, said), self.noun)
        if place.plug_in:  # not remembered: another process's install, or a test's, may replace it
            return self._load(place)
        if name not in self._loaded:
            self._loaded[name] = self._load(place)
        return self._loaded[name]

    def refusal(self, name: str, said: str | None = None) -> str:
        """What to say of a name that there is not."""
        known = self.names()
        return f"no {self.noun} '{shown(said or name)}'{suggestion(name, known)}; there are {', '.join(known)}"

    def _plug_ins(self) -> tuple[Place, ...]:
        return plug_ins(self.group) if self.group else ()

    def _load(self, place: Place) -> T:
        taken = self._take(_load_plug_in(place, self.noun) if place.plug_in else load(place.value))
        if taken is None:
            raise ConfigError(f"'{place.value}' is no {self.noun}; see \"Add a {self.noun}\" in the documentation", self.noun)
        return taken


def _load_plug_in(place: Place, noun: str) -> Any:
    try:
        return load(place.value)
    except (ImportError, AttributeError) as error:
        message = f"{noun} '{place.name}': its plug-in {place.value} does not load ({error}); install it again"
        raise ConfigError(message, noun) from error
