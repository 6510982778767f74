"""Streams of tasks made from one data set: its classes in groups, or its pixels in other orders.

One task is in memory at a time. All tasks share one head over all classes and nothing tells the network which task an item is of:
the class-incremental and the domain-incremental scenario of van de Ven and Tolias, arXiv 1904.07734 (2019). Permutations come from
counter-based words: the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic.streams import PERMUTATION_STREAM
from edgechaos.data import Dataset
from edgechaos.data.dataset import shuffled
from edgechaos.support.errors import ConfigError, DataError

StreamKind = Literal["split", "permuted"]
Items = tuple[NDArray[Any], NDArray[np.int64]]
"""(items, labels)."""
CALIBRATION_ITEMS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class TaskStream:
    """`count` tasks over `data`.

    split: classes in order, in groups as equal as can be; task 0 of ten classes in five tasks is 0 and 1.
    permuted: all classes; every task but the first sees the pixels in an order of its own.
    """

    kind: StreamKind
    data: Dataset
    count: int = 5

    def __post_init__(self) -> None:
        if self.kind not in get_args(StreamKind):
            raise ConfigError(f"stream {self.kind!r} is not known; use {' or '.join(get_args(StreamKind))}", "stream")
        if self.data.text is not None:
            raise DataError(f"data set '{self.data.name}' holds texts; a stream of tasks is made of images")
        if self.data.signals and self.kind == "permuted":
            raise DataError(f"data set '{self.data.name}' holds signals, whose channels have scales of their own; only pixels are permuted")
        most = len(self.data.classes) if self.kind == "split" else 1000
        if not 2 <= self.count <= most:
            raise ConfigError(f"tasks = {self.count}, but a {self.kind} stream of '{self.data.name}' has 2 to {most}", "tasks")

    def name(self, task: int) -> str:
        """For people: the classes of a split task, the number of a permuted one."""
        return ", ".join(self.data.classes[c] for c in self._classes(task)) if self.kind == "split" else f"order {task}"

    def train(self, task: int) -> Items:
        """The training items of a task."""
        return self._take(task, self.data.train_items, self.data.train_labels)

    def test(self, task: int) -> Items:
        """The test items of a task."""
        return self._take(task, self.data.test_items, self.data.test_labels)

    def calibration(self) -> NDArray[Any]:
        """Training items of all tasks in turn, as many of each, at most 1,024: what quantization may look at, without labels."""
        each = [self.train(task)[0][: CALIBRATION_ITEMS // self.count] for task in range(self.count)]
        return np.concatenate(each)

    def _classes(self, task: int) -> NDArray[np.int64]:
        return np.array_split(np.arange(len(self.data.classes)), self.count)[task]

    def _take(self, task: int, items: NDArray[Any], labels: NDArray[np.int64]) -> Items:
        if self.kind == "split":
            members = np.isin(labels, self._classes(task))
            return items[members], labels[members]
        if task == 0:
            return items, labels
        order = shuffled(self.data.inputs, PERMUTATION_STREAM + task)
        return items.reshape(len(items), -1)[:, order].reshape(items.shape), labels
