"""Dead and stuck units of any layer by test responses: a unit is driven to its highest and to its lowest code, and its code is read back.

Both take a few changed words and nothing that a device with fault hooks does not have. Driven: a bias at its limit, or a threshold out of
reach, so that neither the item nor what earlier layers lost matters. Read back: a weight of the readout is changed by d, and a logit moves
by gain * d * code, exactly, whatever the other units do; one unit per logit and inference. A unit of an earlier layer is read through one
living unit of the next, whose other weights are set to 0 and whose bias to the middle between the two answers.
Source: docs/repair.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.devices.contract import Device
from edgechaos.faults.injections import ResolvedPlan
from edgechaos.faults.plan import apply
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.conv import Conv
from edgechaos.graph.kinds.matmul import MatMul
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.kinds.topk import TopK
from edgechaos.graph.weighted import Summing
from edgechaos.hil.repair.damaged import merged
from edgechaos.hil.repair.diagnosis import LayerDiagnosis
from edgechaos.hil.repair.layers import K_WTA, SPIKING, UnitLayer, per_unit
from edgechaos.support.errors import FaultError

MOST = 2**31 - 1
Rows = list[tuple[int, int, int]]


@dataclass(slots=True)
class DrivenTests:
    """item: (1, *input shape), any. capacity: changed words that the device holds. known: what is known of later layers."""

    device: Device
    graph: IntegerGraph
    head: str
    item: NDArray[Any]
    seed: int
    capacity: int
    layers: tuple[UnitLayer, ...]
    known: dict[str, LayerDiagnosis] = field(default_factory=dict)
    inferences: int = 0

    def examine(self, index: int) -> LayerDiagnosis:
        """Test every unit of the layer of that index; those after it must be known."""
        layer = self.layers[index]
        why = self._obstacle(index)
        if why:
            return LayerDiagnosis(layer.name, layer.count, unknown=tuple(range(layer.count)), why=why)
        dead: list[int] = []
        stuck: dict[int, int] = {}
        unknown: list[int] = []
        size = self._group(index)
        competes = layer.units.unit_kind == K_WTA  # driven low, one wins where too few others are left
        for first in range(0, layer.count, size):
            units = list(range(first, min(first + size, layer.count)))
            for unit, (seen, expected) in zip(units, self._codes(index, units), strict=True):
                if None in seen or expected[0] == expected[1]:
                    unknown.append(unit)
                elif seen == expected or (competes and seen[0] == expected[0] != seen[1]):
                    continue
                elif seen == (0, 0):
                    dead.append(unit)
                elif seen[0] is not None and seen[0] == seen[1] and not competes:
                    stuck[unit] = seen[0]
                else:
                    unknown.append(unit)
        self.known[layer.name] = LayerDiagnosis(layer.name, layer.count, tuple(dead), stuck, tuple(unknown), "tests")
        return self.known[layer.name]

    def _obstacle(self, index: int) -> str:
        """Why a layer cannot be tested; "" where it can."""
        layer = self.layers[index]
        if layer.units.unit_kind != SPIKING and layer.driver.bias is None:
            return f"'{layer.driver.name}' has no bias to drive its units with"
        for this, after in zip(self.layers[index:], self.layers[index + 1 :], strict=False):
            if this.readers != (after.driver,):
                return f"what '{this.name}' sends is read by more than one matrix"
            if after.units.unit_kind == K_WTA:
                return f"units of '{after.name}' compete: none carries a test by itself"
            if after.driver.bias is None:
                return f"'{after.driver.name}' has no bias to set a working point with"
        if not self.layers[-1].last or len(self.layers[-1].readers) != 1:
            return "what the last layer sends reaches the logits by more than one matrix"
        return "" if self._group(index) > 0 else f"the device holds {self.capacity} changed words, too few for a test"

    def _group(self, index: int) -> int:
        """Units that are tested together: each needs its rows, in an inner layer a carrier per layer after it and a logit."""
        layer = self.layers[index]
        outputs = len(self.graph.value(self.layers[-1].readers[0].weight))
        if index == len(self.layers) - 1:
            most = layer.units.k if isinstance(layer.units, TopK) else layer.count
            return min(most, self.capacity - outputs, layer.count)
        rows = 1 + sum(after.driver.terms(self.graph) + 1 for after in self.layers[index + 1 :]) + 1
        carriers = min(len(self._living(after)) for after in self.layers[index + 1 :])
        return min(outputs, self.capacity // rows, carriers, layer.count)

    def _living(self, layer: UnitLayer) -> list[int]:
        found = self.known[layer.name]
        return [u for u in range(layer.count) if u not in {*found.dead, *found.stuck, *found.unknown}]

    def _codes(self, index: int, units: list[int]) -> list[tuple[tuple[int | None, int | None], tuple[int, int]]]:
        """Per unit what it sends driven high and low, None where that is not known, and what it should."""
        layer = self.layers[index]
        high, low = (self._driven(layer, units, up) for up in (True, False))
        dead = merged(high, _dead(layer, units))
        sent = [self._sent(index, plan) for plan in (high, low, dead)]
        places = [int(np.abs(sent[0][u]).argmax()) for u in units]
        expected = [(int(sent[0][u, p]), int(sent[1][u, p])) for u, p in zip(units, places, strict=True)]
        if index == len(self.layers) - 1:
            seen = [self._read(plan, list(zip(units, places, strict=True))) for plan in (high, low)]
        else:
            seen = self._through(index, (high, low, dead), units, places, expected)
        return list(zip(zip(*seen, strict=True), expected, strict=True))

    def _driven(self, layer: UnitLayer, units: Sequence[int], up: bool) -> ResolvedPlan:
        """Units at their highest or lowest code."""
        if layer.units.unit_kind == SPIKING:
            threshold = layer.units.slot_value(self.graph, "threshold").copy()
            threshold[list(units)] = -MOST - 1 if up else MOST
            return ResolvedPlan({(layer.name, "threshold"): threshold})
        limit = _plain(layer.driver).bias_limit(self.graph, self.graph.analysis.bounds)
        bias = self.graph.value(layer.driver.bias)
        rows = [(u, -1, max(-MOST, min(MOST, (limit if up else -limit) - int(bias[u])))) for u in units]
        return ResolvedPlan({}, {layer.driver.name: np.array(rows, np.int32)})

    def _sent(self, index: int, plan: ResolvedPlan, tensor: str = "") -> NDArray[Any]:
        """What the layer sends in the reference under a plan, (units, values of a unit); or another tensor of one entry per unit."""
        layer, name = self.layers[index], tensor or self.layers[index].readers[0].input
        sent = reference.run(apply(self.graph, plan), self.item, seed=self.seed, head=self.head, keep=(name,)).tensors[name][0]
        if self.graph.tensors[name].ticks:
            sent = np.moveaxis(sent, 0, -1)
        return sent.reshape(layer.count, -1).astype(np.int64)

    def _read(self, plan: ResolvedPlan, places: list[tuple[int, int]]) -> list[int | None]:
        """The codes that units of the last layer send, each at one place, by what a changed weight does to a logit."""
        (reader,) = self.layers[-1].readers
        weight = per_unit(self.graph, self.layers[-1], reader)
        outputs, _, span = weight.shape
        base = self._logits(plan)
        codes: list[int | None] = []
        for first in range(0, len(places), outputs):
            chunk = places[first : first + outputs]
            rows = [(o, u * span + p, self._change(reader, int(weight[o, u, p]))) for o, (u, p) in enumerate(chunk)]
            moved = self._logits(merged(plan, _rows(reader, rows))) - base
            for o, (_, _, delta) in enumerate(rows):
                code, rest = divmod(int(moved[o]), reader.product_gain() * delta)
                codes.append(code if rest == 0 and -128 <= code <= 127 else None)
        return codes

    def _change(self, reader: Summing, word: int) -> int:
        """To whichever end of the stored type is farther."""
        reach = 1 << (self.graph.constants[reader.weight].bits - 1)
        return reach - 1 - word if word <= 0 else -reach - word

    def _through(
        self, index: int, plans: tuple[ResolvedPlan, ...], units: list[int], places: list[int], expected: list[tuple[int, int]]
    ) -> list[list[int | None]]:
        """As `_read`, of units of an inner layer: plans are high, low, and high with the units dead."""
        read, hops, where = list(zip(units, places, strict=True)), list(plans), index
        for where in range(index, len(self.layers) - 1):
            carriers = self._living(self.layers[where + 1])[: len(units)]
            isolated = self._isolated(where, read, carriers)
            hops = [merged(plan, isolated) for plan in hops]
            hops = [merged(plan, self._centered(where, hops, carriers)) for plan in hops]
            sent = [self._sent(where + 1, plan) for plan in hops]
            read = [(c, int(np.abs(sent[0][c] - sent[2][c]).argmax())) for c in carriers]
        answers = [[int(s[c, p]) for c, p in read] for s in sent]
        seen = [self._read(plan, read) for plan in hops[:2]]
        codes: list[list[int | None]] = []
        for got in seen:
            of_units: list[int | None] = []
            for k, value in enumerate(got):
                high, low, dead = (answer[k] for answer in answers)
                known = {} if high == dead else {low: expected[k][1], dead: 0, high: expected[k][0]}
                of_units.append(known.get(value) if value is not None else None)
            codes.append(of_units)
        return codes

    def _isolated(self, index: int, read: list[tuple[int, int]], carriers: list[int]) -> ResolvedPlan:
        """The k-th carrier reads nothing but the k-th unit, with the largest weight; of a spiking one the threshold is 0."""
        layer, after = self.layers[index], self.layers[index + 1]
        (reader,) = layer.readers
        weight = per_unit(self.graph, layer, reader)
        reach = 1 << (self.graph.constants[reader.weight].bits - 1)
        rows: Rows = []
        for (unit, place), carrier in zip(read, carriers, strict=True):
            wanted = np.zeros(weight.shape[1:], np.int64)
            kernel = weight.shape[2]
            wanted[unit, kernel // 2 if isinstance(reader, Conv) else place] = reach - 1
            delta = (wanted - weight[carrier]).reshape(-1)
            rows += [(carrier, int(c), int(delta[c])) for c in np.flatnonzero(delta)]
        slots = {}
        if after.units.unit_kind == SPIKING:
            threshold = after.units.slot_value(self.graph, "threshold").copy()
            threshold[carriers] = 0
            slots[after.name, "threshold"] = threshold
        return ResolvedPlan(slots, {reader.name: np.array(rows, np.int32)} if rows else {})

    def _centered(self, index: int, plans: list[ResolvedPlan], carriers: list[int]) -> ResolvedPlan:
        """Biases of carriers that put the boundary of their answer in the middle between a unit that is driven and one that is dead."""
        after = self.layers[index + 1]
        driven, _, dead = (self._sent(index + 1, plan, after.driver.output) for plan in plans)
        rows = []
        for c in carriers:
            place = int(np.abs(driven[c] - dead[c]).argmax())
            middle = (int(driven[c, place]) + int(dead[c, place])) // 2
            rows.append((c, -1, self._boundary(after, c) - middle))
        return _rows(after.driver, [r for r in rows if r[2]])

    def _boundary(self, layer: UnitLayer, unit: int) -> int:
        """The sum at which a unit's answer changes: where a spike begins, or code 1."""
        if not isinstance(layer.units, Requantize):
            return 0
        multiplier, shift = (np.broadcast_to(self.graph.value(v), layer.count) for v in (layer.units.multiplier, layer.units.shift))
        return int(2.0 ** (int(shift[unit]) - 1) / int(multiplier[unit]))

    def _logits(self, plan: ResolvedPlan) -> NDArray[np.int64]:
        """(logits,) of the item on the device."""
        self.device.inject(plan)
        self.inferences += 1
        return self.device.infer(self.item, seed=self.seed, head=self.head).logits[0].astype(np.int64)


def _plain(driver: Summing) -> MatMul | Conv:
    if not isinstance(driver, MatMul | Conv):
        raise FaultError(f"node '{driver.name}': units behind a {type(driver).__name__} cannot be driven")
    return driver


def _rows(node: Summing, rows: Rows) -> ResolvedPlan:
    return ResolvedPlan({}, {node.name: np.array(sorted(rows), np.int32)} if rows else {})


def _dead(layer: UnitLayer, units: Sequence[int]) -> ResolvedPlan:
    mask = np.zeros(layer.count, bool)
    mask[list(units)] = True
    return ResolvedPlan({(layer.name, "dead"): mask})
