"""The NumPy interpreter of integer graphs: the semantics in executable form, vectorised over the batch.

Enters: a validated graph, codes (batch, ...) in the head's input dtype, sample ids, a seed. Leaves: logits int32,
classes uint16 and, on request, every tensor. All other targets are compared with this one, integer for integer.
Source: docs/semantics.md.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.rounding import rounded_shift, saturate16
from edgechaos.arithmetic.seeds import check_seed
from edgechaos.graph import evaluate_nodes
from edgechaos.graph.integer_graph import (
    Q15,
    ArgMax,
    AveragePool,
    ChaosLayer,
    Conv,
    EmbeddingBag,
    Head,
    IntegerGraph,
    Lut,
    MatMul,
    MaxPool,
    Node,
    Readout,
    Requantize,
    ThermalNoise,
    TopK,
)
from edgechaos.graph.signals import require_finite
from edgechaos.support.errors import GraphError, ShapeError

BATCH = 256
"""Samples evaluated together: large enough to vectorise, small enough that the random words stay in cache."""


@dataclass(frozen=True, slots=True)
class Result:
    """logits (batch, outputs) int32, labels (batch,) uint16, and the tensors that were asked for, batch first."""

    logits: NDArray[np.int32]
    labels: NDArray[np.uint16]
    tensors: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Draws:
    """What a run depends on besides graph and codes: seed, the caller's sample ids (batch,) uint32, run-time parameters."""

    seed: int
    samples: NDArray[np.uint32]
    parameters: Mapping[str, int]


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
    parts = [
        _run_batch(graph, spec, codes[i : i + BATCH], Draws(seed, sample_ids[i : i + BATCH], settings), keep)
        for i in range(0, max(len(codes), 1), BATCH)
    ]
    kept = {name: np.concatenate([p.tensors[name] for p in parts]) for name in keep}
    return Result(np.concatenate([p.logits for p in parts]), np.concatenate([p.labels for p in parts]), kept)


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
    nodes = {node.name: node for node in graph.nodes if isinstance(node, ThermalNoise)}
    for name, k in (parameters or {}).items():
        if name not in nodes:
            have = ", ".join(nodes) or "none"
            raise GraphError(f"graph '{graph.name}' has no run-time parameter '{name}'; its ThermalNoise nodes: {have}", name)
        if not 0 <= k <= nodes[name].k_max:
            raise GraphError(f"node '{name}': k = {k} is outside 0..{nodes[name].k_max}, within which no sum overflows", name)
    return {name: node.k for name, node in nodes.items()} | {name: int(k) for name, k in (parameters or {}).items()}


def readout_input(graph: IntegerGraph, head: Head) -> str:
    """What the last matrix of a head reads: the tensor that the state hash covers."""
    return next(node.input for node in reversed(graph.path(head.name)) if isinstance(node, MatMul))


def state_hash(read: NDArray[np.int8], logits: NDArray[np.int32]) -> NDArray[np.uint32]:
    """Per item, CRC-32 (zlib's) of what the readout read, then of the logits, little-endian; (batch,) uint32.

    read: (batch, n) int8; logits: (batch, outputs) int32. Devices report the same number for their last inference.
    """
    words = np.ascontiguousarray(logits, "<i4")
    return np.array([zlib.crc32(w.tobytes(), zlib.crc32(r.tobytes())) for r, w in zip(read, words, strict=True)], np.uint32)


def _run_batch(graph: IntegerGraph, head: Head, codes: NDArray[Any], draws: Draws, keep: tuple[str, ...]) -> Result:
    tensors: dict[str, NDArray[Any]] = {head.input: codes}
    for node in graph.path(head.name):
        if isinstance(node, ChaosLayer):
            tensors[node.output] = _chaos(graph, node, tensors[node.input], draws)
        elif isinstance(node, ThermalNoise):
            tensors[node.output] = _thermal(graph, node, tensors, draws)
        else:
            tensors[node.output] = _FEED_FORWARD[type(node)](graph, node, tensors[node.input])
    return Result(tensors[head.logits], tensors[head.label][:, 0], {name: tensors[name] for name in keep})


def _noise(graph: IntegerGraph, node: ChaosLayer, draws: Draws) -> NDArray[np.int32] | np.int32:
    if node.sigma is None:
        return np.int32(0)
    sigma = graph.value(node.sigma)
    word = random_bits.words(draws.seed, node.noise_stream, draws.samples, node.ticks, len(sigma))
    return rounded_shift(random_bits.gaussian(word).astype(np.int32) * sigma, node.sigma_shift)


