"""What every kind of fault is: a frozen dataclass that says in words what it is and resolves to injections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar, Literal, get_type_hints

from edgechaos.arithmetic.seeds import check_seed
from edgechaos.faults.injections import Injection
from edgechaos.graph.analysis import Analysis
from edgechaos.support.errors import FaultError
from edgechaos.support.limits import problems
from edgechaos.support.registry import load_all
from edgechaos.support.suggest import suggestion

ALL = "*"
Persistence = Literal["permanent", "intermittent", "transient"]
Level = Literal["model", "memory", "machine", "link"]
LATER = MappingProxyType({"later": True})
"""`field(default=..., metadata=LATER)` of a field that a kind was given after its first release."""
_KINDS: dict[str, type[Fault]] = {}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a plan. A subclass with a `kind` registers itself where it is defined; that name is stored in files.

    title, axis: of a report's panel; phrase: in a statement, before the site. level: what a device must give access to.
    swept: the field that a sweep changes, within `limits`; one called "rate" is a share, which is printed in percent.
    neutral: its value that changes nothing, None where each value does. aliases: "TOOL:NAME" of other tools -> fields of this kind that the
    name implies. given: what an example of a command line says after the swept field. uniform: whether a graph that carries it at one seed
    carries it at every seed, so that a campaign need not try each.
    """

    kind: ClassVar[str] = ""
    title: ClassVar[str] = ""
    axis: ClassVar[str] = ""
    phrase: ClassVar[str] = ""
    persistence: ClassVar[Persistence] = "permanent"
    level: ClassVar[Level] = "model"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})
    swept: ClassVar[str] = "rate"
    limits: ClassVar[tuple[float, float]] = (0.0, 1.0)
    neutral: ClassVar[float | None] = 0.0
    given: ClassVar[str] = ""
    uniform: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        if "kind" in cls.__dict__:
            known = _KINDS.setdefault(cls.kind, cls)
            if known.__module__ != cls.__module__:
                raise TypeError(f"two kinds of fault are called {cls.kind}: in {known.__module__} and in {cls.__module__}")
            _KINDS[cls.kind] = cls  # a dataclass with slots is made twice

    def __post_init__(self) -> None:
        """Raises SeedError for a seed that is no uint32."""
        if self.takes("seed"):
            object.__setattr__(self, "seed", check_seed(self.seed))  # type: ignore[attr-defined]

    def __reduce__(self) -> tuple[type[Fault], tuple[Any, ...]]:
        """A campaign sends each of its faults to a worker: its fields, without asking what they are."""
        return type(self), tuple(getattr(self, name) for name in _hints(type(self)))  # type: ignore[arg-type]

    def to_json(self) -> dict[str, Any]:
        """Its `kind`, then its fields. A `LATER` field is left out at its default: old plans keep their id."""
        # Not asdict, which copies deeply at several times the cost: no field of a fault can be changed.
        values = {name: getattr(self, name) for name in _hints(type(self))}  # type: ignore[arg-type]
        for name, default in _later(type(self)):  # type: ignore[arg-type]
            if values[name] == default:
                del values[name]
        return {"kind": self.kind, **values}

    def check(self) -> None:
        """Raises FaultError where the swept field is beyond its limits, or another field holds what it cannot."""
        value, (low, high) = getattr(self, self.swept), self.limits
        if not low <= value <= high:
            raise FaultError(f"{self.kind}: {self.swept} {value} is outside {low:g}..{high:g}")
        for name, found, wrong in problems(self):
            raise FaultError(f"{self.kind}: {name} {found!r} {wrong}")
        sites, rate = _explicit(type(self))  # type: ignore[arg-type]
        if sites and getattr(self, sites) and getattr(self, "rate", rate) != rate:
            raise FaultError(f"{self.kind}: has a rate and explicit {sites}; give one of them")

    def resolve(self, analysis: Analysis) -> Iterable[Injection]:
        """What it changes in a graph. Raises FaultError for a site that the graph does not have."""
        raise NotImplementedError

    @property
    def place(self) -> str:
        """Where it falls, in words."""
        layer = getattr(self, "layer", ALL)
        return "neurons, all layers" if layer == ALL else f"neurons of {layer}"

    @classmethod
    def settings(cls) -> dict[str, type]:
        """Field -> int, float or str, of the fields that hold one: what a file or a command line may set. Lists of sites are not there."""
        return {name: kind for name, kind in _hints(cls).items() if kind in (int, float, str)}  # type: ignore[arg-type]  # it is hashable

    def at(self, value: float) -> Fault:
        """The same fault with its swept field at a value."""
        whole = self.settings()[self.swept] is int and float(value).is_integer()
        return replace(self, **{self.swept: int(value) if whole else value})

    def seeded(self, seed: int) -> Fault:
        """The same fault at the sites of another seed; itself where none are drawn."""
        return replace(self, **{"seed": seed}) if self.takes("seed") else self

    @classmethod
    def example(cls) -> str:
        """What `--fault` takes: the kind at a value that does something."""
        value = "0.1" if cls.swept == "rate" else "0.5" if cls.settings()[cls.swept] is float else "1"
        return f"{cls.kind}={value}{'@7' if cls.takes('seed') else ''}{cls.given}"

    @classmethod
    def takes(cls, name: str) -> bool:
        """Whether it has such a field."""
        return name in _hints(cls)  # type: ignore[arg-type]


def explicit() -> Any:
    """A field of sites that stand in place of a rate and a seed; a rate that has its default is none."""
    return field(default=(), metadata={"explicit": True})


@cache
def _explicit(cls: Any) -> tuple[str, Any]:
    """The name of the field of explicit sites, "" where there is none, and the default of the rate."""
    default = {f.name: f.default for f in fields(cls)}
    return "".join(f.name for f in fields(cls) if "explicit" in f.metadata), default.get("rate")


@cache
def _later(cls: Any) -> tuple[tuple[str, Any], ...]:
    """The `LATER` fields, each with its default."""
    return tuple((f.name, f.default) for f in fields(cls) if "later" in f.metadata)


@cache
def _hints(cls: Any) -> Mapping[str, Any]:
    """The types of its fields; asked for once per fault of a campaign."""
    hints = get_type_hints(cls)
    return MappingProxyType({f.name: hints[f.name] for f in fields(cls)})


def fault_kinds() -> Mapping[str, type[Fault]]:
    """Every kind by name: the files of edgechaos/faults/kinds and the entry points of group `edgechaos.faults`."""
    _load()
    return MappingProxyType(dict(sorted(_KINDS.items())))


@cache
def _load() -> None:
    load_all("edgechaos.faults.kinds", "edgechaos.faults")


def fault_named(name: str) -> tuple[type[Fault], Mapping[str, Any]]:
    """The kind of that name, or of another tool's name for it, with the tool before a colon or without; and the fields that it implies.

    Raises FaultError with the kinds there are.
    """
    kinds = fault_kinds()
    if name in kinds:
        return kinds[name], {}
    for kind in kinds.values():
        for alias, implied in kind.aliases.items():
            if name in (alias, alias.partition(":")[2]):
                return kind, implied
    known = [*kinds, *(alias.partition(":")[2] for kind in kinds.values() for alias in kind.aliases)]
    raise FaultError(f"no kind of fault is called '{name}'{suggestion(name, known)}; there are {', '.join(kinds)}")


def label_of(kind: str, what: Literal["title", "axis", "phrase"]) -> str:
    """What a kind's class says of it; of a kind that is not installed here, its name."""
    known = fault_kinds().get(kind)
    return str(getattr(known, what, "")) or kind.replace("_", " ")
