"""Executors by name: "pool", "pool:4", "dask:tcp://host:8786", and what plug-ins add (entry-point group "edgechaos.executors")."""

from __future__ import annotations

from edgechaos.hil.execute.evaluate import Setup
from edgechaos.hil.execute.executor import Executor
from edgechaos.support.registry import Registry

EXECUTORS: Registry[type[Executor]] = Registry(
    "executor",
    lambda found: found if isinstance(found, type) and issubclass(found, Executor) else None,
    table={"pool": "edgechaos.hil.execute.pool:PoolExecutor", "dask": "edgechaos.hil.execute.dask_executor:DaskExecutor"},
    group="edgechaos.executors",
)


def is_local(spec: str) -> bool:
    """Whether it opens devices on this machine. Raises ConfigError for a name that there is not, with those there are."""
    return EXECUTORS.load(spec.partition(":")[0], spec).local


def open_executor(spec: str, setup: Setup, trial_timeout_s: float) -> Executor:
    """The executor of a spec. Raises ConfigError for a name that there is not, and what the executor raises."""
    name, _, argument = spec.partition(":")
    return EXECUTORS.load(name, spec).of(argument, setup, trial_timeout_s)