def _chaos(graph: IntegerGraph, node: ChaosLayer, x: NDArray[Any], draws: Draws) -> NDArray[Any]:
    if node.sampling != "ticks":
        return _chaos_sampled(graph, node, x, draws)
    drive = x if x.ndim == 3 else x[:, None, :]
    word = random_bits.words(draws.seed, node.fail_stream, draws.samples, node.ticks, x.shape[-1])
    lost = random_bits.lost(word, node.fail_q)
    noise = _noise(graph, node, draws)
    if node.mode == "parallel":
        spikes = deliver(graph, node, drive + noise > graph.value(node.threshold), lost)
    else:
        spikes = _stateful(graph, node, np.broadcast_to(drive, lost.shape), np.broadcast_to(noise, lost.shape), lost)
    codes = spikes.astype(np.int8)
    return codes if node.emit == "spikes" else codes.sum(axis=1, dtype=np.int8)


def deliver(graph: IntegerGraph, node: ChaosLayer, fired: NDArray[np.bool_], lost: NDArray[np.bool_] | bool) -> NDArray[np.bool_]:
    """Delivered spikes: fired and neither lost nor dead, or stuck at 1. Shapes (..., neurons)."""
    spikes = fired & ~np.asarray(lost)
    if node.dead is not None:
        spikes &= graph.value(node.dead) == 0
    if node.stuck is not None:
        spikes |= graph.value(node.stuck) == 1
    return spikes


@dataclass(slots=True)
class ChaosState:
    """Of a stateful layer between ticks, both (batch, neurons) int32: membrane within int16, refractory 0..32768."""

    membrane: NDArray[np.int32]
    refractory: NDArray[np.int32]


def chaos_tick(
    graph: IntegerGraph, node: ChaosLayer, state: ChaosState, drive: NDArray[np.int32], lost: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Advance one stateful layer by one tick; every product is within int32.

        m <- sat16(m + drive);  m <- (m * (2^15 - r) + 2^14) >> 15;  s = m > threshold, delivered
        r <- min(2^15, ((r * refractory_decay + 2^14) >> 15) + 2^15 * s);  m <- (m * (2^15 - decay) + 2^14) >> 15

    drive: noise included; all arrays (batch, neurons). Returns the delivered spikes; `state` is updated in place.
    """
    membrane = rounded_shift(saturate16(state.membrane + drive) * (Q15 - state.refractory), 15)
    spikes = deliver(graph, node, membrane > graph.value(node.threshold), lost)
    refilled = rounded_shift(state.refractory * np.int32(node.refractory_decay_q15), 15) + np.int32(Q15) * spikes
    state.refractory = np.minimum(np.int32(Q15), refilled)
    state.membrane = rounded_shift(membrane * np.int32(Q15 - node.decay_q15), 15)
    return spikes


def _stateful(
    graph: IntegerGraph, node: ChaosLayer, drive: NDArray[Any], noise: NDArray[Any], lost: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    batch, ticks, neurons = lost.shape
    state = ChaosState(np.zeros((batch, neurons), np.int32), np.zeros((batch, neurons), np.int32))
    return np.stack([chaos_tick(graph, node, state, drive[:, t] + noise[:, t], lost[:, t]) for t in range(ticks)], axis=1)


def _chaos_sampled(graph: IntegerGraph, node: ChaosLayer, x: NDArray[Any], draws: Draws) -> NDArray[Any]:
    fires = deliver(graph, node, x > graph.value(node.threshold), False)
    if node.sampling == "expected":
        return fires.astype(np.int8)
    word = random_bits.words(draws.seed, node.fail_stream, draws.samples, 1, x.shape[-1])[:, 0]
    table = random_bits.binomial_table(node.ticks, node.fail_q)
    return (np.searchsorted(table, word >> np.uint32(1), side="right") * fires).astype(np.int8)


def _thermal(graph: IntegerGraph, node: ThermalNoise, tensors: Mapping[str, NDArray[Any]], draws: Draws) -> NDArray[Any]:
    k = draws.parameters[node.name]
    return evaluate_nodes.thermal_noise(node, tensors[node.input], tensors[node.codes], k, draws.seed, draws.samples)


_FEED_FORWARD: Mapping[type[Node], Callable[[IntegerGraph, Node, NDArray[Any]], NDArray[Any]]] = {
    MatMul: evaluate_nodes.matmul,
    Readout: evaluate_nodes.matmul,
    Conv: evaluate_nodes.conv,
    MaxPool: evaluate_nodes.pool,
    AveragePool: evaluate_nodes.pool,
    EmbeddingBag: evaluate_nodes.embedding_bag,
    Requantize: evaluate_nodes.requantized,
    Lut: evaluate_nodes.lut,
    TopK: evaluate_nodes.topk,
    ArgMax: evaluate_nodes.argmax,
}
"""What depends on its one input alone; ChaosLayer and ThermalNoise draw random words besides."""
