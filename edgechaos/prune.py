"""Pruning: smallest weights to zero; neurons and channels that carry least removed with their rows, columns and thresholds.

Enters: a folded FloatModel (`edgechaos.passes.fold`) and the measured activity of its neurons. Leaves: a smaller FloatModel, validated,
whose metadata say what was removed. Pure functions; nothing here needs torch. Neurons are the outputs of a Linear, or the channels of
a Conv, that pass through spikes, activations or pooling into other matrices; embeddings and logits stay. What is least is for a
criterion to say: `neuron_scores`, `weight_scores`.

Removing neurons renumbers those that stay, from 0 in each layer. Random words count neurons, so noise and losses are drawn for the
new numbers, and fault plans name them: without noise and losses, removing neurons that never fire, act or win changes no logit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgechaos import random_bits
from edgechaos.errors import GraphError, UnsupportedError
from edgechaos.quantize.float_model import Conv, FloatModel, FloatNode, Gelu, Linear, Pool, Relu, Spiking, Thermal, Winners

Criterion = Literal["current", "magnitude", "random"]
CRITERIA: tuple[Criterion, ...] = ("current", "magnitude", "random")
RANDOM_STREAM = 0x80000
"""Of the control that removes by chance; node i of the model draws from RANDOM_STREAM + i."""

BETWEEN = (Spiking, Relu, Gelu, Winners, Thermal, Pool)
RENUMBERED = "kept neurons are numbered from 0 in each layer; random words and fault sites follow the new numbers"


@dataclass(frozen=True, slots=True)
class NeuronLayer:
    """One layer of removable neurons by node names: `matrix` computes what enters them, `output` is what they send to `readers`."""

    matrix: str
    inside: tuple[str, ...]
    output: str
    readers: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class NeuronActivity:
    """Per neuron or channel (n,), over items, ticks and positions: current_in = mean |sum that enters|, current_out = mean |value sent|."""

    current_in: NDArray[np.float64]
    current_out: NDArray[np.float64]

    @property
    def importance(self) -> NDArray[np.float64]:
        """current_in * current_out, 0 for the dead."""
        return self.current_in * self.current_out

    @property
    def dead(self) -> NDArray[np.bool_]:
        """Never sent anything but 0."""
        return self.current_out == 0


def neuron_layers(model: FloatModel) -> tuple[NeuronLayer, ...]:
    """The layers of a folded model whose neurons can be removed, in execution order."""
    found = (_layer(model, node) for node in model.nodes if type(node) in (Linear, Conv))
    return tuple(layer for layer in found if layer is not None)


def _layer(model: FloatModel, matrix: FloatNode) -> NeuronLayer | None:
    inside: list[str] = []
    readers = model.readers(matrix.name)
    while len(readers) == 1 and isinstance(readers[0], BETWEEN):
        inside.append(readers[0].name)
        readers = model.readers(readers[0].name)
    if not inside or not readers or not all(isinstance(r, Linear | Conv) for r in readers):
        return None
    return NeuronLayer(matrix.name, tuple(inside), inside[-1], tuple(r.name for r in readers))


def _matrix(model: FloatModel, name: str) -> Linear | Conv:
    node = model.node(name)
    assert isinstance(node, Linear | Conv)
    return node


def neuron_scores(
    model: FloatModel, criterion: Criterion, activity: Mapping[str, NeuronActivity], seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """What each neuron (n,) of a folded model is worth, by matrix name; the least go first.

    current: `NeuronActivity.importance`. magnitude: the Euclidean norm of the weights that enter times that of the weights that
    leave, which no rescaling between the two moves; after Li et al., Pruning filters for efficient ConvNets, ICLR 2017, who take
    the weights that enter. random: the control, by `seed`. The last two read no activity but its layers.
    """

    def score(layer: NeuronLayer) -> NDArray[np.float64]:
        weight = _matrix(model, layer.matrix).weight
        if criterion == "current":
            return activity[layer.matrix].importance
        if criterion == "random":
            return _by_chance(model, layer.matrix, seed, len(weight))
        leaving = np.hstack([_columns(_matrix(model, r), len(weight)) for r in layer.readers])
        norms = (np.linalg.norm(w.reshape(len(weight), -1), axis=1) for w in (weight, leaving))
        return np.asarray(np.multiply(*norms), np.float64)

    return {layer.matrix: score(layer) for layer in neuron_layers(model) if layer.matrix in activity}


def _columns(reader: Linear | Conv, neurons: int) -> NDArray[np.float64]:
    """The weights (neurons, all that read one) by which a matrix reads a layer; a Linear may read an image, row-major."""
    return reader.weight.reshape(len(reader.weight), neurons, -1).swapaxes(0, 1).reshape(neurons, -1)


def _by_chance(model: FloatModel, name: str, seed: int, count: int) -> NDArray[np.float64]:
    stream = RANDOM_STREAM + [node.name for node in model.nodes].index(name)
    return random_bits.words(seed, stream, [0], 1, count)[0, 0].astype(np.float64)


def weight_scores(
    model: FloatModel, criterion: Criterion, currents: Mapping[str, NDArray[np.float64]], seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """What each weight of every matrix and convolution is worth, in the shape of the weights.

    magnitude: |w|. current: |w| times the mean |value| that enters it, as in Sun et al., A simple and effective pruning approach
    for large language models, ICLR 2024. random: the control. currents: by name, (in,), (C,) for a convolution.
    """

    def score(node: Linear | Conv) -> NDArray[np.float64]:
        if criterion == "random":
            return _by_chance(model, node.name, seed, node.weight.size).reshape(node.weight.shape)
        size = np.abs(node.weight)
        return size if criterion == "magnitude" else size * currents[node.name].reshape(1, -1, *(1,) * (size.ndim - 2))

    return {node.name: score(node) for node in model.nodes if isinstance(node, Linear | Conv)}


def prune_weights(model: FloatModel, share: float, scores: Mapping[str, NDArray[np.float64]] | None = None) -> FloatModel:
    """Set the `share` of least weights of every matrix and convolution to 0; among equals the first go, row by row.

    scores: of `weight_scores`; by default |weight|. Zeros are stored like any weight: flash and time stay, accuracy under them is
    what is bought. Fine-tuning keeps them 0. Raises UnsupportedError for a share outside [0, 1).
    """
    _check_share("weights", share)
    worth = weight_scores(model, "magnitude", {}) if scores is None else scores

    def sparse(node: FloatNode) -> FloatNode:
        if not isinstance(node, Linear | Conv):
            return node
        weight = node.weight.copy()
        weight.flat[_least(worth[node.name], share)] = 0.0
        return replace(node, weight=weight)

    return _noted(replace(model, nodes=tuple(sparse(n) for n in model.nodes)), {"weights": share})


def prune_neurons(model: FloatModel, activity: Mapping[str, NeuronActivity], share: float) -> FloatModel:
    """Remove from every layer the `share` of neurons of least importance, and whatever else is dead.

    activity: by matrix name, as `edgechaos.quantize.importance.activity` measures it; layers without one stay whole.
    A share of 0 removes the dead alone. Raises UnsupportedError for a share outside [0, 1), a model without such layers, or a
    layer of which nothing would be left.
    """
    removed = least_neurons(model, {name: measured.importance for name, measured in activity.items()}, share)
    return _noted(remove_neurons(model, {name: mask | activity[name].dead for name, mask in removed.items()}), {"neurons": share})


def least_neurons(model: FloatModel, scores: Mapping[str, NDArray[np.float64]], share: float) -> dict[str, NDArray[np.bool_]]:
    """Masks (n,) of exactly round(share * n) neurons of each layer, those of least score; one neuron always stays.

    Raises UnsupportedError for a share outside [0, 1) or a model without such layers.
    """
    _check_share("neurons", share)
    if not scores:
        raise UnsupportedError(f"model '{model.name}' has no hidden neurons to remove; prune its weights instead")
    masks = {name: np.zeros(len(worth), bool) for name, worth in scores.items()}
    for name, mask in masks.items():
        mask[_least(scores[name], share)[: len(mask) - 1]] = True
    return masks


def remove_neurons(model: FloatModel, removed: Mapping[str, NDArray[np.bool_]]) -> FloatModel:
    """The model without the neurons of each mask (n,), by matrix name: rows, biases, thresholds and the columns that read them.

    What stays is renumbered from 0; the metadata keep the old numbers as `pruning.kept`. A k-WTA layer of n < k neurons keeps n.
    Raises GraphError for a mask that fits no layer, UnsupportedError where none of a layer's neurons would be left.
    """
    layers = {layer.matrix: layer for layer in neuron_layers(model)}
    nodes = {n.name: n for n in model.nodes}
    before: Mapping[str, list[int]] = model.metadata.get("pruning", {}).get("kept", {})
    kept_numbers = dict(before)
    for name, mask in removed.items():
        matrix = nodes.get(name)
        if name not in layers or not isinstance(matrix, Linear | Conv) or mask.shape != matrix.weight.shape[:1]:
            raise GraphError(f"no layer '{name}' has {len(mask)} neurons to remove; use {', '.join(layers) or 'another model'}", name)
        kept = np.flatnonzero(~mask)
        if not len(kept):
            raise UnsupportedError(f"layer '{name}': no neuron would be left of {len(mask)}; remove fewer, or train it again", name)
        nodes[name] = replace(matrix, weight=matrix.weight[kept], bias=None if matrix.bias is None else matrix.bias[kept])
        for inner in layers[name].inside:
            nodes[inner] = _narrowed(nodes[inner], len(kept))
        for reader in layers[name].readers:
            nodes[reader] = _without_columns(nodes[reader], kept, len(mask))
        numbers = before.get(name, range(len(mask)))
        kept_numbers[name] = [int(numbers[i]) for i in kept]
    return _noted(replace(model, nodes=tuple(nodes.values())), {"kept": kept_numbers, "numbering": RENUMBERED})


def _without_columns(reader: FloatNode, kept: NDArray[np.intp], neurons: int) -> FloatNode:
    assert isinstance(reader, Linear | Conv)
    if isinstance(reader, Conv):
        return replace(reader, weight=reader.weight[:, kept])
    outputs = len(reader.weight)
    return replace(reader, weight=reader.weight.reshape(outputs, neurons, -1)[:, kept].reshape(outputs, -1))


def _narrowed(node: FloatNode, neurons: int) -> FloatNode:
    if isinstance(node, Spiking):
        return replace(node, neurons=neurons)
    return replace(node, k=min(node.k, neurons)) if isinstance(node, Winners) else node


def _noted(model: FloatModel, facts: Mapping[str, Any]) -> FloatModel:
    pruning = {**model.metadata.get("pruning", {}), **facts}
    return replace(model, metadata={**model.metadata, "pruning": pruning}).validate()


def _least(scores: NDArray[np.float64], share: float) -> NDArray[np.intp]:
    """Flat indices of the round(share * n) least scores, in that order; among equals the first."""
    return np.argsort(scores, axis=None, kind="stable")[: int(share * scores.size + 0.5)]


def _check_share(what: str, share: float) -> None:
    if not 0.0 <= share < 1.0:
        raise UnsupportedError(f"cannot prune a share of {share} of the {what}; use one of at least 0 and below 1")
