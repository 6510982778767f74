"""A resolved fault plan as requests: what a device must be able to carry, and the frames that load it.

Enters: a graph, a resolved plan, what a device said of itself. Leaves: LOAD_MASK and INJECT requests, or a FaultError
before anything is sent. Layouts: `edgechaos.firmware_gen.protocol`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic.random_bits import binomial_table
from edgechaos.devices.contract import DeviceInfo
from edgechaos.devices.protocol.client import Request
from edgechaos.faults.plan import DeadNeurons, Omission, ResolvedPlan, StuckAtOne, WeightBitFlip, apply
from edgechaos.firmware_gen.protocol import BIAS_INPUT, INJECT_FAIL, MASK_HEAD, PATCH_ROW, TABLE_HEAD, Capability, Injection, MaskKind, Verb
from edgechaos.graph.integer_graph import ChaosLayer, IntegerGraph
from edgechaos.graph.units import mortal
from edgechaos.support.errors import FaultError, GraphError

KIND_OF = {
    Capability.DEAD: DeadNeurons.kind,
    Capability.STUCK_AT_1: StuckAtOne.kind,
    Capability.OMISSION: Omission.kind,
    Capability.WEIGHT_BIT_FLIP: WeightBitFlip.kind,
}


def capability_names(capabilities: Capability) -> frozenset[str]:
    """The fault kinds of a HELLO's flags."""
    return frozenset(name for flag, name in KIND_OF.items() if flag in capabilities)


def patched_nodes(graph: IntegerGraph) -> tuple[str, ...]:
    """Names of the nodes that a patch row's index counts: those with weights, in node order."""
    return tuple(n.name for n in graph.weighted())


def check_plan(graph: IntegerGraph, plan: ResolvedPlan, info: DeviceInfo) -> None:
    """Raises FaultError where the plan does not fit the graph, needs a kind the device lacks, or more rows than it holds."""
    _check_capabilities(plan, info)
    rows = sum(len(p) for p in plan.patch.values())
    if rows > info.patch_capacity:
        raise FaultError(
            f"the plan changes {rows} words, device '{info.name}' holds {info.patch_capacity}; lower the rate or build with more"
        )
    try:
        apply(graph, plan)
    except GraphError as error:
        raise FaultError(f"the plan does not fit graph '{graph.name}': {error}") from error


def _check_capabilities(plan: ResolvedPlan, info: DeviceInfo) -> None:
    needed = {DeadNeurons.kind: plan.dead, StuckAtOne.kind: plan.stuck, Omission.kind: plan.fail_q, WeightBitFlip.kind: plan.patch}
    lacking = sorted(kind for kind, faults in needed.items() if faults and kind not in info.capabilities)
    if lacking:
        raise FaultError(f"device '{info.name}' cannot carry {', '.join(lacking)}; it was built without these fault hooks")


def plan_requests(graph: IntegerGraph, plan: ResolvedPlan, max_payload: int) -> list[Request]:
    """The requests that load a checked plan into a clean device."""
    requests: list[Request] = []
    for index, layer in enumerate(mortal(graph)):
        if isinstance(layer, ChaosLayer) and layer.name in plan.fail_q:
            fail_q = plan.fail_q[layer.name]
            requests.append(_inject(Injection.FAIL_Q, INJECT_FAIL.pack(index, fail_q)))
            if layer.sampling == "binomial":
                requests += _table(index, binomial_table(layer.ticks, fail_q), max_payload)
        for kind, masks in ((MaskKind.DEAD, plan.dead), (MaskKind.STUCK, plan.stuck)):
            if layer.name in masks:
                requests += _mask(index, kind, masks[layer.name], max_payload)
    for index, name in enumerate(patched_nodes(graph)):
        requests += _patch(index, plan.patch.get(name, np.zeros((0, 3), np.int32)), max_payload)
    return requests


def _inject(kind: Injection, body: bytes) -> Request:
    return Request(Verb.INJECT, bytes([kind]) + body)


def _pieces(data: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    for first in range(0, len(data), size):
        yield first, data[first : first + size]


def _mask(layer: int, kind: MaskKind, mask: NDArray[np.bool_], max_payload: int) -> list[Request]:
    packed = np.packbits(mask, bitorder="little").tobytes()
    pieces = _pieces(packed, max_payload - MASK_HEAD.size)
    return [Request(Verb.LOAD_MASK, MASK_HEAD.pack(layer, kind, first) + piece) for first, piece in pieces]


def _table(layer: int, table: NDArray[np.uint32], max_payload: int) -> list[Request]:
    pieces = _pieces(table.astype("<u4").tobytes(), (max_payload - 1 - TABLE_HEAD.size) & ~3)
    return [_inject(Injection.BINOMIAL_TABLE, TABLE_HEAD.pack(layer, first // 4) + piece) for first, piece in pieces]


def _patch(matrix: int, rows: NDArray[np.int32], max_payload: int) -> list[Request]:
    packed = b"".join(PATCH_ROW.pack(matrix, o, i if i >= 0 else BIAS_INPUT, delta) for o, i, delta in rows.tolist())
    whole_rows = (max_payload - 1) // PATCH_ROW.size * PATCH_ROW.size
    return [_inject(Injection.PATCH, piece) for _, piece in _pieces(packed, whole_rows)]
