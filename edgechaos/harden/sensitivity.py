"""Which stored words and which units matter: one wrong bit, one dead unit at a time, on the reference, without a device.

Sites are sampled by table and bit, units are taken in turn. Harm is the share of items whose right answer becomes wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.streams import fault_stream
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.tensors import fault_constant
from edgechaos.support.statistics import Estimate
from edgechaos.support.stratified import stratified

Site = tuple[int, int]
PER_BIT, MOST_UNITS = 8, 256
"""Words that are drawn for each bit of a table; units of a layer that are looked at."""


@dataclass(frozen=True, slots=True)
class TableHarm:
    """bits: stored. share: harm of one wrong bit of the table, over all of them. sites: (word, bit) of those that were looked at."""

    bits: int
    share: Estimate
    sites: tuple[Site, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Sensitivity:
    """codes (n, *input shape) of `head` and labels (n,): what harm is measured on. units: harm of each dead unit, by layer."""

    graph: IntegerGraph
    head: str
    codes: NDArray[Any]
    labels: NDArray[np.int64]
    seed: int = 0
    tables: Mapping[str, TableHarm] = field(default_factory=dict)
    units: Mapping[str, Mapping[int, float]] = field(default_factory=dict)

    @property
    def bits(self) -> int:
        """Of all tables."""
        return sum(table.bits for table in self.tables.values())

    def table_harm(self, constant: str) -> float:
        """Of one wrong bit anywhere in the stored words, as far as it falls into this table."""
        return self.tables[constant].share.value * self.tables[constant].bits / self.bits

    def unit_harm(self, layer: str) -> float:
        """Of one dead unit of a layer."""
        return sum(self.units[layer].values()) / len(self.units[layer])

    def share_of_sites(self, graph: IntegerGraph, constant: str) -> Estimate:
        """The harm of one wrong bit of a table, of another graph with the same table, at the same sites."""
        sites = self.tables[constant].sites or drawn_sites(graph, constant, self.seed)
        clean = self._right(graph)
        shares: dict[int, list[float]] = {}
        for word, bit in sites:
            shares.setdefault(bit, []).append(self._harm(with_wrong_bit(graph, constant, word, bit), clean))
        words = graph.constants[constant].value.size
        return stratified([words] * len(shares), list(shares.values()))

    def dead_harm(self, graph: IntegerGraph, layer: str, units: NDArray[np.intp]) -> dict[int, float]:
        """The harm of each of these units of a layer, dead alone."""
        clean = self._right(graph)
        plans = {int(u): FaultPlan((DeadNeurons(layer, neurons=(int(u),)),)) for u in units}
        return {unit: self._harm(apply(graph, resolve(graph, plan)), clean) for unit, plan in plans.items()}

    def _right(self, graph: IntegerGraph) -> NDArray[np.bool_]:
        return reference.run(graph, self.codes, seed=self.seed, head=self.head).labels == self.labels

    def _harm(self, faulty: IntegerGraph, clean: NDArray[np.bool_]) -> float:
        return float((clean & ~self._right(faulty)).mean())


def drawn_sites(graph: IntegerGraph, constant: str, seed: int, per_bit: int = PER_BIT) -> tuple[Site, ...]:
    """(word, bit): so many words of a table for each of its bits, or all."""
    stored = graph.constants[constant]
    order = random_bits.words(seed, fault_stream(f"sensitivity {constant}"), [0], stored.bits, stored.value.size)[0]
    return tuple((int(word), bit) for bit in range(stored.bits) for word in np.argsort(order[bit], kind="stable")[:per_bit])


def with_wrong_bit(graph: IntegerGraph, constant: str, word: int, bit: int) -> IntegerGraph:
    """The graph with one stored bit toggled, not validated: sums wrap as they do on a device."""
    stored = graph.constants[constant]
    value = stored.value.copy()
    flat = value.reshape(-1)
    toggled = (int(flat[word]) ^ 1 << bit) & (1 << stored.bits) - 1
    flat[word] = toggled - (1 << stored.bits if toggled >> (stored.bits - 1) & 1 else 0)
    return replace(graph, constants={**graph.constants, constant: replace(stored, value=value)})


def measure(about: Sensitivity) -> Sensitivity:
    """What `about` does not know yet: harm of every table that the head reads, and of the units of every layer on its path."""
    graph, path = about.graph, about.graph.path(about.head)
    read = {constant for node in path for _, constant in node.constants()}
    tables, units = dict(about.tables), dict(about.units)
    for constant in (c for c in stored_tables(graph) if c in read and c not in tables):
        stored, sites = graph.constants[constant], drawn_sites(graph, constant, about.seed)
        known = replace(about, tables={constant: TableHarm(0, Estimate(0, 0, 0, 0, "", 0.95), sites)})
        tables[constant] = TableHarm(stored.value.size * stored.bits, known.share_of_sites(graph, constant), sites)
    for node in graph.analysis.unit_nodes:
        if node in path and node.name not in units:
            count = graph.tensors[node.output].shape[0]
            units[node.name] = about.dead_harm(graph, node.name, np.arange(min(count, MOST_UNITS)))
    return replace(about, tables=tables, units=units)


def stored_tables(graph: IntegerGraph) -> tuple[str, ...]:
    """The constants that firmware stores as tables of words, in node order; shifts stand with their multipliers."""
    own = (c for n in graph.nodes for f, c in n.constants() if f != "shift" and c != fault_constant(n.name, f))
    return tuple(dict.fromkeys(own))
