"""What a fault may set in a node: declared by its kind, numbered by the graph, set within limits, the same on NumPy and ONNX."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.export.verify import engine_backend, verify
from edgechaos.graph import artifact
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.topk import TopK
from edgechaos.graph.node import Node
from edgechaos.support.errors import FaultError, GraphError
from tests.export.test_export import ONNX_ENGINES
from tests.helpers.graphs import chaos_graph
from tests.helpers.mixed_graphs import items_for, mixed_graph

GRAPHS = {
    "stateful": lambda: chaos_graph(mode="stateful"),
    "binomial": lambda: chaos_graph(sampling="binomial", noise=False),
    "expected": lambda: chaos_graph(sampling="expected", noise=False),
    "kwta": lambda: mixed_graph(family="kwta"),
    "plain": lambda: mixed_graph(family="vision", spiking=False),
    "thermal": lambda: mixed_graph(family="thermal"),
}


def with_slot(graph: IntegerGraph, name: str, slot: str, values: object) -> IntegerGraph:
    node, constants = graph.node(name).with_slot(graph, slot, np.array(values))
    nodes: tuple[Node, ...] = tuple(node if n.name == name else n for n in graph.nodes)
    faulty = replace(graph, nodes=nodes, constants={**graph.constants, **constants})
    return replace(faulty, nodes=tuple(n.settled(faulty) for n in faulty.nodes)).validate()


@pytest.mark.parametrize("which", GRAPHS)
def test_what_is_set_is_read_back_and_setting_the_clean_value_changes_nothing(which: str) -> None:
    graph = GRAPHS[which]()
    table = graph.analysis.slot_table
    assert table, "a graph without slots proves nothing"
    for name, slot in table:
        clean = graph.node(name).slot_value(graph, slot.name)
        assert (clean.shape, clean.dtype) == ((slot.length,), np.dtype(slot.dtype))
        assert int(clean.min()) >= slot.low
        assert int(clean.max()) <= slot.high
        if slot.name == "table":
            continue
        same = with_slot(graph, name, slot.name, clean)
        items = items_for(graph, 4)
        assert np.array_equal(reference.run(graph, items, seed=3).logits, reference.run(same, items, seed=3).logits)
        if slot.refused is None:
            wanted = np.full(slot.length, slot.high)
            faulty = with_slot(graph, name, slot.name, wanted)
            assert np.array_equal(faulty.node(name).slot_value(faulty, slot.name), wanted.astype(slot.dtype))
            assert faulty.analysis.slot_table == table
            assert artifact.from_bytes(artifact.to_bytes(faulty)).node(name) == faulty.node(name)


def test_the_graph_numbers_slots_by_execution_and_class() -> None:
    assert [(name, slot.name) for name, slot in GRAPHS["stateful"]().analysis.slot_table][:6] == [
        ("cortex0", name) for name in ("dead", "stuck", "fail_q", "threshold", "decay_q15", "refractory_decay_q15")
    ]
    binomial = [slot for _, slot in GRAPHS["binomial"]().analysis.slot_table]
    assert [slot.name for slot in binomial if not slot.added][-1] == "table"
    stateful = GRAPHS["stateful"]().analysis.slot_table
    assert [slot.added for _, slot in stateful] == sorted(slot.added for _, slot in stateful), "a later slot renumbers none"


@pytest.mark.parametrize("values", [[65537], [-1], [0, 0]])
def test_limits_and_length_hold(values: list[int]) -> None:
    graph = chaos_graph()
    with pytest.raises(FaultError, match=r"'fail_q' takes 1 integers in 0\.\.65536"):
        graph.node("cortex0").with_slot(graph, "fail_q", values)


def test_what_a_node_refuses_it_names() -> None:
    graph = GRAPHS["binomial"]()
    layer = graph.chaos_layers()[0]
    with pytest.raises(FaultError, match="use sampling 'ticks'"):
        layer.with_slot(graph, "stuck", np.ones(graph.tensors[layer.input].shape, bool))
    with pytest.raises(FaultError, match="follows from fail_q"):
        layer.with_slot(graph, "table", np.zeros(layer.ticks, np.uint32))
    with pytest.raises(FaultError, match="has no 'leak'"):
        layer.with_slot(graph, "leak", [0])


@pytest.mark.parametrize("dropped", [0b1, 0b10, 0b101])
def test_a_dropped_winner_sends_nothing_on_numpy_and_onnx(dropped: int) -> None:
    graph = GRAPHS["kwta"]()
    layer = next(n for n in graph.nodes if n.unit_kind == "k-WTA")
    dropped &= (1 << layer.slot(graph, "dropped").high.bit_length()) - 1
    faulty = with_slot(graph, layer.name, "dropped", [dropped])
    items = items_for(graph, 16)
    clean, now = (reference.run(g, items, keep=(layer.input, layer.output)).tensors for g in (graph, faulty))
    order = np.argsort(-clean[layer.input].astype(int), axis=1, kind="stable")
    gone = [order[:, r] for r in range(16) if dropped >> r & 1]
    wanted = clean[layer.output].copy()
    for column in gone:
        wanted[np.arange(len(wanted)), column] = 0
    assert (wanted != clean[layer.output]).any()
    assert np.array_equal(now[layer.output], wanted)
    assert verify(faulty, items, {engine: engine_backend(engine) for engine in ONNX_ENGINES}).require().passed


def test_no_winner_beyond_k_is_dropped() -> None:
    graph = GRAPHS["kwta"]()
    nodes = tuple(replace(n, dropped=1 << 15) if isinstance(n, TopK) else n for n in graph.nodes)
    with pytest.raises(GraphError, match="dropped"):
        replace(graph, nodes=nodes).validate()
