"""The NumPy interpreter of integer graphs: the semantics in executable form, vectorised over the batch.

All other targets are compared with this one, integer for integer.
Source: docs/semantics.md.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgechaos.arithmetic.seeds import check_seed
from edgechaos.graph.heads import Head
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.node import Draws
from edgechaos.graph.signals import require_finite
from edgechaos.support.errors import GraphError, ShapeError

BATCH, BATCH_VALUES = 256, 1 << 19
"""Samples evaluated together, and values of one tensor of theirs, at most: enough to vectorise, and what a cache holds."""


@dataclass(frozen=True, slots=True)
class Result:
    """logits (batch, outputs) int32, labels (batch,) uint16, and the tensors that were asked for, batch first."""

    logits: NDArray[np.int32]
    labels: NDArray[np.uint16]
    tensors: Mapping[str, NDArray[Any]]


def encode(graph: IntegerGraph, items: NDArray[Any] | Sequence[str], head: str | None = None) -> NDArray[Any]:
    """Raw items (batch, ...) to codes (batch, *input shape), as the head's encoding says; images are (C, H, W) or (H, W).

    A head that takes tokens also takes texts; one that takes signals takes float32 or int16, (batch, channels, time) or flat.
    Raises ShapeError where items do not fit the input, DataError for a signal that is NaN or infinite.
    """
    spec = graph.head(head)
    tensor, text = graph.tensors[spec.input], spec.encoding.text
    if text is not None and not (isinstance(items, np.ndarray) and items.dtype == np.uint16):
        if not all(isinstance(item, str) for item in items):
            raise ShapeError(f"head '{spec.name}' takes texts, or uint16 token ids of {tensor.size} elements")
        return text.ids([str(item) for item in items], tensor.size)
    items = np.asarray(items)
    if spec.encoding.kind == "signals":
        return spec.encoding.codes(_signals(spec, tensor.size, items)).reshape(len(items), *tensor.shape)
    wanted = np.uint8 if spec.encoding.kind == "pixels" else np.dtype(tensor.dtype)
    # An image of channels last has the right number of elements in the wrong order.
    other = items.ndim == 4 and len(tensor.shape) == 3 and items.shape[1:] != tensor.shape
    if items.dtype != wanted or items[:1].size not in (0, tensor.size) or other:
        shape = f"shape {tensor.shape}" if other else f"{tensor.size} elements"
        raise ShapeError(f"head '{spec.name}' takes {np.dtype(wanted)} items of {shape}, got {items.dtype} {items.shape}")
    return spec.encoding.codes(items).reshape(len(items), *tensor.shape)


def _signals(spec: Head, size: int, items: NDArray[Any]) -> NDArray[np.float32]:
    """(batch, channels, time) float32. A window of (time, channels) has the right number of samples in the wrong order."""
    shape = (len(spec.encoding.mean), size // len(spec.encoding.mean))
    if items.dtype not in (np.dtype(np.float32), np.dtype(np.int16)) or items.shape[1:] not in (shape, (size,)):
        raise ShapeError(
            f"head '{spec.name}' takes float32 or int16 samples (channels, time) = {shape} per item, got {items.dtype} {items.shape}"
        )
    samples = items.astype(np.float32).reshape(len(items), *shape)
    require_finite(samples, f"head '{spec.name}'")
    return samples


def run(
    graph: IntegerGraph,
    codes: NDArray[Any],
    *,
    seed: int = 0,
    samples: ArrayLike | None = None,
    head: str | None = None,
    keep: tuple[str, ...] = (),
    parameters: Mapping[str, int] | None = None,
) -> Result:
    """Evaluate one head. codes: (batch, *input shape); samples: (batch,) uint32, by default 0..batch-1.

    `keep` names tensors to return; `parameters` sets the k of ThermalNoise nodes by name, by default what they store.
    Raises ShapeError where codes or samples do not match, SeedError, GraphError for a tensor that this head does not compute or
    a parameter that the graph does not take.
    """
    spec = graph.head(head)
    sample_ids = check_inputs(graph, spec, codes, samples, seed)
    check_keep(graph, spec, keep)
    settings = check_parameters(graph, parameters)
    parts = [_run_batch(graph, spec, codes[at], Draws(seed, sample_ids[at], settings), keep) for at in batches(graph, spec, len(codes))]
    kept = {name: np.concatenate([p.tensors[name] for p in parts]) for name in keep}
    return Result(np.concatenate([p.logits for p in parts]), np.concatenate([p.labels for p in parts]), kept)


def batches(graph: IntegerGraph, head: Head, items: int) -> list[slice]:
    """What to evaluate together, one batch at least: shared by every backend that takes arrays."""
    largest = max(graph.tensors[name].size for name in (head.input, *(node.output for node in graph.path(head.name))))
    size = max(1, min(BATCH, BATCH_VALUES // largest))
    return [slice(at, at + size) for at in range(0, max(items, 1), size)]


def check_inputs(graph: IntegerGraph, head: Head, codes: NDArray[Any], samples: ArrayLike | None, seed: int) -> NDArray[np.uint32]:
    """The sample ids to use, after checking codes against the head, and the seed. Shared by every backend that takes arrays."""
    tensor = graph.tensors[head.input]
    if codes.dtype != np.dtype(tensor.dtype) or codes.shape[1:] != tensor.shape:
        raise ShapeError(
            f"head '{head.name}' takes {tensor.dtype} (batch, {', '.join(map(str, tensor.shape))}), got {codes.dtype} {codes.shape}"
        )
    check_seed(seed)
    ids = np.arange(len(codes)) if samples is None else np.asarray(samples)
    if ids.shape != (len(codes),):
        raise ShapeError(f"samples must be ({len(codes)},), one id per item, got {ids.shape}")
    if ids.size and (ids.dtype.kind not in "iu" or int(ids.min()) < 0 or int(ids.max()) >= 2**32):
        raise ShapeError(f"sample ids must be uint32, 0..{2**32 - 1}; got {ids.dtype} {ids.min()}..{ids.max()}")
    return ids.astype(np.uint32)


def check_keep(graph: IntegerGraph, head: Head, keep: tuple[str, ...]) -> None:
    """Raises GraphError where a head does not compute a tensor that was asked for."""
    have = {node.output for node in graph.path(head.name)}
    for name in keep:
        if name not in have:
            raise GraphError(
                f"head '{head.name}' of graph '{graph.name}' computes no tensor '{name}'; it computes {', '.join(sorted(have))}"
            )


def check_parameters(graph: IntegerGraph, parameters: Mapping[str, int] | None) -> dict[str, int]:
    """The k of every ThermalNoise node of the graph, by name: what is stored, or what `parameters` says.

    Raises GraphError for a name that is no ThermalNoise node, or a k outside 0..k_max.
    """
    stored = {node.name: parameter for node in graph.nodes if (parameter := node.parameter()) is not None}
    for name, k in (parameters or {}).items():
        if name not in stored:
            have = ", ".join(stored) or "none"
            raise GraphError(f"graph '{graph.name}' has no run-time parameter '{name}'; its ThermalNoise nodes: {have}", name)
        if not 0 <= k <= stored[name][1]:
            raise GraphError(f"node '{name}': k = {k} is outside 0..{stored[name][1]}, within which no sum overflows", name)
    return {name: k for name, (k, _) in stored.items()} | {name: int(k) for name, k in (parameters or {}).items()}


def readout_input(graph: IntegerGraph, head: Head) -> str:
    """What the last matrix of a head reads: the tensor that the state hash covers."""
    return next(node.input for node in reversed(graph.path(head.name)) if node.matrix_scale(graph) is not None)


def state_hash(read: NDArray[np.int8], logits: NDArray[np.int32]) -> NDArray[np.uint32]:
    """Per item, CRC-32 (zlib's) of what the readout read, then of the logits, little-endian; (batch,) uint32.

    read: (batch, n) int8; logits: (batch, outputs) int32. Devices report the same number for their last inference.
    """
    words = np.ascontiguousarray(logits, "<i4")
    return np.array([zlib.crc32(w.tobytes(), zlib.crc32(r.tobytes())) for r, w in zip(read, words, strict=True)], np.uint32)


def _run_batch(graph: IntegerGraph, head: Head, codes: NDArray[Any], draws: Draws, keep: tuple[str, ...]) -> Result:
    tensors: dict[str, NDArray[Any]] = {head.input: codes}
    for node in graph.path(head.name):
        tensors[node.output] = node.evaluate(graph, tensors, draws)
    return Result(tensors[head.logits], tensors[head.label].squeeze(1), {name: tensors[name] for name in keep})
