"""Neurons that never act leave an integer graph, and every other integer stays as it was.

What leaves are the neurons and channels that sent code 0 alone on the calibration items of every head. Nothing is quantized anew:
scales, multipliers, thresholds and words of what stays are those of the whole graph, so that without noise and losses no logit
changes where the removed ones are silent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.graph.integer_graph import (
    AveragePool,
    ChaosLayer,
    Constant,
    Conv,
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
from edgechaos.support.errors import UnsupportedError

Mask = NDArray[np.bool_]
BETWEEN = (Requantize, ChaosLayer, Lut, TopK, ThermalNoise, MaxPool, AveragePool)


@dataclass(frozen=True, slots=True)
class _Layer:
    """`matrix` computes what enters the neurons, the last of `inside` writes what they send to `readers`."""

    matrix: MatMul | Conv
    inside: tuple[Node, ...]
    readers: tuple[MatMul | Conv, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """Each has one entry of axis 0 per neuron."""
        return (self.matrix.output, *(n.output for n in self.inside))


def without_silent(graph: IntegerGraph, codes: Mapping[str, NDArray[Any]]) -> IntegerGraph:
    """Remove what sent nothing but 0 on the codes of all heads that have it; the metadata keep the old numbers as `pruning.kept`.

    codes: (n, *input shape) by head. Logits, embeddings, and what one head alone sends to a matrix that heads share, stay.
    Raises UnsupportedError where none of a layer's neurons would be left.
    """
    groups = _groups(graph)
    layers = [layer for group in groups for layer in group]
    seen = _seen(graph, layers, codes)
    constants, tensors = dict(graph.constants), dict(graph.tensors)
    pruning = dict(graph.metadata.get("pruning", {}))
    kept_units = dict(pruning.get("kept", {}))
    for group in groups:
        kept = ~np.logical_and.reduce([_silent(graph, layer, seen) for layer in group])
        if not kept.any():
            name = group[0].matrix.name
            raise UnsupportedError(f"layer '{name}': no neuron would be left of {len(kept)}; all are silent; train it again", name)
        for name in {name for layer in group for name in _per_neuron(graph, layer)}:
            constants[name] = _narrowed(constants[name], kept)
        for name in {reader.weight for layer in group for reader in layer.readers}:
            constants[name] = _without_columns(constants[name], kept)
        for layer in group:
            old = kept_units.get(layer.matrix.name, range(len(kept)))
            kept_units[layer.matrix.name] = [int(old[i]) for i in np.flatnonzero(kept)]
            for name in layer.tensors:
                tensors[name] = replace(tensors[name], shape=(int(kept.sum()), *tensors[name].shape[1:]))
    metadata = {**graph.metadata, "pruning": {**pruning, "kept": kept_units}}
    return replace(graph, tensors=tensors, constants=constants, metadata=metadata).validate()


def _groups(graph: IntegerGraph) -> list[list[_Layer]]:
    """The layers by stored matrix, without those that share words with something else: what heads share goes for all of them or none."""
    found = [layer for node in graph.nodes if (layer := _layer(graph, node)) is not None]
    groups = [[layer for layer in found if layer.matrix.weight == weight] for weight in dict.fromkeys(n.matrix.weight for n in found)]

    def whole(group: list[_Layer]) -> bool:
        inside = {n.name for layer in group for n in (layer.matrix, *layer.readers)}
        words = {n.weight for layer in group for n in (layer.matrix, *layer.readers)}
        return all(n.name in inside for n in graph.weighted() if n.weight in words)

    return [group for group in groups if whole(group)]


def _layer(graph: IntegerGraph, node: Node) -> _Layer | None:
    if not isinstance(node, MatMul | Conv) or isinstance(node, Readout):
        return None
    inside: list[Node] = []
    readers = _readers(graph, node.output)
    while len(readers) == 1 and isinstance(readers[0], BETWEEN):
        inside.append(readers[0])
        readers = _readers(graph, readers[0].output)
    matrices = tuple(r for r in readers if isinstance(r, MatMul | Conv))
    return _Layer(node, tuple(inside), matrices) if inside and matrices and len(matrices) == len(readers) else None


def _readers(graph: IntegerGraph, tensor: str) -> tuple[Node, ...]:
    """Of which a norm of the codes (thermal noise) is none: a code of 0 adds nothing to it."""
    return tuple(n for n in graph.readers(tensor) if n.input == tensor)


def _seen(graph: IntegerGraph, layers: list[_Layer], codes: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What layers send, and what their k-WTA ranks and keeps, on the codes of the head that they belong to."""
    wanted = {name for layer in layers for name in (layer.tensors[-1], *_ranked(layer))}
    seen: dict[str, NDArray[Any]] = {}
    for head, items in codes.items():
        names = tuple(n.output for n in graph.path(head) if n.output in wanted)
        seen |= reference.run(graph, items, head=head, keep=names).tensors
    return seen


def _ranked(layer: _Layer) -> tuple[str, ...]:
    return tuple(name for n in layer.inside if isinstance(n, TopK) for name in (n.input, n.output))


def _silent(graph: IntegerGraph, layer: _Layer, seen: Mapping[str, NDArray[Any]]) -> Mask:
    """(n,). A unit of a k-WTA must never have won either: it took another's place. One that ranked 0 may have."""
    silent = _always_zero(seen[layer.tensors[-1]], graph.tensors[layer.tensors[-1]].ticks)
    for node in layer.inside:
        if isinstance(node, TopK):
            silent &= _always_zero(seen[node.output], 0) & (seen[node.input] != 0).all(axis=0)
    return silent


def _always_zero(values: NDArray[Any], ticks: int) -> Mask:
    """(n,) of values (items, n, ...), or (items, ticks, n)."""
    axis = 2 if ticks else 1
    return np.asarray(~np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1).any(axis=1))


def _per_neuron(graph: IntegerGraph, layer: _Layer) -> list[str]:
    """The constants that have one entry, or row, per neuron; tables and multipliers may be one for all."""

    def each(node: Node, value: NDArray[Any]) -> bool:
        return value.ndim == 2 if isinstance(node, Lut) else len(value) > 1 if isinstance(node, Requantize) else True

    nodes = (layer.matrix, *layer.inside)
    return [name for node in nodes for _, name in node.constants() if each(node, graph.constants[name].value)]


def _narrowed(constant: Constant, kept: Mask) -> Constant:
    scale = tuple(s for s, stays in zip(constant.scale, kept, strict=True) if stays) if len(constant.scale) == len(kept) else constant.scale
    return replace(constant, value=np.ascontiguousarray(constant.value[kept]), scale=scale)


def _without_columns(constant: Constant, kept: Mask) -> Constant:
    """Of (out, in), where the input may be an image of which the neurons are the channels, or (out, C, kh, kw)."""
    value = constant.value
    columns = value.reshape(len(value), len(kept), -1)[:, kept]
    return replace(constant, value=columns.reshape(len(value), *((-1,) if value.ndim == 2 else columns.shape[1:2] + value.shape[2:])))
