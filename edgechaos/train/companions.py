"""A network trained jointly with others: networks that share weights with it, or that must not be forgotten.

Every step adds to the gradient of the network's batch that of a batch of every other one, drawn with replacement by the seed of the
epoch and the number of the step, which is a buffer: a run that was resumed draws what one that was not would have drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgechaos.arithmetic.random_bits import stream_head
from edgechaos.arithmetic.streams import COMPANION_STREAM
from edgechaos.floatgraph.float_nodes import FailingLayer
from edgechaos.models.spiking import Conditions


@dataclass(frozen=True, slots=True, eq=False)
class Companion:
    """A network that is trained too: module as `edgechaos.train.fit.Trainable`; inputs (n, ...), labels (n,)."""

    module: Any
    inputs: Tensor
    labels: NDArray[np.int64]


class JointModule(nn.Module):
    """The network `main` as `fit` sees it; the failing layers of the others are those of `main` under other names."""

    steps: Tensor

    def __init__(self, main: Any, companions: Sequence[Companion]) -> None:
        super().__init__()
        self.main = main
        self.modules_alongside = nn.ModuleList(companion.module for companion in companions)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._companions = tuple(companions)
        self._conditions: Conditions | None = None

    def forward(self, x: Tensor, conditions: Conditions) -> Tensor:
        """The logits of `main`."""
        self._conditions = conditions
        logits: Tensor = self.main(x, conditions)
        return logits

    def failing_layers(self) -> tuple[FailingLayer, ...]:
        """The layers of `main`."""
        layers: tuple[FailingLayer, ...] = self.main.failing_layers()
        return layers

    def before_step(self) -> None:
        """Adds the gradients of the others, under the faults of the batch that `main` just saw; then what `main` does."""
        assert self._conditions is not None
        for k, companion in enumerate(self._companions):
            self._add_gradient(k, companion, self._conditions)
        self.steps += 1
        self.main.before_step()

    def _add_gradient(self, k: int, companion: Companion, conditions: Conditions) -> None:
        items, noise = (
            stream_head(stream_head(conditions.seed, COMPANION_STREAM + 2 * k + what), int(self.steps) & 0xFFFFFFFF) for what in (0, 1)
        )
        count = len(conditions.samples)
        index = torch.randint(len(companion.inputs), (count,), generator=torch.Generator().manual_seed(items))
        pairs = zip(companion.module.failing_layers(), self.failing_layers(), strict=True)
        faults = {theirs.name: conditions.faults[ours.name] for theirs, ours in pairs if ours.name in conditions.faults}
        logits = companion.module(companion.inputs[index], Conditions(noise, index, faults, training=conditions.training))
        loss = nn.functional.cross_entropy(logits, torch.from_numpy(companion.labels)[index])
        loss.backward()  # type: ignore[no-untyped-call]

    def after_step(self, generator: torch.Generator) -> None:
        """What `main` does."""
        self.main.after_step(generator)
