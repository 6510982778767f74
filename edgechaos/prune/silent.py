"""Neurons that never act leave an integer graph, and every other integer stays as it was.

What leaves are the neurons and channels that sent code 0 alone to every matrix on the calibration items of every head; layers that an Add
joins are one. Nothing is quantized anew: scales, multipliers, thresholds and words of what stays are those of the whole graph,
so that without noise and losses no logit changes where the removed ones are silent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.conv import Conv
from edgechaos.graph.kinds.matmul import MatMul
from edgechaos.graph.node import Node
from edgechaos.graph.tensors import Constant
from edgechaos.support.errors import UnsupportedError

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Layer:
    """Neurons by what they write: `matrices` compute what enters them, `inside` makes of it what they send to `readers`.

    Of one matrix; of several where an Add joins what they send, neuron by neuron. tensors: each has one entry of axis 0 per neuron.
    """

    matrices: tuple[MatMul | Conv, ...]
    inside: tuple[Node, ...]
    readers: tuple[MatMul | Conv, ...]
    tensors: tuple[str, ...]

    def sent(self) -> tuple[str, ...]:
        """What other matrices read of it."""
        return tuple(dict.fromkeys(reader.input for reader in self.readers))


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
            name = group[0].matrices[0].name
            raise UnsupportedError(f"layer '{name}': no neuron would be left of {len(kept)}; all are silent; train it again", name)
        for name in {name for layer in group for node in (*layer.matrices, *layer.inside) for name in node.unit_constants(graph)}:
            constants[name] = chosen_units(constants[name], np.flatnonzero(kept))
        for name in {reader.weight for layer in group for reader in layer.readers}:
            constants[name] = with_columns(constants[name], read_columns(constants[name], len(kept))[:, kept])
        for layer in group:
            for matrix in layer.matrices:
                old = kept_units.get(matrix.name, range(len(kept)))
                kept_units[matrix.name] = [int(old[i]) for i in np.flatnonzero(kept)]
            for name in layer.tensors:
                tensors[name] = replace(tensors[name], shape=(int(kept.sum()), *tensors[name].shape[1:]))
    metadata = {**graph.metadata, "pruning": {**pruning, "kept": kept_units}}
    return replace(graph, tensors=tensors, constants=constants, metadata=metadata).validate()


def _groups(graph: IntegerGraph) -> list[list[Layer]]:
    """The layers by stored matrix, without those that share words with something else: what heads share goes for all of them or none."""
    groups: list[list[Layer]] = []
    done: set[str] = set()
    for node in graph.nodes:
        layer = None if node.name in done else layer_of(graph, node)
        if layer is not None:
            done.update(matrix.name for matrix in layer.matrices)
            words = {matrix.weight for matrix in layer.matrices}
            first, *others = [g for g in groups if words & {m.weight for known in g for m in known.matrices}] or [[]]
            groups = [g for g in groups if g not in others] + ([] if first else [first])
            first += [*(known for g in others for known in g), layer]

    def whole(group: list[Layer]) -> bool:
        """Whether what shares words with a matrix of the group is one of its matrices too, and likewise of its readers."""
        for of in ("matrices", "readers"):
            inside = [n for layer in group for n in getattr(layer, of)]
            words, names = {n.weight for n in inside}, {n.name for n in inside}
            if any(n.weight in words and n.name not in names for n in graph.weighted()):
                return False
        return True

    return [group for group in groups if whole(group)]


def layer_of(graph: IntegerGraph, start: Node) -> Layer | None:
    """The layer of the neurons that a matrix computes; None where they cannot be taken out of all that holds them."""
    if not isinstance(start, MatMul | Conv) or start.is_readout:
        return None
    waiting, tensors, nodes = [start.output], dict[str, None](), {start.name}
    readers: dict[str, MatMul | Conv] = {}
    while waiting:
        tensor = waiting.pop()
        if tensor in tensors:
            continue
        tensors[tensor] = None
        source = graph.producer(tensor)
        for node in (source, *graph.readers(tensor)):
            if node is None:
                return None
            if node is not source and node.sums_over(tensor):
                continue
            if node.keeps_units:
                nodes.add(node.name)
                waiting += [node.output, *(t for t in node.inputs() if not node.sums_over(t))]
            elif isinstance(node, MatMul | Conv) and not (node is source and node.is_readout):
                nodes.update([node.name] if node is source else ())
                readers.update({} if node is source else {node.name: node})
            else:
                return None
    ordered = [n for n in graph.nodes if n.name in nodes]
    matrices = tuple(n for n in ordered if isinstance(n, MatMul | Conv))
    inside = tuple(n for n in ordered if n.keeps_units)
    return Layer(matrices, inside, tuple(readers.values()), tuple(tensors)) if inside and readers else None


def _seen(graph: IntegerGraph, layers: list[Layer], codes: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What layers send, and what their k-WTA ranks and keeps, on the codes of the head that they belong to."""
    wanted = {name for layer in layers for name in (*layer.sent(), *_ranked(layer))}
    seen: dict[str, NDArray[Any]] = {}
    for head, items in codes.items():
        names = tuple(n.output for n in graph.path(head) if n.output in wanted)
        seen |= reference.run(graph, items, head=head, keep=names).tensors
    return seen


def _ranked(layer: Layer) -> tuple[str, ...]:
    return tuple(name for n in layer.inside if n.unit_kind == "k-WTA" for name in (n.input, n.output))


def _silent(graph: IntegerGraph, layer: Layer, seen: Mapping[str, NDArray[Any]]) -> Mask:
    """(n,). A unit of a k-WTA must never have won either: it took another's place. One that ranked 0 may have."""
    silent = np.logical_and.reduce([_always_zero(seen[name], graph.tensors[name].ticks) for name in layer.sent()])
    for node in layer.inside:
        if node.unit_kind == "k-WTA":
            silent &= _always_zero(seen[node.output], 0) & (seen[node.input] != 0).all(axis=0)
    return np.asarray(silent)


def _always_zero(values: NDArray[Any], ticks: int) -> Mask:
    """(n,) of values (items, n, ...), or (items, ticks, n)."""
    axis = 2 if ticks else 1
    return np.asarray(~np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1).any(axis=1))


def chosen_units(constant: Constant, units: NDArray[np.intp]) -> Constant:
    """The entries of a constant that has one per unit, in this order; one may be there several times."""
    size = len(constant.value)
    scale = tuple(constant.scale[k] for k in units) if len(constant.scale) == size else constant.scale
    return replace(constant, value=np.ascontiguousarray(constant.value[units]), scale=scale)


def read_columns(constant: Constant, units: int) -> NDArray[Any]:
    """(out, units, k) of what reads a layer, (out, in) or (out, C, kh, kw): units may be the channels of an image."""
    return constant.value.reshape(len(constant.value), units, -1)


def with_columns(constant: Constant, columns: NDArray[Any]) -> Constant:
    """The constant with these in place of its columns."""
    value = constant.value
    return replace(constant, value=columns.reshape(len(value), *((-1,) if value.ndim == 2 else columns.shape[1:2] + value.shape[2:])))
