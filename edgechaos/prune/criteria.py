"""What neurons, channels and weights are worth: the layers that can be made smaller, and the criteria that say who goes first.

A folded FloatModel (`edgechaos.floatgraph.passes.fold`) and what its neurons were measured to send give scores by layer, the least
of which `edgechaos.prune.removal` removes. Neurons are the outputs of a MatMul, or the channels of a Conv, that pass through spikes,
activations or pooling into other matrices; embeddings, what an Add adds, and logits stay, and so does what one head alone sends to a
matrix that heads share. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.streams import RANDOM_STREAM
from edgechaos.floatgraph.float_model import FloatModel
from edgechaos.floatgraph.float_nodes import ChaosLayer, Conv, FloatNode, Gelu, Identity, MatMul, Pool, Relu, Thermal, TopK, stored_name
from edgechaos.support.errors import UnsupportedError

Array = NDArray[np.float64]
Criterion = Literal["reconstruction", "current", "magnitude", "random"]
CRITERIA: tuple[Criterion, ...] = ("reconstruction", "current", "magnitude", "random")
OF_WEIGHTS = CRITERIA[1:]
DEFAULT: Criterion = "reconstruction"
"""Of neurons: the one that costs least accuracy, measured (docs/models.md)."""
RIDGE = 0.1
"""Added to the moments, in mean squares of a neuron: without it few neurons would replace many, and be missed when they die."""

BETWEEN = (ChaosLayer, Relu, Gelu, Identity, TopK, Thermal, Pool)


@dataclass(frozen=True, slots=True)
class NeuronLayer:
    """One layer of removable neurons by node names: `matrix` computes what enters them, `output` is what they send to `readers`."""

    matrix: str
    inside: tuple[str, ...]
    output: str
    readers: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class NeuronActivity:
    """What the neurons or channels of a layer were measured to take in and send.

    Over items, ticks and positions, (n,): current_in = mean |sum that enters|, current_out = mean |value sent|.
    Of the value sent: its `mean` over items and ticks, (n,), of images (n, H, W); `moment` (n, n), the mean of the product of two
    neurons' values, over positions too. Where all readers take the mean over ticks, `moment` is that of these means.
    """

    current_in: Array
    current_out: Array
    mean: Array
    moment: Array

    @property
    def importance(self) -> Array:
        """current_in * current_out, 0 for what never acts."""
        return self.current_in * self.current_out


def neuron_layers(model: FloatModel) -> tuple[NeuronLayer, ...]:
    """The layers of a folded model whose neurons can be removed, in execution order."""
    found = (_layer(model, node) for node in model.nodes if type(node) in (MatMul, Conv))
    return tuple(layer for layer in found if layer is not None)


def _layer(model: FloatModel, matrix: FloatNode) -> NeuronLayer | None:
    inside: list[str] = []
    readers = model.readers(matrix.name)
    while len(readers) == 1 and isinstance(readers[0], BETWEEN):
        inside.append(readers[0].name)
        readers = model.readers(readers[0].name)
    if not inside or not readers or not all(isinstance(r, MatMul | Conv) for r in readers):
        return None
    if _shared(matrix) is None and any(_shared(r) for r in readers):
        return None
    return NeuronLayer(matrix.name, tuple(inside), inside[-1], tuple(r.name for r in readers))


def _shared(node: FloatNode) -> str | None:
    return node.shared if isinstance(node, MatMul) else None


def matrix_of(model: FloatModel, name: str) -> MatMul | Conv:
    """The node of that name, a matrix or a convolution."""
    node = model.node(name)
    assert isinstance(node, MatMul | Conv)
    return node


def over_heads(
    model: FloatModel, values: Mapping[str, NDArray[Any]], join: Callable[[list[NDArray[Any]]], NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Values by matrix name, joined over the heads that share the matrix: all of them then have the same."""
    copies: dict[str, list[str]] = {}
    for name in values:
        copies.setdefault(stored_name(matrix_of(model, name)), []).append(name)
    return {name: join([values[other] for other in copies[stored_name(matrix_of(model, name))]]) for name in values}


