"""Training: surrogate gradients with omission and death of units as augmentation, seeded, resumable to the same bits.

Order of items and random words depend on (seed, epoch) alone and the learning rate on the step alone, so a run that was interrupted
and resumed from its state file ends with the weights of one that was not.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from edgechaos.arithmetic.streams import DYNAMICS_STREAM, EPOCH_STREAM, SHARE_STREAM
from edgechaos.models import checkpoint  # first: names the extra to install where torch is absent

# isort: split
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from edgechaos.arithmetic.random_bits import fail_q, stream_head, words
from edgechaos.arithmetic.seeds import check_seed
from edgechaos.data import Dataset
from edgechaos.floatgraph.float_nodes import FailingLayer
from edgechaos.models.base import Model
from edgechaos.models.chaosnet import ChaosNet
from edgechaos.models.chaosnet_config import config_for
from edgechaos.models.evaluate import evaluate
from edgechaos.models.spiking import Conditions, LayerFaults, draw_dead
from edgechaos.support.errors import ArtifactError, ConfigError, EdgeChaosError
from edgechaos.support.files import write_atomic

DEFAULT_OMISSION = 0.5
"""Of spiking models that lose nothing by themselves."""
STATE_KEY = "edgechaos_training_state"
_OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train. learning_rate falls to 0 along half a cosine.

    omission: the share of spikes lost in training, 0..1, or, where nothing spikes, of the values of units (of channels), an item at
    a time. "fixed": at every step, as published. "uniform": each step draws its share from 0..omission, which deep networks need:
    a layer behind a fixed loss learns to expect weak input. None: what a model loses by itself, fixed, where it does; else
    DEFAULT_OMISSION where it spikes and 0 where it does not.
    dead: every item draws from 0..dead the share of units that are silent for it at all ticks.
    threads: of torch. Sums depend on it in their last bits; small layers gain nothing from more than one.
    """

    epochs: int = 20
    batch: int = 128
    learning_rate: float = 1e-2
    optimizer: Literal["adamw", "adam"] = "adamw"
    weight_decay: float = 0.5
    omission: float | None = None
    omission_draw: Literal["fixed", "uniform"] = "uniform"
    dead: float = 0.0
    seed: int = 0
    threads: int = 1

    def check(self) -> Recipe:
        """Returns self. Raises ConfigError that names the first impossible value; of the seed, SeedError."""
        rules = (
            ("epochs", self.epochs >= 0, "at least 0"),
            ("batch", self.batch >= 1, "at least 1"),
            ("learning_rate", self.learning_rate > 0, "above 0"),
            ("optimizer", self.optimizer in ("adamw", "adam"), "'adamw' or 'adam'"),
            ("weight_decay", self.weight_decay >= 0, "at least 0"),
            ("omission", self.omission is None or 0 <= self.omission <= 1, "in 0..1"),
            ("omission_draw", self.omission_draw in ("fixed", "uniform"), "'fixed' or 'uniform'"),
            ("dead", 0 <= self.dead <= 1, "in 0..1"),
            ("threads", self.threads >= 1, "at least 1"),
        )
        for key, good, wanted in rules:
            if not good:
                raise ConfigError(f"recipe: {key} = {getattr(self, key)!r}, but must be {wanted}", key)
        check_seed(self.seed)
        return self

    def of(self, layers: Sequence[FailingLayer]) -> Recipe:
        """Checked, and with an omission where it was left open, for a model in which these layers can fail. Raises ConfigError."""
        if self.check().omission is not None:
            return self
        own = max((layer.fail_prob for layer in layers), default=0.0)
        if own > 0:
            return replace(self, omission=own, omission_draw="fixed")
        return replace(self, omission=DEFAULT_OMISSION if any(layer.spiking for layer in layers) else 0.0)


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch of a history: mean training loss (nats), training accuracy under augmentation."""

    loss: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Progress:
    """What a progress callback is told after each epoch: `done` of `total`, and the epoch's figures."""

    stage: str
    done: int
    total: int
    last: Epoch | None = None


ProgressCallback = Callable[[Progress], None]


M = TypeVar("M", bound=Model)


class Trainable(Protocol):
    """What `fit` needs of a torch module: logits of a batch under conditions, its state, its failing layers, its own dynamics."""

    def __call__(self, x: Tensor, conditions: Conditions) -> Tensor:
        """Logits (batch, classes)."""

    def failing_layers(self) -> Sequence[FailingLayer]:
        """The layers that omission and death act on."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """As torch.nn.Module."""

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """As torch.nn.Module."""

    def before_step(self) -> None:
        """Called between the gradient and the optimizer's step."""

    def after_step(self, generator: torch.Generator) -> None:
        """Called after the optimizer's step; whatever is drawn comes from `generator`."""


