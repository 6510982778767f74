"""Learning tasks one after another, by several strategies: a plain MLP or the sparse TNN, with and without EWC and sleep.

Per strategy and seed: an ordinary checkpoint, its integer artifact, and the accuracies of both on every task, in `results.json`.
What is finished is not learned again, and a run that was interrupted goes on after its last whole task, to the same bits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgechaos.arithmetic.streams import TASK_STREAM
from edgechaos.models import checkpoint  # first: names the extra to install where torch is absent

# isort: split
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as save_tensors

from edgechaos import reference
from edgechaos.arithmetic.random_bits import stream_head
from edgechaos.continual.ewc import Anchored
from edgechaos.continual.measures import MEASURES, average_accuracy, over_seeds
from edgechaos.continual.tasks import TaskStream
from edgechaos.data import Dataset
from edgechaos.graph import artifact
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.models.base import Model
from edgechaos.models.build import build
from edgechaos.models.evaluate import evaluate_under
from edgechaos.models.tnn import Tnn
from edgechaos.quantize.pipeline import quantize
from edgechaos.support.errors import ArtifactError, ConfigError
from edgechaos.support.files import read_file, write_atomic
from edgechaos.train.fit import Recipe, fit

STRATEGIES = ("plain", "sparse", "ewc", "sparse+ewc", "sparse+sleep", "sparse+ewc+sleep")
COMPARED = STRATEGIES[:4]
STATE_KEY = "edgechaos_continual_state"
RECIPE = Recipe(epochs=1, batch=128, learning_rate=3e-4, optimizer="adam", weight_decay=0.0, omission=0.0)
"""Per task. Few and small steps: at 1e-3 both networks forget all but the last task, whatever the strategy."""

ContinualProgress = Callable[[int, int], None]
"""Called with (tasks learned, tasks of all runs)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What all strategies share; hidden is of both networks, sparsity of the TNN, ewc_lambda and fisher_items (per task) of EWC.

    recipe: of one task; its seed is drawn from the run's and the task's. epochs of all tasks are the same.
    """

    hidden: tuple[int, ...] = (256,)
    sparsity: float = 0.05
    ewc_lambda: float = 1e5
    fisher_items: int = 1024
    recipe: Recipe = RECIPE

    def check(self) -> Settings:
        """Returns self. Raises ConfigError that names the first impossible value."""
        if not 0 <= self.ewc_lambda < np.inf:
            raise ConfigError(f"continual: ewc_lambda = {self.ewc_lambda}, but must be at least 0 and finite", "ewc_lambda")
        if self.fisher_items < 1:
            raise ConfigError(f"continual: fisher_items = {self.fisher_items}, but must be at least 1", "fisher_items")
        self.recipe.check()
        return self


def compare(
    stream: TaskStream,
    output: Path,
    *,
    strategies: Sequence[str] = COMPARED,
    seeds: int = 3,
    settings: Settings = Settings(),
    progress: ContinualProgress | None = None,
) -> dict[str, Any]:
    """Learn the stream by every strategy with the seeds 0..seeds-1; returns, and writes to `output`/results.json, what came out.

    Raises ConfigError for an unknown strategy or setting, ArtifactError where the folder holds results of another comparison.
    """
    for strategy in strategies:
        if strategy not in STRATEGIES:
            raise ConfigError(f"no strategy is called '{strategy}'; use {', '.join(STRATEGIES)}", "strategy")
    if not strategies or seeds < 1:
        raise ConfigError(f"continual: {len(strategies)} strategies with {seeds} seeds; at least one of each", "seeds")
    about = {
        "stream": stream.kind,
        "dataset": {"name": stream.data.name, "hash": stream.data.content_hash},
        "tasks": [stream.name(task) for task in range(stream.count)],
        "test_items": [len(stream.test(task)[1]) for task in range(stream.count)],
        "settings": json.loads(json.dumps(asdict(settings.check()))),
    }
    path, done = output / "results.json", 0
    runs = _finished(path, about)
    wanted = [(strategy, seed) for strategy in strategies for seed in range(seeds)]
    for strategy, seed in wanted:
        if f"{strategy} {seed}" not in runs:
            tick = None if progress is None else lambda k, _, done=done: progress(done + k, len(wanted) * stream.count)
            runs[f"{strategy} {seed}"] = learn(stream, strategy, seed, settings, output, tick)
            write_atomic(path, json.dumps({**about, "runs": runs, "summary": summary(runs)}, indent=1) + "\n")
        done += stream.count
    chosen = {f"{strategy} {seed}": runs[f"{strategy} {seed}"] for strategy, seed in wanted}
    return {**about, "runs": chosen, "summary": summary(chosen)}


def summary(runs: dict[str, Any]) -> dict[str, Any]:
    """{strategy: {measure: {value, low, high, n}}}: the measures of the float model, and the integers' average accuracy."""
    by_strategy: dict[str, list[dict[str, Any]]] = {}
    for key, run in runs.items():
        by_strategy.setdefault(key.rsplit(" ", 1)[0], []).append(run)
    return {
        strategy: {
            **{name: asdict(over_seeds([measure(np.array(r["accuracy"])) for r in some])) for name, measure in MEASURES.items()},
            "integer_average_accuracy": asdict(over_seeds([average_accuracy(np.array([r["integer"]])) for r in some])),
        }
        for strategy, some in by_strategy.items()
    }


