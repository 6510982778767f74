"""The same groups on many machines, by Dask: workers are tagged with the boards they hold.

Enters: a Setup and the address of a scheduler, or a client. Leaves: events. A worker that holds a board is started as
`dask worker ADDRESS --nthreads 1 --resources "board:serial:/dev/serial/by-id/...=1"`; its groups go nowhere else, one at
a time. A worker that dies is a failed attempt, not a silent retry. Needs `edgechaos[dask]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from edgechaos.errors import EdgeChaosError
from edgechaos.extras import need
from edgechaos.hil.evaluate import Bench, Event, Failed, Finished, Setup
from edgechaos.hil.executor import Executor, exclusive
from edgechaos.hil.plan import Group

RESOURCE = "board:"
PLUGIN = "edgechaos-bench"
CONNECT_TIMEOUT_S = 10.0
WORKERS_TIMEOUT_S = 30.0
"""How long a scheduler may be without any worker: a worker that died comes back within a second or two."""


class DaskExecutor(Executor):
    """client: a `distributed.Client`, or a scheduler's address such as tcp://host:8786."""

    def __init__(self, setup: Setup, client: Any, *, connect_timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Raises MissingExtra, or EdgeChaosError where no scheduler answers at the address."""
        self._distributed = need("distributed", "dask")
        self._setup = setup
        self._owned = isinstance(client, str)
        try:
            self._client = self._distributed.Client(client, timeout=connect_timeout_s) if self._owned else client
        except (OSError, TimeoutError) as error:
            raise EdgeChaosError(f"no Dask scheduler at {client} ({error}); start one with `dask scheduler`") from error
        self._ready = False
        self._running: dict[Any, Group] = {}

    def run(self, groups: Sequence[Group]) -> Iterator[Event]:
        """See Executor. A group is a task of its own, about a second long: shorter ones would cost more than they do.

        A group whose worker died runs again trial by trial, so that the trial that killed it is found. Raises
        EdgeChaosError where no worker holds a board that a group needs: its tasks would wait forever.
        """
        self._preflight(groups)
        self._prepare()
        behind: dict[Group, Group] = {}  # a clean run alone -> the trials that wait for it
        done = self._distributed.as_completed([self._submit(group) for group in groups])
        for future in done:
            group = self._running.pop(future)
            error = future.exception()
            if error is None:
                events: list[Event] = future.result()
                yield from events
                if group in behind:
                    baseline = next((e.result.baseline for e in events if isinstance(e, Finished)), None)
                    parts = [Group((t,), baseline) for t in behind.pop(group).trials[1:]] if baseline is not None else []
                    done.update([self._submit(part) for part in parts])
            elif not isinstance(error, self._distributed.scheduler.KilledWorker):
                raise EdgeChaosError(f"Dask: {type(error).__name__}: {error}; compare the versions on scheduler and workers") from error
            elif len(group.trials) == 1:
                yield Failed(group.trials[0], "infrastructure", f"Dask worker {error.last_worker.address} died")
            elif group.baseline is None:
                alone = Group(group.trials[:1])
                behind[alone] = group
                done.add(self._submit(alone))
            else:
                done.update([self._submit(Group((t,), group.baseline)) for t in group.trials])

    def close(self) -> None:
        """Cancel what is queued and release the workers' devices; a client that was given stays open."""
        if self._client.status == "running":
            self._client.cancel(list(self._running), force=True)
            if self._ready:
                self._client.unregister_worker_plugin(PLUGIN)
        self._running.clear()
        self._ready = False
        if self._owned:
            self._client.close()

    def _prepare(self) -> None:
        """Give every worker, also one that starts later, a bench; let a task fail at once where its worker dies."""
        if not self._ready:
            self._client.run_on_scheduler(_forbid_retries)
            self._client.register_plugin(_bench_plugin(self._distributed, self._setup), name=PLUGIN)
            self._ready = True

    def _submit(self, group: Group) -> Any:
        resources = {RESOURCE + group.device: 1} if exclusive(group.device) else None
        future = self._client.submit(_evaluate, group, pure=False, retries=0, resources=resources)
        self._running[future] = group
        return future

    def _preflight(self, groups: Sequence[Group]) -> None:
        try:
            self._client.wait_for_workers(1, timeout=WORKERS_TIMEOUT_S)
        except TimeoutError as error:
            raise EdgeChaosError("the Dask scheduler has no worker; start some with `dask worker ADDRESS --nthreads 1`") from error
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        threaded = [address for address, about in workers.items() if about["nthreads"] != 1]
        if threaded:
            raise EdgeChaosError(f"Dask worker {threaded[0]} has several threads, but a device serves one; start it with --nthreads 1")
        held = {resource for about in workers.values() for resource in about["resources"]}
        for device in sorted({g.device for g in groups if exclusive(g.device)}):
            if RESOURCE + device not in held:
                raise EdgeChaosError(f'no Dask worker holds {device}; start one with --resources "{RESOURCE}{device}=1" where the board is')


def _forbid_retries(dask_scheduler: Any) -> None:
    dask_scheduler.allowed_failures = 0


def _bench_plugin(distributed: Any, setup: Setup) -> Any:
    """A worker plug-in that opens a bench and closes it; a class made here, because its base is an optional package's."""

    class BenchPlugin(distributed.WorkerPlugin):  # type: ignore[misc]
        def setup(self, worker: Any) -> None:
            worker.edgechaos_bench = Bench(setup)

        def teardown(self, worker: Any) -> None:
            worker.edgechaos_bench.close()

    return BenchPlugin()


def _evaluate(group: Group) -> list[Event]:
    import distributed

    bench: Bench = distributed.get_worker().edgechaos_bench
    return list(bench.evaluate(group))
