"""Kinds of node in C: what is proved is proved once, and what a fault left in a graph is refused by the field that holds it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.firmware_gen.plan.limits import check_supported
from edgechaos.firmware_gen.plan.memory import Scratch
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import ChaosLayer
from edgechaos.graph.kinds.topk import TopK
from edgechaos.graph.node import NODE_KINDS
from edgechaos.graph.tensors import Constant
from edgechaos.support.errors import UnsupportedError
from tests.helpers.graphs import chaos_graph
from tests.helpers.mixed_graphs import mixed_graph


@pytest.mark.parametrize("family", ["vision", "shared", "kwta"])
def test_each_bound_is_proved_once(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, proved = mixed_graph(family=family), Counter[str]()
    graph = replace(graph)  # without what was computed of it
    classes: set[Any] = {c for k in NODE_KINDS.values() for c in k.__mro__ if "bound" in vars(c)}
    for kind in classes:

        def counted(self: Any, graph: Any, bounds: Any, bound: Any = kind.bound) -> Any:
            proved[self.name] += 1
            return bound(self, graph, bounds)

        monkeypatch.setattr(kind, "bound", counted)
    generate(graph, None)
    assert set(proved) == {node.name for node in graph.nodes}
    assert set(proved.values()) == {1}


def with_field(graph: IntegerGraph, kind: type[Any], field: str) -> IntegerGraph:
    node = next(n for n in graph.nodes if isinstance(n, kind))
    size = graph.tensors[node.input].size
    value: Any = 1 if field == "dropped" else "mask"
    nodes = tuple(replace(n, **{field: value}) if n is node else n for n in graph.nodes)
    return replace(graph, nodes=nodes, constants={**graph.constants, "mask": Constant(np.ones(size, np.int8), 8)})


@pytest.mark.parametrize(("kind", "field"), [(ChaosLayer, "dead"), (ChaosLayer, "stuck"), (TopK, "dead"), (TopK, "dropped")])
def test_what_a_fault_left_is_refused_by_its_field(kind: type[Any], field: str) -> None:
    clean = mixed_graph(family="kwta") if kind is TopK else chaos_graph()
    check_supported(clean)
    with pytest.raises(UnsupportedError, match=f"the graph carries a fault in '{field}'"):
        check_supported(with_field(clean, kind, field))


def test_a_head_without_a_matrix_is_refused() -> None:
    graph = chaos_graph()
    head = graph.heads[0]
    path = [node for node in graph.nodes if node.matrix_scale(graph) is None]
    with pytest.raises(UnsupportedError, match=rf"head '{head.name}': firmware needs a MatMul or Readout"):
        check_supported(replace(graph, nodes=tuple(path)))


def test_working_memory_is_as_long_as_the_longest_need() -> None:
    shared = Scratch.shared([Scratch(events=5, sums=1), Scratch(events=2, sums=7, window=3)])
    assert shared == Scratch(events=5, sums=7, window=3)
    assert Scratch.shared([]) == Scratch()
