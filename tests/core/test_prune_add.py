"""Neurons that never act, of layers that an Add joins: they leave all of these together, or stay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.graph.heads import Encoding
from edgechaos.graph.inspect import inspect
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.add import Add
from edgechaos.graph.kinds.max_pool import MaxPool
from edgechaos.graph.kinds.readout import Readout
from edgechaos.prune.silent import without_silent
from tests.helpers.mixed_graphs import Builder, Mixed, embedded, items_for

SILENT = {"trunk": (2, 4, 7), "branch": (2, 5, 7)}
"""Both are silent in 2 and 7 alone."""
UNITS = 9


def silence(b: Builder, name: str, units: tuple[int, ...]) -> None:
    for what, value in (("w", 0), ("b", -5)):
        stored = b.constants[f"{name}_{what}"]
        changed = stored.value.copy()
        changed[list(units)] = value
        b.constants[f"{name}_{what}"] = replace(stored, value=changed)


def layer(b: Builder, x: str, name: str, image: bool) -> str:
    """A matrix or a convolution of which the units SILENT of that name send 0 whatever they read."""
    acc = b.conv(x, name, UNITS, (3, 3), (1, 1), (1, 1)) if image else b.matmul(x, name, UNITS)
    silence(b, name, SILENT.get(name, ()))
    return b.requantize(acc, name, "int8", 6000.0, per_channel=True, relu=True)


def residual(image: bool, trunk_first: bool) -> IntegerGraph:
    """trunk -> branch -> their sum, pooled or not -> a matrix -> logits; the branch reads the trunk too."""
    b = Builder(np.random.default_rng(1))
    x = b.tensor("x", "int8", (2, 4, 5) if image else (12,))
    trunk = layer(b, x, "trunk", image)
    branch = layer(b, trunk, "branch", image)
    one, other = (trunk, branch) if trunk_first else (branch, trunk)
    acc = b.add(Add, one, "int32", b.tensors[trunk].shape, other=other, gain=9000, other_gain=32767)
    y = b.requantize(acc, "sum", "int8", 60.0 * 32767, per_channel=True)
    y = b.pool(y, MaxPool, (2, 2), (2, 2)) if image else y
    b.head("main", x, b.matmul(layer(b, y, "last", False), "readout", 5, Readout), Encoding("codes"))
    return b.graph()


@pytest.mark.parametrize("trunk_first", [True, False])
@pytest.mark.parametrize("image", [True, False])
def test_what_is_silent_in_every_term_leaves_all_of_them(image: bool, trunk_first: bool) -> None:
    graph = residual(image, trunk_first)
    codes = items_for(graph, 40)
    less = without_silent(graph, {"main": codes})
    matrices = {node.weight: node.name for node in graph.weighted()}
    kept = {name: less.metadata["pruning"]["kept"][matrices[f"{name}_w"]] for name in SILENT}
    assert kept["trunk"] == kept["branch"] == [n for n in range(UNITS) if n not in (2, 7)]
    assert less.value("branch_w").shape[:2] == (7, 7)
    assert inspect(less).flash_bytes < inspect(graph).flash_bytes
    clean = reference.run(graph, codes).logits
    assert len(np.unique(clean)) > 20
    np.testing.assert_array_equal(reference.run(less, codes).logits, clean)


def test_what_an_embedding_adds_to_stays() -> None:
    b = Builder(np.random.default_rng(1))
    spec: Any = Mixed(family="text")
    ids = b.tensor("ids", "uint16", (spec.length,))
    mean = embedded(b, spec, ids)
    acc = b.matmul(mean, "branch", 5)
    silence(b, "branch", (0, 3))
    branch = b.requantize(acc, "branch", "int8", 6000.0, relu=True)
    total = b.requantize(b.add(Add, mean, "int32", (5,), other=branch, gain=1, other_gain=1), "sum", "int8", 120.0)
    b.head("main", ids, b.matmul(total, "readout", 4, Readout), Encoding("codes"))
    graph = b.graph()
    less = without_silent(graph, {"main": items_for(graph, 20)})
    assert less.metadata["pruning"]["kept"] == {}
    assert {name: t.shape for name, t in less.tensors.items()} == {name: t.shape for name, t in graph.tensors.items()}