def neuron_scores(model: FloatModel, criterion: Criterion, activity: Mapping[str, NeuronActivity], seed: int = 0) -> dict[str, Array]:
    """What each neuron (n,) of a folded model is worth, by matrix name; the least go first.

    reconstruction: how late a neuron goes when one after the other leaves, always the one whose part in the readers' sums those that
    stay replace best (`takeover`), least squared error first; Castellano et al., An iterative pruning algorithm for feedforward
    neural networks, IEEE Transactions on Neural Networks 8, 1997. current: `NeuronActivity.importance`.
    magnitude: the norm of the weights that enter times that of the weights that leave, which no rescaling between the two moves;
    after Li et al., Pruning filters for efficient ConvNets, ICLR 2017, who take the weights that enter. random: the control, by
    `seed`. The last two read no activity but its layers. Of neurons that heads share the scores of each head are scaled to the sum 1
    and added, so that no head outweighs the others by the size of its values.
    """

    def score(layer: NeuronLayer) -> Array:
        weight = matrix_of(model, layer.matrix).weight
        if criterion == "current":
            return activity[layer.matrix].importance
        if criterion == "random":
            return _by_chance(model, layer.matrix, seed, len(weight))
        leaving = np.hstack([columns(matrix_of(model, r), len(weight)).swapaxes(0, 1).reshape(len(weight), -1) for r in layer.readers])
        if criterion == "reconstruction":
            return last_to_go(leaving, activity[layer.matrix].moment)
        norms = (np.linalg.norm(w.reshape(len(weight), -1), axis=1) for w in (weight, leaving))
        return np.asarray(np.multiply(*norms), np.float64)

    scores = {layer.matrix: score(layer) for layer in neuron_layers(model) if layer.matrix in activity}
    return over_heads(model, scores, _sum_of_shares)


def _sum_of_shares(scores: list[Array]) -> Array:
    return scores[0] if len(scores) == 1 else np.sum([s / (s.sum() or 1.0) for s in scores], axis=0)


def columns(reader: MatMul | Conv, neurons: int) -> Array:
    """The weights (out, neurons, positions) by which a matrix reads a layer; a MatMul may read an image, row-major."""
    return reader.weight.reshape(len(reader.weight), neurons, -1)


def takeover(moment: Array, removed: NDArray[np.bool_]) -> Array:
    """(kept, removed): how much of each kept neuron's value replaces the value of each removed one, in least squares.

    No constant is fitted: where spikes are lost, what replaces a neuron becomes less as the neuron itself would have.
    """
    kept = ~removed
    return np.asarray(np.linalg.solve(_damped(moment)[np.ix_(kept, kept)], moment[np.ix_(kept, removed)]), np.float64)


def joined_moment(moments: list[Array]) -> Array:
    """Of neurons that heads share: the mean over heads, each scaled to the same mean square."""
    return moments[0] if len(moments) == 1 else np.mean([m / (np.trace(m) or 1.0) for m in moments], axis=0)


def _damped(moment: Array) -> Array:
    scale = np.trace(moment) or 1.0
    return np.asarray(moment + RIDGE * scale / len(moment) * np.eye(len(moment)), np.float64)


def last_to_go(leaving: Array, moment: Array) -> Array:
    """The place (n,) of each neuron in the order in which they leave. leaving: the weights (n, all that read one).

    With P the inverse of the moments of those that are left, a neuron costs |its weights|^2 / P[j, j], and its weights go to the
    others by -P[j] / P[j, j]; P without it follows from P alone.
    """
    weight, inverse = leaving.copy(), np.linalg.inv(_damped(moment))
    left, place = np.ones(len(weight), bool), np.zeros(len(weight))
    for turn in range(len(weight)):
        cost = np.full(len(weight), np.inf)
        cost[left] = (weight[left] ** 2).sum(axis=1) / np.diag(inverse)[left]
        least = int(cost.argmin())
        row = inverse[least] / inverse[least, least]
        weight -= np.outer(row, weight[least])
        inverse -= np.outer(inverse[:, least], row)
        left[least], place[least] = False, turn
    return place


def _by_chance(model: FloatModel, name: str, seed: int, count: int) -> Array:
    stream = RANDOM_STREAM + [node.name for node in model.nodes].index(name)
    return random_bits.words(seed, stream, [0], 1, count)[0, 0].astype(np.float64)


def weight_scores(model: FloatModel, criterion: Criterion, currents: Mapping[str, Array], seed: int = 0) -> dict[str, Array]:
    """What each weight of every matrix and convolution is worth, in the shape of the weights.

    magnitude: |w|. current: |w| times the mean |value| that enters it, as in Sun et al., A simple and effective pruning approach
    for large language models, ICLR 2024. random: the control. currents: by name, (in,), (C,) for a convolution.
    Raises UnsupportedError for a criterion of neurons.
    """
    if criterion == "reconstruction":
        raise UnsupportedError("reconstruction is a criterion of neurons; prune weights by current, magnitude or random")

    def score(node: MatMul | Conv) -> Array:
        if criterion == "random":
            return _by_chance(model, node.name, seed, node.weight.size).reshape(node.weight.shape)
        size = np.abs(node.weight)
        return size if criterion == "magnitude" else size * currents[node.name].reshape(1, -1, *(1,) * (size.ndim - 2))

    return {node.name: score(node) for node in model.nodes if isinstance(node, MatMul | Conv)}
