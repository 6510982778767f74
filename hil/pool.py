"""Worker processes of our own on this machine: each can be killed, and takes one trial with it at most.

Enters: groups. Leaves: events. Workers are spawned, not forked (threads of BLAS and of emulators do not survive a fork),
ignore Ctrl-C (the campaign decides), and end with their parent even where it was killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from edgechaos.hil.evaluate import Bench, Event, Failed, Fatal, Finished, Opened, Setup
from edgechaos.hil.executor import Executor, exclusive
from edgechaos.hil.plan import Group, Trial

OPEN_TIMEOUT_S = 300.0
"""The first trial on a device may include a compiler run."""
STOP_TIMEOUT_S = 2.0
READY = "ready"
"""A worker's first word."""
FAULT_SIGNALS = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT})
"""A worker that dies of one of these was crashed by the device it holds in process; of any other, by the machine."""


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    connection: Connection
    todo: deque[Trial] = field(default_factory=deque)
    baseline: bytes | None = None
    opened: set[str] = field(default_factory=set)
    deadline: float = 0.0
    busy: bool = False
    started: bool = False


class PoolExecutor(Executor):
    """`workers` processes on this machine; trial_timeout_s of silence and a worker is replaced."""

    def __init__(self, setup: Setup, *, workers: int | None = None, trial_timeout_s: float = 300.0) -> None:
        self._setup = setup
        self._count = workers or max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        self._timeout_s = trial_timeout_s
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._owner: dict[str, _Worker] = {}

    def run(self, groups: Sequence[Group]) -> Iterator[Event]:
        """See Executor. Whatever the caller raises between two events stops nothing by itself: `close` does."""
        queue = deque(groups)
        while len(self._workers) < min(self._count, len(groups)):
            self._workers.append(self._start())
        while queue or any(w.busy for w in self._workers):
            for worker in self._workers:
                if not worker.busy and (group := self._next_for(worker, queue)):
                    self._assign(worker, group)
            yield from self._collect(queue)

    def close(self) -> None:
        """Ask idle workers to end, kill the others."""
        workers, self._workers = self._workers, []
        self._owner.clear()
        for worker in workers:
            if worker.busy or not _send(worker.connection, None):
                worker.process.kill()
        for worker in workers:
            worker.process.join(STOP_TIMEOUT_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.connection.close()

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._setup), daemon=False, name="edgechaos-worker")
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _next_for(self, worker: _Worker, queue: deque[Group]) -> Group | None:
        for group in queue:
            if not exclusive(group.device, self._setup.opener) or self._owner.setdefault(group.device, worker) is worker:
                queue.remove(group)
                return group
        return None

    def _assign(self, worker: _Worker, group: Group) -> None:
        worker.todo, worker.baseline, worker.busy = deque(group.trials), group.baseline, True
        self._extend(worker)
        _send(worker.connection, group)  # a worker that is dead already is found by its sentinel

    def _extend(self, worker: _Worker) -> None:
        ready = worker.todo and worker.todo[0].device in worker.opened
        worker.deadline = time.monotonic() + (self._timeout_s if ready else max(self._timeout_s, OPEN_TIMEOUT_S))

    def _collect(self, queue: deque[Group]) -> Iterator[Event]:
        busy = [w for w in self._workers if w.busy]
        patience = max(0.0, min(w.deadline for w in busy) - time.monotonic())
        ready = wait([w.connection for w in busy] + [w.process.sentinel for w in busy], timeout=patience)
        for worker in busy:
            if worker.connection in ready or worker.process.sentinel in ready:
                yield from self._drain(worker, queue)
            elif time.monotonic() >= worker.deadline:
                yield from self._replace(worker, queue, f"no answer within {self._timeout_s:g} s")

    def _drain(self, worker: _Worker, queue: deque[Group]) -> Iterator[Event]:
        """Everything the worker has said; what a dead worker said before it died counts."""
        try:
            while worker.busy and worker.connection.poll():
                event: Event | str | None = worker.connection.recv()
                if isinstance(event, str):
                    worker.started = event == READY
                    continue
                if event is None:
                    worker.busy = False
                    return
                self._note(worker, event)
                yield event
        except (EOFError, ConnectionError):
            worker.process.join(STOP_TIMEOUT_S)
        if worker.busy and not worker.process.is_alive():
            yield from self._replace(worker, queue, "")

    def _note(self, worker: _Worker, event: Event) -> None:
        if isinstance(event, Opened):
            worker.opened.add(event.device)
        elif isinstance(event, Finished | Failed):
            worker.todo.popleft()
            if isinstance(event, Finished) and event.trial.clean:
                worker.baseline = event.result.baseline
        elif isinstance(event, Fatal):
            worker.todo.clear()
        self._extend(worker)

    def _replace(self, worker: _Worker, queue: deque[Group], why: str) -> Iterator[Event]:
        """Kill, start another, and give the rest of its group back; the trial at hand is a failed attempt."""
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        code = worker.process.exitcode or 0
        crashed = not why and -code in FAULT_SIGNALS
        why = why or (f"worker died of {signal.Signals(-code).name}" if code < 0 else f"worker ended with exit code {code}")
        for spec in [s for s, w in self._owner.items() if w is worker]:
            del self._owner[spec]
        if not worker.started and code > 0:  # it would die again, for every trial
            self._workers.remove(worker)
            yield Fatal(f"a worker process did not start ({why}; its words are above); a script needs `if __name__ == '__main__':`")
            return
        self._workers[self._workers.index(worker)] = self._start()
        if not worker.todo:
            return
        trial = worker.todo.popleft()
        if worker.todo and not trial.clean:
            queue.appendleft(Group(tuple(worker.todo), worker.baseline))
        yield Failed(trial, "crash" if crashed and not trial.clean else "infrastructure", why)


def _send(connection: Connection, message: object) -> bool:
    """Whether the message left; a closed pipe means that the other side is gone."""
    try:
        connection.send(message)
    except (BrokenPipeError, ConnectionError):
        return False
    return True


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(connection: Connection, setup: Setup) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    bench = Bench(setup)
    try:
        connection.send(READY)
        while (group := connection.recv()) is not None:
            for event in bench.evaluate(group):
                connection.send(event)
            connection.send(None)
    except (EOFError, ConnectionError):
        pass  # the parent is gone: there is nobody to tell
    finally:
        bench.close()
