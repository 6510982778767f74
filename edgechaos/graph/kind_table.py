"""What a target makes of each kind of node: filled by decorators where that is written, looked up by a node's class."""

from __future__ import annotations

from typing import TypeVar

from edgechaos.graph.node import Node
from edgechaos.support.errors import UnsupportedError
from edgechaos.support.registry import load_all

T = TypeVar("T")


class KindTable(dict[type[Node], T]):
    """target: in messages. package: the folder with a file per kind, and the entry-point group of plug-ins' modules."""

    def __init__(self, target: str, package: str) -> None:
        super().__init__()
        self.target, self.package = target, package

    def of(self, node: Node) -> T:
        """The entry of a node's kind; plug-ins are loaded where the folder has none. Raises UnsupportedError where nobody has one."""
        for group in ("", self.package):
            if type(node) not in self:
                load_all(self.package, group)
        if type(node) not in self:
            kind = type(node).__name__
            raise UnsupportedError(
                f"node '{node.name}': kind {kind} is not written in {self.target}; add a module to {self.package}", node.name
            )
        return self[type(node)]
