"""All heads of a fake-quantized model fine-tuned together: what they share must serve every one of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgechaos.data import Dataset
from edgechaos.floatgraph.float_nodes import FailingLayer
from edgechaos.models.spiking import Conditions
from edgechaos.quantize.fake_quant import FakeQuantModel
from edgechaos.quantize.heads import input_codes
from edgechaos.train.companions import Companion, JointModule
from edgechaos.train.fit import Trainable


class HeadOf(nn.Module):
    """One head of a FakeQuantModel."""

    def __init__(self, model: FakeQuantModel, head: str) -> None:
        super().__init__()
        self.model = model
        self.head = head

    def forward(self, codes: Tensor, conditions: Conditions) -> Tensor:
        """The head's logits."""
        return self.model(codes, conditions, self.head)  # type: ignore[no-any-return]

    def failing_layers(self) -> tuple[FailingLayer, ...]:
        """The failing layers of the head."""
        return self.model.failing_layers(self.head)

    def before_step(self) -> None:
        """The model's own."""
        self.model.before_step()

    def after_step(self, generator: torch.Generator) -> None:
        """The model's own."""
        self.model.after_step(generator)


def trainable(model: FakeQuantModel, datasets: Mapping[str, Dataset]) -> tuple[Trainable, Tensor, NDArray[np.int64]]:
    """(module, inputs, labels): an epoch goes once over the head with most items; every step takes a batch of each other head along."""
    main = max(datasets, key=lambda head: len(datasets[head].train_items))
    tasks = {
        head: Companion(HeadOf(model, head), torch.from_numpy(input_codes(model.described, d.train_items, head)), d.train_labels)
        for head, d in datasets.items()
    }
    module, inputs, labels = (tasks[main].module, tasks[main].inputs, tasks[main].labels)
    others = [task for head, task in tasks.items() if head != main]
    return (JointModule(module, others) if others else model), inputs, labels
