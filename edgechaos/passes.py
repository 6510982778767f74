"""Passes over the float description, before quantization: pure functions FloatModel -> FloatModel, validated after each.

They change how a network is computed, never what: products of float64 matrices are exact to rounding, and are taken
before anything is quantized, so that spikes stay binary between layers. Source: docs/semantics.md, "Chained ChaosLayers"
and "Linear".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edgechaos.errors import GraphError, UnsupportedError
from edgechaos.quantize.float_model import FloatModel, FloatNode, Linear, Normalize

Pass = Callable[[FloatModel], FloatModel]

PIXEL_CODE = 2.0 / 255.0
"""The intensity of one input code: pixels 0..255 enter as x >> 1, so code c stands for the pixel 2c."""


def prune_unread(model: FloatModel) -> FloatModel:
    """Drop every node that no head needs: the last layer's `recurrent`, which the readout bypasses, is dead weight."""
    needed = {head.logits for head in model.heads}
    for node in reversed(model.nodes):
        if node.name in needed:
            needed.add(node.input)
    return replace(model, nodes=tuple(n for n in model.nodes if n.name in needed)).validate()


def fold_linear(model: FloatModel) -> FloatModel:
    """Merge a Linear into the Linear that alone reads it: W = W2 W1, b = W2 b1 + b2.

    This joins the recurrent matrix of one spiking layer with the input matrix of the next, so inputs stay binary.
    """
    for first in model.nodes:
        readers = model.readers(first.name)
        if type(first) is not Linear or len(readers) != 1 or type(readers[0]) is not Linear:
            continue
        second = readers[0]
        bias = second.bias
        if first.bias is not None:
            bias = second.weight @ first.bias + (0.0 if second.bias is None else second.bias)
        merged = Linear(second.name, first.input, second.weight @ first.weight, bias)
        nodes = tuple(merged if n is second else n for n in model.nodes if n is not first)
        return fold_linear(replace(model, nodes=nodes).validate())
    return model


def fold_normalization(model: FloatModel) -> FloatModel:
    """Fold (x / 255 - mean) / std over pixels into the linear layers that read it; inputs become codes x >> 1.

    W (2c/255 - mean) / std + b  =  (W g) (step c) + (b - W mean / std),  step = the mean of 2 / (255 std),
    g = 2 / (255 std step): 1 where all inputs share one std. A zero pixel stays code 0, so event-driven kernels skip it.
    Raises UnsupportedError where something else than a linear layer reads the normalized pixels.
    """
    heads = {head.input: head for head in model.heads}
    nodes: dict[str, FloatNode] = {n.name: n for n in model.nodes}
    for node in model.nodes:
        if not isinstance(node, Normalize):
            continue
        if node.input not in heads or heads[node.input].encoding.kind != "pixels":
            raise UnsupportedError(f"node '{node.name}': only the pixels that enter a head can be normalized", node.name)
        gain = PIXEL_CODE / node.std
        step = float(gain.mean())
        for reader in model.readers(node.name):
            if type(reader) is not Linear:
                raise UnsupportedError(f"node '{reader.name}': its input's normalization folds into a linear layer only", reader.name)
            bias = -reader.weight @ (node.mean / node.std) + (0.0 if reader.bias is None else reader.bias)
            nodes[reader.name] = Linear(reader.name, node.input, reader.weight * (gain / step), bias)
        del nodes[node.name]
        heads[node.input] = replace(heads[node.input], step=step)
    return replace(model, nodes=tuple(nodes.values()), heads=tuple(heads[h.input] for h in model.heads)).validate()


def order(model: FloatModel) -> FloatModel:
    """Sort the nodes so that each stands after what it reads; the given order is kept where it may be.

    Raises GraphError for a cycle or an input that nobody writes.
    """
    written, waiting, done = {head.input for head in model.heads}, list(model.nodes), []
    while waiting:
        ready = next((n for n in waiting if n.input in written), None)
        if ready is None:
            raise GraphError(f"node '{waiting[0].name}': '{waiting[0].input}' is never written, or depends on itself", waiting[0].name)
        waiting.remove(ready)
        written.add(ready.name)
        done.append(ready)
    return replace(model, nodes=tuple(done)).validate()


def fold(model: FloatModel) -> FloatModel:
    """All passes that quantization needs, in their order: sort, prune, chain-fold, input fold."""
    passes: tuple[Pass, ...] = (order, prune_unread, fold_linear, fold_normalization)
    for apply in passes:
        model = apply(model)
    return model
