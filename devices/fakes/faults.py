"""The faults that a fake board holds: what the firmware's setters (runtime/core/ec_faults.c) accept and refuse, with the same codes.

A test draws requests and compares every answer of the fake with that of the C server.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.faults.injections import ResolvedPlan
from edgechaos.faults.plan import apply
from edgechaos.firmware_gen import protocol as p
from edgechaos.firmware_gen.plan.slots import placed_slots
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.weighted import Summing

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
    """Entries by slot, patch rows by site, each checked as it comes."""

    def __init__(self, graph: IntegerGraph) -> None:
        self.graph = graph
        self._slots = placed_slots(graph)
        self._set: dict[tuple[str, str], NDArray[Any]] = {}
        self._rows: dict[Site, int] = {}

    def clear(self) -> None:
        """Make the model clean."""
        self._set.clear()
        self._rows.clear()

    def settle_on(self, graph: IntegerGraph, *, forget_rows: bool) -> None:
        """What holds from now on holds on top of other words."""
        self.graph = graph
        if forget_rows:
            self._rows.clear()

    def rows(self) -> dict[str, NDArray[np.int32]]:
        """Patch rows by node, as plans hold them."""
        names = [n.name for n in self.graph.weighted()]
        patch: dict[str, list[tuple[int, int, int]]] = {}
        for (matrix, row, column), delta in self._rows.items():
            patch.setdefault(names[matrix], []).append((row, -1 if column == p.BIAS_INPUT else column, delta))
        return {name: np.array(sorted(found), np.int32) for name, found in patch.items()}

    def graph_under(self) -> IntegerGraph:
        """The graph under what holds now."""
        graph = apply(self.graph, ResolvedPlan.of(patch=self.rows()))
        for (name, slot), values in self._set.items():
            if slot != "table":  # it follows fail_q
                node, constants = graph.node(name).with_slot(graph, slot, values)
                nodes = tuple(node if n.name == name else n for n in graph.nodes)
                graph = replace(graph, nodes=nodes, constants={**graph.constants, **constants})
        return replace(graph, nodes=tuple(n.settled(graph) for n in graph.nodes))

    def set(self, number: int, first: int, data: bytes) -> None:
        """Entries of a slot, from `first` on: all of them or none."""
        if number >= len(self._slots):
            raise out_of_range(number)
        placed = self._slots[number]
        slot, key = placed.slot, (placed.node, placed.slot.name)
        if slot.refused is not None:
            raise Refusal(p.ErrorCode.REFUSED, number)
        if placed.width == 0 and first % 8:
            raise out_of_range(first)
        if placed.width and len(data) % placed.width:
            raise Refusal(p.ErrorCode.BAD_LENGTH, len(data))
        if placed.width == 0:
            entries, most = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little").astype(bool), -(-slot.length // 8) * 8
        else:
            entries, most = np.frombuffer(data, np.dtype(slot.dtype).newbyteorder("<")).astype(slot.dtype), slot.length
        if first + len(entries) > most:
            raise out_of_range(first + len(entries))
        for value in () if placed.width == 0 else entries.tolist():
            if not placed.low <= value <= slot.high:
                raise out_of_range(value)
        whole = self._set.get(key, self.graph.node(placed.node).slot_value(self.graph, slot.name)).copy()
        whole[first : first + len(entries)] = entries[: slot.length - first]
        self._set[key] = whole

    def add_patch(self, matrix: int, row: int, column: int, delta: int, *, capacity: int) -> None:
        """One changed word: the faulty one must still be one that the overflow proof knows, and it is changed once."""
        nodes = self.graph.weighted()
        if matrix >= len(nodes):
            raise out_of_range(matrix)
        node = nodes[matrix]
        weights = self.graph.value(node.weight)
        weights = weights.reshape(len(weights), -1)
        bias = self.graph.value(node.bias) if isinstance(node, Summing) else None
        if row >= len(weights):
            raise out_of_range(row)
        if bias is None if column == p.BIAS_INPUT else column >= weights.shape[1]:
            raise out_of_range(column)
        if len(self._rows) >= capacity:
            raise Refusal(p.ErrorCode.NO_SPACE, capacity)
        if column == p.BIAS_INPUT:
            assert bias is not None
            limit = node.bias_limit(self.graph, self.graph.analysis.bounds)
            fits = -limit <= int(bias[row]) + delta <= limit
        else:
            reach = 1 << (self.graph.constants[node.weight].bits - 1)
            fits = -reach <= int(weights[row, column]) + delta < reach
        if not fits:
            raise out_of_range(delta)
        if (matrix, row, column) in self._rows:
            raise out_of_range(list(self._rows).index((matrix, row, column)))
        self._rows[matrix, row, column] = delta
