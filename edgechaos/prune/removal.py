"""Pruning: smallest weights to zero; neurons and channels that carry least removed with their rows, columns and thresholds.

A folded FloatModel (`edgechaos.floatgraph.passes.fold`) and the measured activity of its neurons give a smaller FloatModel, validated,
whose metadata say what was removed. Pure functions; nothing here needs torch. What is a neuron, and who goes first, stands in
`edgechaos.prune.criteria`.

Removing neurons renumbers those that stay, from 0 in each layer. Random words count neurons, so noise and losses are drawn for the
new numbers, and fault plans name them. Neurons that never act leave the integer graph instead (`edgechaos.prune.silent`), where nothing
is quantized anew: without noise and losses that changes no logit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.floatgraph.float_model import FloatModel
from edgechaos.floatgraph.float_nodes import ChaosLayer, Conv, FloatNode, MatMul, TopK
from edgechaos.prune.criteria import (
    DEFAULT,
    Criterion,
    NeuronActivity,
    columns,
    joined_moment,
    neuron_layers,
    neuron_scores,
    over_heads,
    takeover,
    weight_scores,
)
from edgechaos.support.errors import GraphError, UnsupportedError

RENUMBERED = "kept neurons are numbered from 0 in each layer; random words and fault sites follow the new numbers"


def prune_weights(model: FloatModel, share: float, scores: Mapping[str, NDArray[np.float64]] | None = None) -> FloatModel:
    """Set the `share` of least weights of every matrix and convolution to 0; among equals the first go, row by row.

    scores: of `weight_scores`; by default |weight|. Zeros are stored like any weight: flash and time stay, accuracy under them is
    what is bought. Fine-tuning keeps them 0. Raises UnsupportedError for a share outside [0, 1).
    """
    _check_share("weights", share)
    worth = weight_scores(model, "magnitude", {}) if scores is None else scores

    def sparse(node: FloatNode) -> FloatNode:
        if not isinstance(node, MatMul | Conv):
            return node
        weight = node.weight.copy()
        weight.flat[_least(worth[node.name], share)] = 0.0
        return replace(node, weight=weight)

    return _noted(replace(model, nodes=tuple(sparse(n) for n in model.nodes)), {"weights": share})


def prune_neurons(model: FloatModel, activity: Mapping[str, NeuronActivity], share: float, by: Criterion = DEFAULT) -> FloatModel:
    """Remove from every layer the `share` of neurons that is worth least; others take their place.

    activity: by matrix name, as `edgechaos.quantize.importance.activity` measures it; layers without one stay whole. What never acts
    leaves the integer graph (`edgechaos.prune.silent`). Raises UnsupportedError as `least_neurons`.
    """
    removed = least_neurons(model, neuron_scores(model, by, activity), share)
    smaller = remove_neurons(model, removed, activity)
    return _noted(smaller, {"neurons": share, "by": by})


def least_neurons(model: FloatModel, scores: Mapping[str, NDArray[np.float64]], share: float) -> dict[str, NDArray[np.bool_]]:
    """Masks (n,) of exactly round(share * n) neurons of each layer, those of least score; one neuron always stays.

    Raises UnsupportedError for a share outside [0, 1), or above 0 of a model without such layers.
    """
    _check_share("neurons", share)
    if not scores and share:
        residual = ": residual connections hold them together" if any(len(n.inputs()) > 1 for n in model.nodes) else ""
        raise UnsupportedError(f"model '{model.name}' has no hidden neurons to remove{residual}; prune its weights instead")
    masks = {name: np.zeros(len(worth), bool) for name, worth in scores.items()}
    for name, mask in masks.items():
        mask[_least(scores[name], share)[: len(mask) - 1]] = True
    return masks


def remove_neurons(
    model: FloatModel, removed: Mapping[str, NDArray[np.bool_]], activity: Mapping[str, NeuronActivity] | None = None
) -> FloatModel:
    """The model without the neurons of each mask (n,), by matrix name: rows, biases, thresholds and the columns that read them.

    activity: where given, those that stay take over in their readers what they can of those that go (`takeover`, of neurons that heads
    share by the moments of all of them), and what then is missing on average goes into the readers' biases, as in Mean replacement
    pruning (openreview.net/forum?id=BJxRVnC5Fm, 2018). Without, their part is lost.
    What stays is renumbered from 0; the metadata keep the old numbers as `pruning.kept`. A k-WTA layer of n < k neurons keeps n.
    Raises GraphError for a mask that fits no layer, UnsupportedError where none of a layer's neurons would be left.
    """
    layers = {layer.matrix: layer for layer in neuron_layers(model)}
    moments = over_heads(model, {name: activity[name].moment for name in removed if name in layers} if activity else {}, joined_moment)
    nodes = {n.name: n for n in model.nodes}
    before: Mapping[str, list[int]] = model.metadata.get("pruning", {}).get("kept", {})
    kept_units = dict(before)
    for name, mask in removed.items():
        matrix = nodes.get(name)
        if name not in layers or not isinstance(matrix, MatMul | Conv) or mask.shape != matrix.weight.shape[:1]:
            raise GraphError(f"no layer '{name}' has {len(mask)} neurons to remove; use {', '.join(layers) or 'another model'}", name)
        kept = np.flatnonzero(~mask)
        if not len(kept):
            raise UnsupportedError(f"layer '{name}': no neuron would be left of {len(mask)}; remove fewer, or train it again", name)
        nodes[name] = replace(matrix, weight=matrix.weight[kept], bias=None if matrix.bias is None else matrix.bias[kept])
        for inner in layers[name].inside:
            nodes[inner] = _narrowed(nodes[inner], len(kept))
        for reader in layers[name].readers:
            if activity is not None and mask.any():
                nodes[reader] = taken_over(nodes[reader], mask, takeover(moments[name], mask), activity[name].mean)
            nodes[reader] = _without_columns(nodes[reader], mask)
        original = before.get(name, range(len(mask)))
        kept_units[name] = [int(original[i]) for i in kept]
    return _noted(replace(model, nodes=tuple(nodes.values())), {"kept": kept_units, "numbering": RENUMBERED})


def _without_columns(reader: FloatNode, removed: NDArray[np.bool_]) -> FloatNode:
    assert isinstance(reader, MatMul | Conv)
    if isinstance(reader, Conv):
        return replace(reader, weight=reader.weight[:, ~removed])
    return replace(reader, weight=columns(reader, len(removed))[:, ~removed].reshape(len(reader.weight), -1))


def taken_over(reader: FloatNode, removed: NDArray[np.bool_], shares: NDArray[np.float64], mean: NDArray[np.float64]) -> FloatNode:
    """The reader with `shares` (kept, removed) of the removed neurons' weights on the kept ones, the rest of their mean in its bias."""
    assert isinstance(reader, MatMul | Conv)
    weight = columns(reader, len(removed)).copy()
    gone = weight[:, removed]
    weight[:, ~removed] += np.einsum("orp,kr->okp", gone, shares)
    missing = mean[removed] - np.tensordot(shares.T, mean[~removed], axes=1)
    part = (gone * _seen(reader, missing)).sum(axis=(1, 2))
    return replace(reader, weight=weight.reshape(reader.weight.shape), bias=part if reader.bias is None else reader.bias + part)


