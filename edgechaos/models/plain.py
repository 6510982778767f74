"""Plain networks: the comparison that every spiking or sparse result needs, at equal accuracy.

An MLP is Linear, ReLU, ..., Linear (`fc1`, `fc2`, ...); a CNN is Conv3x3, ReLU, MaxPool2 per entry of `channels`, then Linear (`conv1`,
..., `fc`). Where `residual`, x + ReLU(Linear(x)), or x + ReLU(Conv3x3(x)), stands in place of every ReLU(...) but the first (He et al.,
Identity mappings in deep residual networks, ECCV 2016: nothing acts on the sum). Both may train with dropout or with Gaussian noise on the
activations, which are the usual ways to a fault-tolerant network, and, as every model, with units that are dead or lose what they send.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from edgechaos.arithmetic.streams import AUGMENTATION_STREAM, UNIT_FAIL_STREAM
from edgechaos.floatgraph.float_model import FloatHead, FloatModel
from edgechaos.floatgraph.float_nodes import Add, Augmentation, Conv, FailingLayer, FloatNode, Identity, MatMul, Pool, Readout, Relu
from edgechaos.models.base import Model, array
from edgechaos.models.config import Config, Rule
from edgechaos.models.spiking import Conditions
from edgechaos.models.units import augmented, delivered


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainConfig(Config):
    """hidden: of an MLP; channels: of a CNN, with image (C, H, W); of one size where residual. dropout in 0..1, noise_std: in training."""

    called = "plain network"

    hidden: tuple[int, ...] = (128,)
    channels: tuple[int, ...] = ()
    image: tuple[int, ...] = ()
    residual: bool = False
    dropout: float = 0.0
    noise_std: float = 0.0

    def rules(self) -> tuple[Rule, ...]:
        """Of layers and settings."""
        halved = len(self.image) == 3 and math.prod(self.image) == self.inputs and min(self.image[1:]) >> len(self.channels) > 0
        return (
            ("hidden", bool(self.channels) or (len(self.hidden) > 0 and min(self.hidden) > 0), "one or more sizes of at least 1"),
            ("channels", all(c > 0 for c in self.channels), "sizes of at least 1"),
            ("image", not self.channels or halved, "(channels, height, width) that hold the inputs and every halving"),
            ("residual", not self.residual or self._one_width(), "false, or hidden (channels of a CNN) two or more sizes, all the same"),
            ("dropout", 0 <= self.dropout < 1, "in 0..1, below 1"),
            ("noise_std", self.noise_std >= 0, "at least 0"),
        )

    def _one_width(self) -> bool:
        sizes = self.channels or self.hidden
        return len(sizes) > 1 and len(set(sizes)) == 1


class PlainNet(Model):
    """An MLP, or a CNN where the configuration has channels."""

    family = "plain"
    config: PlainConfig

    def __init__(self, config: PlainConfig) -> None:
        super().__init__(config.check())
        if config.channels:
            sizes = (config.image[0], *config.channels)
            for k, (before, after) in enumerate(itertools.pairwise(sizes), 1):
                self.add_module(f"conv{k}", nn.Conv2d(before, after, 3, padding=1))
            height, width = (n >> len(config.channels) for n in config.image[1:])
            self.fc = nn.Linear(sizes[-1] * height * width, len(config.classes))
        else:
            sizes = (config.inputs, *config.hidden, len(config.classes))
            for k, (before, after) in enumerate(itertools.pairwise(sizes), 1):
                self.add_module(f"fc{k}", nn.Linear(before, after))

    def body(self) -> list[tuple[str, Any]]:
        """(name, module) of every layer but the last."""
        prefix, count = ("conv", len(self.config.channels)) if self.config.channels else ("fc", len(self.config.hidden))
        return [(f"{prefix}{k}", self.get_submodule(f"{prefix}{k}")) for k in range(1, count + 1)]

    def last(self) -> nn.Linear:
        """The layer that writes the logits."""
        return self.fc if self.config.channels else cast(nn.Linear, self.get_submodule(f"fc{len(self.config.hidden) + 1}"))

    def forward(self, x: Tensor, conditions: Conditions) -> Tensor:
        """Logits (batch, classes) of normalized inputs (batch, inputs)."""
        if self.config.channels:
            x = x.reshape(-1, *self.config.image)
        failing = iter(self.failing_layers())
        for (name, layer), augmentation in zip(self.body(), self._augmentation().values(), strict=True):
            activated = delivered(layer(x).relu(), next(failing), conditions)
            x = delivered(x + activated, next(failing), conditions) if self._adds(name) else activated
            if self.config.channels:
                x = nn.functional.max_pool2d(x, 2)
            x = augmented(x, augmentation, conditions)
        return cast(Tensor, self.last()(x.flatten(1)))

    def _adds(self, layer: str) -> bool:
        """Whether the input of a layer is added to what it makes of it."""
        return self.config.residual and layer not in ("fc1", "conv1")

    def failing_layers(self) -> tuple[FailingLayer, ...]:
        """The ReLUs, and the sums of a residual network: units of an MLP, channels of a CNN."""
        sizes = self.config.channels or self.config.hidden
        named = zip(sizes, (name for name, _ in self.body()), strict=True)
        layers = [(f"{name}_{end}", size) for size, name in named for end in ("relu", "sum")[: 1 + self._adds(name)]]
        return tuple(FailingLayer(name, size, UNIT_FAIL_STREAM + k) for k, (name, size) in enumerate(layers))

    def _augmentation(self) -> dict[str, Augmentation]:
        """Of what every layer but the last sends on, by its tensor: after the ReLU, or the pool or sum that follows it."""
        config = self.config

        def sent(name: str) -> str:
            return f"{name}_{'pool' if config.channels else 'sum' if self._adds(name) else 'relu'}"

        return {
            sent(name): Augmentation(config.dropout, config.noise_std, AUGMENTATION_STREAM + 2 * k)
            for k, (name, _) in enumerate(self.body())
        }

    def describe(self, name: str = "plain") -> FloatModel:
        """The network as data, float64, nothing folded yet; its augmentation beside it."""
        nodes: list[FloatNode] = [self.normalization()]
        for layer_name, layer in self.body():
            value, weight, bias = nodes[-1].name, array(layer.weight), array(layer.bias)
            convolves = bool(self.config.channels)
            nodes.append(Conv(layer_name, value, weight, bias, pad=(1, 1)) if convolves else MatMul(layer_name, value, weight, bias))
            nodes.append(Relu(f"{layer_name}_relu", layer_name))
            if self._adds(layer_name):
                nodes += [Add(f"{layer_name}_add", value, f"{layer_name}_relu"), Identity(f"{layer_name}_sum", f"{layer_name}_add")]
            if convolves:
                nodes.append(Pool(f"{layer_name}_pool", nodes[-1].name, (2, 2), (2, 2)))
        nodes.append(Readout("logits", nodes[-1].name, array(self.last().weight), array(self.last().bias)))
        config = self.config
        image = config.image if config.channels else None
        head = FloatHead("main", "input", config.inputs, "logits", config.classes, self.encoding(), image=image)
        facts = {"family": self.family, **self.facts}
        return FloatModel(name, tuple(nodes), (head,), facts, self._augmentation()).validate()

    def summary(self) -> dict[str, Any]:
        """What the network trained with."""
        residual = {"residual": True} if self.config.residual else {}
        return {"float": {"dropout": self.config.dropout, "noise_std": self.config.noise_std}, **residual}
