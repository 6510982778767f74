"""ChaosNet in torch: a front-end -> spiking cortex of any depth -> linear readout of the mean spikes.

Parameter names are those of the published checkpoints. The published `recurrent` matrix is feed-forward: it maps a layer's spikes
to the next layer's input; the last one is never read, is kept for compatibility and is pruned at export.
Source: ChaosNet, as published.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgechaos.floatgraph.float_model import FloatHead, FloatModel
from edgechaos.floatgraph.float_nodes import ChaosLayer, FailingLayer, FloatNode, MatMul, Readout
from edgechaos.graph.heads import Encoding
from edgechaos.graph.tokenizer import FIRST_WORD
from edgechaos.models import fronts
from edgechaos.models.base import Model, array
from edgechaos.models.chaosnet_config import ChaosNetConfig
from edgechaos.models.spiking import Conditions, spiking_ticks
from edgechaos.support.errors import ShapeError

EXCITATORY = 0.8
"""Share of a recurrent matrix's rows that start at or above 0; the others start at or below."""


class CortexLayer(nn.Module):
    """One spiking layer: input matrix, neurons, and the matrix towards the next layer."""

    def __init__(self, inputs: int, spiking: ChaosLayer) -> None:
        super().__init__()
        self.spiking = spiking
        self.input_weights = nn.Linear(inputs, spiking.neurons, bias=False)
        self.recurrent = nn.Linear(spiking.neurons, spiking.neurons, bias=False)
        with torch.no_grad():
            self.recurrent.weight.abs_()
            self.recurrent.weight[int(EXCITATORY * spiking.neurons) :].neg_()

    def forward(self, x: Tensor, conditions: Conditions) -> Tensor:
        """Spikes (batch, ticks, neurons) of inputs (batch, inputs) or (batch, ticks, inputs)."""
        return spiking_ticks(self.input_weights(x), self.spiking, conditions)


class Cortex(nn.Module):
    """Spiking layers in a chain. Layer k is called `cortex<k>` and draws from streams 2k (losses) and 2k + 1 (noise)."""

    def __init__(self, inputs: int, config: ChaosNetConfig) -> None:
        super().__init__()
        sizes = (inputs, *config.hidden)
        self.layers = nn.ModuleList(CortexLayer(sizes[k], _spiking(k, n, config)) for k, n in enumerate(config.hidden))

    def forward(self, x: Tensor, conditions: Conditions) -> list[Tensor]:
        """The spikes of every layer, first to last, each (batch, ticks, neurons)."""
        spikes: list[Tensor] = []
        for layer in self.chain():
            spikes.append(layer(x, conditions))
            if len(spikes) < len(self.layers):
                x = layer.recurrent(spikes[-1])
        return spikes

    def chain(self) -> list[CortexLayer]:
        """The layers, typed."""
        return [cast(CortexLayer, layer) for layer in self.layers]

    def describe(self, value: str) -> list[FloatNode]:
        """The nodes of the chain, reading `value`; the last node is the last layer's unread recurrent matrix."""
        nodes: list[FloatNode] = []
        for layer in self.chain():
            name = layer.spiking.name
            nodes += [
                MatMul(layer.spiking.input, value, array(layer.input_weights.weight)),
                layer.spiking,
                MatMul(f"{name}_recurrent", name, array(layer.recurrent.weight)),
            ]
            value = nodes[-1].name
        return nodes


