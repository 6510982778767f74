"""What every measure against faults is: a frozen dataclass that says where it is taken and what it makes of a graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar

from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.harden.sensitivity import Sensitivity
from edgechaos.support.errors import ConfigError, VerificationError
from edgechaos.support.registry import load_all
from edgechaos.support.suggest import suggestion

_KINDS: dict[str, type[Hardening]] = {}


@dataclass(frozen=True, slots=True)
class Advice:
    """A measure, and what it would do.

    against: the single fault whose harm (share of items whose right answer becomes wrong) is `before` and would be `after`.
    flash_bytes, ram_bytes, instructions: what it adds, code apart. chosen: whether it is advised. note: what else to know.
    answers: whether an answer still comes under the fault.
    """

    measure: str
    against: str
    before: float
    after: float
    flash_bytes: int
    ram_bytes: int
    instructions: float
    note: str = ""
    chosen: bool = False
    answers: bool = True

    @property
    def gain(self) -> float:
        """Harm that it takes away."""
        return self.before - self.after


@dataclass(frozen=True, slots=True)
class Hardening:
    """A measure at a place. A subclass with a `kind` registers itself where it is defined.

    place: what the kind's `places` names, after a colon what it takes besides. title: of its kind, in text. effect: what it does about a
    fault, as a sentence. observes: whether it needs calibration items.
    """

    kind: ClassVar[str] = ""
    title: ClassVar[str] = ""
    effect: ClassVar[str] = ""
    observes: ClassVar[bool] = False

    place: str

    def __init_subclass__(cls) -> None:
        if "kind" in cls.__dict__:
            known = _KINDS.setdefault(cls.kind, cls)
            if known.__module__ != cls.__module__:
                raise TypeError(f"two kinds of hardening are called {cls.kind}: in {known.__module__} and in {cls.__module__}")
            _KINDS[cls.kind] = cls  # a dataclass with slots is made twice

    def __str__(self) -> str:
        return f"{self.kind}={self.place}"

    @classmethod
    def places(cls, graph: IntegerGraph) -> tuple[str, ...]:
        """Where it may be taken."""
        raise NotImplementedError

    def apply(self, graph: IntegerGraph, codes: Mapping[str, NDArray[Any]] = MappingProxyType({})) -> IntegerGraph:
        """The hardened model. codes: (n, *input shape) by head, of calibration items.

        Raises ConfigError for a place that the graph does not have, or where it needs items and there are none.
        """
        raise NotImplementedError

    def struck(self, graph: IntegerGraph) -> Iterator[Mapping[str, Any]]:
        """Sweeps of the faults that it is against, as in a campaign file; a stored table in place of a region of memory."""
        raise NotImplementedError

    @classmethod
    def advise(cls, sensitivity: Sensitivity) -> Iterator[Advice]:
        """What measures of this kind would gain and cost."""
        return iter(())

    def refuse_place(self, graph: IntegerGraph, named: str) -> None:
        """Raises ConfigError where `named` is no place for this kind, with those there are."""
        known = self.places(graph)
        if named not in known:
            there = f"there are {', '.join(known)}" if known else "it has none"
            raise ConfigError(f"{self}: model '{graph.name}' has no such place{suggestion(named, known)}; {there}", "harden")


def hardening_kinds() -> Mapping[str, type[Hardening]]:
    """Every kind by name: the files of edgechaos/harden/kinds and the entry points of group `edgechaos.harden`."""
    _load()
    return MappingProxyType(dict(sorted(_KINDS.items())))


@cache
def _load() -> None:
    load_all("edgechaos.harden.kinds", "edgechaos.harden")


def harden(graph: IntegerGraph, measures: Iterable[Hardening], codes: Mapping[str, NDArray[Any]] = MappingProxyType({})) -> IntegerGraph:
    """The model with all measures. codes: (n, *input shape) by head, of calibration items, on which the clean logits must stay.

    Raises ConfigError as `Hardening.apply`, GraphError where a bound no longer holds, VerificationError where a logit changed.
    """
    hardened = graph
    for measure in measures:
        hardened = measure.apply(hardened, codes)
    for head, items in codes.items():
        if (reference.run(graph, items, head=head).logits != reference.run(hardened, items, head=head).logits).any():
            raise VerificationError(
                f"head '{head}': the hardened model gives other logits on calibration items: a defect, please report it"
            )
    return hardened


def parse_hardening(text: str) -> Hardening:
    """`KIND=PLACE`. Raises ConfigError for a kind that there is not."""
    kind, _, place = text.partition("=")
    kinds = hardening_kinds()
    if kind not in kinds or not place:
        raise ConfigError(f"'{text}' is no hardening{suggestion(kind, kinds)}; write KIND=PLACE with one of {', '.join(kinds)}", "harden")
    return kinds[kind](place)
