"""A feed-forward network of the user's own form: convolutions, matrices, activations, pools and sums in the order of an architecture.

Modules are called as in most programs: `conv1`, `conv2`, ..., then `fc`, or `fc1`, `fc2`, ...
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from torch import Tensor, nn

from edgechaos.arithmetic.streams import UNIT_FAIL_STREAM
from edgechaos.arithmetic.windows import output_size
from edgechaos.floatgraph.float_model import FloatHead, FloatModel
from edgechaos.floatgraph.float_nodes import Add, Conv, FailingLayer, FloatNode, Gelu, Identity, MatMul, Pool, Readout, Relu
from edgechaos.graph.heads import Encoding
from edgechaos.models.architecture import Layer, Pair
from edgechaos.models.base import Model, array
from edgechaos.models.config import Config, Rule
from edgechaos.models.spiking import Conditions
from edgechaos.models.units import delivered
from edgechaos.support.errors import ConfigError


class Step(NamedTuple):
    """A layer at its place: its name, the steps (or "input") that it reads, features or channels before and after it."""

    name: str
    layer: Layer
    reads: tuple[str, ...]
    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialConfig(Config):
    """layers: in order; channels: outputs of the convolutions; hidden: of the matrices but the last; image: (C, H, W) where one is read."""

    layers: tuple[Layer, ...]
    hidden: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    image: tuple[int, ...] = ()

    def rules(self) -> tuple[Rule, ...]:
        """Of layers and settings."""
        kinds = [layer.kind for layer in self.layers]
        convolves = kinds.count("conv") == len(self.channels) and all(c > 0 for c in self.channels)
        image = len(self.image) == 3 and math.prod(self.image) == self.inputs and min(self.image) > 0
        return (
            ("layers", bool(kinds) and kinds[-1] == "linear", "layers of which the last is linear"),
            ("hidden", kinds.count("linear") == len(self.hidden) + 1 and all(n > 0 for n in self.hidden), "a size per matrix but the last"),
            ("channels", convolves, "a size per convolution"),
            ("image", image or not {"conv", "maxpool", "avgpool"} & set(kinds), "(channels, height, width) that hold the inputs"),
        )

    def steps(self) -> list[Step]:
        """Every layer in order. Raises ConfigError where an image or a vector does not suit one."""
        shapes: dict[str, tuple[int, ...]] = {"input": self.image or (self.inputs,)}
        values, kinds, steps = ["input"], dict[str, str](), list[Step]()
        matrices, convolutions = 0, 0

        def step(name: str, layer: Layer, shape: tuple[int, ...], *reads: str) -> str:
            before = shapes[reads[0]]
            steps.append(Step(name, layer, reads, math.prod(before) if layer.kind == "linear" else before[0], shape[0]))
            shapes[name], kinds[name] = shape, layer.kind
            return name

        def codes(value: str) -> str:
            """Of a sum, an identity of it: nothing is added to a sum, or multiplied with one."""
            name = f"{value}_codes"
            if kinds.get(value) not in ("conv", "linear", "add"):
                return value
            return name if name in shapes else step(name, Layer("identity"), shapes[value], value)

        for layer in self.layers:
            last = values[-1]
            shape = shapes[last]
            if layer.kind in ("conv", "linear", "maxpool", "avgpool") and kinds.get(last) == "add":
                last = codes(last)
            if layer.kind == "conv":
                convolutions += 1
                size = self._size(layer, shape)
                values.append(step(f"conv{convolutions}", layer, (self.channels[convolutions - 1], *size), last))
            elif layer.kind == "linear":
                matrices += 1
                outputs = (*self.hidden, len(self.classes))[matrices - 1]
                values.append(step(f"fc{matrices}" if self.hidden else "fc", layer, (outputs,), last))
            elif layer.kind in ("maxpool", "avgpool"):
                values.append(step(f"{values[-1]}_{layer.kind}", layer, (shape[0], *self._size(layer, shape)), last))
            elif layer.kind == "add":
                begin = values[-1 - layer.layers] if layer.layers < len(values) else None
                if begin is None or shapes[begin] != shape:
                    what = "so many layers" if begin is None else f"one shape: {shapes[begin]} went in, {shape} came out"
                    raise ConfigError(f"architecture: '{layer}' has not {what}", "architecture")
                values.append(step(f"{last}_add", layer, shape, codes(begin), codes(last)))
            else:
                values.append(step(f"{last}_{layer.kind}", layer, shape, last))
        return steps

    def _size(self, layer: Layer, shape: tuple[int, ...]) -> Pair:
        if len(shape) != 3 or layer.kernel is None:
            raise ConfigError(f"architecture: '{layer}' takes an image, but a matrix stands before it", "architecture")
        size = output_size(shape, layer.kernel, layer.stride, layer.pad)
        if min(size) < 1:
            raise ConfigError(f"architecture: '{layer}' finds no window in {shape[1]} x {shape[2]} values", "architecture")
        return size


class SequentialNet(Model):
    """The network that a configuration describes."""

    family = "sequential"
    config: SequentialConfig

    def __init__(self, config: SequentialConfig) -> None:
        super().__init__(config.check())
        self._steps = config.steps()
        for name, layer, _, before, after in self._steps:
            if layer.kind == "conv":
                self.add_module(name, nn.Conv2d(before, after, cast(Pair, layer.kernel), layer.stride, layer.pad))
            elif layer.kind == "linear":
                self.add_module(name, nn.Linear(before, after))

    def forward(self, x: Tensor, conditions: Conditions) -> Tensor:
        """Logits (batch, classes) of normalized inputs (batch, inputs)."""
        failing = {layer.name.removesuffix("_in"): layer for layer in self.failing_layers()}
        values = {"input": x.reshape(-1, *self.config.image) if self.config.image else x}
        for name, layer, reads, _, _ in self._steps:
            x = values[reads[0]]
            if layer.kind == "linear":
                x = self.get_submodule(name)(x.flatten(1))
            elif layer.kind == "conv":
                x = self.get_submodule(name)(x)
            elif layer.kind == "maxpool":
                x = nn.functional.max_pool2d(x, cast(Pair, layer.kernel), layer.stride)
            elif layer.kind == "avgpool":
                x = nn.functional.avg_pool2d(x, cast(Pair, layer.kernel), layer.stride)
            elif layer.kind == "add":
                x = x + values[reads[1]]
            elif layer.kind == "gelu":
                x = nn.functional.gelu(delivered(x, failing[name], conditions))
            else:
                x = delivered(x.relu() if layer.kind == "relu" else x, failing[name], conditions)
            values[name] = x
        return x

    def failing_layers(self) -> tuple[FailingLayer, ...]:
        """The activations, and the sums that are read without one: units of a matrix, channels of a convolution."""
        named = {"relu": "{}", "gelu": "{}_in", "identity": "{}"}
        layers = [(named[s.layer.kind].format(s.name), s.after) for s in self._steps if s.layer.kind in named]
        return tuple(FailingLayer(name, units, UNIT_FAIL_STREAM + k) for k, (name, units) in enumerate(layers))

    def describe(self, name: str = "sequential") -> FloatModel:
        """The network as data, float64, nothing folded yet."""
        nodes: list[FloatNode] = [self.normalization()]
        activations: dict[str, type[FloatNode]] = {"relu": Relu, "gelu": Gelu, "identity": Identity}
        for node, layer, reads, _, _ in self._steps:
            value, *others = (nodes[0].name if read == "input" else read for read in reads)
            if layer.kind in ("conv", "linear"):
                module: Any = self.get_submodule(node)
                weight, bias = array(module.weight), None if module.bias is None else array(module.bias)
                if layer.kind == "conv":
                    nodes.append(Conv(node, value, weight, bias, stride=layer.stride, pad=layer.pad))
                else:
                    last = node == self._steps[-1].name
                    nodes.append(Readout("logits", value, weight, bias) if last else MatMul(node, value, weight, bias))
            elif layer.kind in ("maxpool", "avgpool"):
                nodes.append(Pool(node, value, cast(Pair, layer.kernel), layer.stride, average=layer.kind == "avgpool"))
            elif layer.kind == "add":
                nodes.append(Add(node, value, *others))
            else:
                nodes.append(activations[layer.kind](node, value))
        config = self.config
        head = FloatHead("main", "input", config.inputs, "logits", config.classes, Encoding("pixels"), image=config.image or None)
        return FloatModel(name, tuple(nodes), (head,), {"family": self.family, **self.facts}).validate()

    def summary(self) -> dict[str, Any]:
        """The architecture, as it is written."""
        return {"architecture": " ".join(map(str, self.config.layers))}