def new_model(data: Dataset, *, seed: int = 0, **options: Any) -> ChaosNet:
    """An untrained ChaosNet for a data set, its weights drawn from `seed`; options: fields of ChaosNetConfig."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(check_seed(seed))
        return ChaosNet(config_for(data, **options))


def train(
    model: M,
    data: Dataset,
    recipe: Recipe = Recipe(),
    *,
    output: str | os.PathLike[str] | None = None,
    progress: ProgressCallback | None = None,
) -> M:
    """Train in place and return the model, in eval mode, with `facts`: data set, recipe, history, test accuracy.

    output: the checkpoint to write. Until it is whole, `<output>.state` beside it holds the last finished epoch; the
    same call after an interruption goes on from there.
    Raises ConfigError, and ArtifactError where that state belongs to another run.
    """
    state = None if output is None else Path(f"{os.fspath(output)}.state")
    model.train()
    recipe = recipe.of(model.failing_layers())
    identity = {"family": model.family, "config": asdict(model.config), "data": data.content_hash}
    with _threads(recipe.threads):
        history = fit(model, model.preprocess(data.train_items), data.train_labels, recipe, "train", identity, state, progress)
        model.eval()
        accuracy = evaluate(model, data)
    model.facts = {
        "dataset": data.record,
        "omission": recipe.omission,
        "omission_draw": recipe.omission_draw,
        "dead": recipe.dead,
        "recipe": asdict(recipe),
        "history": [asdict(epoch) for epoch in history],
        "accuracy": {"float": accuracy, "items": len(data.test_items)},
    }
    if output is not None and state is not None:
        checkpoint.save(model, output)
        state.unlink(missing_ok=True)
    return model


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fit(
    module: Trainable,
    inputs: Tensor,
    labels: NDArray[np.int64],
    recipe: Recipe,
    stage: str,
    identity: object = None,
    state: Path | None = None,
    progress: ProgressCallback | None = None,
) -> list[Epoch]:
    """Minimize the cross-entropy of module(inputs[i], conditions) over the recipe's epochs; returns the history.

    inputs: (n, ...) tensor; labels: (n,) integers. state: written after every epoch, resumed from where it exists.
    identity: JSON that tells this run's state file from another's.
    Raises ConfigError for an impossible recipe.
    """
    layers = tuple(module.failing_layers())
    recipe = recipe.of(layers)
    optimizer = _OPTIMIZERS[recipe.optimizer]([p for _, p in module.named_parameters()], weight_decay=recipe.weight_decay)
    identity_hash = hashlib.sha256(json.dumps([stage, asdict(recipe), identity], sort_keys=True).encode()).hexdigest()
    history = _resume(state, identity_hash, module, optimizer)
    target = torch.from_numpy(labels)
    with _threads(recipe.threads):
        while len(history) < recipe.epochs:
            history.append(_epoch(module, layers, inputs, target, recipe, len(history), optimizer))
            if state is not None:
                _store(state, identity_hash, module, optimizer, history)
            if progress is not None:
                progress(Progress(stage, len(history), recipe.epochs, history[-1]))
    return history


def _epoch(
    module: Trainable,
    layers: Sequence[FailingLayer],
    inputs: Tensor,
    target: Tensor,
    recipe: Recipe,
    epoch: int,
    optimizer: torch.optim.Optimizer,
) -> Epoch:
    """One pass over all items in an order, with random words and learning rates that (seed, epoch) alone decide."""
    seed = stream_head(recipe.seed, EPOCH_STREAM + epoch)
    shuffled = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))
    dynamics = torch.Generator().manual_seed(stream_head(seed, DYNAMICS_STREAM))
    steps = math.ceil(len(inputs) / recipe.batch)
    assert recipe.omission is not None
    shares = recipe.omission * (
        words(seed, SHARE_STREAM, [0], 1, steps)[0, 0] / 2**32 if recipe.omission_draw == "uniform" else np.ones(steps)
    )
    loss_sum, correct = 0.0, 0
    for step, index in enumerate(torch.split(shuffled, recipe.batch)):
        done = (epoch * steps + step) / (recipe.epochs * steps)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))
        lost = fail_q(float(shares[step]))
        faults = {layer.name: LayerFaults(lost, _dead(recipe, seed, index, layer)) for layer in layers}
        logits = module(inputs[index], Conditions(seed, index, faults, training=True))
        loss = nn.functional.cross_entropy(logits, target[index])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        module.before_step()
        optimizer.step()
        module.after_step(dynamics)
        loss_sum += float(loss.detach()) * len(index)
        correct += int((logits.argmax(dim=1) == target[index]).sum())
    return Epoch(loss_sum / len(inputs), correct / len(inputs))


def _dead(recipe: Recipe, seed: int, samples: Tensor, layer: FailingLayer) -> Tensor | None:
    return draw_dead(seed, samples, layer, fail_q(recipe.dead)) if recipe.dead > 0 else None


def kept_epochs(output: str | os.PathLike[str]) -> int:
    """How many epochs of an interrupted training the state file beside its output holds; 0 without one that can be read."""
    try:
        return len(checkpoint.read_tensors(f"{os.fspath(output)}.state", STATE_KEY, "training state")[1]["history"])
    except (EdgeChaosError, KeyError, TypeError):
        return 0


def _store(state: Path, identity: str, module: Trainable, optimizer: torch.optim.Optimizer, history: list[Epoch]) -> None:
    tensors = {f"buffers/{name}": buffer for name, buffer in module.named_buffers()}
    for name, parameter in module.named_parameters():
        tensors[f"weights/{name}"] = parameter.detach()
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{key}/{name}"] = value
    about = {"identity": identity, "history": [asdict(epoch) for epoch in history]}
    write_atomic(state, save_tensors(tensors, {STATE_KEY: json.dumps(about)}))


def _resume(state: Path | None, identity: str, module: Trainable, optimizer: torch.optim.Optimizer) -> list[Epoch]:
    if state is None or not state.exists():
        return []
    tensors, about = checkpoint.read_tensors(state, STATE_KEY, "training state")
    if about.get("identity") != identity:
        raise ArtifactError(
            f"{state}: belongs to another model, data set or recipe; delete it to start anew, or resume with those", str(state)
        )
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            buffer.copy_(tensors[f"buffers/{name}"])
        for name, parameter in module.named_parameters():
            parameter.copy_(tensors[f"weights/{name}"])
            moments = {key: tensors[f"{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq") if f"{key}/{name}" in tensors}
            if moments:
                optimizer.state[parameter] = moments
    return [Epoch(**epoch) for epoch in about["history"]]
