"""The kinds of node of a FloatModel: what each computes in real numbers, and the shape that it makes of its inputs'.

`shape_of` gives the output's shape for one sample and tick from those of the inputs, or raises GraphError where the node does not take
them. Images are (C, H, W).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic.windows import output_size
from edgechaos.graph.kinds.chaos_layer import TickMode
from edgechaos.graph.node import tensor_field
from edgechaos.support.errors import GraphError

Shape = tuple[int, ...]
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class FloatNode:
    """One operation; its output tensor carries its name. It reads `input`, and what further fields made by `tensor_field` name."""

    name: str
    input: str

    def inputs(self) -> tuple[str, ...]:
        """Every tensor this node reads, `input` first."""
        return (self.input, *(getattr(self, f.name) for f in fields(self) if f.metadata.get("tensor")))

    def prefixed(self, prefix: str) -> FloatNode:
        """The node with the prefix before its name and those of its inputs."""
        names = [f.name for f in fields(self) if f.name in ("name", "input") or f.metadata.get("tensor")]
        return replace(self, **{name: prefix + getattr(self, name) for name in names})

    def shape_of(self, x: Shape) -> Shape:
        """The output's shape: the input's, unless a kind says otherwise."""
        return x

    def need(self, fits: bool, x: Shape) -> None:
        """Raises GraphError unless the node takes an input of shape x."""
        if not fits:
            raise GraphError(f"node '{self.name}': does not take the {math.prod(x)} values of '{self.input}', shape {x}", self.name)


@dataclass(frozen=True, slots=True, eq=False)
class Normalize(FloatNode):
    """y = (x / 255 - mean) / std over pixels 0..255. mean, std: one per element of the input, row-major, float64."""

    mean: Array
    std: Array

    def shape_of(self, x: Shape) -> Shape:
        """The input's."""
        self.need(self.mean.shape == self.std.shape == (math.prod(x),), x)
        return x


@dataclass(frozen=True, slots=True, eq=False)
class Lut(FloatNode):
    """y = values[c + 128] of an input code c, or values[channel, c + 128]: a normalization that no matrix can take in."""

    values: Array

    def shape_of(self, x: Shape) -> Shape:
        """The input's."""
        self.need(self.values.shape in ((256,), (x[0], 256)), x)
        return x


@dataclass(frozen=True, slots=True, eq=False)
class MatMul(FloatNode):
    """y = weight @ x + bias, per tick where the input has ticks. weight: (out, in) float64; bias: (out,) or None.

    An image is read as a row-major vector. shared: where heads have this matrix in common, the name of its one stored copy; the
    biases may differ.
    """

    weight: Array
    bias: Array | None = None
    shared: str | None = None

    def shape_of(self, x: Shape) -> Shape:
        """(out,)."""
        out, expected = self.weight.shape
        self.need(math.prod(x) == expected and (self.bias is None or self.bias.shape == (out,)), x)
        return (out,)


@dataclass(frozen=True, slots=True, eq=False)
class Readout(MatMul):
    """The logits: weight @ (mean of the input over its ticks, where it has ticks) + bias. Its outputs are compared with each other."""


@dataclass(frozen=True, slots=True, eq=False)
class Conv(FloatNode):
    """Cross-correlation with zero padding. weight: (out, C, kh, kw) float64; bias: (out,) or None."""

    weight: Array
    bias: Array | None = None
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)

    def shape_of(self, x: Shape) -> Shape:
        """(out, H', W')."""
        out, channels, *kernel = self.weight.shape
        self.need(len(x) == 3 and x[0] == channels and (self.bias is None or self.bias.shape == (out,)), x)
        size = output_size(x, (kernel[0], kernel[1]), self.stride, self.pad)
        self.need(min(size) >= 1, x)
        return (out, *size)


@dataclass(frozen=True, slots=True, eq=False)
class BatchNorm(FloatNode):
    """y = scale * x + offset per channel: a batch normalization with its running statistics. Both (C,) float64."""

    scale: Array
    offset: Array

    def shape_of(self, x: Shape) -> Shape:
        """The input's."""
        self.need(self.scale.shape == self.offset.shape == x[:1], x)
        return x


@dataclass(frozen=True, slots=True, eq=False)
class Relu(FloatNode):
    """max(x, 0)."""


@dataclass(frozen=True, slots=True, eq=False)
class Gelu(FloatNode):
    """x * (1 + erf(x / sqrt 2)) / 2, the exact form."""


@dataclass(frozen=True, slots=True, eq=False)
class Add(FloatNode):
    """y = x + other, element by element: a residual connection. Neither has ticks."""

    other: str = tensor_field()

    def shape_of(self, x: Shape, other: Shape = ()) -> Shape:
        """The inputs', which is one."""
        self.need(x == other and self.other != self.input, x)
        return x


@dataclass(frozen=True, slots=True, eq=False)
class Identity(FloatNode):
    """y = x: where the integers need codes of a sum that no activation follows, before it is added to something or multiplied."""


@dataclass(frozen=True, slots=True, eq=False)
class Pool(FloatNode):
    """The largest value of each window, or the mean of each where `average`; no padding."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    average: bool = False

    def shape_of(self, x: Shape) -> Shape:
        """(C, H', W')."""
        self.need(len(x) == 3, x)
        size = output_size(x, self.kernel, self.stride)
        self.need(min(size) >= 1, x)
        return (x[0], *size)


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingMean(FloatNode):
    """The mean of the rows of the token ids that are not 0; zeros where there are none. weight: (vocabulary, dim) float64."""

    weight: Array

    def shape_of(self, x: Shape) -> Shape:
        """(dim,)."""
        self.need(len(x) == 1, x)
        return self.weight.shape[1:]


@dataclass(frozen=True, slots=True, eq=False)
class TopK(FloatNode):
    """The k largest values keep their value, the others become 0; among equals the lowest index wins."""

    k: int

    def shape_of(self, x: Shape) -> Shape:
        """The input's."""
        self.need(len(x) == 1 and 1 <= self.k <= x[0], x)
        return x


@dataclass(frozen=True, slots=True, eq=False)
class Thermal(FloatNode):
    """y = x + 0.01 sqrt(temperature) ||v|| G, with v what the MatMul before it reads and G one table Gaussian per output.

    temperature_max: the largest that the integers must carry. stream selects the random words.
    """

    temperature: float
    temperature_max: float
    stream: int


@dataclass(frozen=True, slots=True)
class FailingLayer:
    """A layer whose units can fail: its name in the integer graph, its units (neurons, or channels), the stream of their losses.

    fail_prob: what a spiking layer loses by itself, 0..1.
    """

    name: str
    units: int
    fail_stream: int
    spiking: bool = False
    fail_prob: float = 0.0


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What training does to a tensor and inference does not: dropout with this probability, then Gaussian noise of this deviation.

    Dropout draws from `stream`, noise from `stream` + 1.
    """

    dropout: float
    noise_std: float
    stream: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosLayer(FloatNode):
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

    def shape_of(self, x: Shape) -> Shape:
        """(neurons,)."""
        self.need(x == (self.neurons,), x)
        return x

    def failing(self) -> FailingLayer:
        """The layer as one whose units can fail."""
        return FailingLayer(self.name, self.neurons, self.fail_stream, spiking=True, fail_prob=self.fail_prob)


def stored_name(node: MatMul | Conv | EmbeddingMean) -> str:
    """The name under which a node's weights are kept: its own, or that of the matrix that heads share."""
    return (node.shared if isinstance(node, MatMul) else None) or node.name
