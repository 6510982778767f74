"""Finds dead and stuck units of any device: from logits alone where they are enough, by driven tests where the device has fault hooks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.devices.contract import Device, DeviceInfo
from edgechaos.faults.injections import CLEAN
from edgechaos.faults.plan import apply
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.repair.diagnosis import Diagnosis, LayerDiagnosis, plan_of
from edgechaos.hil.repair.driven import DrivenTests
from edgechaos.hil.repair.layers import K_WTA, UnitLayer, unit_layers
from edgechaos.hil.repair.responses import columns, solve
from edgechaos.support.errors import DataError, UnsupportedError

LEAST = 16
"""Items that the diagnosis looks at first; where they leave doubt, all that it may."""


def diagnose(
    device: Device, info: DeviceInfo, graph: IntegerGraph, codes: NDArray[Any], *, head: str | None = None, seed: int = 0
) -> Diagnosis:
    """Which units of an open device are dead or stuck. The device is left without injected faults.

    codes: (items, *input shape), at least 2; the first half is for the diagnosis, the rest confirms it. info: as `open` returned it.
    Raises DataError for fewer items, UnsupportedError for a model without layers whose units can be told apart; DeviceError.
    """
    spec = graph.head(head)
    layers = unit_layers(graph, spec.name)
    if not layers:
        raise UnsupportedError(f"head '{spec.name}' of model '{graph.name}' has no layer whose units could be told apart")
    if len(codes) < 2:
        raise DataError(f"a diagnosis needs 2 items at least, one of them to confirm it, not {len(codes)}")
    half = len(codes) // 2
    device.inject(CLEAN)
    logits = device.infer(codes, seed=seed, head=spec.name).logits
    inferences = len(codes)
    found = _by_responses(graph, layers, codes[:half], logits[:half], spec.name, seed)
    if "model" in info.levels and (found is None or any(layer.unknown for layer in found)):
        tests = DrivenTests(device, graph, spec.name, codes[:1], seed, info.patch_capacity, layers)
        tested = tuple(reversed([tests.examine(k) for k in reversed(range(len(layers)))]))
        device.inject(CLEAN)
        inferences += tests.inferences
        found = tested if found is None else tuple(_completed(a, b) for a, b in zip(found, tested, strict=True))
    if found is None:
        why = "no mask of dead units of the last layer gives these logits, and the device has no fault hooks to test units with"
        found = tuple(LayerDiagnosis(layer.name, layer.count, unknown=tuple(range(layer.count)), why=why) for layer in layers)
    diagnosed = apply(graph, plan_of(graph, found))
    expected = reference.run(diagnosed, codes[half:], seed=seed, samples=np.arange(half, len(codes)), head=spec.name)
    confirmed = int((expected.logits == logits[half:]).all(axis=1).sum())
    return Diagnosis(spec.name, found, confirmed, len(codes) - half, inferences)


def _by_responses(
    graph: IntegerGraph, layers: tuple[UnitLayer, ...], codes: NDArray[Any], logits: NDArray[np.int32], head: str, seed: int
) -> tuple[LayerDiagnosis, ...] | None:
    """From the logits of items; None where no mask of the last layer explains them, or its units do not add up."""
    last = layers[-1]
    if not last.last or len(last.readers) != 1 or last.units.unit_kind == K_WTA:
        return None
    for count in sorted({min(LEAST, len(codes)), len(codes)}):
        solution = solve(*columns(graph, last, codes[:count], head, seed), logits[:count])
        if not solution.exact:
            return None
        if solution.decided.all():
            break
    dead, unknown = np.flatnonzero(solution.dead), np.flatnonzero(~solution.decided)
    found = LayerDiagnosis(last.name, last.count, tuple(map(int, dead)), {}, tuple(map(int, unknown)), "responses")
    return (*(_alive(graph, layer, found, codes, logits, head, seed) for layer in layers[:-1]), found)


def _alive(
    graph: IntegerGraph, layer: UnitLayer, last: LayerDiagnosis, codes: NDArray[Any], logits: NDArray[np.int32], head: str, seed: int
) -> LayerDiagnosis:
    """An inner layer of which the logits show no loss: a unit whose death would show is alive, of the others nothing is known."""
    unknown = []
    for unit in range(layer.count):
        without = plan_of(graph, (last, LayerDiagnosis(layer.name, layer.count, (unit,))))
        if (reference.run(apply(graph, without), codes, seed=seed, head=head).logits == logits).all():
            unknown.append(unit)
    return LayerDiagnosis(layer.name, layer.count, (), {}, tuple(unknown), "responses")


def _completed(first: LayerDiagnosis, second: LayerDiagnosis) -> LayerDiagnosis:
    """What the first leaves open, by the second."""
    left = set(first.unknown)
    if not left or second.method == "none":
        return replace(first, why=second.why if left else "")
    return replace(
        second,
        dead=tuple(sorted({*first.dead, *(u for u in second.dead if u in left)})),
        stuck={u: code for u, code in second.stuck.items() if u in left},
        unknown=tuple(u for u in second.unknown if u in left),
    )
