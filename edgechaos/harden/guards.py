"""Guards: which stored tables of a model carry check words, a fact of the artifact (`metadata["guards"]`) that firmware is built from.

The integers that a guarded model computes are those of the model without guards; what changes is what becomes of a wrong word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

from numpy.typing import NDArray

from edgechaos.arithmetic.check_words import Code
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.harden.base import Advice, Hardening, hardening_kinds
from edgechaos.harden.sensitivity import Sensitivity, stored_tables
from edgechaos.support.errors import ConfigError

KEY = "guards"
MOST_SPREAD = 1000
FLIPS = (1, 2, 4)
"""Wrong bits of a table under which a guard is tried."""


@dataclass(frozen=True, slots=True)
class Guards:
    """codes: of each guarded table. spread: a table is checked once in so many inferences, a part of it at each."""

    codes: Mapping[str, Code]
    spread: int = 1


@dataclass(frozen=True, slots=True)
class Guard(Hardening):
    """Check words beside a table. word_instructions: of checking one, as counted on the emulated Cortex-M4 (784 x 64 weights of 8 bits)."""

    code: ClassVar[Code]
    word_instructions: ClassVar[float] = 0.0
    note: ClassVar[str] = ""

    @classmethod
    def places(cls, graph: IntegerGraph) -> tuple[str, ...]:
        """Every table, in node order."""
        return stored_tables(graph)

    def apply(self, graph: IntegerGraph, codes: Mapping[str, NDArray[Any]] = MappingProxyType({})) -> IntegerGraph:
        """The same graph, whose firmware checks the table."""
        self.refuse_place(graph, self.place)
        guards_of(graph)
        found: Mapping[str, Any] = graph.metadata.get(KEY, {})
        tables = dict(sorted({**found.get("tables", {}), self.place: self.kind}.items()))
        return replace(graph, metadata={**graph.metadata, KEY: {**found, "tables": tables}})

    @classmethod
    def advise(cls, sensitivity: Sensitivity) -> Iterator[Advice]:
        """Of every table: no single wrong bit of it does harm any more."""
        weights = {node.weight for node in sensitivity.graph.weighted()}
        for constant in sensitivity.tables:
            size, harm = -(-sensitivity.tables[constant].bits // 8), sensitivity.table_harm(constant)
            words = -(-size // 4)
            mended = size if cls.code.corrects and constant not in weights else 0  # it then lies in RAM
            check = 4 * cls.code.checks * -(-words // cls.code.words)
            costs = check, mended, words * cls.word_instructions
            yield Advice(
                f"{cls.kind}={constant}", "one wrong bit in the stored words", harm, 0.0, *costs, cls.note, answers=cls.code.corrects
            )

    def struck(self, graph: IntegerGraph) -> Iterator[Mapping[str, Any]]:
        """Wrong bits of the table; of one whose words are fault slots none: where hooks are compiled in, kernels read these from RAM."""
        slots = {(n.name, s.name) for n in graph.nodes for s in n.slots(graph)}
        if any((n.name, f) in slots for n in graph.nodes for f, c in n.constants() if c == self.place):
            return
        yield {"fault": "memory_bits", "values": FLIPS, "options": {"region": self.place}}


def guards_of(graph: IntegerGraph) -> Guards:
    """The guards that a model carries. Raises ConfigError where its metadata name a table or a code that there is not."""
    found = graph.metadata.get(KEY)
    if found is None:
        return Guards({})
    tables, spread = (found.get("tables", {}), found.get("spread", 1)) if isinstance(found, Mapping) else (None, 1)
    if not isinstance(tables, Mapping) or type(spread) is not int or not 1 <= spread <= MOST_SPREAD:
        raise ConfigError(f"model '{graph.name}': its guards are no table of constants, or spread over more than {MOST_SPREAD}", KEY)
    known, codes = stored_tables(graph), {n: kind.code for n, kind in hardening_kinds().items() if issubclass(kind, Guard)}
    for constant, name in tables.items():
        if constant not in known or name not in codes:
            raise ConfigError(f"model '{graph.name}': no guard '{name}' of a table '{constant}'; harden the model again", KEY)
    return Guards({constant: codes[name] for constant, name in tables.items()}, spread)


def spread_over(graph: IntegerGraph, inferences: int) -> IntegerGraph:
    """The model whose guards check every table once in so many inferences. Raises ConfigError for none, or too many."""
    made = replace(graph, metadata={**graph.metadata, KEY: {**graph.metadata.get(KEY, {}), "spread": inferences}})
    guards_of(made)
    return made
