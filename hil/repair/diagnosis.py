"""What is known about the units of a device: which are dead, which are stuck at which code, and which nothing was learned about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from edgechaos.faults.injections import ResolvedPlan
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.hil.repair.layers import codes_sent

Method = Literal["responses", "tests", "none"]


@dataclass(frozen=True, slots=True)
class LayerDiagnosis:
    """One layer. dead: units that send 0 whatever they are given. stuck: unit -> the code that it always sends. unknown: cannot tell.

    method: "responses" to items, "tests" by changed words, "none" where neither was possible; why: then, as a sentence.
    """

    layer: str
    units: int
    dead: tuple[int, ...] = ()
    stuck: Mapping[int, int] = field(default_factory=dict)
    unknown: tuple[int, ...] = ()
    method: Method = "none"
    why: str = ""

    @property
    def decided(self) -> int:
        """How many units are known to be alive, dead or stuck."""
        return self.units - len(self.unknown)

    def to_json(self) -> dict[str, Any]:
        """For --json and for the metadata of a repaired artifact."""
        return {
            "layer": self.layer,
            "units": self.units,
            "dead": list(self.dead),
            "stuck": {str(unit): code for unit, code in self.stuck.items()},
            "unknown": list(self.unknown),
            "method": self.method,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Of every layer of a head, in execution order.

    confirmed, compared: items whose logits the diagnosed model gives bit for bit, of so many that the diagnosis did not use.
    inferences: that the device made.
    """

    head: str
    layers: tuple[LayerDiagnosis, ...]
    confirmed: int
    compared: int
    inferences: int

    @property
    def certain(self) -> bool:
        """Whether every unit is decided, and the device's logits are those of the diagnosed model on every item compared."""
        return self.explains and not any(layer.unknown for layer in self.layers)

    @property
    def explains(self) -> bool:
        """Whether the device's logits are those of the diagnosed model on every item compared."""
        return self.confirmed == self.compared > 0

    @property
    def damaged(self) -> bool:
        """Whether any unit is dead or stuck."""
        return any(layer.dead or layer.stuck for layer in self.layers)

    @property
    def confidence(self) -> str:
        """What is known, as a sentence."""
        decided, units = sum(layer.decided for layer in self.layers), sum(layer.units for layer in self.layers)
        found = f"{decided} of {units} units decided"
        if not self.explains:
            others = f"other logits on {self.compared - self.confirmed} of {self.compared} items"
            either = " or dead units among the rest" if decided < units else ""
            return f"{found}; the device gives {others}: it has other faults{either}"
        rest = f"; cannot tell {units - decided}: silent or shadowed in every test" if decided < units else ""
        return f"{found}, logits bit for bit those of the diagnosed model on {self.compared} items that the diagnosis did not use{rest}"

    def plan(self, graph: IntegerGraph) -> ResolvedPlan:
        """The faults that the device is taken to have; a unit that nothing is known about counts as alive."""
        return plan_of(graph, self.layers)

    def to_json(self) -> dict[str, Any]:
        """For --json and for the metadata of a repaired artifact."""
        return {
            "head": self.head,
            "layers": [layer.to_json() for layer in self.layers],
            "confirmed": self.confirmed,
            "compared": self.compared,
            "inferences": self.inferences,
            "certain": self.certain,
            "confidence": self.confidence,
        }


def plan_of(graph: IntegerGraph, layers: tuple[LayerDiagnosis, ...]) -> ResolvedPlan:
    """The masks and codes of these layers; those without dead or stuck units have none."""
    slots: dict[tuple[str, str], Any] = {}
    for layer in layers:
        node = graph.node(layer.layer)
        for slot in node.slots(graph):
            values = {"dead": dict.fromkeys(layer.dead, 1), "stuck": dict.fromkeys(layer.stuck, 1)}.get(slot.name, {})
            if slot.name == "stuck_code" and isinstance(node, Requantize):
                sent = codes_sent(graph, node, layer.units)
                same = {unit: np.flatnonzero(sent[:, unit] == code) for unit, code in layer.stuck.items()}
                values = {unit: 1 + int(codes[0]) for unit, codes in same.items() if len(codes)}
            if values:
                slots[node.name, slot.name] = np.zeros(slot.length, slot.dtype)
                slots[node.name, slot.name][list(values)] = list(values.values())
    return ResolvedPlan(slots)
