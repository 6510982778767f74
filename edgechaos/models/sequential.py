"""A feed-forward network of the user's own form: convolutions, matrices, activations and pools in the order that an architecture names.

Modules are called as in most programs: `conv1`, `conv2`, ..., then `fc`, or `fc1`, `fc2`, ...
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from edgechaos.arithmetic.streams import UNIT_FAIL_STREAM
from edgechaos.arithmetic.windows import output_size
from edgechaos.floatgraph.float_model import FloatHead, FloatModel
from edgechaos.floatgraph.float_nodes import Conv, FailingLayer, FloatNode, Gelu, MatMul, Pool, Readout, Relu
from edgechaos.graph.integer_graph import Encoding
from edgechaos.models.architecture import Layer, Pair
from edgechaos.models.base import Model, array
from edgechaos.models.spiking import Conditions
from edgechaos.models.units import delivered
from edgechaos.support.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialConfig:
    """layers: in order; channels: outputs of the convolutions; hidden: of the matrices but the last; image: (C, H, W) where one is read."""

    inputs: int
    classes: tuple[str, ...]
    layers: tuple[Layer, ...]
    hidden: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    image: tuple[int, ...] = ()
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def check(self) -> SequentialConfig:
        """Returns self. Raises ConfigError that names the first value that no network can have."""
        kinds = [layer.kind for layer in self.layers]
        convolves = kinds.count("conv") == len(self.channels) and all(c > 0 for c in self.channels)
        image = len(self.image) == 3 and math.prod(self.image) == self.inputs and min(self.image) > 0
        rules: tuple[tuple[str, bool, str], ...] = (
            ("inputs", self.inputs > 0, "at least 1"),
            ("classes", len(self.classes) > 0, "at least one name"),
            ("layers", bool(kinds) and kinds[-1] == "linear", "layers of which the last is linear"),
            ("hidden", kinds.count("linear") == len(self.hidden) + 1 and all(n > 0 for n in self.hidden), "a size per matrix but the last"),
            ("channels", convolves, "a size per convolution"),
            ("image", image or not {"conv", "maxpool", "avgpool"} & set(kinds), "(channels, height, width) that hold the inputs"),
            ("mean", len(self.mean) == len(self.std) > 0 and self.inputs % len(self.mean) == 0, "one value per channel, as many as std"),
            ("std", all(s > 0 for s in self.std), "above 0"),
        )
        for key, good, wanted in rules:
            if not good:
                raise ConfigError(f"network: {key} = {getattr(self, key)!r}, but must be {wanted}", key)
        self.steps()
        return self

    def steps(self) -> list[tuple[str, Layer, int, int]]:
        """(name, layer, features or channels in, out) of every layer. Raises ConfigError where an image or a vector does not suit one."""
        shape: tuple[int, ...] = self.image or (self.inputs,)
        steps: list[tuple[str, Layer, int, int]] = []
        convolutions = matrices = 0
        for layer in self.layers:
            before = shape
            if layer.kind == "conv":
                convolutions += 1
                name, shape = f"conv{convolutions}", (self.channels[convolutions - 1], *self._size(layer, shape))
            elif layer.kind in ("maxpool", "avgpool"):
                name, shape = f"{steps[-1][0] if steps else 'input'}_{layer.kind}", (shape[0], *self._size(layer, shape))
            elif layer.kind == "linear":
                matrices += 1
                name = f"fc{matrices}" if self.hidden else "fc"
                before, shape = (math.prod(shape),), ((*self.hidden, len(self.classes))[matrices - 1],)
            else:
                name = f"{steps[-1][0] if steps else 'input'}_{layer.kind}"
            steps.append((name, layer, before[0], shape[0]))
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
        for name, layer, before, after in config.steps():
            if layer.kind == "conv":
                self.add_module(name, nn.Conv2d(before, after, cast(Pair, layer.kernel), layer.stride, layer.pad))
            elif layer.kind == "linear":
                self.add_module(name, nn.Linear(before, after))

    def forward(self, x: Tensor, conditions: Conditions) -> Tensor:
        """Logits (batch, classes) of normalized inputs (batch, inputs)."""
        failing = iter(self.failing_layers())
        if self.config.image:
            x = x.reshape(-1, *self.config.image)
        for name, layer, _, _ in self.config.steps():
            if layer.kind == "linear":
                x = self.get_submodule(name)(x.flatten(1))
            elif layer.kind == "conv":
                x = self.get_submodule(name)(x)
            elif layer.kind == "maxpool":
                x = nn.functional.max_pool2d(x, cast(Pair, layer.kernel), layer.stride)
            elif layer.kind == "avgpool":
                x = nn.functional.avg_pool2d(x, cast(Pair, layer.kernel), layer.stride)
            else:
                x = x.relu() if layer.kind == "relu" else nn.functional.gelu(x)
                x = delivered(x, next(failing), conditions)
        return x

    def failing_layers(self) -> tuple[FailingLayer, ...]:
        """The activations: units of a matrix, channels of a convolution."""
        named = {"relu": "{}", "gelu": "{}_in"}
        activations = [(named[layer.kind].format(name), units) for name, layer, _, units in self.config.steps() if layer.kind in named]
        return tuple(FailingLayer(name, units, UNIT_FAIL_STREAM + k) for k, (name, units) in enumerate(activations))

    def describe(self, name: str = "sequential") -> FloatModel:
        """The network as data, float64, nothing folded yet."""
        nodes: list[FloatNode] = [self.normalization()]
        steps = self.config.steps()
        for k, (node, layer, _, _) in enumerate(steps):
            value = nodes[-1].name
            if layer.kind in ("conv", "linear"):
                module: Any = self.get_submodule(node)
                weight, bias = array(module.weight), None if module.bias is None else array(module.bias)
                if layer.kind == "conv":
                    nodes.append(Conv(node, value, weight, bias, stride=layer.stride, pad=layer.pad))
                else:
                    nodes.append(Readout("logits", value, weight, bias) if k == len(steps) - 1 else MatMul(node, value, weight, bias))
            elif layer.kind in ("maxpool", "avgpool"):
                nodes.append(Pool(node, value, cast(Pair, layer.kernel), layer.stride, average=layer.kind == "avgpool"))
            else:
                nodes.append(Relu(node, value) if layer.kind == "relu" else Gelu(node, value))
        config = self.config
        head = FloatHead("main", "input", config.inputs, "logits", config.classes, Encoding("pixels"), image=config.image or None)
        return FloatModel(name, tuple(nodes), (head,), {"family": self.family, **self.facts}).validate()

    def summary(self) -> dict[str, Any]:
        """The architecture, as it is written."""
        return {"architecture": " ".join(map(str, self.config.layers))}
