"""Pruning: smallest weights to zero, and neurons that carry least current removed with their rows, columns and thresholds.

Enters: a folded FloatModel (`edgechaos.passes.fold`) and the measured activity of its neurons. Leaves: a smaller FloatModel, validated,
whose metadata say what was removed. Pure functions; nothing here needs torch. Neurons are the outputs of a Linear that pass through
spikes or activations into other matrices; channels of convolutions, embeddings and logits stay.

Removing neurons renumbers those that stay, from 0 in each layer. Random words count neurons, so noise and losses are drawn for the
new numbers, and fault plans name them: without noise and losses, removing neurons that never fire, act or win changes no logit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.errors import GraphError, UnsupportedError
from edgechaos.quantize.float_model import Conv, FloatModel, FloatNode, Gelu, Linear, Relu, Spiking, Thermal, Winners

ELEMENTWISE = (Spiking, Relu, Gelu, Winners, Thermal)
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
    """Per neuron (n,), over items and ticks: current_in = mean |sum that enters|, current_out = mean |value sent|."""

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
    found = (_layer(model, node) for node in model.nodes if type(node) is Linear)
    return tuple(layer for layer in found if layer is not None)


def _layer(model: FloatModel, matrix: FloatNode) -> NeuronLayer | None:
    inside: list[str] = []
    readers = model.readers(matrix.name)
    while len(readers) == 1 and isinstance(readers[0], ELEMENTWISE):
        inside.append(readers[0].name)
        readers = model.readers(readers[0].name)
    if not inside or not readers or not all(isinstance(r, Linear) for r in readers):
        return None
    return NeuronLayer(matrix.name, tuple(inside), inside[-1], tuple(r.name for r in readers))


def prune_weights(model: FloatModel, share: float) -> FloatModel:
    """Set the `share` of smallest |weight| of every matrix and convolution to 0; among equals the first go, row by row.

    Zeros are stored like any weight: flash and time stay, accuracy under them is what is bought. Fine-tuning keeps them 0.
    Raises UnsupportedError for a share outside [0, 1).
    """
    _check_share("weights", share)

    def sparse(node: FloatNode) -> FloatNode:
        if not isinstance(node, Linear | Conv):
            return node
        weight = node.weight.copy()
        weight.flat[np.argsort(np.abs(weight), axis=None, kind="stable")[: _count(share, weight.size)]] = 0.0
        return replace(node, weight=weight)

    return _noted(replace(model, nodes=tuple(sparse(n) for n in model.nodes)), {"weights": share})


def prune_neurons(model: FloatModel, activity: Mapping[str, NeuronActivity], share: float) -> FloatModel:
    """Remove from every layer the `share` of neurons of least importance, and whatever else is dead.

    activity: by matrix name, as `edgechaos.quantize.pipeline.activity` measures it; layers without one stay whole.
    A share of 0 removes the dead alone. Raises UnsupportedError for a share outside [0, 1), a model without such layers, or a
    layer of which nothing would be left.
    """
    _check_share("neurons", share)
    if not activity:
        raise UnsupportedError(f"model '{model.name}' has no hidden neurons to remove; prune its weights instead")
    removed = {}
    for name, measured in activity.items():
        mask = measured.dead.copy()
        mask[np.argsort(measured.importance, kind="stable")[: _count(share, len(mask))]] = True
        removed[name] = mask
    return _noted(remove_neurons(model, removed), {"neurons": share})


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
        if name not in layers or not isinstance(matrix, Linear) or mask.shape != matrix.weight.shape[:1]:
            raise GraphError(f"no layer '{name}' has {len(mask)} neurons to remove; use {', '.join(layers) or 'another model'}", name)
        kept = np.flatnonzero(~mask)
        if not len(kept):
            raise UnsupportedError(f"layer '{name}': no neuron would be left of {len(mask)}; remove fewer, or train it again", name)
        nodes[name] = replace(matrix, weight=matrix.weight[kept], bias=None if matrix.bias is None else matrix.bias[kept])
        for inner in layers[name].inside:
            nodes[inner] = _narrowed(nodes[inner], len(kept))
        for reader in layers[name].readers:
            matrix = nodes[reader]
            assert isinstance(matrix, Linear)
            nodes[reader] = replace(matrix, weight=matrix.weight[:, kept])
        numbers = before.get(name, range(len(mask)))
        kept_numbers[name] = [int(numbers[i]) for i in kept]
    return _noted(replace(model, nodes=tuple(nodes.values())), {"kept": kept_numbers, "numbering": RENUMBERED})


def _narrowed(node: FloatNode, neurons: int) -> FloatNode:
    if isinstance(node, Spiking):
        return replace(node, neurons=neurons)
    return replace(node, k=min(node.k, neurons)) if isinstance(node, Winners) else node


def _noted(model: FloatModel, facts: Mapping[str, Any]) -> FloatModel:
    pruning = {**model.metadata.get("pruning", {}), **facts}
    return replace(model, metadata={**model.metadata, "pruning": pruning}).validate()


def _count(share: float, of: int) -> int:
    return int(share * of + 0.5)


def _check_share(what: str, share: float) -> None:
    if not 0.0 <= share < 1.0:
        raise UnsupportedError(f"cannot prune a share of {share} of the {what}; use one of at least 0 and below 1")
