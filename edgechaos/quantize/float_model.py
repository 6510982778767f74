"""FloatModel: a trained network as data, before any integer: named float64 nodes in execution order.

Enters: `describe()` of a torch model. Leaves: what the passes fold and what quantization reads. A node is named like
the tensor it writes and reads the tensor of one other node or of a head's input. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.errors import GraphError
from edgechaos.graph import IDENTIFIER, Encoding, TickMode


@dataclass(frozen=True, slots=True, eq=False)
class FloatNode:
    """One operation; its output tensor carries its name."""

    name: str
    input: str


@dataclass(frozen=True, slots=True, eq=False)
class Normalize(FloatNode):
    """y = (x / 255 - mean) / std over pixels 0..255. mean, std: (inputs,) float64."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Linear(FloatNode):
    """y = weight @ x + bias, per tick where the input has ticks. weight: (out, in) float64; bias: (out,) or None."""

    weight: NDArray[np.float64]
    bias: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Readout(Linear):
    """logits = weight @ (mean of the input's spikes over the ticks) + bias. The input is a Spiking node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spiking(FloatNode):
    """`ticks` ticks of spiking neurons; the order of operations stands in `edgechaos.models.spiking`.

    threshold and noise_std in membrane units; decay, refractory_decay, fail_prob in 0..1. The two streams select the
    layer's random words and are never renumbered.
    """

    neurons: int
    ticks: int
    mode: TickMode
    threshold: float
    noise_std: float
    decay: float
    refractory_decay: float
    fail_prob: float
    fail_stream: int
    noise_stream: int


@dataclass(frozen=True, slots=True)
class FloatHead:
    """One task: `size` values enter at `input`; logits leave at the node `logits`.

    step: the value of one input code as the first layer's weights see it (1 until the normalization is folded).
    """

    name: str
    input: str
    size: int
    logits: str
    classes: tuple[str, ...]
    encoding: Encoding
    step: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class FloatModel:
    """A whole network in float64. `metadata` travels into the integer graph."""

    name: str
    nodes: tuple[FloatNode, ...]
    heads: tuple[FloatHead, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def node(self, name: str) -> FloatNode | None:
        """The node that writes a tensor; None for an input."""
        return next((n for n in self.nodes if n.name == name), None)

    def readers(self, tensor: str) -> tuple[FloatNode, ...]:
        """The nodes that read a tensor."""
        return tuple(n for n in self.nodes if n.input == tensor)

    def spiking_layers(self) -> tuple[Spiking, ...]:
        """The spiking nodes, in execution order."""
        return tuple(n for n in self.nodes if isinstance(n, Spiking))

    def ticks(self, tensor: str) -> int:
        """How many ticks a tensor has; 0 for one value per sample."""
        node = self.node(tensor)
        if isinstance(node, Spiking):
            return node.ticks
        return 0 if node is None or isinstance(node, Readout) else self.ticks(node.input)

    def sizes(self) -> dict[str, int]:
        """Elements of every tensor for one sample and tick. Raises GraphError where the nodes do not fit together."""
        sizes = {head.input: head.size for head in self.heads}
        for node in self.nodes:
            if node.input not in sizes:
                raise GraphError(f"node '{node.name}': reads '{node.input}' before it is written", node.name)
            if node.name in sizes or not IDENTIFIER.fullmatch(node.name):
                raise GraphError(f"node '{node.name}': the name is taken, or not of the form [a-z_][a-z0-9_]*", node.name)
            sizes[node.name] = _output_size(node, sizes[node.input])
        return sizes

    def validate(self) -> FloatModel:
        """Check that sizes agree, values are finite and readouts read spikes; returns self. Raises GraphError."""
        sizes = self.sizes()
        for node in self.nodes:
            arrays = [v for v in (getattr(node, f, None) for f in ("weight", "bias", "mean", "std")) if v is not None]
            if not all(np.isfinite(a).all() for a in arrays):
                raise GraphError(f"node '{node.name}': a weight is not finite; the training diverged", node.name)
            if isinstance(node, Readout) and not isinstance(self.node(node.input), Spiking):
                raise GraphError(f"node '{node.name}': a readout reads a spiking layer, not '{node.input}'", node.name)
        for head in self.heads:
            if sizes.get(head.logits) != len(head.classes):
                raise GraphError(f"head '{head.name}': {len(head.classes)} classes for {sizes.get(head.logits)} logits")
        return self


def _output_size(node: FloatNode, size: int) -> int:
    out = size
    if isinstance(node, Linear):
        out, expected = node.weight.shape
        fits = size == expected and (node.bias is None or node.bias.shape == (out,))
    elif isinstance(node, Normalize):
        fits = node.mean.shape == node.std.shape == (size,)
    elif isinstance(node, Spiking):
        fits = node.neurons == size
    else:
        raise GraphError(f"node '{node.name}': kind {type(node).__name__} is not known", node.name)
    if not fits:
        raise GraphError(f"node '{node.name}': does not take the {size} values of '{node.input}'", node.name)
    return out
