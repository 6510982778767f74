"""Which mutants a seed draws, and which are left out because no test could tell them from the original."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from edgechaos.support.settings import read_toml, structure
from tests.helpers.places import ROOT
from tests.mutation.c_mutants import c_mutants
from tests.mutation.mutants import OPERATORS, Mutant
from tests.mutation.python_mutants import python_mutants
from tests.mutation.targets import AREAS, TARGETS, Target, files_of

EQUIVALENT = ROOT / "tests" / "mutation" / "equivalent.toml"


@dataclass(frozen=True, slots=True)
class Equivalent:
    """A change that alters no behavior that is promised. was, becomes: whole source lines, outer and repeated space left out."""

    file: str
    was: str
    becomes: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Document:
    mutant: tuple[Equivalent, ...] = ()


def equivalents() -> tuple[Equivalent, ...]:
    """The committed list."""
    return structure(read_toml(EQUIVALENT, "list"), _Document, str(EQUIVALENT)).mutant


def mutants_of(file: str) -> list[Mutant]:
    """All of one file."""
    source = (ROOT / file).read_bytes()
    return python_mutants(file, source) if file.endswith(".py") else c_mutants(file, source)


def pool(only: tuple[str, ...] = (), operators: tuple[str, ...] = OPERATORS) -> list[tuple[Target, Mutant]]:
    """Every mutant of every target; `only` keeps areas or files whose names contain one of these words."""
    return [
        (target, mutant)
        for target in TARGETS
        for file in files_of(target)
        if not only or any(word == target.area if word in AREAS else word in file for word in only)
        for mutant in mutants_of(file)
        if mutant.operator in operators
    ]


def drawn(seed: int, only: tuple[str, ...] = (), operators: tuple[str, ...] = OPERATORS) -> Iterator[tuple[Target, Mutant]]:
    """All of the pool in the order of the seed: areas take turns, within an area operators, within an operator by chance."""
    rng = random.Random(seed)
    shares: dict[str, dict[str, list[tuple[Target, Mutant]]]] = {}
    for target, mutant in pool(only, operators):
        shares.setdefault(target.area, {}).setdefault(mutant.operator, []).append((target, mutant))
    turns = {area: _taking_turns(rng, by_operator) for area, by_operator in shares.items()}
    while turns:
        for area in list(turns):
            following = next(turns[area], None)
            if following is None:
                del turns[area]
            else:
                yield following


def _taking_turns(rng: random.Random, operators: dict[str, list[tuple[Target, Mutant]]]) -> Iterator[tuple[Target, Mutant]]:
    left = {name: rng.sample(mutants, len(mutants)) for name, mutants in sorted(operators.items())}
    while left:
        for name in rng.sample(sorted(left), len(left)):
            yield left[name].pop()
            if not left[name]:
                del left[name]
