"""Every single fault that a kind can be, in strata: what random and stratified samples of faults are drawn from.

A kind qualifies by a field that names its sites: `neurons` (units of a layer), `synapses` (words of a matrix), `bits` (word and bit).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from edgechaos.faults.base import Fault, fault_kinds
from edgechaos.faults.injections import SetSlot
from edgechaos.faults.sites import weighted_words
from edgechaos.graph.analysis import Analysis
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import FaultError

SITES = ("neurons", "synapses", "bits")
WORD_BITS = 32


@dataclass(frozen=True, slots=True)
class Stratum:
    """`size` single faults of one layer, of one bit where bits fail; layer: a node's name, or the region of a device's memory.

    at: the fault at a site, 0 <= site < size.
    """

    layer: str
    bit: int | None
    size: int
    at: Callable[[int], Fault]


def strata(graph: IntegerGraph, pattern: Fault) -> tuple[Stratum, ...]:
    """The single faults of a kind, by layer and bit. pattern: the fault without sites. Raises FaultError for a kind that names none."""
    field = next((name for name in SITES if pattern.takes(name)), None)
    if field is None:
        able = ", ".join(name for name, kind in fault_kinds().items() if any(kind.takes(f) for f in SITES))
        raise FaultError(f"{pattern.kind}: has no field that names single sites; sample one of {able}")
    return tuple(_OF_FIELD[field](Analysis(graph), pattern))


def _units(analysis: Analysis, pattern: Any) -> Iterator[Stratum]:
    for injection in replace(pattern, rate=1.0).resolve(analysis):
        if isinstance(injection, SetSlot):
            yield Stratum(injection.node, None, len(injection.entries), _at(pattern, layer=injection.node, neurons=lambda k: (k,)))


def _synapses(analysis: Analysis, pattern: Any) -> Iterator[Stratum]:
    for constant, node in weighted_words(analysis, pattern.kind, pattern.node).items():
        size = analysis.graph.constants[constant].value.size
        yield Stratum(node.name, None, size, _at(pattern, node=node.name, synapses=lambda k: (k,)))


def _bits(analysis: Analysis, pattern: Any) -> Iterator[Stratum]:
    if not pattern.takes("node"):
        for bit in range(WORD_BITS):
            yield Stratum(pattern.place, bit, pattern.words, _at(pattern, bits=_word(bit)))
        return
    for constant, node in weighted_words(analysis, pattern.kind, pattern.node, pattern.target).items():
        stored = analysis.graph.constants[constant]
        for bit in pattern.may_flip(node, stored.bits):
            yield Stratum(node.name, bit, stored.value.size, _at(pattern, node=node.name, bits=_word(bit), bit="any"))


def _word(bit: int) -> Callable[[int], Any]:
    return lambda k: ((k, bit),)


def _at(pattern: Any, **fields: Any) -> Callable[[int], Fault]:
    """The pattern with fields set; one that is a function is asked for the site."""

    def at(site: int) -> Fault:
        fault: Fault = replace(pattern, **{name: value(site) if callable(value) else value for name, value in fields.items()})
        return fault

    return at


_OF_FIELD = {"neurons": _units, "synapses": _synapses, "bits": _bits}
