"""Limits that the types of fields state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from edgechaos.support.limits import Share, Uint32, Wrong, among, problems, within


@dataclass(frozen=True, slots=True)
class Pair:
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Inner:
    share: Share = 0.5
    word: Annotated[str, among("a", "b")] = "a"


@dataclass(frozen=True, slots=True)
class Outer:
    count: Annotated[int, within(1, 9)] = 1
    seed: Uint32 | None = None
    shares: dict[str, Share] = field(default_factory=dict)
    sizes: tuple[Annotated[int, within(0, 3)], ...] = ()
    pair: Annotated[Pair, Wrong(low=within(0, 1))] = Pair(0.0, 7.0)
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    free: float = -1.0


def test_what_holds() -> None:
    assert list(problems(Outer())) == []
    assert list(problems(Outer(9, 2**32 - 1, {"x": 1.0}, (0, 3), Pair(1.0, -9.0), Inner(0.0, "b"), (Inner(),)))) == []


def test_every_place_is_named() -> None:
    wrong = Outer(0, -1, {"x": 1.5}, (0, 4), Pair(-0.1, 0.0), Inner(float("nan")), (Inner(), Inner(word="c")))
    assert [(path, f"{what}") for path, _, what in problems(wrong)] == [
        ("count", "is outside 1..9"),
        ("seed", "is outside 0..4294967295"),
        ("shares.x", "is outside 0..1"),
        ("sizes[1]", "is outside 0..3"),
        ("pair.low", "is outside 0..1"),
        ("inner.share", "is outside 0..1"),
        ("many[1].word", "is none of a, b"),
    ]
    assert [value for _, value, _ in problems(Outer(0, -1))] == [0, -1]
