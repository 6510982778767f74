"""Neurons that are there three times, each with a third of what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import ChaosLayer
from edgechaos.graph.kinds.conv import Conv
from edgechaos.graph.kinds.matmul import MatMul
from edgechaos.graph.node import Node
from edgechaos.harden.base import Advice, Hardening
from edgechaos.harden.sensitivity import Sensitivity
from edgechaos.prune.silent import Layer, chosen_units, layer_of, read_columns, with_columns
from edgechaos.support.errors import ConfigError

COPIES = 3
MOST_CRITICAL = 4
"""One unit in so many is advised to be triplicated, the most critical ones."""
MAC_INSTRUCTIONS = 1.25
"""Of one product on a Cortex-M4, every input active (`edgechaos.firmware_gen.cores.cortex_m4`): an upper bound where inputs are silent."""


@dataclass(frozen=True, slots=True)
class Triplicate(Hardening):
    """Units of a layer, or channels, get two copies behind the last; what reads a unit reads each copy with a third of the weight.

    The three weights sum to the stored one, so that the clean integers stay the same, whatever the rounding. A dead copy costs a third of
    the unit, without a node that votes. place: the layer as faults name it, and after a colon its units, or nothing for all.
    Source: triple modular redundancy (von Neumann, 1956), with the sum of what reads the copies as its voter.
    """

    kind: ClassVar[str] = "triplicate"
    title: ClassVar[str] = "Triplicated units"
    effect: ClassVar[str] = "a dead unit takes a third of its weight along: LAYER:UNIT,UNIT"

    @classmethod
    def places(cls, graph: IntegerGraph) -> tuple[str, ...]:
        """Layers without random words and k-WTA, of one matrix that nothing else shares."""
        return tuple(name for node in graph.nodes if (found := _layer(graph, node)) is not None for name in [_name(graph, found)] if name)

    def apply(self, graph: IntegerGraph, codes: Mapping[str, NDArray[Any]] = MappingProxyType({})) -> IntegerGraph:
        """The wider graph."""
        name, _, listed = self.place.partition(":")
        self.refuse_place(graph, name)
        layer = next(found for node in graph.nodes if (found := _layer(graph, node)) is not None and _name(graph, found) == name)
        count = graph.tensors[layer.tensors[0]].shape[0]
        units = self._units(listed, count)
        every = np.concatenate([np.arange(count), *[units] * (COPIES - 1)])
        constants, tensors = dict(graph.constants), dict(graph.tensors)
        for constant in {c for node in (*layer.matrices, *layer.inside) for c in node.unit_constants(graph)}:
            constants[constant] = chosen_units(constants[constant], every)
        for reader in layer.readers:
            constants[reader.weight] = with_columns(constants[reader.weight], _thirds(graph, reader, count, units))
        for tensor in layer.tensors:
            tensors[tensor] = replace(tensors[tensor], shape=(len(every), *tensors[tensor].shape[1:]))
        return replace(graph, tensors=tensors, constants=constants).validate()

    @classmethod
    def advise(cls, sensitivity: Sensitivity) -> Iterator[Advice]:
        """Of every layer: the units that do most of the harm, and what each copy of them does, dead alone."""
        graph = sensitivity.graph
        for layer in (name for name in cls.places(graph) if any(sensitivity.units.get(name, {}).values())):
            harms, known = sensitivity.units[layer], graph.tensors[graph.node(layer).output].shape[0]
            order = sorted((unit for unit in harms if harms[unit] > 0), key=lambda unit: -harms[unit])
            chosen = np.array(sorted(order[: max(1, len(harms) // MOST_CRITICAL)]), np.intp)
            measure = cls(f"{layer}:{','.join(map(str, chosen))}")
            hard = measure.apply(graph)
            copies = np.concatenate([chosen, np.arange(known, known + (COPIES - 1) * len(chosen))])
            left = sum(sensitivity.dead_harm(hard, layer, copies).values())
            rest = sum(harm for unit, harm in harms.items() if unit not in chosen)
            after = (left + rest) / (len(harms) + len(copies) - len(chosen))
            size = sum(c.value.size * c.bits * sign for g, sign in ((hard, 1), (graph, -1)) for c in g.constants.values())
            work = MAC_INSTRUCTIONS * sum(hard.node(n.name).macs(hard) - n.macs(graph) for n in graph.weighted())
            costs = size // 8, (COPIES - 1) * 4 * len(chosen), work
            note = f"the {len(chosen)} most critical of {known} units, each copy dead alone"
            yield Advice(str(measure), f"one dead unit of {layer}", sensitivity.unit_harm(layer), after, *costs, note)

    def struck(self, graph: IntegerGraph) -> Iterator[Mapping[str, Any]]:
        """Dead units of the layer."""
        yield {"fault": "dead", "rates": (0.1, 0.25, 0.5), "layer": self.place.partition(":")[0]}

    def _units(self, listed: str, count: int) -> NDArray[np.intp]:
        if not listed:
            return np.arange(count)
        try:
            units = sorted({int(text) for text in listed.split(",")})
        except ValueError:
            units = [count]
        if units[0] < 0 or units[-1] >= count:
            raise ConfigError(f"{self}: units are numbers from 0 to {count - 1}, with commas between them", "harden")
        return np.array(units)


def _thirds(graph: IntegerGraph, reader: MatMul | Conv, count: int, units: NDArray[np.intp]) -> NDArray[np.int8]:
    columns = read_columns(graph.constants[reader.weight], count)
    whole = columns[:, units].astype(np.int16)
    parts = [(whole + k) // COPIES for k in reversed(range(COPIES))]  # their sum is the whole
    first = columns.copy()
    first[:, units] = parts[0]
    return np.concatenate([first, *parts[1:]], axis=1, dtype=np.int8, casting="unsafe")


def _layer(graph: IntegerGraph, node: Node) -> Layer | None:
    """The layer of a matrix, where copies of its units say the same, and nothing else reads their words."""
    layer = layer_of(graph, node)
    if layer is None or len(layer.matrices) > 1:
        return None
    own = [*layer.matrices, *layer.readers]
    shared = any(n.weight in {o.weight for o in own} and n not in own for n in graph.weighted())
    random = any(n.streams() and not (isinstance(n, ChaosLayer) and n.fail_q == 0 and n.sigma is None) for n in layer.inside)
    return None if shared or random or any(n.unit_kind == "k-WTA" for n in layer.inside) else layer


def _name(graph: IntegerGraph, layer: Layer) -> str:
    """As faults name it: by its ChaosLayer, or the Requantize that finishes a plain layer."""
    units = {n.name for n in graph.analysis.unit_nodes}
    return next((n.name for n in layer.inside if n.name in units), "")
