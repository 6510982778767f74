"""A resolved fault plan as requests: what a device must be able to carry, and the frames that load it.

A device is sent what the faulty graph holds in its slots where the clean one holds something else, and the patch rows.
Layouts: `edgechaos.firmware_gen.protocol`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgechaos.devices.contract import DeviceInfo, refuse_levels
from edgechaos.devices.protocol.client import Request
from edgechaos.faults.injections import ResolvedPlan
from edgechaos.faults.plan import apply
from edgechaos.firmware_gen.plan.slots import PlacedSlot, placed_slots
from edgechaos.firmware_gen.protocol import BIAS_INPUT, PATCH_ROW, SET_HEAD, Verb
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import FaultError

MOST_SLOTS = 0xFFFF
"""What a slot's number on the wire can tell apart."""


def patched_nodes(graph: IntegerGraph) -> tuple[str, ...]:
    """Names of the nodes that a patch row's index counts: those with weights, in node order."""
    return tuple(n.name for n in graph.weighted())


def check_plan(graph: IntegerGraph, plan: ResolvedPlan, info: DeviceInfo) -> IntegerGraph:
    """The graph under the plan. Raises FaultError where it does not fit, needs a level the device lacks, or more rows than it holds."""
    refuse_levels(plan, info)
    rows = sum(len(p) for p in plan.patch.values())
    if rows > info.patch_capacity:
        raise FaultError(
            f"the plan changes {rows} words, device '{info.name}' holds {info.patch_capacity}; lower the rate or build with more"
        )
    return apply(graph, plan)


def plan_requests(
    graph: IntegerGraph, faulty: IntegerGraph, plan: ResolvedPlan, max_payload: int, slots: int = MOST_SLOTS
) -> list[Request]:
    """The requests that load a plan into a clean device; `faulty` is the graph under it.

    slots: how many the device has. Raises FaultError for one that its firmware, older than this release, does not have yet.
    """
    requests: list[Request] = []
    if faulty is graph:
        return requests
    for placed in placed_slots(graph):
        clean = graph.node(placed.node).slot_value(graph, placed.slot.name)
        values = faulty.node(placed.node).slot_value(faulty, placed.slot.name)
        changed = np.flatnonzero(clean != values)
        if changed.size and placed.number >= slots:
            raise FaultError(
                f"its firmware has no slot '{placed.slot.name}' of '{placed.node}' yet; build and flash firmware of this release"
            )
        if changed.size:
            requests += set_requests(placed, int(changed[0]), values[changed[0] : changed[-1] + 1], max_payload)
    rows = [(name, row) for name in patched_nodes(graph) for row in plan.patch.get(name, ())]
    return requests + patch_requests(graph, rows, max_payload)


def patch_requests(graph: IntegerGraph, rows: Sequence[tuple[str, NDArray[np.int32]]], max_payload: int) -> list[Request]:
    """Rows (row, column, delta) of nodes, node by node in node order."""
    requests: list[Request] = []
    for index, name in enumerate(patched_nodes(graph)):
        found = [row.tolist() for node, row in rows if node == name]
        packed = b"".join(PATCH_ROW.pack(index, o, i if i >= 0 else BIAS_INPUT, delta) for o, i, delta in found)
        requests += [Request(Verb.PATCH, piece) for _, piece in _pieces(packed, max_payload // PATCH_ROW.size * PATCH_ROW.size)]
    return requests


def set_requests(placed: PlacedSlot, first: int, values: NDArray[np.generic], max_payload: int) -> list[Request]:
    """Entries `first` and following of a slot, in as many requests as a frame's limit asks for; bits begin at a whole byte."""
    room, width = max_payload - SET_HEAD.size, placed.width
    if width:
        data = values.astype(np.dtype(placed.slot.dtype).newbyteorder("<")).tobytes()
        pieces = ((first + at // width, piece) for at, piece in _pieces(data, room // width * width))
    else:
        data = np.packbits(np.pad(values, (first % 8, 0)), bitorder="little").tobytes()
        pieces = ((first - first % 8 + 8 * at, piece) for at, piece in _pieces(data, room))
    return [Request(Verb.SET, SET_HEAD.pack(placed.number, at) + piece) for at, piece in pieces]


def _pieces(data: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    for first in range(0, len(data), size):
        yield first, data[first : first + size]
