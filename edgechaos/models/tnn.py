"""The thermodynamic network (TNN): sparse layers in which only the k strongest units speak.

A layer is kWTA((W x + b) gain), GELU between layers; the output layer is not sparse. Training uses the same hard winners as
inference, with the gradient of the soft mask sigmoid((x - kth) / T) (straight-through): a soft mask in training alone costs about
five points at inference. Around the gradient's step:

    consolidation   each weight takes exp(-5 c) + 0.01 of the optimizer's step; c grows by its share of |gradient * weight|
    homeostasis     the gain of units that win too seldom rises, of those that win too often falls, within 0.1..10
    sleep           weights shrink a little where they are not consolidated, and c decays

Source: the published program's equations.
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
from edgechaos.floatgraph.float_nodes import FailingLayer, FloatNode, Gelu, MatMul, Readout, TopK
from edgechaos.models.base import Model, array
from edgechaos.models.config import Config, Rule
from edgechaos.models.spiking import Conditions, LayerFaults
from edgechaos.models.units import delivered, winners

GAIN_RANGE = (0.1, 10.0)
HOMEOSTASIS_RATE = 0.01
CONSOLIDATION_RATE = 1e-3
SLEEP_SHRINK = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class TnnConfig(Config):
    """sparsity: the share of units that win, at least one. softness: the T of the mask whose gradient training uses."""

    called = "TNN"

    hidden: tuple[int, ...] = (256,)
    sparsity: float = 0.05
    softness: float = 1.0

    def rules(self) -> tuple[Rule, ...]:
        """Of layers and settings."""
        return (
            ("hidden", len(self.hidden) > 0 and min(self.hidden) > 0, "one or more sizes of at least 1"),
            ("sparsity", 0 < self.sparsity <= 1, "above 0, at most 1"),
            ("softness", 0 < self.softness < math.inf, "above 0"),
        )

    def winners(self, units: int) -> int:
        """How many of a layer's units win."""
        return max(1, math.floor(self.sparsity * units))


class TnnLayer(nn.Module):
    """One matrix with a gain per unit. `energy` and the activities are records that a published checkpoint carries."""

    consolidation: Tensor
    gain: Tensor
    running_activity: Tensor
    _before: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.register_buffer("gain", torch.ones(outputs))
        for name, shape in (
            ("consolidation", (outputs, inputs)),
            ("running_activity", (outputs,)),
            ("input_activity", (inputs,)),
            ("output_activity", (outputs,)),
            ("energy", ()),
        ):
            self.register_buffer(name, torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, outputs): what the units rank by."""
        return nn.functional.linear(x, self.weight, self.bias) * self.gain

    def consolidate(self) -> None:
        """Consolidate the weights that matter to the gradient just taken, and note where they stand."""
        self._before = self.weight.detach().clone()
        if self.weight.grad is not None:
            importance = (self.weight.grad * self.weight).abs()
            self.consolidation.add_(importance / importance.max().clamp(min=1e-12), alpha=CONSOLIDATION_RATE).clamp_(max=1.0)

    def protect(self) -> None:
        """Shorten the optimizer's step where weights are consolidated: a smaller gradient would be no smaller a step of Adam's."""
        rate = torch.exp(-5.0 * self.consolidation) + 0.01
        self.weight.lerp_(self._before, 1.0 - rate)

    def balance(self, target: float) -> None:
        """Move the gains towards units that all win equally often."""
        self.gain.mul_(1.0 + HOMEOSTASIS_RATE * (target - self.running_activity)).clamp_(*GAIN_RANGE)


class Tnn(Model):
    """The network, `layers.0`, `layers.1`, ..."""

    family = "tnn"
    config: TnnConfig

    def __init__(self, config: TnnConfig) -> None:
        super().__init__(config.check())
        sizes = (config.inputs, *config.hidden, len(config.classes))
        self.layers = nn.ModuleList(TnnLayer(before, after) for before, after in itertools.pairwise(sizes))

    def chain(self) -> list[TnnLayer]:
        """The layers, typed."""
        return [cast(TnnLayer, layer) for layer in self.layers]

    def forward(self, x: Tensor, conditions: Conditions) -> Tensor:
        """Logits (batch, classes) of normalized inputs (batch, inputs)."""
        *hidden, last = self.chain()
        for layer, failing in zip(hidden, self.failing_layers(), strict=True):
            sparse = self._sparse(layer, layer(x), conditions.faults.get(failing.name, LayerFaults()).dead)
            x = nn.functional.gelu(delivered(sparse, failing, conditions))
        return cast(Tensor, last(x))

    def failing_layers(self) -> tuple[FailingLayer, ...]:
        """The k-WTA layers: a dead unit never wins, and the next in rank takes its place."""
        return tuple(FailingLayer(f"layer{k}_winners", n, UNIT_FAIL_STREAM + k) for k, n in enumerate(self.config.hidden))

    def _sparse(self, layer: TnnLayer, rank: Tensor, dead: Tensor | None) -> Tensor:
        """The winners' values; backward, the soft mask around the weakest winner."""
        k = self.config.winners(rank.shape[1])
        hard = winners(rank, k, dead)
        if not self.training:
            return rank * hard
        with torch.no_grad():
            layer.running_activity.mul_(0.99).add_(hard.mean(dim=0), alpha=0.01)
            weakest = rank.topk(k, dim=1).values[:, -1:]
        soft = rank * torch.sigmoid((rank - weakest) / self.config.softness)
        return soft + (rank * hard - soft).detach()

    def before_step(self) -> None:
        """Consolidation grows."""
        with torch.no_grad():
            for layer in self.chain():
                layer.consolidate()

    def after_step(self, generator: torch.Generator) -> None:
        """Consolidated weights take a shorter step; homeostasis of the sparse layers."""
        with torch.no_grad():
            for layer in self.chain():
                layer.protect()
            for layer in self.chain()[:-1]:
                layer.balance(self.config.winners(len(layer.gain)) / len(layer.gain))

    def sleep(self) -> None:
        """Between tasks or epochs: weights that are not consolidated shrink, and consolidation decays."""
        with torch.no_grad():
            for layer in self.chain():
                layer.weight.mul_(1.0 - SLEEP_SHRINK * torch.exp(-5.0 * layer.consolidation))
                layer.consolidation.mul_(1.0 - SLEEP_SHRINK)

    def describe(self, name: str = "tnn") -> FloatModel:
        """The network as data, float64, the gains folded in."""
        nodes = list[FloatNode]([self.normalization()])
        for k, layer in enumerate(self.chain()):
            kind = Readout if k == len(self.layers) - 1 else MatMul
            gain, value = array(layer.gain), nodes[-1].name
            nodes.append(kind(f"layer{k}", value, array(layer.weight) * gain[:, None], array(layer.bias) * gain))
            if kind is MatMul:
                k_wins = self.config.winners(len(gain))
                nodes += [TopK(f"layer{k}_winners", f"layer{k}", k_wins), Gelu(f"layer{k}_gelu", f"layer{k}_winners")]
        config = self.config
        head = FloatHead("main", "input", config.inputs, nodes[-1].name, config.classes, self.encoding())
        return FloatModel(name, tuple(nodes), (head,), {"family": self.family, **self.facts}).validate()

    def summary(self) -> dict[str, Any]:
        """The share of winners."""
        return {"float": {"sparsity": self.config.sparsity}}
