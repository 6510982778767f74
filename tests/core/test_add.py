"""Add: what the rules refuse, its bound, units that may be dead, and every target that has words for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.export.onnx import lowering as onnx_lowering
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.plan import FaultPlan, apply
from edgechaos.firmware_gen.compilers.c import lowering as c_lowering
from edgechaos.firmware_gen.plan.limits import check_supported
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.add import Add
from edgechaos.graph.node import Node
from edgechaos.support.errors import GraphError, UnsupportedError
from tests.helpers.mixed_graphs import items_for, mixed_graph

GRAPH = mixed_graph(residual=True, spiking=False, pool="none")
ADD = next(n for n in GRAPH.nodes if isinstance(n, Add))


def changed(**changes: Any) -> IntegerGraph:
    return replace(GRAPH, nodes=tuple(replace(n, **changes) if n is ADD else n for n in GRAPH.nodes))


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"gain": 0}, r"gains must lie in 1\.\.32767"),
        ({"other_gain": 32768}, r"gains must lie in 1\.\.32767"),
        ({"other": ADD.input}, "to itself"),
        ({"other": GRAPH.head().input}, "int8 tensors of one shape"),
        ({"other": "nowhere"}, "not declared"),
    ],
)
def test_rules(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(GraphError, match=rule):
        changed(**changes).validate()


def test_both_terms_count_in_the_bound_and_in_the_sum() -> None:
    graph = changed(gain=32767, other_gain=3).validate()
    low, high = graph.analysis.bounds[ADD.output]
    x, other = (graph.analysis.bounds[t] for t in (ADD.input, ADD.other))
    assert (low, high) == (32767 * x[0] + 3 * other[0], 32767 * x[1] + 3 * other[1])
    tensors = reference.run(graph, items_for(graph, 8), keep=(ADD.input, ADD.other, ADD.output)).tensors
    expected = 32767 * tensors[ADD.input].astype(int) + 3 * tensors[ADD.other].astype(int)
    assert (tensors[ADD.other] != 0).any()
    np.testing.assert_array_equal(tensors[ADD.output], expected)


def test_a_dead_unit_after_it_sends_nothing() -> None:
    finisher = GRAPH.readers(ADD.output)[0]
    assert finisher in GRAPH.analysis.unit_nodes
    dead = apply(GRAPH, FaultPlan((DeadNeurons(finisher.name, neurons=(1,)),)))
    clean, now = (reference.run(g, items_for(g, 8), keep=(finisher.output,)).tensors[finisher.output] for g in (GRAPH, dead))
    assert clean[:, 1].any()
    assert not now[:, 1].any()
    np.testing.assert_array_equal(np.delete(now, 1, axis=1), np.delete(clean, 1, axis=1))


def test_every_input_of_a_head_is_its_own() -> None:
    shared = mixed_graph(family="shared", residual=True, spiking=False)
    two = next(n for n in shared.path("texts") if isinstance(n, Add))
    foreign = next(n.output for n in shared.path("images") if shared.tensors[n.output] == replace(shared.tensors[two.input], name=n.output))
    nodes = tuple(replace(n, other=foreign) if n is two else n for n in shared.nodes)
    with pytest.raises(GraphError, match="not from its input"):
        replace(shared, nodes=nodes).validate()


def test_a_kind_without_words_in_a_target_is_refused_by_name() -> None:
    node = Node("soft", "x", "y")
    for lowering_of in (onnx_lowering.lowering_of, c_lowering.lowering_of):
        with pytest.raises(UnsupportedError, match="kind Node is not written in"):
            lowering_of(node)
    check_supported(GRAPH)
