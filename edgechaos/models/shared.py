"""One cortex shared by several tasks, each with its own front-end and readout.

Every task's ChaosNet has the same cortex module, and the FloatModel has one head per task, in which the matrices of the cortex are
stored once. A front-end must bring its items to the width of the cortex, so that the task of pixels takes `dense`, not `pixels`.
Source: ChaosNet, as published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from numpy.typing import NDArray
from torch import Tensor, nn

from edgechaos.data import Dataset
from edgechaos.floatgraph.float_model import FloatHead, FloatModel
from edgechaos.floatgraph.float_nodes import ChaosLayer, FailingLayer, FloatNode, MatMul
from edgechaos.graph.tensors import IDENTIFIER
from edgechaos.models.base import Model
from edgechaos.models.chaosnet import ChaosNet, Cortex
from edgechaos.models.chaosnet_config import ChaosNetConfig, config_for
from edgechaos.models.options import unknown_option
from edgechaos.models.spiking import Conditions
from edgechaos.support.errors import ConfigError

CORTEX = ("hidden", "ticks", "mode", "threshold", "noise_std", "decay", "refractory_decay", "fail_prob", "signed", "embed")
"""Fields of ChaosNetConfig that define the cortex: the same for all tasks."""
MAX_TASKS = 16
MAX_NAME = 24
"""Characters of a task's name, which begins the names of its nodes."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task by name: its front-end, its classes, and the cortex that it reads."""

    name: str
    config: ChaosNetConfig


@dataclass(frozen=True, slots=True)
class SharedConfig:
    """The tasks, in the order in which they are trained."""

    tasks: tuple[Task, ...]

    def check(self) -> SharedConfig:
        """Returns self. Raises ConfigError that names the first task that does not fit in with the others."""
        names = [task.name for task in self.tasks]
        if not 1 <= len(names) <= MAX_TASKS or len(set(names)) < len(names):
            wanted = f"1 to {MAX_TASKS} of different names"
            raise ConfigError(f"shared cortex: {len(names)} tasks {names[:MAX_TASKS]}, but must be {wanted}", "tasks")
        for task in self.tasks:
            if not IDENTIFIER.fullmatch(task.name) or len(task.name) > MAX_NAME:
                raise ConfigError(
                    f"shared cortex: a task is called {task.name!r}, but names are a-z, 0-9 and _, at most {MAX_NAME} characters", "tasks"
                )
            if task.config.front == "pixels":
                raise ConfigError(
                    f"shared cortex: task '{task.name}' puts its pixels straight into the cortex, whose width is that of no other task; "
                    "use front 'dense' or 'vision'",
                    "front",
                )
            for field in CORTEX:
                one, other = getattr(self.tasks[0].config, field), getattr(task.config, field)
                if one != other:
                    both = f"{field} = {one!r} and {other!r}"
                    raise ConfigError(f"shared cortex: tasks '{names[0]}' and '{task.name}' have {both}; one cortex has one", field)
        return self

    @property
    def hidden(self) -> tuple[int, ...]:
        """Neurons per spiking layer."""
        return self.tasks[0].config.hidden

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the task that has most convolutions."""
        return max((task.config.channels for task in self.tasks), key=len)


def shared_config(datasets: Mapping[str, Dataset], fronts: Mapping[str, str] | None = None, **options: Any) -> SharedConfig:
    """The configuration for data sets by task, in their order; `options` are fields of ChaosNetConfig, the same for all tasks.

    fronts: by task; by default language for texts, vision for images, dense for other items. Raises ConfigError for a front of no task.
    """
    for key in options:
        why = unknown_option("shared", key)
        if why is not None:
            raise ConfigError(why, key)
    unknown = set(fronts or {}) - set(datasets)
    if unknown:
        raise ConfigError(f"shared cortex: '{min(unknown)}' has a front-end, but is no task; tasks are {', '.join(datasets)}", "fronts")
    chosen = {task: (fronts or {}).get(task, default_front(data)) for task, data in datasets.items()}
    return SharedConfig(tuple(Task(name, config_for(data, front=chosen[name], **options)) for name, data in datasets.items())).check()


def default_front(data: Dataset) -> str:
    """The front-end that suits a data set."""
    return "language" if data.text is not None else "vision" if data.image else "dense"


class TaskNet(ChaosNet):
    """One task of a shared cortex; its spiking layers carry the task's name as a prefix, as in the graph."""

    def __init__(self, config: ChaosNetConfig, cortex: Cortex, prefix: str) -> None:
        super().__init__(config, cortex)
        self.prefix = prefix

    def spiking_layers(self) -> tuple[ChaosLayer, ...]:
        """The layers of the cortex under this task's names."""
        return tuple(cast(ChaosLayer, _prefixed(layer, self.prefix)) for layer in super().spiking_layers())

    def knows(self, layer: str) -> bool:
        """As in other models; a plan for the whole shared cortex names the layers of other tasks too."""
        return not layer.startswith(self.prefix) or super().knows(layer)

    def spikes(self, x: Tensor, conditions: Conditions) -> list[Tensor]:
        """The spikes of every layer; faults of another task's layers mean nothing to this one."""
        start = len(self.prefix)
        faults = {name[start:]: faults for name, faults in conditions.faults.items() if name.startswith(self.prefix)}
        return super().spikes(x, replace(conditions, faults=faults))


