"""The faults that a fake board holds: what the firmware's setters (runtime/ec_faults.c) accept and refuse, with the same codes.

A test draws requests and compares every answer of the fake with that of the C server.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgechaos.faults.plan import ResolvedPlan
from edgechaos.firmware_gen import protocol as p
from edgechaos.firmware_gen.plan.limits import bias_limit, lowest_fail_q
from edgechaos.graph.integer_graph import ChaosLayer, Conv, IntegerGraph, MatMul
from edgechaos.graph.units import mortal

Site = tuple[int, int, int]
"""Matrix, row, column; the column is BIAS_INPUT for a bias."""


class Refusal(Exception):
    """What becomes an ERROR reply."""

    def __init__(self, code: p.ErrorCode, detail: int = 0) -> None:
        super().__init__(code.name)
        self.code = code
        self.detail = detail


def out_of_range(detail: int) -> Refusal:
    """The refusal of an index or a value, which it carries as u32."""
    return Refusal(p.ErrorCode.OUT_OF_RANGE, detail & 0xFFFFFFFF)


class LoadedFaults:
    """Masks and rates by layer, patch rows by site, each checked as it comes."""

    def __init__(self, graph: IntegerGraph) -> None:
        self.graph = graph
        self._fail_q: dict[str, int] = {}
        self._masks: dict[p.MaskKind, dict[str, NDArray[np.bool_]]] = {kind: {} for kind in p.MaskKind}
        self._rows: dict[Site, int] = {}
        self._limits: dict[int, int] = {}

    def clear(self) -> None:
        """Make the model clean."""
        self._fail_q.clear()
        self._rows.clear()
        for masks in self._masks.values():
            masks.clear()

    def plan(self) -> ResolvedPlan:
        """What holds now."""
        names = [n.name for n in self.graph.weighted()]
        patch: dict[str, list[tuple[int, int, int]]] = {}
        for (matrix, row, column), delta in self._rows.items():
            patch.setdefault(names[matrix], []).append((row, -1 if column == p.BIAS_INPUT else column, delta))
        rows = {name: np.array(sorted(found), np.int32) for name, found in patch.items()}
        return ResolvedPlan(dict(self._fail_q), dict(self._masks[p.MaskKind.DEAD]), dict(self._masks[p.MaskKind.STUCK]), rows)

    def set_mask(self, index: int, kind: int, first: int, packed: bytes) -> None:
        """Bytes of a mask, from byte `first` on."""
        layers = mortal(self.graph)
        if index >= len(layers):
            raise out_of_range(index)
        if kind not in self._masks:
            raise out_of_range(kind)
        layer = layers[index]
        if kind == p.MaskKind.STUCK and not (isinstance(layer, ChaosLayer) and layer.sampling == "ticks"):
            raise Refusal(p.ErrorCode.REFUSED, index)
        units = self.graph.tensors[layer.input].shape[0]
        if first + len(packed) > (units + 7) // 8:
            raise out_of_range(first + len(packed))
        masks = self._masks[p.MaskKind(kind)]
        whole = np.packbits(masks.get(layer.name, np.zeros(units, bool)), bitorder="little")
        whole[first : first + len(packed)] = np.frombuffer(packed, np.uint8)
        masks[layer.name] = np.unpackbits(whole, count=units, bitorder="little").astype(bool)

    def set_fail_q(self, index: int, fail_q: int) -> None:
        """The loss probability of a spiking layer."""
        layer = self._spiking(index)
        if not lowest_fail_q(self.graph, layer) <= fail_q <= 65536:
            raise out_of_range(fail_q)
        self._fail_q[layer.name] = fail_q

    def set_table(self, index: int, first: int, count: int) -> None:
        """Entries of a binomial table. They are a function of fail_q, which the reference computes by itself."""
        layer = self._spiking(index)
        if layer.sampling != "binomial":
            raise Refusal(p.ErrorCode.REFUSED, index)
        if first + count > layer.ticks:
            raise out_of_range(first + count)

    def add_patch(self, matrix: int, row: int, column: int, delta: int, *, capacity: int) -> None:
        """One changed word: the faulty one must still be one that the overflow proof knows, and it is changed once."""
        nodes = self.graph.weighted()
        if matrix >= len(nodes):
            raise out_of_range(matrix)
        node = nodes[matrix]
        weights = self.graph.value(node.weight)
        weights = weights.reshape(len(weights), -1)
        bias = self.graph.value(node.bias) if isinstance(node, MatMul | Conv) else None
        if row >= len(weights):
            raise out_of_range(row)
        if bias is None if column == p.BIAS_INPUT else column >= weights.shape[1]:
            raise out_of_range(column)
        if len(self._rows) >= capacity:
            raise Refusal(p.ErrorCode.NO_SPACE, capacity)
        if column == p.BIAS_INPUT:
            assert isinstance(node, MatMul | Conv)
            assert bias is not None
            if matrix not in self._limits:
                self._limits[matrix] = bias_limit(self.graph, node)
            limit = self._limits[matrix]
            fits = -limit <= int(bias[row]) + delta <= limit
        else:
            reach = 1 << (self.graph.constants[node.weight].bits - 1)
            fits = -reach <= int(weights[row, column]) + delta < reach
        if not fits:
            raise out_of_range(delta)
        if (matrix, row, column) in self._rows:
            raise out_of_range(list(self._rows).index((matrix, row, column)))
        self._rows[matrix, row, column] = delta

    def _spiking(self, index: int) -> ChaosLayer:
        layers = self.graph.chaos_layers()
        if index >= len(layers):
            raise out_of_range(index)
        return layers[index]
