"""The layers of a head whose units may be dead or stuck, each with the matrix that drives it and those that read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from edgechaos.graph.node import Draws, Node
from edgechaos.graph.weighted import Summing

SPIKING, K_WTA = "spiking", "k-WTA"


@dataclass(frozen=True, slots=True)
class UnitLayer:
    """units: the node that has the `dead` slot. driver: the matrix whose sums enter it, one output per unit. readers: the matrices that
    read its codes, the inputs of one unit side by side."""

    units: Node
    driver: Summing
    readers: tuple[Summing, ...]
    count: int

    @property
    def name(self) -> str:
        """The units' node, as faults name the layer."""
        return self.units.name

    @property
    def last(self) -> bool:
        """Whether logits are sums of its codes."""
        return all(reader.is_readout for reader in self.readers)


def unit_layers(graph: IntegerGraph, head: str | None = None) -> tuple[UnitLayer, ...]:
    """The layers on a head's path, in execution order; those that something else than matrices reads are left out."""
    path = graph.path(head)
    found = []
    for node in path:
        dead = [s for s in node.slots(graph) if s.name == "dead" and s.refused is None]
        driver = _driver(graph, node)
        readers = list(_readers(graph, node, path))
        if dead and driver is not None and readers and all(isinstance(r, Summing) for r in readers):
            found.append(UnitLayer(node, driver, tuple(r for r in readers if isinstance(r, Summing)), dead[0].length))
    return tuple(found)


def codes_sent(graph: IntegerGraph, units: Requantize, count: int) -> NDArray[np.integer]:
    """What each of `count` units sends to the matrices behind where its codes are low, ..., high: (codes, units)."""
    codes = np.arange(units.low, units.high + 1)
    shape = graph.tensors[units.output].shape
    tensors = {units.output: np.broadcast_to(codes.reshape(-1, *(1,) * len(shape)), (len(codes), *shape)).astype(np.int8)}
    nodes = iter(graph.nodes)
    while not isinstance(node := next(nodes), Summing) or node.input not in tensors:
        if set(node.inputs()) <= set(tensors):
            tensors[node.output] = node.evaluate(graph, tensors, Draws(0, np.zeros(len(codes), np.uint32), {}))
    return tensors[node.input].reshape(len(codes), count, -1)[:, :, 0]


def per_unit(graph: IntegerGraph, layer: UnitLayer, reader: Summing) -> NDArray[np.integer]:
    """The reader's weights as (outputs, units, inputs of a unit)."""
    weight = graph.value(reader.weight)
    return weight.reshape(len(weight), layer.count, -1)


def _driver(graph: IntegerGraph, node: Node) -> Summing | None:
    found: Node | None = node
    while found is not None and not isinstance(found, Summing):
        found = graph.producer(found.input) if _keeps_units(found) else None
    return found


def _keeps_units(node: Node) -> bool:
    """Whether entry u of what it writes is made of entry u of its input; noise reads codes besides, and adds no unit to another."""
    return len(node.inputs()) == 1 or isinstance(node, ThermalNoise)


def _readers(graph: IntegerGraph, node: Node, path: tuple[Node, ...]) -> Iterator[Node]:
    """The first matrices behind a node, or whatever else keeps its units apart no longer."""
    for reader in graph.readers(node.output):
        if reader not in path or (isinstance(reader, ThermalNoise) and reader.input != node.output):
            continue
        if isinstance(reader, Summing) or not _keeps_units(reader) or reader.is_class:
            yield reader
        else:
            yield from _readers(graph, reader, path)
