"""Which measures a model would gain most from, by the harm that single faults do to it, and what each costs: modelled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from edgechaos.harden.base import Advice, hardening_kinds
from edgechaos.harden.sensitivity import Sensitivity

GOAL = 0.9
"""Of the harm that measures can take away: those that take most for their cost are advised until so much is gone."""


def advise(sensitivity: Sensitivity, goal: float = GOAL) -> tuple[Advice, ...]:
    """What every kind of measure has to say, the most gain first; of one kind of fault the cheapest are chosen that reach the goal.

    Measures that only detect are never chosen: whether no answer is better than a wrong one is for who uses it to say.
    """
    found = [advice for kind in hardening_kinds().values() for advice in kind.advise(sensitivity)]
    return tuple(sorted(_chosen(found, goal), key=lambda a: (a.against, -a.gain, a.measure)))


def _chosen(found: Iterable[Advice], goal: float) -> list[Advice]:
    by_fault: dict[str, list[Advice]] = {}
    for advice in found:
        by_fault.setdefault(advice.against, []).append(advice)
    done = []
    for group in by_fault.values():
        able = [a for a in group if a.gain > 0 and a.answers]
        left = goal * sum(a.gain for a in able)
        for advice in sorted(able, key=lambda a: -a.gain / (a.instructions + a.flash_bytes + 1)):
            if left > 1e-12:
                left -= advice.gain
                group[group.index(advice)] = replace(advice, chosen=True)
        done += group
    return done
