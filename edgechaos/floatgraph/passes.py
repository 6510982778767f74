"""Passes over the float description, before quantization: pure functions FloatModel -> FloatModel, validated after each.

They change how a network is computed, never what: products of float64 matrices are exact to rounding, and are taken
before anything is quantized, so that spikes stay binary between layers. Source: docs/semantics.md, "ChaosLayer"
and "MatMul, Readout".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edgechaos.floatgraph.float_model import FloatHead, FloatModel
from edgechaos.floatgraph.float_nodes import Array, BatchNorm, Conv, FloatNode, Lut, MatMul, Normalize, Thermal
from edgechaos.graph import signals
from edgechaos.support.errors import GraphError, UnsupportedError

Pass = Callable[[FloatModel], FloatModel]

PIXEL_CODE = 2.0 / 255.0
"""The intensity of one input code: pixels 0..255 enter as x >> 1, so code c stands for the pixel 2c."""


def prune_unread(model: FloatModel) -> FloatModel:
    """Drop every node that no head needs: the last layer's `recurrent`, which the readout bypasses, is dead weight."""
    needed = {node.name for head in model.heads for node in model.path(head)}
    return replace(model, nodes=tuple(n for n in model.nodes if n.name in needed)).validate()


def fold_linear(model: FloatModel) -> FloatModel:
    """Merge a MatMul into the MatMul that alone reads it: W = W2 W1, b = W2 b1 + b2.

    This joins the recurrent matrix of one spiking layer with the input matrix of the next, so inputs stay binary. What heads share
    merges only with what they share: the product of a head's own matrix would be another one for every head.
    """
    while (merged := _merge_first(model)) is not None:
        model = merged
    return model.validate()


def _merge_first(model: FloatModel) -> FloatModel | None:
    """The model with one pair merged; None where there is none. Not validated: of what heads share, one may be merged and one not yet."""
    for first in model.nodes:
        readers = model.readers(first.name)
        if type(first) is not MatMul or len(readers) != 1 or type(readers[0]) is not MatMul:
            continue
        second = readers[0]
        if (first.shared is None) != (second.shared is None):
            continue
        bias = second.bias
        if first.bias is not None:
            bias = second.weight @ first.bias + (0.0 if second.bias is None else second.bias)
        merged = MatMul(second.name, first.input, second.weight @ first.weight, bias, second.shared)
        return replace(model, nodes=tuple(merged if n is second else n for n in model.nodes if n is not first))
    return None


def fold_batch_norm(model: FloatModel) -> FloatModel:
    """Merge each batch normalization into the convolution before it: W' = scale W, b' = scale b + offset, per channel.

    Raises UnsupportedError for one that follows anything else, or a convolution that something else reads too.
    """
    nodes: dict[str, FloatNode] = {n.name: n for n in model.nodes}
    for node in model.nodes:
        if isinstance(node, BatchNorm):
            conv = model.node(node.input)
            if not isinstance(conv, Conv) or len(model.readers(conv.name)) != 1:
                raise UnsupportedError(f"node '{node.name}': batch normalization folds into a convolution that it alone reads", node.name)
            weight = conv.weight * node.scale[:, None, None, None]
            bias = node.offset + (0.0 if conv.bias is None else node.scale * conv.bias)
            nodes[node.name] = replace(conv, name=node.name, weight=weight, bias=bias)
            del nodes[conv.name]
    return replace(model, nodes=tuple(nodes.values())).validate()


