"""ChaosNet in torch: pixels -> linear -> spiking cortex of any depth -> linear readout of the mean spikes.

Enters: a configuration, raw items. Leaves: logits, spikes, and the `FloatModel` that quantization reads. Parameter
names are those of the published checkpoints. The published `recurrent` matrix is feed-forward: it maps a layer's
spikes to the next layer's input; the last one is never read, is kept for compatibility and is pruned at export.
Source: ChaosNet, as published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgechaos.data import Dataset
from edgechaos.errors import ConfigError, ShapeError
from edgechaos.graph import Encoding, TickMode
from edgechaos.models.spiking import Conditions, spiking_ticks
from edgechaos.quantize.float_model import FloatHead, FloatModel, FloatNode, Linear, Normalize, Readout, Spiking

EXCITATORY = 0.8
"""Share of a recurrent matrix's rows that start at or above 0; the others start at or below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosNetConfig:
    """Everything that defines the network besides its weights. The tick mode is not visible in the weights.

    hidden: neurons per spiking layer. mean, std: of the pixels / 255, one per channel (channels first).
    fail_prob: the layers' own spike loss, at evaluation too; omission as augmentation belongs to the recipe.
    """

    inputs: int
    classes: tuple[str, ...]
    hidden: tuple[int, ...] = (64,)
    ticks: int = 10
    mode: TickMode = "parallel"
    threshold: float = 0.5
    noise_std: float = 0.01
    decay: float = 0.02
    refractory_decay: float = 0.95
    fail_prob: float = 0.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def check(self) -> ChaosNetConfig:
        """Returns self. Raises ConfigError that names the first value that no network can have."""
        fractions = ("decay", "refractory_decay", "fail_prob")
        rules: tuple[tuple[str, bool, str], ...] = (
            ("inputs", self.inputs > 0, "at least 1"),
            ("classes", len(self.classes) > 0, "at least one name"),
            ("hidden", len(self.hidden) > 0 and min(self.hidden) > 0, "one or more layer sizes of at least 1"),
            ("ticks", self.ticks > 0, "at least 1"),
            ("mode", self.mode in ("parallel", "stateful"), "'parallel' or 'stateful'"),
            ("noise_std", self.noise_std >= 0, "at least 0"),
            *((f, 0.0 <= getattr(self, f) <= 1.0, "in 0..1") for f in fractions),
            ("mean", len(self.mean) == len(self.std) > 0 and self.inputs % len(self.mean) == 0, "one value per channel, as many as std"),
            ("std", all(s > 0 for s in self.std), "above 0"),
        )
        for key, good, wanted in rules:
            if not good:
                raise ConfigError(f"ChaosNet: {key} = {getattr(self, key)!r}, but must be {wanted}", key)
        return self


def config_for(data: Dataset, **options: Any) -> ChaosNetConfig:
    """The configuration of a pixels ChaosNet for a data set; `options` are fields of ChaosNetConfig."""
    return ChaosNetConfig(inputs=data.inputs, classes=data.classes, mean=data.mean, std=data.std, **options)


class CortexLayer(nn.Module):
    """One spiking layer: input matrix, neurons, and the matrix towards the next layer."""

    def __init__(self, inputs: int, spiking: Spiking) -> None:
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
                Linear(layer.spiking.input, value, _array(layer.input_weights.weight)),
                layer.spiking,
                Linear(f"{name}_recurrent", name, _array(layer.recurrent.weight)),
            ]
            value = nodes[-1].name
        return nodes


class ChaosNet(nn.Module):
    """The pixels network. `facts` records how it was trained; it travels with checkpoints and into artifacts."""

    family = "chaosnet"

    def __init__(self, config: ChaosNetConfig) -> None:
        super().__init__()
        self.config = config.check()
        self.cortex = Cortex(config.inputs, config)
        self.readout = nn.Linear(config.hidden[-1], len(config.classes))
        self.facts: dict[str, Any] = {}

    def preprocess(self, items: NDArray[Any]) -> Tensor:
        """Normalized inputs (batch, inputs) float32 of uint8 items (batch, ...), channels first."""
        if items.dtype != np.uint8 or items[:1].size not in (0, self.config.inputs):
            raise ShapeError(f"this ChaosNet takes uint8 items of {self.config.inputs} pixels, got {items.dtype} {items.shape}")
        x = torch.from_numpy(items.astype(np.float32)).reshape(len(items), len(self.config.mean), -1)
        mean, std = torch.tensor(self.config.mean)[:, None], torch.tensor(self.config.std)[:, None]
        return x.div_(255.0).sub_(mean).div_(std).flatten(1)

    def spikes(self, x: Tensor, conditions: Conditions) -> list[Tensor]:
        """The spikes of every layer, each (batch, ticks, neurons), for normalized inputs (batch, inputs)."""
        layers: list[Tensor] = self.cortex(x, conditions)
        return layers

    def forward(self, x: Tensor, conditions: Conditions) -> Tensor:
        """Logits (batch, classes): the readout of the last layer's mean spikes over the ticks."""
        logits: Tensor = self.readout(self.spikes(x, conditions)[-1].mean(dim=1))
        return logits

    def spiking_layers(self) -> tuple[Spiking, ...]:
        """The descriptions of the spiking layers, first to last."""
        return tuple(layer.spiking for layer in self.cortex.chain())

    def describe(self, name: str = "chaosnet") -> FloatModel:
        """The network as data, float64, nothing folded yet."""
        config = self.config
        repeat = config.inputs // len(config.mean)
        mean, std = (np.repeat(np.array(v, np.float64), repeat) for v in (config.mean, config.std))
        nodes: list[FloatNode] = [Normalize("normalized", "input", mean, std), *self.cortex.describe("normalized")]
        last = self.spiking_layers()[-1].name
        nodes.append(Readout("logits", last, _array(self.readout.weight), _array(self.readout.bias)))
        head = FloatHead("main", "input", config.inputs, "logits", config.classes, Encoding("pixels"))
        return FloatModel(name, tuple(nodes), (head,), {"family": self.family, **self.facts}).validate()


def _spiking(k: int, neurons: int, config: ChaosNetConfig) -> Spiking:
    return Spiking(
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


def _array(parameter: Tensor) -> NDArray[np.float64]:
    return parameter.detach().double().numpy()
