"""Codes that no calibration item reached are cut off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.node import Node
from edgechaos.harden.base import Advice, Hardening
from edgechaos.harden.sensitivity import Sensitivity
from edgechaos.support.errors import ConfigError

CLIP_INSTRUCTIONS = 3.5
"""Of a value, where bounds are none of those that kernels have a form for: counted on the emulated Cortex-M4 (TNN 784-256-10)."""


@dataclass(frozen=True, slots=True)
class Clamp(Hardening):
    """The bounds of a Requantize become the least and the greatest code that it wrote, 0 among them.

    The integers are the same on every item whose codes stay within, the calibration items among them.
    Source: Ranger (Chen, Li and Pattabiraman, DSN 2021), with one range a layer.
    """

    kind: ClassVar[str] = "clamp"
    title: ClassVar[str] = "Bounds of activations"
    effect: ClassVar[str] = "a code beyond those of all calibration items becomes the nearest of them"
    observes: ClassVar[bool] = True

    @classmethod
    def places(cls, graph: IntegerGraph) -> tuple[str, ...]:
        """Every Requantize."""
        return tuple(n.name for n in graph.nodes if isinstance(n, Requantize))

    def apply(self, graph: IntegerGraph, codes: Mapping[str, NDArray[Any]] = MappingProxyType({})) -> IntegerGraph:
        """The same graph with narrower bounds of one node."""
        self.refuse_place(graph, self.place)
        node = graph.node(self.place)
        assert isinstance(node, Requantize)
        seen = [
            reference.run(graph, items, head=head, keep=(node.output,)).tensors[node.output]
            for head, items in codes.items()
            if len(items) and node in graph.path(head)
        ]
        if not seen:
            raise ConfigError(f"{self}: what the layer writes must be observed; give calibration items of its head", "harden")
        low = max(node.low, min(0, *(int(values.min()) for values in seen)))
        high = min(node.high, max(0, *(int(values.max()) for values in seen)))
        bounded = replace(node, low=low, high=high)
        return replace(graph, nodes=tuple(bounded if n is node else n for n in graph.nodes)).validate()

    @classmethod
    def advise(cls, sensitivity: Sensitivity) -> Iterator[Advice]:
        """Where bounds become narrower: what the wrong bits of the matrix before it do then, the same ones."""
        for place in cls.places(sensitivity.graph):
            measure = cls(place)
            matrix = measure.matrix(sensitivity.graph)
            if matrix is None or (stored := matrix.words(sensitivity.graph)) is None:
                continue
            constant = next(name for name, c in sensitivity.graph.constants.items() if c is stored)
            try:
                hard = measure.apply(sensitivity.graph, {sensitivity.head: sensitivity.codes})
            except ConfigError:  # of another head
                continue
            old, new = sensitivity.graph.node(place), hard.node(place)
            if old == new or constant not in sensitivity.tables:
                continue
            part = sensitivity.tables[constant].bits / sensitivity.bits
            before, after = (part * sensitivity.share_of_sites(g, constant).value for g in (sensitivity.graph, hard))
            note = f"bounds {_clip(old)} become {_clip(new)}"
            costs = 0, 0, CLIP_INSTRUCTIONS * sensitivity.graph.tensors[new.output].size
            yield Advice(str(measure), "one wrong bit in the stored words", before, after, *costs, note)

    def struck(self, graph: IntegerGraph) -> Iterator[Mapping[str, Any]]:
        """Wrong weights of the matrix before it."""
        if (matrix := self.matrix(graph)) is not None:
            yield {"fault": "weight_bit_flip", "rates": (0.001, 0.01), "node": matrix.name}

    def matrix(self, graph: IntegerGraph) -> Node | None:
        """The node with weights whose sums it takes."""
        node: Node | None = graph.node(self.place)
        while node is not None and node.words(graph) is None:
            node = graph.producer(node.input)
        return node


def _clip(node: Any) -> str:
    return f"{node.low}..{node.high}"
