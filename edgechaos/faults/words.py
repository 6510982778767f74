"""Stored words of a graph that become others for good: by a repair, not by a fault. What changes is rows, as in plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.faults.injections import ResolvedPlan
from edgechaos.faults.plan import apply
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.tensors import Constant, fault_constant
from edgechaos.graph.weighted import Weighted

Array = NDArray[Any]


def with_words(graph: IntegerGraph, node: Weighted, weight: Array | None = None, bias: Array | None = None) -> IntegerGraph:
    """The graph with other stored words of one node; a constant that other nodes read, too, is left to them.

    weight: integers of the node's shape; bias: (outputs,) int32, of a node that has one. Validated.
    """
    constants = dict(graph.constants)
    changes: dict[str, Any] = {}
    for what, values in (("weight", weight), ("bias", bias)):
        name = getattr(node, what, None)
        if values is None or name is None:
            continue
        old = graph.constants[name]
        shared = any(name in dict(other.constants()).values() for other in graph.nodes if other.name != node.name)
        changes[what] = f"{node.name}_{what}_mended" if shared else name
        constants[changes[what]] = Constant(values.astype(old.value.dtype).reshape(old.value.shape), old.bits, old.scale)
    nodes = tuple(replace(n, **changes) if n.name == node.name else n for n in graph.nodes)
    return replace(graph, nodes=nodes, constants=constants).validate()


def with_rows(graph: IntegerGraph, patch: Mapping[str, NDArray[np.int32]]) -> IntegerGraph:
    """The graph whose stored words are changed by rows (row, column, delta) of nodes, as a plan's patch changes them for a while.

    Raises FaultError where a row does not fit.
    """
    for name, rows in patch.items():
        node, faulty = graph.node(name), apply(graph, ResolvedPlan({}, {name: rows}))
        other = faulty.node(name)
        assert isinstance(node, Weighted)
        assert isinstance(other, Weighted)
        graph = with_words(graph, node, other.faulty_weight(faulty), faulty.value(getattr(other, "bias", None)))
    return graph


def changed_words(graph: IntegerGraph, mended: IntegerGraph) -> dict[str, NDArray[np.int32]]:
    """The rows (row, column, delta) that make one graph's words the other's, by node, the column -1 for a bias, in the order of plans."""
    rows: dict[str, NDArray[np.int32]] = {}
    for node in graph.weighted():
        other = mended.node(node.name)
        assert isinstance(other, type(node))
        found = []
        for what in ("bias", "weight"):
            name, theirs = getattr(node, what, None), getattr(other, what, None)
            if name is None or theirs is None or name == fault_constant(node.name, what):
                continue
            delta = mended.value(theirs).astype(np.int64) - graph.value(name)
            flat = delta.reshape(len(delta), -1)
            row, column = np.nonzero(flat)
            found.append(np.stack([row, column if what == "weight" else np.full_like(row, -1), flat[row, column]], axis=1))
        joined = np.concatenate(found)
        if len(joined):
            rows[node.name] = joined[np.lexsort((joined[:, 1], joined[:, 0]))].astype(np.int32)
    return rows
