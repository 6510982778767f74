"""The dissipative learning machine (DLM): a network whose weights carry a velocity and a temperature.

A layer is y = (W + c V) x + b with thermal noise N(0, 0.01 sqrt(T)) on every weight, GELU between layers; V is the velocity, c the
current strength. In training, after each step of the optimizer on W,

    V <- (1 - gamma) V - injection grad + sqrt(2 gamma T) 1e-3 N(0, 1) + 1e-3 gamma outer(output current, input current)

with the currents running means of |activity|, 0.9 of the old and 0.1 of the new, each scaled to mean 1 here. At inference the velocity
is folded into the weights, and the noise is one Gaussian per output, which is exact. Source: the published program's equations.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from edgechaos.arithmetic.streams import UNIT_FAIL_STREAM
from edgechaos.floatgraph.float_model import FloatHead, FloatModel
from edgechaos.floatgraph.float_nodes import FailingLayer, FloatNode, Gelu, MatMul, Readout, Thermal
from edgechaos.models.base import Model, array, thermal
from edgechaos.models.config import Config, Rule
from edgechaos.models.spiking import Conditions
from edgechaos.models.units import delivered

SMALL = 1e-3
"""Of Langevin noise and current coupling beside the gradient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DlmConfig(Config):
    """temperature: of training and of inference by default; temperature_max: the largest that an integer graph must carry.

    dissipation: the gamma of the velocity, 0..1. injection: how much of a gradient it takes up.
    """

    called = "DLM"

    hidden: tuple[int, ...] = (256,)
    temperature: float = 0.1
    temperature_max: float = 10.0
    current_strength: float = 0.1
    dissipation: float = 0.01
    injection: float = 0.01

    def rules(self) -> tuple[Rule, ...]:
        """Of layers and settings."""
        return (
            ("hidden", len(self.hidden) > 0 and min(self.hidden) > 0, "one or more sizes of at least 1"),
            ("temperature", 0 <= self.temperature <= self.temperature_max < math.inf, f"in 0..{self.temperature_max:g}"),
            ("current_strength", math.isfinite(self.current_strength), "finite"),
            ("dissipation", 0 <= self.dissipation <= 1, "in 0..1"),
            ("injection", 0 <= self.injection < math.inf, "at least 0"),
        )


class DlmLayer(nn.Module):
    """One matrix with its velocity and currents. The buffers `weight_momentum` and `local_entropy_production` are carried along."""

    weight_velocity: Tensor
    input_current: Tensor
    output_current: Tensor
    local_entropy_production: Tensor

    def __init__(self, inputs: int, outputs: int, strength: float) -> None:
        super().__init__()
        self.strength = strength
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        for name, shape in (
            ("weight_velocity", (outputs, inputs)),
            ("weight_momentum", (outputs, inputs)),
            ("input_current", (inputs,)),
            ("output_current", (outputs,)),
            ("local_entropy_production", ()),
        ):
            self.register_buffer(name, torch.zeros(shape))

    def effective(self) -> Tensor:
        """The weights that act: the velocity folded in."""
        return self.weight + self.strength * self.weight_velocity

    def forward(self, x: Tensor) -> Tensor:
        """(batch, outputs), without noise; in training the currents follow the activity."""
        y = nn.functional.linear(x, self.effective(), self.bias)
        if self.training:
            with torch.no_grad():
                self.input_current.mul_(0.9).add_(x.abs().mean(dim=0), alpha=0.1)
                self.output_current.mul_(0.9).add_(y.abs().mean(dim=0), alpha=0.1)
        return y

    def dissipate(self, config: DlmConfig, generator: torch.Generator) -> None:
        """One step of the velocity; the entropy that it produces is the energy dissipated over the temperature."""
        velocity, gamma = self.weight_velocity, config.dissipation
        lost = gamma * float(velocity.square().mean())
        self.local_entropy_production.fill_(lost / max(config.temperature, SMALL))
        velocity.mul_(1.0 - gamma)
        if self.weight.grad is not None:
            velocity.sub_(self.weight.grad, alpha=config.injection)
        noise = torch.randn(velocity.shape, generator=generator)
        velocity.add_(noise, alpha=SMALL * math.sqrt(2.0 * gamma * config.temperature))
        currents = [c / c.mean().clamp(min=1e-6) for c in (self.output_current, self.input_current)]
        velocity.add_(torch.outer(*currents), alpha=SMALL * gamma)


class Dlm(Model):
    """The network, `layers.0`, `layers.1`, ... Layer k draws its thermal noise from stream k."""

    family = "dlm"
    config: DlmConfig

    def __init__(self, config: DlmConfig) -> None:
        super().__init__(config.check())
        sizes = (config.inputs, *config.hidden, len(config.classes))
        pairs = itertools.pairwise(sizes)
        self.layers = nn.ModuleList(DlmLayer(before, after, config.current_strength) for before, after in pairs)

    def chain(self) -> list[DlmLayer]:
        """The layers, typed."""
        return [cast(DlmLayer, layer) for layer in self.layers]

    def forward(self, x: Tensor, conditions: Conditions) -> Tensor:
        """Logits (batch, classes) of normalized inputs (batch, inputs), at the configuration's temperature."""
        failing = self.failing_layers()
        for k, layer in enumerate(self.chain()):
            read = x if k == 0 else nn.functional.gelu(delivered(x, failing[k - 1], conditions))
            x = thermal(layer(read), read, self.config.temperature, conditions, k)
        return x

    def failing_layers(self) -> tuple[FailingLayer, ...]:
        """What the units of every layer but the last send into their GELU."""
        return tuple(FailingLayer(f"layer{k}_gelu_in", n, UNIT_FAIL_STREAM + k) for k, n in enumerate(self.config.hidden))

    def after_step(self, generator: torch.Generator) -> None:
        """The dissipative dynamics of every layer."""
        with torch.no_grad():
            for layer in self.chain():
                layer.dissipate(self.config, generator)

    def describe(self, name: str = "dlm") -> FloatModel:
        """The network as data, float64, the velocity folded in."""
        config, nodes = self.config, list[FloatNode]([self.normalization()])
        for k, layer in enumerate(self.chain()):
            kind = Readout if k == len(self.layers) - 1 else MatMul
            weight = array(layer.weight) + config.current_strength * array(layer.weight_velocity)
            nodes.append(kind(f"layer{k}", nodes[-1].name, weight, array(layer.bias)))
            nodes.append(Thermal(f"layer{k}_thermal", f"layer{k}", config.temperature, config.temperature_max, k))
            if kind is MatMul:
                nodes.append(Gelu(f"layer{k}_gelu", nodes[-1].name))
        head = FloatHead("main", "input", config.inputs, nodes[-1].name, config.classes, self.encoding())
        return FloatModel(name, tuple(nodes), (head,), {"family": self.family, **self.facts}).validate()

    def summary(self) -> dict[str, Any]:
        """The temperatures, in the model's own units."""
        return {"float": {name: getattr(self.config, name) for name in ("temperature", "temperature_max", "current_strength")}}
