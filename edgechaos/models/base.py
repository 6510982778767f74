"""What every trainable model of the project is: logits under conditions, a configuration, a description as data.

Subclasses keep the parameter names of the published checkpoints, so that these load as they are.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgechaos.arithmetic import torch_words as words
from edgechaos.floatgraph.float_model import FloatModel
from edgechaos.floatgraph.float_nodes import ChaosLayer, FailingLayer, Normalize
from edgechaos.graph.heads import Encoding
from edgechaos.graph.signals import RANGE
from edgechaos.models.config import Config
from edgechaos.models.spiking import Conditions
from edgechaos.support.errors import ShapeError


class Model(nn.Module):
    """Base of the families. `facts` records how a model was trained; it travels with checkpoints and into artifacts."""

    family: ClassVar[str]

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config: Any = config
        self.facts: dict[str, Any] = {}

    def preprocess(self, items: NDArray[Any]) -> Tensor:
        """Normalized inputs (batch, inputs) float32 of items (batch, ...), channels first. Raises ShapeError.

        Items are uint8 pixels, or float32 signals, of which what is out of reach saturates, as it does in codes.
        """
        if self.signals:
            return self._signals(items)
        if items.dtype != np.uint8 or items[:1].size not in (0, self.config.inputs):
            raise ShapeError(
                f"this {type(self).__name__} takes uint8 items of {self.config.inputs} pixels, got {items.dtype} {items.shape}"
            )
        x = torch.from_numpy(items.astype(np.float32)).reshape(len(items), len(self.config.mean), -1)
        mean, std = torch.tensor(self.config.mean)[:, None], torch.tensor(self.config.std)[:, None]
        return x.div_(255.0).sub_(mean).div_(std).flatten(1)

    def _signals(self, items: NDArray[Any]) -> Tensor:
        if items.dtype != np.float32 or items[:1].size not in (0, self.config.inputs):
            raise ShapeError(
                f"this {type(self).__name__} takes float32 items of {self.config.inputs} samples, got {items.dtype} {items.shape}"
            )
        x = torch.from_numpy(items.astype(np.float32)).reshape(len(items), len(self.config.mean), -1)
        mean, std = torch.tensor(self.config.mean)[:, None], torch.tensor(self.config.std)[:, None]
        return x.sub_(mean).div_(std).clamp_(-RANGE, RANGE).flatten(1)

    @property
    def signals(self) -> bool:
        """Whether items are windows of sensor samples (`edgechaos.graph.signals`), not pixels."""
        return bool(getattr(self.config, "signals", False))

    def encoding(self) -> Encoding:
        """How items become codes: of signals, with the mean and the reach of each channel."""
        if not self.signals:
            return Encoding("pixels")
        return Encoding("signals", mean=self.config.mean, reach=tuple(RANGE * std for std in self.config.std))

    @abstractmethod
    def forward(self, x: Tensor, conditions: Conditions) -> Tensor:
        """Logits (batch, classes) of preprocessed inputs."""

    @abstractmethod
    def describe(self, name: str = ...) -> FloatModel:
        """The network as data, float64, nothing folded yet."""

    def spiking_layers(self) -> tuple[ChaosLayer, ...]:
        """The descriptions of the spiking layers, first to last."""
        return ()

    @abstractmethod
    def failing_layers(self) -> tuple[FailingLayer, ...]:
        """The layers whose units can fail, first to last, named as in the integer graph: those of its description."""

    def knows(self, layer: str) -> bool:
        """Whether faults of a layer of that name may be asked of this model."""
        return any(layer == known.name for known in self.failing_layers())

    def summary(self) -> dict[str, Any]:
        """What an artifact's metadata says of the configuration, JSON."""
        return {}

    def normalizations(self) -> dict[str, dict[str, list[float]]]:
        """By head: mean and std of the pixels / 255, or of the signals, one per channel. JSON."""
        return {"main": {"mean": list(self.config.mean), "std": list(self.config.std)}}

    def before_step(self) -> None:
        """Called between the gradient and the optimizer's step."""

    def after_step(self, generator: torch.Generator) -> None:
        """Called after the optimizer's step; whatever is drawn comes from `generator`."""

    def normalization(self) -> Normalize:
        """The node `normalized` that reads the pixels or the signals at `input`."""
        repeat = self.config.inputs // len(self.config.mean)
        mean, std = (np.repeat(np.array(v, np.float64), repeat) for v in (self.config.mean, self.config.std))
        return Normalize("normalized", "input", mean, std)


def array(parameter: Tensor) -> NDArray[np.float64]:
    """A parameter's values for a FloatModel."""
    return parameter.detach().double().numpy()


def gaussian(x: Tensor, conditions: Conditions, stream: int) -> Tensor:
    """Table-Gaussian numbers of the shape (batch, n) and dtype of x, of tick 0 of a stream."""
    word = words.words(conditions.seed, stream, conditions.samples, 1, x.shape[1])[:, 0]
    return words.gaussian(word, x.dtype)


def thermal(x: Tensor, read: Tensor, temperature: float, conditions: Conditions, stream: int) -> Tensor:
    """x + 0.01 sqrt(T) ||read|| G per output: what Gaussian noise on every weight adds, exactly."""
    if temperature == 0.0:
        return x
    deviation = 0.01 * math.sqrt(temperature) * read.flatten(1).norm(dim=1, keepdim=True)
    return x + gaussian(x, conditions, stream) * deviation
