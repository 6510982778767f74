"""Rules and limits that kinds of node share."""

from __future__ import annotations

import numpy as np

from edgechaos.arithmetic.random_bits import gaussian_table
from edgechaos.graph.node import Graph, Node
from edgechaos.graph.tensors import DTYPE_RANGE
from edgechaos.support.errors import AccumulatorOverflow, GraphError

MAX_TICKS = 127
"""Spike counts are int8."""
FINER_BITS = 7
"""A mean of embeddings may have codes finer than one code of the embeddings, by 2^7: means of few-bit codes need it."""
MAX_GATHERED = 1 << 26
"""Codes that one item's windows or token vectors take in all: a file must not ask for more memory than its words."""
ACCUMULATOR = 2**31 - 1
SHIFTABLE = 2**30 - 1
"""Operands of a rounding shift stay below 2^30."""
GAUSSIAN_MAX = int(np.abs(gaussian_table().astype(np.int32)).max())


def require(condition: bool, node: Node | None, message: str) -> None:
    """Raises GraphError with the message and the node's name unless the condition holds."""
    if not condition:
        raise GraphError(f"node '{node.name}': {message}" if node else message, node.name if node else None)


def need(node: Node, reach: int, limit: int, what: str) -> None:
    """Raises AccumulatorOverflow where a sum that may reach `reach` needs more bits than its limit has."""
    if reach > limit:
        bits, have = reach.bit_length() + 1, limit.bit_length() + 1
        raise AccumulatorOverflow(
            f"node '{node.name}': {what} needs {bits} bits, {have} are there; use fewer inputs or fewer weight bits", node.name
        )


def check_mask(graph: Graph, node: Node, what: str, constant: str | None, shape: tuple[int, ...]) -> None:
    """A mask of faults is 0 or 1 per unit; `constant` None: no fault."""
    if constant is not None:
        mask = graph.value(constant)
        good = mask.dtype == np.int8 and mask.shape == shape and bool(np.isin(mask, (0, 1)).all())
        require(good, node, f"{what} must be an int8 0/1 mask {shape}")


def check_rescaling(
    graph: Graph,
    node: Node,
    constants: tuple[str, str],
    clip: tuple[int, int],
    shapes: tuple[tuple[int], ...],
    how_many: str,
    least: int = 31,
) -> None:
    """multiplier and shift, int32 of one of the shapes, and a clip within the output's dtype; least: the smallest shift."""
    multiplier, shift = map(graph.value, constants)
    for what, array, low, high in (("multiplier", multiplier, 2**30, 2**31 - 1), ("shift", shift, least, 61)):
        require(array.dtype == np.int32 and array.shape in shapes, node, f"{what} must be int32, {how_many}")
        require(bool(((array >= low) & (array <= high)).all()), node, f"{what} is outside {low}..{high}")
    require(multiplier.shape == shift.shape, node, "multiplier and shift must have the same shape")
    y = graph.tensors[node.output]
    low, high = DTYPE_RANGE[y.dtype]
    require(low <= clip[0] < clip[1] <= high, node, f"clip {clip[0]}..{clip[1]} does not fit {y.dtype}")
