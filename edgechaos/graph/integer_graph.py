"""IntegerGraph: the one description of a model that every target runs.

Nodes are named as in ONNX where ONNX has the operation. Scales are documentary: nothing at run time multiplies by a float. The
meaning of every node is `docs/semantics.md`; `edgechaos.reference` executes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from edgechaos.graph.analysis import Analysis
from edgechaos.graph.kinds.chaos_layer import ChaosLayer
from edgechaos.graph.node import Graph
from edgechaos.graph.validation import check
from edgechaos.graph.weighted import Weighted
from edgechaos.support.shown import html_table


@dataclass(frozen=True, eq=False, repr=False)
class IntegerGraph(Graph):
    """A whole model."""

    def __repr__(self) -> str:
        heads = ", ".join(f"{h.name}: {self._shape(h.input)} -> {len(h.classes)} classes" for h in self.heads)
        return f"<IntegerGraph {self.name!r}: {heads}; {len(self.nodes)} nodes, {self._words():,} weights>"

    def _repr_html_(self) -> str:
        rows = [(n.name, type(n).__name__, self._shape(n.input), self._shape(n.output)) for n in self.nodes]
        return html_table(repr(self)[1:-1], rows, ("node", "kind", "reads", "writes"))

    def _shape(self, tensor: str) -> str:
        t = self.tensors[tensor]
        return f"{t.dtype} {'x'.join(map(str, t.shape))}{f' x {t.ticks} ticks' if t.ticks else ''}"

    def _words(self) -> int:
        """Stored weight words; shared ones count once."""
        return sum(self.constants[name].value.size for name in {n.weight for n in self.weighted()})

    def chaos_layers(self) -> tuple[ChaosLayer, ...]:
        """The spiking layers, in execution order."""
        return tuple(n for n in self.nodes if isinstance(n, ChaosLayer))

    def weighted(self) -> tuple[Weighted, ...]:
        """The nodes with stored weights, in execution order."""
        return tuple(n for n in self.nodes if isinstance(n, Weighted))

    @cached_property
    def analysis(self) -> Analysis:
        """What is computed of this graph once: bounds, units, slots."""
        return Analysis(self)

    def validate(self) -> IntegerGraph:
        """Check every rule that the targets rely on and prove every accumulator's bound; returns self.

        Raises GraphError (a rule), AccumulatorOverflow (a bound), naming node and rule.
        """
        check(self)
        _ = self.analysis.bounds
        return self