class SharedChaosNet(Model):
    """`cortex`, and in `tasks` a network per task that has this cortex. Its weights are stored once."""

    family = "shared"
    config: SharedConfig

    def __init__(self, config: SharedConfig) -> None:
        super().__init__(cast(Any, config.check()))
        first = config.tasks[0].config
        self.cortex = Cortex(first.embed, first)
        self.tasks = nn.ModuleDict({task.name: TaskNet(task.config, self.cortex, f"{task.name}_") for task in config.tasks})
        self.register_state_dict_post_hook(_drop_copies)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_add_copies)  # type: ignore[no-untyped-call]

    def task(self, name: str | None = None) -> TaskNet:
        """The network of a task, by default of the first. Raises ConfigError with the tasks there are."""
        name = self.config.tasks[0].name if name is None else name
        if name not in self.tasks:
            raise ConfigError(f"shared cortex: no task is called {name!r}; the tasks are {', '.join(self.tasks)}", "task")
        return cast(TaskNet, self.tasks[name])

    def preprocess(self, items: NDArray[Any], task: str | None = None) -> Tensor:
        """As ChaosNet, for one task."""
        return self.task(task).preprocess(items)

    def forward(self, x: Tensor, conditions: Conditions, task: str | None = None) -> Tensor:
        """Logits (batch, classes) of one task."""
        return self.task(task)(x, conditions)  # type: ignore[no-any-return]

    def spiking_layers(self) -> tuple[ChaosLayer, ...]:
        """The layers of the cortex, once per task."""
        return tuple(layer for task in self.tasks for layer in self.task(task).spiking_layers())

    def failing_layers(self) -> tuple[FailingLayer, ...]:
        """The layers of the cortex, once per task."""
        return tuple(layer for task in self.tasks for layer in self.task(task).failing_layers())

    def describe(self, name: str = "shared") -> FloatModel:
        """One head per task; the matrices of the cortex are shared."""
        nodes: list[FloatNode] = []
        heads: list[FloatHead] = []
        for task in self.tasks:
            prefix, part = f"{task}_", self.task(task).describe()
            nodes += [_prefixed(node, prefix) for node in part.nodes]
            head = part.heads[0]
            heads.append(replace(head, name=task, input=prefix + head.input, logits=prefix + head.logits))
        return FloatModel(name, tuple(nodes), tuple(heads), {"family": self.family, **self.facts}).validate()

    def normalizations(self) -> dict[str, dict[str, list[float]]]:
        """By task; of token ids they mean nothing."""
        return {name: task for name in self.tasks for task in self.task(name).normalizations().values()}

    def summary(self) -> dict[str, Any]:
        """The neuron's constants, and the front-end of every task."""
        cortex = self.task().summary()
        cortex.pop("front")
        return {"fronts": {task.name: task.config.front for task in self.config.tasks}, **cortex}


def _prefixed(node: FloatNode, prefix: str) -> FloatNode:
    """The node under a task's name; a matrix of the cortex is shared under its own."""
    renamed = node.prefixed(prefix)
    return replace(renamed, shared=node.name) if isinstance(renamed, MatMul) and node.name.startswith("cortex") else renamed


def _copies(model: nn.Module, keys: Sequence[str], prefix: str) -> list[tuple[str, str]]:
    """(copy, original): under which keys of a state_dict every task has the cortex again."""
    own = f"{prefix}cortex."
    tasks = cast(SharedChaosNet, model).tasks
    return [(f"{prefix}tasks.{task}.{key[len(prefix) :]}", key) for key in keys if key.startswith(own) for task in tasks]


def _drop_copies(model: nn.Module, state: dict[str, Any], prefix: str, local_metadata: Any) -> None:
    for copy, _ in _copies(model, list(state), prefix):
        del state[copy]


def _add_copies(model: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for copy, original in _copies(model, list(state), prefix):
        state[copy] = state[original]
