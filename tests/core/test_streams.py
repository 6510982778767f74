"""One table of random streams without unseen overlaps; fault sites stay with their nodes when a pass moves them."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from edgechaos.arithmetic.streams import EXEMPT, LAYERS, STREAMS
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.graph import artifact
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.lut import Lut
from edgechaos.graph.tensors import Constant, Tensor
from edgechaos.support.errors import GraphError
from tests.helpers.mixed_graphs import mixed_graph
from tests.helpers.places import ROOT

GRAPH = mixed_graph(family="kwta")


def test_spans_overlap_only_where_it_is_said_why() -> None:
    overlaps = {
        frozenset((a, b))
        for (a, x), (b, y) in combinations(STREAMS.items(), 2)
        if x.first < y.first + y.size and y.first < x.first + x.size
    }
    assert overlaps == set(EXEMPT)
    assert (LAYERS.first, LAYERS.size) == (0, 2**16)


def test_no_stream_is_numbered_elsewhere() -> None:
    folders = ("edgechaos", "export", "firmware_gen", "devices", "hil")
    own = ROOT / "edgechaos" / "arithmetic" / "streams.py"
    found = [p for f in folders for p in (ROOT / f).rglob("*.py") if p != own and re.search(r"STREAM\w* = (0x|\d)", p.read_text())]
    assert not found


def with_a_node_before(graph: IntegerGraph) -> IntegerGraph:
    """The identity in front of everything, as a pass would insert it."""
    entry = graph.head().input
    first = next(n for n in graph.nodes if n.input == entry)
    table = Constant(np.arange(-128, 128).astype(np.int8), 8)
    same = Lut("same", entry, "same_out", table="same_table")
    nodes = [same, *(replace(n, input="same_out") if n is first else n for n in graph.nodes)]
    tensors = {**graph.tensors, "same_out": Tensor("same_out", "int8", graph.tensors[entry].shape)}
    return replace(graph, tensors=tensors, nodes=tuple(nodes), constants={**graph.constants, "same_table": table})


def test_sites_stay_when_a_node_is_inserted() -> None:
    plan = FaultPlan((WeightBitFlip(rate=0.05, seed=3), DeadNeurons(rate=0.4, seed=4)))
    moved = with_a_node_before(GRAPH)
    kept = replace(moved, nodes=tuple(replace(n, site=(k - 1) % len(moved.nodes)) for k, n in enumerate(moved.nodes))).validate()
    clean, bare, now = (resolve(g, plan) for g in (GRAPH, moved, kept))
    assert {n: r.tolist() for n, r in now.patch.items()} == {n: r.tolist() for n, r in clean.patch.items()}
    assert {n: m.tolist() for n, m in now.slot("dead").items()} == {n: m.tolist() for n, m in clean.slot("dead").items()}
    assert {n: r.tolist() for n, r in bare.patch.items()} != {n: r.tolist() for n, r in clean.patch.items()}, "an index moves"
    assert [n.site for n in artifact.from_bytes(artifact.to_bytes(kept)).nodes] == [len(GRAPH.nodes), *range(len(GRAPH.nodes))]


def test_one_site_for_two_nodes_is_refused() -> None:
    nodes = (replace(GRAPH.nodes[0], site=1), *GRAPH.nodes[1:])
    with pytest.raises(GraphError, match="two nodes have one site"):
        replace(GRAPH, nodes=nodes).validate()
