"""Fault sites that stay where they are while a pass inserts, removes or moves nodes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from edgechaos.graph.node import Graph, Node


def with_sites_of(old: Graph, nodes: Iterable[Node]) -> tuple[Node, ...]:
    """The nodes of a pass, each that `old` has by name with its site there, new ones with sites that `old` has not.

    A site is stored only where it is not the node's new index: a pass that moves nothing changes no hash.
    """
    known = {node.name: old.site(node) for node in old.nodes}
    fresh = max(known.values(), default=-1)
    kept = []
    for index, node in enumerate(nodes):
        if node.name not in known:
            fresh += 1
        site = known.get(node.name, fresh)
        kept.append(replace(node, site=None if site == index else site))
    return tuple(kept)
