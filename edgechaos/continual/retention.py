"""What a shared cortex still knows: right answers on task j after task i was learned, with an interval over the test items.

A task is counted only from when it was learned. Retention of a task is its accuracy at the end over its accuracy right after it was
learned; forgetting and average accuracy are those of `edgechaos.continual.measures`. Intervals are over items, for one training:
what other seeds would give they do not say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgechaos.continual.measures import Matrix, average_accuracy, forgetting
from edgechaos.support.statistics import proportion

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class Retention:
    """tasks in the order of learning; items: test items of each; correct: row i, the right answers on tasks 0..i after task i."""

    tasks: tuple[str, ...]
    items: tuple[int, ...]
    correct: tuple[tuple[int, ...], ...]

    def accuracy(self) -> Matrix:
        """R[i][j], 0 where task j was not yet learned."""
        matrix = np.zeros((len(self.correct), len(self.correct)))
        for i, row in enumerate(self.correct):
            matrix[i, : i + 1] = np.array(row) / np.array(self.items[: i + 1])
        return matrix

    def interval(self, after: int, task: int) -> tuple[float, float]:
        """The 95 % interval of R[after][task], of `edgechaos.support.statistics.proportion`."""
        found = proportion(self.correct[after][task], self.items[task])
        return found.low, found.high

    def summary(self) -> dict[str, float]:
        """average_accuracy of all tasks at the end; average_retention and forgetting of all but the last, where there are two."""
        r = self.accuracy()
        found = {"average_accuracy": average_accuracy(r)}
        learned = r.diagonal()[:-1]
        if len(r) > 1 and learned.all():
            found["average_retention"] = float((r[-1, :-1] / learned).mean())
        return found | ({"forgetting": forgetting(r)} if len(r) > 1 else {})

    def to_json(self) -> dict[str, Any]:
        """The counts, the accuracies with intervals, and the summary."""
        r = self.accuracy()
        rows = [
            {"after": self.tasks[i], **{self.tasks[j]: {"value": r[i, j], **self._bounds(i, j)} for j in range(i + 1)}}
            for i in range(len(r))
        ]
        return {"tasks": self.tasks, "items": self.items, "correct": self.correct, "accuracy": rows, **self.summary()}

    def _bounds(self, after: int, task: int) -> dict[str, float]:
        low, high = self.interval(after, task)
        return {"low": low, "high": high}

    def rich_table(self) -> Table:
        """For people."""
        from rich.table import Table

        title = "accuracy [95 % interval over test items], measured"
        table = Table("after", *(f"{t} (n = {n:,})" for t, n in zip(self.tasks, self.items, strict=True)), title=title, box=None)
        r = self.accuracy()
        for i, task in enumerate(self.tasks[: len(r)]):
            bounds = [self.interval(i, j) for j in range(i + 1)]
            table.add_row(task, *(f"{r[i, j]:.2%} [{low:.2%}, {high:.2%}]" for j, (low, high) in enumerate(bounds)))
        return table
