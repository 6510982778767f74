"""The same graph under other names: what a graph calls its parts must not change what any target computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.node import Node


def renamed(
    graph: IntegerGraph,
    *,
    name: str | None = None,
    nodes: Mapping[str, str] = {},
    constants: Mapping[str, str] = {},
    tensors: Mapping[str, str] = {},
    heads: Mapping[str, str] = {},
) -> IntegerGraph:
    """The graph with the given names replaced, validated."""

    def node(n: Node) -> Node:
        changes: dict[str, Any] = {"name": nodes.get(n.name, n.name), "output": tensors.get(n.output, n.output)}
        changes["input"] = tensors.get(n.input, n.input)
        for f in fields(n):
            old = getattr(n, f.name)
            if f.metadata.get("constant") and old is not None:
                changes[f.name] = constants.get(old, old)
            if f.metadata.get("tensor"):
                changes[f.name] = tensors.get(old, old)
        return replace(n, **changes)

    def tensor(old: str) -> str:
        return tensors.get(old, old)

    return replace(
        graph,
        name=name or graph.name,
        tensors={tensor(k): replace(t, name=tensor(k)) for k, t in graph.tensors.items()},
        constants={constants.get(k, k): c for k, c in graph.constants.items()},
        nodes=tuple(node(n) for n in graph.nodes),
        heads=tuple(
            replace(h, name=heads.get(h.name, h.name), input=tensor(h.input), logits=tensor(h.logits), label=tensor(h.label))
            for h in graph.heads
        ),
    ).validate()
