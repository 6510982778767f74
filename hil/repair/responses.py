"""Dead units of the last hidden layer from logits alone: these are linear in the mask of living units.

    logits(x) = bias + gain * sum_u alive_u * W_u h_u(x),  h the codes of the clean model, which the host knows

Every item gives an equation per logit. What is lost is an integer combination of known columns with factors 0 and 1: solved by least
squares, rounded, and believed only where it gives every logit exactly. A unit is decided where no other real solution exists.
Source: docs/repair.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.repair.layers import UnitLayer, per_unit

FREE = 1e-6
"""A unit whose share in a direction that changes no logit is larger is not decided."""


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """dead, decided: (units,) bool. exact: whether the logits are those of a mask of dead units at all."""

    dead: NDArray[np.bool_]
    decided: NDArray[np.bool_]
    exact: bool


def columns(
    graph: IntegerGraph, layer: UnitLayer, codes: NDArray[Any], head: str, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """What each unit adds to the logits, (items * logits, units), and the clean logits (items, logits)."""
    (reader,) = layer.readers
    result = reference.run(graph, codes, seed=seed, head=head, keep=(reader.input,))
    weight = per_unit(graph, layer, reader).astype(np.int64)
    sent = result.tensors[reader.input].reshape(len(codes), layer.count, -1).astype(np.int64)
    each = np.einsum("oup,xup->xou", weight, sent) * reader.product_gain()
    return each.reshape(-1, layer.count), result.logits


def solve(each: NDArray[np.int64], clean: NDArray[np.int32], logits: NDArray[np.int32]) -> Solution:
    """each, clean: of `columns`; logits: the device's, (items, logits)."""
    units = each.shape[1]
    speaks = each.any(axis=0)
    lost = (clean.astype(np.int64) - logits).reshape(-1)
    dead, decided = np.zeros(units, bool), np.zeros(units, bool)
    if not speaks.any():
        return Solution(dead, decided, not lost.any())
    known = each[:, speaks].astype(np.float64)
    length = np.linalg.norm(known, axis=0)
    known /= length
    left, size, right = np.linalg.svd(known, full_matrices=False)
    held = size > size[0] * max(known.shape) * np.finfo(np.float64).eps
    factors = (right[held].T @ ((left[:, held].T @ lost) / size[held])) / length
    free = 1 - np.square(right[held]).sum(axis=0) > FREE
    decided[speaks] = ~free
    dead[speaks] = (np.rint(factors) == 1) & ~free
    rest = lost - each @ dead.astype(np.int64)
    if free.any():  # what is left must be a combination of the units that stay open
        taken = known[:, free] @ np.linalg.lstsq(known[:, free], rest.astype(np.float64), rcond=None)[0]
        rest = np.rint(rest - taken)
    exact = not rest.any()
    return Solution(dead & exact, decided & exact, exact)