class ChaosNet(Model):
    """The network: `feature_extractor` and `projection`, `projection` alone, `embedding`, or none; then `cortex` and `readout`.

    cortex: one that other networks have too, in place of its own (`edgechaos.models.shared`).
    """

    family = "chaosnet"
    config: ChaosNetConfig

    def __init__(self, config: ChaosNetConfig, cortex: Cortex | None = None) -> None:
        super().__init__(config.check())
        if config.front == "vision":
            self.feature_extractor = fronts.feature_extractor(config)
        if config.front in ("vision", "dense"):
            self.projection = fronts.projection(config)
        elif config.text is not None:
            self.embedding = nn.Embedding(len(config.text.vocabulary) + FIRST_WORD, config.embed, padding_idx=0)
        self.cortex = Cortex(config.cortex_inputs, config) if cortex is None else cortex
        self.readout = nn.Linear(config.hidden[-1], len(config.classes))

    def preprocess(self, items: NDArray[Any]) -> Tensor:
        """Normalized pixels (batch, inputs) float32, or token ids (batch, inputs) int64 of uint16 ids. Raises ShapeError."""
        if self.config.front != "language":
            return super().preprocess(items)
        if items.dtype != np.uint16 or items.ndim != 2 or items.shape[1] != self.config.inputs:
            raise ShapeError(f"this ChaosNet takes uint16 ids of {self.config.inputs} tokens, got {items.dtype} {items.shape}")
        return torch.from_numpy(items.astype(np.int64))

    def features(self, x: Tensor) -> Tensor:
        """What the cortex reads, (batch, cortex_inputs)."""
        if self.config.front == "vision":
            x = self.feature_extractor(x.reshape(-1, *self.config.image))
        if self.config.front in ("vision", "dense"):
            return cast(Tensor, self.projection(x))
        return fronts.embedding_mean(self.embedding.weight, x) if self.config.front == "language" else x

    def spikes(self, x: Tensor, conditions: Conditions) -> list[Tensor]:
        """The spikes of every layer, each (batch, ticks, neurons), for preprocessed inputs."""
        layers: list[Tensor] = self.cortex(self.features(x), conditions)
        return layers

    def forward(self, x: Tensor, conditions: Conditions) -> Tensor:
        """Logits (batch, classes): the readout of the last layer's mean spikes over the ticks."""
        logits: Tensor = self.readout(self.spikes(x, conditions)[-1].mean(dim=1))
        return logits

    def spiking_layers(self) -> tuple[ChaosLayer, ...]:
        """The descriptions of the spiking layers, first to last."""
        return tuple(layer.spiking for layer in self.cortex.chain())

    def failing_layers(self) -> tuple[FailingLayer, ...]:
        """The spiking layers."""
        return tuple(layer.failing() for layer in self.spiking_layers())

    def after_step(self, generator: torch.Generator) -> None:
        """Where `signed`: excitatory rows stay at or above 0, inhibitory rows at or below."""
        if self.config.signed:
            with torch.no_grad():
                for layer in self.cortex.chain():
                    excitatory = int(EXCITATORY * layer.spiking.neurons)
                    layer.recurrent.weight[:excitatory].clamp_(min=0.0)
                    layer.recurrent.weight[excitatory:].clamp_(max=0.0)

    def describe(self, name: str = "chaosnet") -> FloatModel:
        """The network as data, float64, nothing folded yet."""
        config, encoding = self.config, self.encoding()
        if config.front == "language":
            nodes, encoding = fronts.describe_language(self.embedding, "input"), Encoding("tokens", config.text)
        elif config.front == "vision":
            nodes = [self.normalization(), *fronts.describe_vision(self.feature_extractor, self.projection, config, "normalized")]
        elif config.front == "dense":
            nodes = [self.normalization(), *fronts.describe_dense(self.projection, "normalized")]
        else:
            nodes = [self.normalization()]
        nodes += self.cortex.describe(nodes[-1].name)
        last = self.cortex.chain()[-1].spiking.name
        nodes.append(Readout("logits", last, array(self.readout.weight), array(self.readout.bias)))
        head = FloatHead("main", "input", config.inputs, "logits", config.classes, encoding, image=config.image or None)
        return FloatModel(name, tuple(nodes), (head,), {"family": self.family, **self.facts}).validate()

    def summary(self) -> dict[str, Any]:
        """Front-end, ticks and the neuron's constants."""
        config = self.config
        constants = ("threshold", "noise_std", "decay", "refractory_decay", "fail_prob")
        values = {"ticks": config.ticks, "tick_mode": config.mode, "float": {name: getattr(config, name) for name in constants}}
        return values if config.front == "pixels" else {"front": config.front, **values}


def _spiking(k: int, neurons: int, config: ChaosNetConfig) -> ChaosLayer:
    return ChaosLayer(
        name=f"cortex{k}",
        input=f"cortex{k}_matmul",
        neurons=neurons,
        ticks=config.ticks,
        mode=config.mode,
        threshold=config.threshold,
        noise_std=config.noise_std,
        decay=config.decay,
        refractory_decay=config.refractory_decay,
        fail_prob=config.fail_prob,
        fail_stream=2 * k,
        noise_stream=2 * k + 1,
    )
