"""The same groups on many machines, by Dask: workers are tagged with the boards they hold.

A worker that holds a board is started as `dask worker ADDRESS --nthreads 1 --resources "board:serial:/dev/serial/by-id/...=1"`; its groups
go nowhere else, one at a time. The trials of a worker that dies are run again by whoever counts such deaths, never silently by Dask.
Needs `edgechaos[dask]`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import uuid4

from edgechaos.hil.campaign.plan import Work
from edgechaos.hil.execute.evaluate import Event, NotBegun, Setup
from edgechaos.hil.execute.executor import Executor, exclusive
from edgechaos.hil.execute.pool import KILLS_ALLOWED, PoolExecutor
from edgechaos.support.errors import ConfigError, EdgeChaosError
from edgechaos.support.extras import need

RESOURCE = "board:"
PLUGIN = "edgechaos-pool-"
"""Begins the name of a campaign's plug-in; its client's id and its own follow: campaigns that share a cluster share no pool."""
CONNECT_TIMEOUT_S = 10.0
WORKERS_TIMEOUT_S = 30.0
"""How long a scheduler may be without any worker: a worker that died comes back within a second or two."""
POLL_S = 0.2


class DaskExecutor(Executor):
    """client: a `distributed.Client`, or a scheduler's address such as tcp://host:8786."""

    local = False

    def __init__(self, setup: Setup, client: Any, *, trial_timeout_s: float = 300.0, connect_timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """trial_timeout_s: as of PoolExecutor. Raises MissingExtra, or EdgeChaosError where no scheduler answers at the address."""
        self._distributed = need("distributed", "dask")
        self._setup = setup
        self._timeout_s = trial_timeout_s
        self._owned = isinstance(client, str)
        try:
            self._client = self._distributed.Client(client, timeout=connect_timeout_s) if self._owned else client
        except (OSError, TimeoutError) as error:
            raise EdgeChaosError(f"no Dask scheduler at {client} ({error}); start one with `dask scheduler`") from error
        self._name = f"{PLUGIN}{self._client.id}/{uuid4().hex}"
        self._ready = False
        self._running: dict[Any, tuple[str, Work]] = {}

    @classmethod
    def of(cls, argument: str, setup: Setup, trial_timeout_s: float) -> DaskExecutor:
        """argument: the scheduler's address."""
        if not argument:
            raise ConfigError("'dask' needs a scheduler's address; write dask:tcp://host:8786", "executor")
        return cls(setup, argument, trial_timeout_s=trial_timeout_s)

    def run(self, work: Sequence[Work]) -> Iterator[Event]:
        """See Executor. A group is a task of its own, about a second long: shorter ones would cost more than they do.

        A worker evaluates in a child process of its own, so that a device that crashes or hangs takes no worker with it.
        It holds one task at a time: the scheduler blames the death of a worker on every task that waits there. Raises
        EdgeChaosError where no worker holds a board that a group needs: it would wait forever.
        """
        self._preflight(work)
        self._prepare()
        queue = deque(work)
        while queue or self._running:
            self._fill(queue)
            if not self._running:  # every worker is gone, or the one with the board: it may come back
                self._preflight(queue, WORKERS_TIMEOUT_S)
                continue
            self._distributed.wait(list(self._running), return_when="FIRST_COMPLETED")
            for future in [f for f in self._running if f.done()]:
                _, group = self._running.pop(future)
                try:
                    events: list[Event] = future.result()
                except self._distributed.scheduler.KilledWorker as error:
                    # Devices crash in a process apart, so that this was not a trial's doing: none of them is charged with it.
                    events = [NotBegun(group.device, f"Dask worker {error.last_worker.address} died", KILLS_ALLOWED)]
                except Exception as error:
                    raise EdgeChaosError(f"Dask: {type(error).__name__}: {error}; compare the versions on scheduler and workers") from error
                future.release()  # or it would be computed again where its worker dies later
                yield from events

    def close(self) -> None:
        """Cancel what is queued and release the workers' devices; a client that was given stays open."""
        if self._client.status == "running":
            self._client.cancel(list(self._running), force=True)
            if self._ready:
                self._client.unregister_worker_plugin(self._name)
        self._running.clear()
        self._ready = False
        if self._owned:
            self._client.close()

    def _prepare(self) -> None:
        """Give every worker, also one that starts later, a pool; let a task fail at once where its worker dies."""
        if not self._ready:
            self._client.run_on_scheduler(_make_ready)
            try:
                self._client.register_plugin(_pool_plugin(self._distributed, self._name, self._setup, self._timeout_s), name=self._name)
            except Exception as error:  # whatever importing the opener raises over there
                raise EdgeChaosError(
                    f"Dask workers cannot load the campaign ({type(error).__name__}: {error}); install there what is installed here"
                ) from error
            self._ready = True

    def _fill(self, queue: deque[Work]) -> None:
        """Give every idle worker the first group that it can run."""
        busy = {address for address, _ in self._running.values()}
        for address, about in self._workers().items():
            fits = (g for g in queue if not exclusive(g.device, self._setup.opener) or RESOURCE + g.device in about["resources"])
            if address not in busy and (group := next(fits, None)):
                queue.remove(group)
                resources = {RESOURCE + group.device: 1} if exclusive(group.device, self._setup.opener) else None
                # A worker that ends just now must not leave its task without a home: another one may take it.
                where = {"workers": [address], "allow_other_workers": True}
                future = self._client.submit(_evaluate, self._name, group, pure=False, retries=0, resources=resources, **where)
                self._running[future] = address, group

    def _workers(self) -> dict[str, Any]:
        workers: dict[str, Any] = self._client.scheduler_info(n_workers=-1)["workers"]
        return workers

    def _preflight(self, groups: Iterable[Work], patience_s: float = 0.0) -> None:
        try:
            self._client.wait_for_workers(1, timeout=WORKERS_TIMEOUT_S)
        except TimeoutError as error:
            raise EdgeChaosError("the Dask scheduler has no worker; start some with `dask worker ADDRESS --nthreads 1`") from error
        workers = self._workers()
        threaded = [address for address, about in workers.items() if about["nthreads"] != 1]
        if threaded:
            raise EdgeChaosError(f"Dask worker {threaded[0]} has several threads, but a device serves one; start it with --nthreads 1")
        boards = {g.device for g in groups if exclusive(g.device, self._setup.opener)}
        deadline = time.monotonic() + patience_s
        while missing := sorted(b for b in boards if not any(RESOURCE + b in about["resources"] for about in self._workers().values())):
            if time.monotonic() >= deadline:
                device = missing[0]
                raise EdgeChaosError(f'no Dask worker holds {device}; start one with --resources "{RESOURCE}{device}=1" where the board is')
            time.sleep(POLL_S)


async def _make_ready(dask_scheduler: Any) -> None:
    """No task is run again by the scheduler; the pools of campaigns that were killed end, and with them what holds their devices."""
    dask_scheduler.allowed_failures = 0
    pools = [n for n in dask_scheduler.worker_plugins if n.startswith(PLUGIN)]
    for name in [n for n in pools if n.removeprefix(PLUGIN).split("/")[0] not in dask_scheduler.clients]:
        await dask_scheduler.unregister_worker_plugin(None, name)


def _pool_plugin(distributed: Any, name: str, setup: Setup, trial_timeout_s: float) -> Any:
    """A worker plug-in that holds a pool of one under the campaign's name; a class made here, for its base is an optional package's."""

    class PoolPlugin(distributed.WorkerPlugin):  # type: ignore[misc]
        def setup(self, worker: Any) -> None:
            vars(worker)[name] = PoolExecutor(setup, workers=1, trial_timeout_s=trial_timeout_s)

        def teardown(self, worker: Any) -> None:
            vars(worker).pop(name).close()

    return PoolPlugin()


def _evaluate(name: str, group: Work) -> list[Event]:
    import distributed

    pool: PoolExecutor = vars(distributed.get_worker())[name]
    return list(pool.run([group]))