def _finished(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        stored = json.loads(read_file(path, "results"))
        runs, same = dict(stored["runs"]), all(stored[key] == value for key, value in about.items())
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{path}: not the results of a continual comparison ({error}); choose another folder", str(path)) from error
    if not same:
        raise ArtifactError(f"{path}: belongs to another stream, data set or setting; choose another folder or delete it", str(path))
    return runs


def learn(
    stream: TaskStream, strategy: str, seed: int, settings: Settings, output: Path, progress: ContinualProgress | None = None
) -> dict[str, Any]:
    """One run. Writes `<strategy>-<seed>.safetensors` and `.ecm`; returns {"accuracy": R, "integer": accuracies at the end}."""
    parts, place = strategy.split("+"), output / f"{strategy}-{seed}"
    options: dict[str, Any] = {"hidden": settings.hidden} | ({"sparsity": settings.sparsity} if "sparse" in parts else {})
    model = build("tnn" if "sparse" in parts else "mlp", stream.data, seed=seed, **options)
    learner = Anchored(model, settings.ewc_lambda if "ewc" in parts else 0.0)
    state = output / f"{strategy}-{seed}.state"
    identity = _identity(stream, strategy, seed, settings)
    rows = _resume(state, identity, learner)
    for task in range(len(rows), stream.count):
        _learn_task(stream, task, learner, settings, seed, sleep="sleep" in parts)
        rows.append([_accuracy(evaluate_under(model, items), labels) for items, labels in map(stream.test, range(stream.count))])
        _store(state, identity, learner, rows)
        if progress is not None:
            progress(task + 1, stream.count)
    model.facts = {
        "dataset": stream.data.record,
        "continual": {"stream": stream.kind, "tasks": stream.count, "strategy": strategy, "seed": seed, "accuracy": rows},
        "recipe": asdict(settings.recipe),
    }
    checkpoint.save(model, f"{place}.safetensors")
    graph = integers(model, stream)
    artifact.save(graph, f"{place}.ecm")
    state.unlink(missing_ok=True)
    return {"accuracy": rows, "integer": [_integer_accuracy(graph, *stream.test(task)) for task in range(stream.count)]}


def _learn_task(stream: TaskStream, task: int, learner: Anchored, settings: Settings, seed: int, sleep: bool) -> None:
    """Fit, sleep, then hold what is left."""
    model, task_seed = learner.model, stream_head(seed, TASK_STREAM + task)
    items, labels = stream.train(task)
    inputs = model.preprocess(items)
    model.train()
    fit(learner, inputs, labels, replace(settings.recipe, seed=task_seed), f"task {task}")
    model.eval()
    if sleep and isinstance(model, Tnn):
        model.sleep()
    if learner.strength > 0:
        learner.anchor(inputs[: settings.fisher_items], task_seed)


def integers(model: Model, stream: TaskStream) -> IntegerGraph:
    """The integer graph by calibration alone: fine-tuning on all tasks would teach again what was forgotten.

    Calibrated on training items of all tasks, without labels; its recorded accuracy is over all tasks' test items.
    """
    items, tests = stream.calibration(), [stream.test(task) for task in range(stream.count)]
    joint: Dataset = replace(
        stream.data,
        train_items=items,
        train_labels=np.zeros(len(items), np.int64),
        test_items=np.concatenate([i for i, _ in tests]),
        test_labels=np.concatenate([labels for _, labels in tests]),
    )
    return quantize(model, joint, method="ptq")


def _accuracy(logits: NDArray[Any], labels: NDArray[np.int64]) -> float:
    return float((logits.argmax(axis=1) == labels).mean())


def _integer_accuracy(graph: IntegerGraph, items: NDArray[Any], labels: NDArray[np.int64]) -> float:
    return float((reference.run(graph, reference.encode(graph, items)).labels == labels).mean())


def _identity(stream: TaskStream, strategy: str, seed: int, settings: Settings) -> str:
    parts = [stream.kind, stream.count, stream.data.content_hash, strategy, seed, asdict(settings)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _tensors(learner: Anchored) -> dict[str, torch.Tensor]:
    """All that a run carries from one task to the next, by name; writing into them changes the learner."""
    tensors = {f"model/{name}": tensor for name, tensor in learner.model.state_dict().items()}
    for kind, held in (("fisher", learner.fisher), ("pull", learner.pull)):
        tensors |= {f"{kind}/{name}": tensor for name, tensor in held.items()}
    return tensors


def _store(state: Path, identity: str, learner: Anchored, rows: list[list[float]]) -> None:
    write_atomic(state, save_tensors(_tensors(learner), {STATE_KEY: json.dumps({"identity": identity, "rows": rows})}))


def _resume(state: Path, identity: str, learner: Anchored) -> list[list[float]]:
    if not state.exists():
        return []
    stored, about = checkpoint.read_tensors(state, STATE_KEY, "continual state")
    if about.get("identity") != identity:
        raise ArtifactError(f"{state}: belongs to another stream, strategy or setting; delete it to start anew", str(state))
    with torch.no_grad():
        for name, tensor in _tensors(learner).items():
            tensor.copy_(stored[name])
    rows: list[list[float]] = about["rows"]
    return rows