def _seen(reader: MatMul | Conv, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, positions): what each weight of a reader multiplies when `mean` is sent, of a convolution on average over its positions.

    At the border a kernel reads zeros of the padding: they count, but the one bias cannot follow them.
    """
    if isinstance(reader, Conv):
        rows, cols = reader.pad
        padded = np.pad(mean, ((0, 0), (rows, rows), (cols, cols)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, reader.weight.shape[2:], axis=(1, 2))
        mean = windows[:, :: reader.stride[0], :: reader.stride[1]].mean(axis=(1, 2))
    return mean.reshape(len(mean), -1)


def _narrowed(node: FloatNode, neurons: int) -> FloatNode:
    if isinstance(node, ChaosLayer):
        return replace(node, neurons=neurons)
    return replace(node, k=min(node.k, neurons)) if isinstance(node, TopK) else node


def _noted(model: FloatModel, facts: Mapping[str, Any]) -> FloatModel:
    pruning = {**model.metadata.get("pruning", {}), **facts}
    return replace(model, metadata={**model.metadata, "pruning": pruning}).validate()


def _least(scores: NDArray[np.float64], share: float) -> NDArray[np.intp]:
    """Flat indices of the round(share * n) least scores, in that order; among equals the first."""
    return np.argsort(scores, axis=None, kind="stable")[: int(share * scores.size + 0.5)]


def _check_share(what: str, share: float) -> None:
    if not 0.0 <= share < 1.0:
        raise UnsupportedError(f"cannot prune a share of {share} of the {what}; use one of at least 0 and below 1")
