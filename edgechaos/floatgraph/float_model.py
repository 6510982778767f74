"""FloatModel: a trained network as data, before any integer: named float64 nodes in execution order.

A node is named like the tensor it writes and reads tensors of other nodes or of a head's input. Nothing here needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgechaos.arithmetic.streams import UNIT_FAIL_STREAM
from edgechaos.floatgraph.float_nodes import (
    Add,
    Augmentation,
    ChaosLayer,
    Conv,
    FailingLayer,
    FloatNode,
    Gelu,
    Identity,
    MatMul,
    Readout,
    Relu,
    Shape,
    Thermal,
    TopK,
)
from edgechaos.graph.heads import Encoding
from edgechaos.graph.tensors import IDENTIFIER
from edgechaos.support.errors import GraphError

ARRAYS = ("weight", "bias", "mean", "std", "values", "scale", "offset")


@dataclass(frozen=True, slots=True)
class FloatHead:
    """One task: `size` values enter at `input`; logits leave at the node `logits`.

    step: the value of one input code as the first layer's weights see it (1 until the normalization is folded).
    image: (C, H, W) where the values are an image that something reads as one.
    """

    name: str
    input: str
    size: int
    logits: str
    classes: tuple[str, ...]
    encoding: Encoding
    step: float = 1.0
    image: Shape | None = None

    @property
    def shape(self) -> Shape:
        """Of one input."""
        return self.image or (self.size,)


@dataclass(frozen=True, slots=True, eq=False)
class FloatModel:
    """A whole network in float64. `metadata` travels into the integer graph.

    augmentation: by the tensor that training changes, for fine-tuning; it never reaches the integers.
    """

    name: str
    nodes: tuple[FloatNode, ...]
    heads: tuple[FloatHead, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    augmentation: Mapping[str, Augmentation] = field(default_factory=dict)

    def node(self, name: str) -> FloatNode | None:
        """The node that writes a tensor; None for an input."""
        return next((n for n in self.nodes if n.name == name), None)

    def readers(self, tensor: str) -> tuple[FloatNode, ...]:
        """The nodes that read a tensor."""
        return tuple(n for n in self.nodes if tensor in n.inputs())

    def spiking_layers(self) -> tuple[ChaosLayer, ...]:
        """The spiking nodes, in execution order."""
        return tuple(n for n in self.nodes if isinstance(n, ChaosLayer))

    def failing_layers(self) -> tuple[FailingLayer, ...]:
        """The layers that a fault of all layers strikes: spiking and k-WTA ones, or the plain ones of a network that has neither.

        Named as in the integer graph, in execution order. A plain layer is an activation, or Identity, of a matrix or a sum.
        """
        shapes = self.shapes()
        found: list[FloatNode] = [n for n in self.nodes if isinstance(n, ChaosLayer | TopK)]
        found = found or [n for n in self.nodes if isinstance(n, Relu | Gelu | Identity)]
        return tuple(
            n.failing()
            if isinstance(n, ChaosLayer)
            else FailingLayer(f"{n.name}_in" if isinstance(n, Gelu) else n.name, shapes[n.name][0], UNIT_FAIL_STREAM + k)
            for k, n in enumerate(found)
        )

    def ticks(self, tensor: str) -> int:
        """How many ticks a tensor has; 0 for one value per sample."""
        node = self.node(tensor)
        if isinstance(node, ChaosLayer):
            return node.ticks
        return 0 if node is None or isinstance(node, Readout) else self.ticks(node.input)

    def shapes(self) -> dict[str, Shape]:
        """The shape of every tensor for one sample and tick. Raises GraphError where the nodes do not fit together."""
        shapes: dict[str, Shape] = {head.input: head.shape for head in self.heads}
        for node in self.nodes:
            for tensor in node.inputs():
                if tensor not in shapes:
                    raise GraphError(f"node '{node.name}': reads '{tensor}' before it is written", node.name)
            if node.name in shapes or not IDENTIFIER.fullmatch(node.name):
                raise GraphError(f"node '{node.name}': the name is taken, or not of the form [a-z_][a-z0-9_]*", node.name)
            shapes[node.name] = node.shape_of(*(shapes[tensor] for tensor in node.inputs()))
        return shapes

    def validate(self) -> FloatModel:
        """Check that shapes agree and values are finite, and that noise follows a matrix; returns self. Raises GraphError."""
        shapes = self.shapes()
        for node in self.nodes:
            arrays = [v for v in (getattr(node, f, None) for f in ARRAYS) if v is not None]
            if not all(np.isfinite(a).all() for a in arrays):
                raise GraphError(f"node '{node.name}': a weight is not finite; the training diverged", node.name)
            if isinstance(node, Readout) and isinstance(self.node(node.input), MatMul | Conv):
                raise GraphError(f"node '{node.name}': a readout reads spikes or an activation, not '{node.input}'", node.name)
            if isinstance(node, Add) and any(map(self.ticks, node.inputs())):
                raise GraphError(f"node '{node.name}': adds values, not spikes at ticks", node.name)
            if isinstance(node, Thermal) and not isinstance(self.node(node.input), MatMul):
                raise GraphError(f"node '{node.name}': thermal noise follows a matrix, not '{node.input}'", node.name)
        self._check_shared()
        for head in self.heads:
            if math.prod(head.shape) != head.size:
                raise GraphError(f"head '{head.name}': an image {head.image} has not {head.size} values")
            logits = shapes.get(head.logits, ())
            if logits != (len(head.classes),):
                raise GraphError(f"head '{head.name}': {len(head.classes)} classes for {math.prod(logits)} logits")
        return self

    def _check_shared(self) -> None:
        copies: dict[str, MatMul] = {}
        for node in self.nodes:
            if isinstance(node, MatMul) and node.shared is not None:
                first = copies.setdefault(node.shared, node)
                if not np.array_equal(first.weight, node.weight):
                    raise GraphError(f"nodes '{first.name}' and '{node.name}': share '{node.shared}', but their weights differ", node.name)

    def path(self, head: FloatHead) -> tuple[FloatNode, ...]:
        """The nodes that one head needs, in execution order."""
        needed, path = {head.logits}, []
        for node in reversed(self.nodes):
            if node.name in needed:
                needed.update(node.inputs())
                path.append(node)
        return tuple(reversed(path))
