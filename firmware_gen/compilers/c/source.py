"""The generated C of one model as its nodes see it: where tensors and slots stand, what is called how, which tables are written.

A constant that several nodes share is written at its first use only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgechaos.firmware_gen.compilers.c.writer import Names, Writer
from edgechaos.firmware_gen.plan.kernels import KernelChoice
from edgechaos.firmware_gen.plan.memory import MemoryPlan
from edgechaos.firmware_gen.plan.slots import PlacedSlot, placed_slots
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.node import Node
from edgechaos.harden.guards import guards_of

ALIGNED = " EC_ALIGNED"
ALIGNED_LAYOUTS = ("rows", "spikes", "nibbles", "packed", "tokens", "windows", "pairs")

CORRECTED_BY_ROWS = ("rows", "packed", "dense", "windows", "tokens", "packed_dense")
"""Layouts of weights of which a wrong one is corrected after the sum; any other table with SEC-DED lies in RAM."""

Fields = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class GuardedTable:
    """A table with check words: the C names of both. mended: it lies in RAM and is corrected in place."""

    name: str
    check: str
    size: int
    corrects: bool
    mended: bool


class Source:
    """What a lowering may ask of the model that it is written into. parameters: the nodes with a run-time parameter, as numbered.
    tables: the C name of each constant that is written, in its first layout."""

    def __init__(self, graph: IntegerGraph, kernels: Mapping[str, KernelChoice], plan: MemoryPlan, names: Names) -> None:
        self.graph = graph
        self.kernels = kernels
        self.plan = plan
        self.matrices = graph.weighted()
        self.parameters = tuple(n for n in graph.nodes if n.parameter() is not None)
        self.placed = placed_slots(graph)
        self.guards, self.guarded = guards_of(graph), list[GuardedTable]()
        self._at = {(p.node, p.slot.name): p.at for p in self.placed if p.words}
        self._names = names
        self._taken: dict[tuple[str, ...], str] = {}
        self.tables: dict[str, str] = {}
        for node in graph.nodes:
            self.name(node, "layer")

    def name(self, node: Node, what: str) -> str:
        """The C name of something of a node's own, the same whenever it is asked for."""
        return self._take((node.name, what), f"{node.name}_{what}")

    def description(self, node: Node) -> str:
        """The C name of a node's `static const` description."""
        return self.name(node, "layer")

    def in_use(self, node: Node, kind: str) -> str:
        """The C expression of the address of a matrix's description of this kind: as flashed, or the copy that a repair has made."""
        if not self.plan.capacities.repair_bytes:
            return self.address(node, kind)
        return f"EC_IN_USE({kind}, run, {self.graph.weighted().index(node)})"

    def address(self, node: Node, kind: str) -> str:
        """The C expression of the address of a node's description; of one whose weights are corrected by rows, so that no compiler knows
        the weights: those that it made part of the code would be corrected in vain."""
        words = {constant for _, constant in node.constants() if constant in self.guards.codes}
        about = f"&{self.description(node)}"
        return f"(const {kind} *)ec_unknown({about})" if words else about

    def at(self, tensor: str) -> str:
        """The C expression of a tensor's first element."""
        if tensor not in self.plan.places:
            return "state->input"
        place = self.plan.places[tensor]
        return f"state->{place.pool} + {place.first}"

    def slots_at(self, node: Node) -> dict[str, object]:
        """Where each slot of a node that can be set begins in ec_faults.word, as fields `<slot>_at`."""
        return {f"{slot.name}_at": at for slot in node.slots(self.graph) if (at := self._at.get((node.name, slot.name))) is not None}

    def table(
        self, w: Writer, constant: str, layout: str, values: NDArray[np.integer], dtype: str, note: str = "", stored: str | None = None
    ) -> str:
        """The C name of a constant in one layout: written at its first use only. stored: the constant that it is made of, if another."""
        key, wanted = ("", f"{constant} {layout}"), f"{constant}_{layout}" if layout else constant
        if key not in self._taken:
            w.comment(note) if note else None
            code = self.guards.codes.get(stored or constant)
            mended = code is not None and code.corrects and layout not in CORRECTED_BY_ROWS
            aligned = ALIGNED if code is not None or layout in ALIGNED_LAYOUTS else ""
            w.array(self._take(key, wanted), values, dtype, aligned, "" if mended else "const ")
            self.tables.setdefault(stored or constant, self._taken[key])
            if code is not None:
                data = values.astype(f"<{np.dtype(dtype).str[1:]}").tobytes()
                check = self._take((*key, "check"), f"{constant}_check")
                w.array(check, code.encode(data), "uint32")
                self.guarded.append(GuardedTable(self._taken[key], check, len(data), code.corrects, mended))
            w.line()
        return self._taken[key]

    def int32(self, w: Writer, constant: str | None) -> str:
        """The C name of an int32 constant; NULL for an absent one."""
        return self.table(w, constant, "", self.graph.value(constant), "int32") if constant is not None else "NULL"

    def rescaling(self, w: Writer, multiplier: str, shift: str) -> dict[str, object]:
        """The two tables of a rescaling; what guards the multipliers guards both."""
        multipliers = self.int32(w, multiplier)
        return {"multiplier": multipliers, "shift": self.table(w, shift, "bits", self.graph.value(shift), "uint8", stored=multiplier)}

    def fields(self, w: Writer, kind: str, node: Node, fields: Fields, hooks: Fields | None = None) -> None:
        """The description of a node. hooks: members that are there where faults are compiled in. A value that is
        a pair of such mappings is a struct."""
        with w.block(f"static const {kind} {self.description(node)} =", "};"):
            _write_fields(w, fields, hooks)
        w.line()

    def slots(self, w: Writer) -> None:
        """The table of what faults may set, in the order of the wire, and what CLEAR restores."""
        w.line("#if EC_FAULTS")
        clean = [self._clean(w, p) for p in self.placed]
        with w.block(f"static const ec_slot all_slots[{max(len(self.placed), 1)}] =", "};"):
            for p, values in zip(self.placed, clean, strict=True):
                length, span = p.slot.length if p.words else 0, p.slot.high - p.low
                w.line(
                    f"{{{values}, {p.at}, {p.low & 0xFFFFFFFF}u, {span}u, {length}, {p.width}}}, /* {p.number}: {p.node} {p.slot.name} */"
                )
            if not self.placed:
                w.line("{NULL, 0, 0u, 0u, 0, 0},")
        w.lines("#endif", "")

    def guard_table(self, w: Writer) -> None:
        """The table of guards, where there are some."""
        if not self.guarded:
            return
        with w.block(f"static const ec_guard all_guards[{len(self.guarded)}] =", "};"):
            for g in self.guarded:
                w.line(f"{{{g.name}, {g.check}, {g.name if g.mended else 'NULL'}, {g.size}u, {int(g.corrects)}}},")
        w.line()

    def _clean(self, w: Writer, placed: PlacedSlot) -> str:
        """The C name of a slot's clean values, one word each; NULL where they are all 0, or the node has no such slot to set."""
        node = self.graph.node(placed.node)
        values = node.slot_value(self.graph, placed.slot.name)
        if not placed.words or not values.any():
            return "NULL"
        constant, dtype = getattr(node, placed.slot.name, None), "uint32" if placed.slot.dtype.startswith("u") else "int32"
        if isinstance(constant, str):  # in flash already, as the kernels read it where the hooks are compiled out
            return self.table(w, constant, "", values, dtype)
        return self.table(w, node.name, placed.slot.name, values, dtype)

    def _take(self, key: tuple[str, ...], wanted: str) -> str:
        if key not in self._taken:
            self._taken[key] = self._names.take(wanted)
        return self._taken[key]


def _write_fields(w: Writer, fields: Fields, hooks: Fields | None = None) -> None:
    for name, value in fields.items():
        if isinstance(value, tuple):
            with w.block(f".{name} =", "},"):
                _write_fields(w, *value)
        else:
            w.line(f".{name} = {value},")
    if hooks:
        w.line("#if EC_FAULTS")
        _write_fields(w, hooks)
        w.line("#endif")
