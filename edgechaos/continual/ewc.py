"""Elastic weight consolidation: after a task, weights are held where the task needs them.

The penalty on the next tasks is lambda / 2 sum_k sum_i F_ki (w_i - w*_ki)^2 over the tasks k so far, F the diagonal of the Fisher
information at the end of task k. The sum over tasks is itself one quadratic, so that two numbers per weight are kept whatever the
number of tasks: sum_k F_k and sum_k F_k w*_k.
Source: Kirkpatrick et al., Overcoming catastrophic forgetting in neural networks, PNAS 114 (2017).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from edgechaos.arithmetic import torch_words as words
from edgechaos.arithmetic.streams import LABEL_STREAM
from edgechaos.floatgraph.float_nodes import FailingLayer
from edgechaos.models.base import Model
from edgechaos.models.spiking import Conditions


def fisher(model: Model, inputs: Tensor, seed: int) -> dict[str, Tensor]:
    """Mean over items of (d log p(y | x) / dw)^2 per weight, with y drawn from the model's own p(y | x).

    inputs: (n, inputs), preprocessed. The model is taken in eval mode; labels come from counter-based words of `seed`.
    """
    weights = dict(model.named_parameters())
    total = {name: torch.zeros_like(weight.detach()) for name, weight in weights.items()}
    training = model.training
    model.eval()
    samples = torch.arange(len(inputs))
    labels = _drawn_labels(model, inputs, samples, seed)
    for x, sample, label in zip(*(torch.split(t, 1) for t in (inputs, samples, labels)), strict=True):
        loss = nn.functional.cross_entropy(model(x, Conditions(seed, sample)), label)
        for name, gradient in zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True):
            total[name].addcmul_(gradient, gradient, value=1 / len(inputs))
    model.train(training)
    return total


def _drawn_labels(model: Model, inputs: Tensor, samples: Tensor, seed: int) -> Tensor:
    """One class per item from softmax(logits)."""
    with torch.no_grad():
        cumulative = torch.softmax(model(inputs, Conditions(seed, samples)), dim=1).cumsum(dim=1)
        uniform = (words.words(seed, LABEL_STREAM, samples, 1, 1)[:, 0].double() + 2**31) / 2**32
        return (cumulative[:, :-1] < uniform).sum(dim=1)


class Anchored:
    """A model as `edgechaos.train.fit.fit` sees it, with the penalty's gradient added to the loss's. strength: lambda; 0 adds nothing."""

    def __init__(self, model: Model, strength: float) -> None:
        self.model = model
        self.strength = strength
        self.fisher = {name: torch.zeros_like(weight.detach()) for name, weight in model.named_parameters()}
        self.pull = {name: torch.zeros_like(weight.detach()) for name, weight in model.named_parameters()}

    def anchor(self, inputs: Tensor, seed: int) -> None:
        """Hold the present weights by what these items of the task need."""
        for name, value in fisher(self.model, inputs, seed).items():
            self.fisher[name] += value
            self.pull[name] += value * self.model.get_parameter(name).detach()

    def penalty_gradient(self, name: str) -> Tensor:
        """lambda sum_k F_k (w - w*_k)."""
        return self.strength * (self.fisher[name] * self.model.get_parameter(name).detach() - self.pull[name])

    def before_step(self) -> None:
        """The penalty, then the model's own."""
        if self.strength > 0:
            for name, weight in self.model.named_parameters():
                if weight.grad is not None:
                    weight.grad.add_(self.penalty_gradient(name))
        self.model.before_step()

    def after_step(self, generator: torch.Generator) -> None:
        """The model's own."""
        self.model.after_step(generator)

    def __call__(self, x: Tensor, conditions: Conditions) -> Tensor:
        """The model's logits."""
        logits: Tensor = self.model(x, conditions)
        return logits

    def failing_layers(self) -> tuple[FailingLayer, ...]:
        """The model's."""
        return self.model.failing_layers()

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The model's."""
        return self.model.named_parameters()

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """The model's."""
        return self.model.named_buffers()
