"""What a field of a dataclass may hold, said by its type: `rate: Annotated[float, within(0, 1)]`. `problems` finds what is not so."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Annotated, Any, get_args, get_type_hints


def shown_value(value: Any) -> str:
    """A value in a message."""
    return f"{value:g}" if isinstance(value, float) else f"{value!r:.80}"


class Wrong:
    """What a type is annotated with. of: says what is wrong with a value, such as "is outside 0..1"; "" where nothing is.

    parts: the same by the name of a field, of a value that is a dataclass.
    """

    def __init__(self, of: Callable[[Any], str] = lambda value: "", **parts: Wrong) -> None:
        self.of, self.parts = of, parts

    def problems(self, path: str, value: Any) -> Iterator[tuple[str, Any, str]]:
        """As the function."""
        if what := self.of(value):
            yield path, value, what
        for name, part in self.parts.items():
            yield from part.problems(f"{path}.{name}", getattr(value, name))


def within(low: float, high: float) -> Wrong:
    """Finite numbers from low to high."""
    text, highest = f"is outside {shown_value(low)}..{shown_value(high)}", min(high, sys.float_info.max)
    return Wrong(lambda value: "" if low <= value <= highest else text)


def among(*choices: str) -> Wrong:
    """One of these words."""
    return Wrong(lambda value: "" if value in choices else f"is none of {', '.join(choices)}")


PLAIN = (int, float, str)
Share = Annotated[float, within(0, 1)]
MOST = 1 << 62
"""Beyond any count there is; a float holds it without overflow."""
Count = Annotated[int, within(0, MOST)]
Uint32 = Annotated[int, within(0, 2**32 - 1)]


def problems(owner: Any, path: str = "") -> Iterator[tuple[str, Any, str]]:
    """(path, value, what is wrong with it) of every field of a dataclass, and of the dataclasses in it.

    Of a tuple or a dict each value is looked at; None is not.
    """
    for name, wrong in _limits(type(owner)):  # type: ignore[arg-type]  # it is hashable
        held = getattr(owner, name)
        if wrong is not None and type(held) in PLAIN and not wrong.of(held):
            continue  # the usual case, made quick: a campaign checks every fault
        for place, value in _leaves(f"{path}.{name}" if path else name, held):
            yield from problems(value, place) if wrong is None else wrong.problems(place, value)


@cache
def _limits(kind: Any) -> tuple[tuple[str, Wrong | None], ...]:
    """The fields that have limits, or hold dataclasses."""
    hints = get_type_hints(kind, include_extras=True)
    found = ((f.name, [*_found(hints[f.name])]) for f in fields(kind))
    return tuple((name, next(filter(None, wrongs), None)) for name, wrongs in found if wrongs)


def _found(hint: Any) -> Iterator[Wrong | None]:
    """What a type, or one inside of it, is annotated with; None where one is a dataclass."""
    for part in get_args(hint):
        yield from [part] if isinstance(part, Wrong) else _found(part)
    if is_dataclass(hint):
        yield None


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((f"{path}.{name}", item) for name, item in value.items())
    elif isinstance(value, tuple):
        yield from ((f"{path}[{k}]", item) for k, item in enumerate(value))
    elif value is not None:
        yield path, value