def fold_normalization(model: FloatModel) -> FloatModel:
    """Fold the normalization of pixels or signals into the linear layers that read it; inputs become codes c.

    Pixels enter as c = x >> 1:  W (2c/255 - mean) / std + b  =  (W g) (step c) + (b - W mean / std),  step = the mean of 2 / (255 std),
    g = 2 / (255 std step): 1 where all inputs share one std. A zero pixel stays code 0, so event-driven kernels skip it. The code of a
    signal is 0 at its mean, and a normalized 4 / 127 more for each code: of mean and std nothing is left.
    What pads (a convolution) or takes a norm of its input (thermal noise) needs the normalized values themselves: a table of
    all codes goes before it. Raises UnsupportedError where anything else reads the normalized pixels.
    """
    heads = {head.input: head for head in model.heads}
    nodes: dict[str, FloatNode] = {n.name: n for n in model.nodes}
    for node in model.nodes:
        if not isinstance(node, Normalize):
            continue
        if node.input not in heads or heads[node.input].encoding.kind not in ("pixels", "signals"):
            raise UnsupportedError(f"node '{node.name}': only the pixels or signals that enter a head can be normalized", node.name)
        gain, offset = _of_codes(node, heads[node.input])
        readers = model.readers(node.name)
        if any(isinstance(r, Conv) or any(isinstance(n, Thermal) for n in model.readers(r.name)) for r in readers):
            nodes[node.name] = _table(node, heads[node.input])
            continue
        step = float(gain.mean())
        for reader in readers:
            if type(reader) is not MatMul:
                raise UnsupportedError(f"node '{reader.name}': its input's normalization folds into a linear layer only", reader.name)
            if reader.shared is not None:
                raise UnsupportedError(
                    f"node '{reader.name}': shares its weights, which cannot take in one head's normalization; put a layer before it",
                    reader.name,
                )
            bias = -reader.weight @ offset + (0.0 if reader.bias is None else reader.bias)
            nodes[reader.name] = MatMul(reader.name, node.input, reader.weight * (gain / step), bias)
        del nodes[node.name]
        heads[node.input] = replace(heads[node.input], step=step)
    return replace(model, nodes=tuple(nodes.values()), heads=tuple(heads[h.input] for h in model.heads)).validate()


def _of_codes(node: Normalize, head: FloatHead) -> tuple[Array, Array]:
    """(gain, offset): a code c is normalized to gain c - offset, per input."""
    if head.encoding.kind == "signals":
        return np.full(head.size, signals.CODE), np.zeros(head.size)
    return PIXEL_CODE / node.std, node.mean / node.std


def _table(node: Normalize, head: FloatHead) -> Lut:
    """One row for all inputs where they share mean and std, else one per entry of axis 0. Codes below 0 are never pixels."""
    codes = np.arange(-128, 128, dtype=np.float64)
    if head.encoding.kind == "signals":
        return Lut(node.name, node.input, signals.CODE * codes)
    mean, std = (v.reshape(head.shape[0], -1) for v in (node.mean, node.std))
    if any((v != v[:, :1]).any() for v in (mean, std)):
        raise UnsupportedError(f"node '{node.name}': mean and std must be one per channel for a layer that pads its input", node.name)
    values = (PIXEL_CODE * codes - mean[:, :1]) / std[:, :1]
    values[:, :128] = values[:, 128:129]
    return Lut(node.name, node.input, values[0] if (values == values[0]).all() else values)


def order(model: FloatModel) -> FloatModel:
    """Sort the nodes so that each stands after what it reads; the given order is kept where it may be.

    Raises GraphError for a cycle or an input that nobody writes.
    """
    written, waiting, done = {head.input for head in model.heads}, list(model.nodes), []
    while waiting:
        ready = next((n for n in waiting if written.issuperset(n.inputs())), None)
        if ready is None:
            missing = next(t for t in waiting[0].inputs() if t not in written)
            raise GraphError(f"node '{waiting[0].name}': '{missing}' is never written, or depends on itself", waiting[0].name)
        waiting.remove(ready)
        written.add(ready.name)
        done.append(ready)
    return replace(model, nodes=tuple(done)).validate()


def fold(model: FloatModel) -> FloatModel:
    """All passes that quantization needs, in their order: sort, prune, batch-norm fold, chain-fold, input fold."""
    passes: tuple[Pass, ...] = (order, prune_unread, fold_batch_norm, fold_linear, fold_normalization)
    for apply in passes:
        model = apply(model)
    return model
