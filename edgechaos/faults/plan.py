"""Fault plans as data, the same for every target: resolved once to integers, then applied to a graph or sent to a device.

Permanently dead neurons and intermittent omission are different faults; the names keep them apart everywhere.
Source: docs/semantics.md, "Faults".
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.faults.base import Fault
from edgechaos.faults.injections import FlipBits, Poke, ResolvedPlan, SetSlot, SetWords, Strike, Wire
from edgechaos.faults.sites import stored_words
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.tensors import Constant, Slot, fault_constant
from edgechaos.graph.weighted import Weighted
from edgechaos.support.errors import AccumulatorOverflow, FaultError, GraphError


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Any number of faults that hold together during one trial. The empty plan is the clean model."""

    faults: tuple[Fault, ...] = ()

    def to_json(self) -> list[dict[str, Any]]:
        """One JSON object per fault."""
        return [fault.to_json() for fault in self.faults]

    def __reduce__(self) -> tuple[type[FaultPlan], tuple[Any, ...]]:
        return FaultPlan, (self.faults,)

    @property
    def id(self) -> str:
        """Sixteen hex digits that name the plan's content."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]


def resolve(graph: IntegerGraph, plan: FaultPlan) -> ResolvedPlan:
    """Turn rates and seeds into entries, words and bits.

    Raises FaultError for a value beyond its limits, a site that the graph does not have, or faults that contradict.
    """
    slots: dict[tuple[str, str], _Entries] = {}
    flips: dict[str, NDArray[np.int64]] = {}
    words: dict[str, _Entries] = {}
    pokes: list[Poke] = []
    strikes: list[Strike] = []
    wires: list[Wire] = []
    for fault in plan.faults:
        fault.check()
        for injection in fault.resolve(graph.analysis):
            if isinstance(injection, SetSlot):
                key = (injection.node, injection.slot)
                if key not in slots:
                    slots[key] = _Entries.of(graph, *key)
                slots[key].set(injection, fault.kind)
            elif isinstance(injection, FlipBits):
                before = flips.get(injection.constant)
                # Flipping one bit twice restores it.
                flips[injection.constant] = injection.sites if before is None else np.setxor1d(before, injection.sites)
            elif isinstance(injection, SetWords):
                if injection.constant not in words:
                    words[injection.constant] = _Entries.of_words(graph, injection.constant)
                words[injection.constant].set(SetSlot(injection.constant, "", injection.words, injection.values), fault.kind)
            elif isinstance(injection, Strike):
                strikes.append(injection)
            elif isinstance(injection, Wire):
                wires.append(injection)
            else:
                pokes.append(injection)
    for (node, _), entries in slots.items():
        if (node, entries.slot.excludes) in slots:
            entries.check_apart_from(slots[node, entries.slot.excludes])
    values = {key: entries.values for key, entries in slots.items()}
    return ResolvedPlan(values, _patches(graph, flips, words), tuple(pokes), tuple(strikes), tuple(wires))


@dataclass(frozen=True, slots=True, eq=False)
class _Entries:
    """A slot, or the words of a constant, being filled: values (length,), and by entry the kind that set it, "" where none did."""

    node: str
    slot: Slot
    values: NDArray[Any]
    setter: NDArray[np.object_]

    @classmethod
    def of(cls, graph: IntegerGraph, node: str, name: str) -> _Entries:
        slot = graph.node(node).slot(graph, name)
        return cls(node, slot, graph.node(node).slot_value(graph, name).copy(), np.full(slot.length, "", object))

    @classmethod
    def of_words(cls, graph: IntegerGraph, constant: str) -> _Entries:
        stored = graph.constants[constant]
        reach = 1 << (stored.bits - 1)
        slot = Slot("", "int32", stored.value.size, -reach, reach - 1)
        return cls(constant, slot, stored.value.reshape(-1).astype(np.int64), np.full(slot.length, "", object))

    def set(self, injection: SetSlot, kind: str) -> None:
        slot, entries, values = self.slot, injection.entries, injection.values
        where = f"'{slot.name}' of layer '{self.node}'" if slot.name else f"constant '{self.node}'"
        if slot.refused is not None and len(entries):
            raise FaultError(f"{kind}: layer '{self.node}' cannot have its '{slot.name}' set: {slot.refused}")
        for wrong, what, limits in (
            (entries[(entries < 0) | (entries >= slot.length)], "has entries", (0, slot.length - 1)),
            (values[(values < slot.low) | (values > slot.high)], "holds", (slot.low, slot.high)),
        ):
            if len(wrong):
                raise FaultError(f"{kind}: {where} {what} {limits[0]}..{limits[1]}, not {wrong[0]}")
        differs = (self.setter[entries] != "") & (self.values[entries] != values)
        if differs.any():
            entry, value = entries[differs][0], values[differs][0]
            both = f"{int(self.values[entry])} and {value}"
            kinds = " and ".join(sorted({self.setter[entry], kind}))
            raise FaultError(f"{kinds}: {where}, entry {entry}, is set to two values, {both}; give one of them")
        self.values[entries] = values
        self.setter[entries] = kind

    def check_apart_from(self, other: _Entries) -> None:
        both = self.values.astype(bool) & other.values.astype(bool)
        if both.any():
            unit, names = int(both.argmax()), f"{other.slot.name} and {self.slot.name}"
            kinds = " and ".join(sorted({e.setter[unit] or e.slot.name for e in (self, other)}))
            raise FaultError(f"{kinds}: layer '{self.node}': neuron {unit} cannot be both {names}; use other seeds or neurons")


def _patches(graph: IntegerGraph, flips: dict[str, NDArray[np.int64]], words: dict[str, _Entries]) -> dict[str, NDArray[np.int32]]:
    changed = {name: _changed(graph.constants[name], flips.get(name), words.get(name), name) for name in {**flips, **words}}
    patch = {}
    for node in graph.weighted() if changed else ():
        found = ((target, changed.get(str(stored_words(node, target)))) for target in ("weight", "bias"))
        rows = [_patch_rows(graph, node, target, *change) for target, change in found if change is not None and len(change[0])]
        if rows:
            joined = np.concatenate(rows)
            patch[node.name] = joined[np.lexsort((joined[:, 1], joined[:, 0]))]
    return patch


def _changed(
    constant: Constant, sites: NDArray[np.int64] | None, words: _Entries | None, name: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The flat words of a constant that change, ascending, and what they hold then; a word's flips are taken together."""
    old, width = constant.value.reshape(-1), constant.bits
    new = np.zeros(0, np.int64)
    word = np.zeros(0, np.int64)
    if sites is not None and len(sites):
        word, first = np.unique(sites // width, return_index=True)
        bits = np.bitwise_or.reduceat(np.int64(1) << sites % width, first)
        new = (old[word].astype(np.int64) ^ bits) & ((1 << width) - 1)
        new -= (new >> (width - 1)) << width
    if words is not None:
        both = word[words.setter[word] != ""]
        if len(both):
            raise FaultError(f"{words.setter[both[0]]}: word {both[0]} of '{name}' is set, and flipped by another fault; give one of them")
        held = np.flatnonzero(words.values != old)
        word, new = np.concatenate([word, held]), np.concatenate([new, words.values[held]])
        order = np.argsort(word)
        word, new = word[order], new[order]
    return word, new


def apply(graph: IntegerGraph, plan: FaultPlan | ResolvedPlan) -> IntegerGraph:
    """The graph under a plan: same tensors, same heads, faults as constants and fields of nodes. Validated; pokes leave a graph as it is.

    Raises FaultError where the plan does not fit the graph, an accumulator could overflow, or a node refuses it.
    """
    resolved = resolve(graph, plan) if isinstance(plan, FaultPlan) else plan
    if not resolved.slots and not resolved.patch:
        return graph  # a campaign over memory asks this for each of its faults
    known = {n.name: n for n in graph.nodes}
    constants = dict(graph.constants)
    for (name, slot), values in resolved.slots.items():
        if name not in known or slot not in {s.name for s in known[name].slots(graph)}:
            raise FaultError(f"graph '{graph.name}' has no layer '{name}' that this plan can break; resolve the plan for this graph")
        known[name], more = known[name].with_slot(graph, slot, values)
        constants |= more
    for name, rows in resolved.patch.items():
        node = known.get(name)
        if not isinstance(node, Weighted):
            raise FaultError(f"graph '{graph.name}' has no weights '{name}'; resolve the plan for this graph")
        known[name] = _patched(graph, node, rows, constants)
    faulty = replace(graph, nodes=tuple(known.values()), constants=constants)
    try:
        return replace(faulty, nodes=tuple(n.settled(faulty) for n in faulty.nodes)).validate()
    except AccumulatorOverflow as error:
        raise FaultError(f"this plan could overflow an accumulator: {error}") from error
    except GraphError as error:
        raise FaultError(f"the plan does not fit graph '{graph.name}': {error}; resolve the plan for this graph") from error


def _patched(graph: IntegerGraph, node: Weighted, rows: NDArray[np.int32], constants: dict[str, Constant]) -> Weighted:
    of_bias, of_weight = rows[rows[:, 1] < 0], rows[rows[:, 1] >= 0]
    changes: dict[str, Any] = {}
    if len(of_weight):
        changes["patch"] = fault_constant(node.name, "patch")
        constants[changes["patch"]] = Constant(of_weight.astype(np.int32), 32)
    if len(of_bias):
        bias = graph.value(stored_words(node, "bias")).copy()
        words = of_bias[:, 0]
        for word in words[(words < 0) | (words >= len(bias))]:
            raise FaultError(f"'{node.name}' has {len(bias)} bias words, not word {word}; resolve the plan for this graph")
        np.add.at(bias, words, of_bias[:, 2])
        changes["bias"] = fault_constant(node.name, "bias")
        constants[changes["bias"]] = Constant(bias, 32)
    return replace(node, **changes)


def _patch_rows(graph: IntegerGraph, node: Weighted, target: str, word: NDArray[np.int64], new: NDArray[np.int64]) -> NDArray[np.int32]:
    """(row, column, w' - w) per changed word."""
    constant = graph.constants[str(stored_words(node, target))]
    delta = new - constant.value.reshape(-1)[word].astype(np.int64)
    beyond = np.abs(delta) >= 2**31
    if beyond.any():
        raise FaultError(
            f"'{node.name}': flipping bias word {word[beyond][0]} moves it by more than an int32 can hold; exclude its top bit"
        )
    columns = constant.value.size // len(constant.value)
    place = (word // columns, word % columns) if target == "weight" else (word, np.full(len(word), -1))
    return np.stack([*place, delta], axis=1).astype(np.int32)
