"""The tasks of a shared cortex trained one after another, and what is still known of each after every one.

The trained model's `facts` hold data sets, recipes, histories and the retention matrix. A finished task is a checkpoint beside the
output and an epoch a state file, so that an interrupted run ends with the weights of one that was not.

A task trains its front-end and its readout, and of the cortex what the strategy allows:
    trained     all weights of the cortex, with nothing done against forgetting
    frozen      none after the first task, so that earlier tasks keep every bit
    rehearsal   all, and every step takes along a batch of a stored share of each earlier task, whose own weights train on too
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

from edgechaos.continual.retention import Retention
from edgechaos.data import Dataset
from edgechaos.data.dataset import shuffled
from edgechaos.models import checkpoint  # first: names the extra to install where torch is absent
from edgechaos.models.evaluate import evaluate
from edgechaos.models.shared import SharedChaosNet
from edgechaos.support.errors import ArtifactError, ConfigError
from edgechaos.train.companions import Companion, JointModule
from edgechaos.train.fit import ProgressCallback, Recipe, fit

Strategy = Literal["trained", "frozen", "rehearsal"]
SHARE = 0.05
"""Of every earlier task's training items, kept for rehearsal."""


def train_in_sequence(
    model: SharedChaosNet,
    datasets: Mapping[str, Dataset],
    recipe: Recipe | Mapping[str, Recipe],
    *,
    strategy: Strategy = "trained",
    share: float = SHARE,
    output: str | os.PathLike[str] | None = None,
    progress: ProgressCallback | None = None,
) -> SharedChaosNet:
    """Train the tasks in the order of the configuration, in place; returns the model, in eval mode, with `facts`.

    recipe: of all tasks, or one per task. share: of an earlier task's items that rehearsal keeps. output: the checkpoint to write;
    `<output>.tasks` and `<output>.state` beside it hold what is finished until it is whole.
    Raises ConfigError, and ArtifactError where those belong to another run.
    """
    run = _Sequence(model, datasets, recipe, strategy, share, None if output is None else Path(output))
    run.resume()
    for k in range(len(run.correct), len(run.names)):
        run.learn(k, progress)
    model.eval().requires_grad_(True)
    model.facts = run.facts()
    if output is not None:
        checkpoint.save(model, output)
        run.tasks_file.unlink(missing_ok=True)
    return model


class _Sequence:
    """One run: what is learned so far, and where that is kept."""

    def __init__(
        self,
        model: SharedChaosNet,
        datasets: Mapping[str, Dataset],
        recipe: Recipe | Mapping[str, Recipe],
        strategy: Strategy,
        share: float,
        output: Path | None,
    ) -> None:
        self.names = tuple(task.name for task in model.config.tasks)
        recipes = dict.fromkeys(self.names, recipe) if isinstance(recipe, Recipe) else dict(recipe)
        for what, given in (("data sets", set(datasets)), ("recipes", set(recipes))):
            if given != set(self.names):
                raise ConfigError(
                    f"shared cortex: tasks are {', '.join(self.names)}, but {what} are given for {', '.join(sorted(given))}", what
                )
        if strategy not in get_args(Strategy):
            raise ConfigError(f"shared cortex: no strategy is called {strategy!r}; use {', '.join(get_args(Strategy))}", "strategy")
        if not 0 < share <= 1:
            raise ConfigError(f"shared cortex: share = {share}, but must be above 0, at most 1", "share")
        self.model, self.datasets = model, datasets
        self.recipes = {task: recipes[task].of(model.failing_layers()) for task in self.names}
        self.strategy, self.share, self.output = strategy, share, output
        self.correct: list[tuple[int, ...]] = []
        self.histories: dict[str, list[dict[str, float]]] = {}

    @property
    def tasks_file(self) -> Path:
        """The checkpoint of the tasks that are finished."""
        return Path(f"{self.output}.tasks")

    def identity(self) -> str:
        """What tells this run from another."""
        hashes = [self.datasets[task].content_hash for task in self.names]
        recipes = [asdict(self.recipes[task]) for task in self.names]
        about = [asdict(self.model.config), hashes, recipes, self.strategy, self.share if self.strategy == "rehearsal" else None]
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    def resume(self) -> None:
        """Take over the tasks that an interrupted run finished."""
        if self.output is None or not self.tasks_file.exists():
            return
        stored = checkpoint.load(self.tasks_file)
        if stored.facts.get("identity") != self.identity():
            raise ArtifactError(
                f"{self.tasks_file}: belongs to another model, data set or recipe; delete it to start anew, or resume with those",
                str(self.tasks_file),
            )
        self.model.load_state_dict(stored.state_dict())
        self.correct = [tuple(row) for row in stored.facts["correct"]]
        self.histories = stored.facts["histories"]

    def learn(self, k: int, progress: ProgressCallback | None) -> None:
        """Train task k, measure the tasks 0..k, and keep both."""
        task, recipe = self.names[k], self.recipes[self.names[k]]
        data, net = self.datasets[task], self.model.task(task)
        earlier = self._rehearsed(k)
        self.model.eval()
        for learning in (task, *(self.names[:k] if earlier else ())):
            self.model.task(learning).train()
        self.model.cortex.requires_grad_(self.strategy != "frozen" or k == 0)
        state = None if self.output is None else Path(f"{self.output}.state")
        module = JointModule(net, earlier) if earlier else net
        history = fit(
            module, net.preprocess(data.train_items), data.train_labels, recipe, f"train {task}", [self.identity(), k], state, progress
        )
        self.model.eval()
        self.correct.append(tuple(self._right(name) for name in self.names[: k + 1]))
        self.histories[task] = [asdict(epoch) for epoch in history]
        if self.output is not None and state is not None:
            self.model.facts = {"identity": self.identity(), "correct": self.correct, "histories": self.histories}
            checkpoint.save(self.model, self.tasks_file)
            state.unlink(missing_ok=True)

    def _rehearsed(self, k: int) -> list[Companion]:
        """The earlier tasks with the stored share of their training items, in an order that is the same everywhere."""
        if self.strategy != "rehearsal":
            return []
        companions = []
        for task in self.names[:k]:
            data, net = self.datasets[task], self.model.task(task)
            kept = shuffled(len(data.train_items))[: max(1, round(self.share * len(data.train_items)))]
            companions.append(Companion(net, net.preprocess(data.train_items[kept]), data.train_labels[kept]))
        return companions

    def _right(self, task: str) -> int:
        """Right answers on the test items of a task."""
        data = self.datasets[task]
        return round(evaluate(self.model.task(task), data) * len(data.test_items))

    def facts(self) -> dict[str, Any]:
        """What travels with the model."""
        items = tuple(len(self.datasets[task].test_items) for task in self.names)
        retention = Retention(self.names, items, tuple(self.correct))
        final = retention.accuracy()[-1]
        recipes = list(self.recipes.values())
        largest = {fault: max(getattr(r, fault) for r in recipes) for fault in ("omission", "dead")}
        fixed = all(r.omission_draw == "fixed" for r in recipes) and len({r.omission for r in recipes}) == 1
        return {
            "datasets": {task: self.datasets[task].record for task in self.names},
            **largest,
            "omission_draw": "fixed" if fixed else "uniform",
            "recipes": {task: asdict(recipe) for task, recipe in self.recipes.items()},
            "histories": self.histories,
            "strategy": self.strategy,
            **({"share": self.share} if self.strategy == "rehearsal" else {}),
            "retention": retention.to_json(),
            "accuracy": {"heads": {task: {"float": float(final[j]), "items": items[j]} for j, task in enumerate(self.names)}},
        }
