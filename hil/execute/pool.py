"""Worker processes of our own on this machine: each can be killed at any moment, and takes one trial with it at most.

Nothing that a worker does or fails to do stops or hangs its campaign: messages never wait (`edgechaos.hil.execute.channel`), silence has a
limit, and a death is an event. Workers have a session of their own, so that Ctrl-C reaches the campaign alone, and end with their campaign
even where it was killed. Why no library: docs/design.md.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from edgechaos.hil.campaign.plan import Group, Trial, Work
from edgechaos.hil.execute.channel import Channel, packed
from edgechaos.hil.execute.evaluate import Began, Event, Failed, Fatal, Finished, NotBegun, Opened, Setup
from edgechaos.hil.execute.executor import Executor, exclusive
from edgechaos.support.errors import ConfigError
from edgechaos.support.registry import shown

OPEN_TIMEOUT_S = 300.0
"""The first trial on a device may include a compiler run."""
STOP_TIMEOUT_S = 2.0
LOOK_S = 1.0
"""How often the processes themselves are looked at, where their sockets say nothing."""
FAULT_SIGNALS = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT})
"""A worker that dies of one of these was crashed by the device it holds in process; of any other, by the machine."""
DEATHS_ALLOWED = 3
"""Workers in a row that end by themselves before a trial begins: another one would, too."""
KILLS_ALLOWED = 50
"""Workers in a row that are killed before a trial begins: somebody, or the memory's end, kills them, and may stop doing so."""
BOOTSTRAP = "import sys; sys.path[:] = {path!r}; from edgechaos.hil.execute.worker import work; work({handle}, {parent})"


@dataclass(slots=True, eq=False)
class _Worker:
    """todo: trials of the work at hand that have given no event. began: whether the first of them has begun.

    answered: whether the work at hand has given an event; progressed: whether a trial of it has.
    """

    process: subprocess.Popen[bytes]
    channel: Channel
    device: str = ""
    todo: deque[Trial] = field(default_factory=deque)
    baseline: bytes | None = None
    began: bool = False
    answered: bool = False
    progressed: bool = False
    busy: bool = False
    opened: set[str] = field(default_factory=set)
    deadline: float = 0.0


class PoolExecutor(Executor):
    """`workers` processes on this machine; trial_timeout_s of silence and a worker is replaced."""

    def __init__(self, setup: Setup, *, workers: int | None = None, trial_timeout_s: float = 300.0) -> None:
        """Raises ConfigError where the setup's opener cannot be imported by another process."""
        self._setup = setup
        self._packed_setup = _packed_setup(setup)
        self._count = workers or default_workers()
        self._timeout_s = trial_timeout_s
        self._workers: list[_Worker] = []
        self._owner: dict[str, _Worker] = {}

    @classmethod
    def of(cls, argument: str, setup: Setup, trial_timeout_s: float) -> PoolExecutor:
        """argument: the number of workers; "": one for each core. Raises ConfigError for another."""
        if argument and not (argument.isascii() and argument.isdigit() and int(argument)):
            raise ConfigError(f"'pool:{shown(argument)}': not a number of workers; write pool:4, or pool for one per core", "executor")
        return cls(setup, workers=int(argument or 0) or None, trial_timeout_s=trial_timeout_s)

    def run(self, work: Sequence[Work]) -> Iterator[Event]:
        """See Executor. Whatever the caller raises between two events stops nothing by itself: `close` does."""
        queue = deque(work)
        while queue or any(w.busy for w in self._workers):
            yield from self._fill(queue)
            yield from self._collect(queue)

    def close(self) -> None:
        """Ask idle workers to end, kill the others."""
        workers, self._workers = self._workers, []
        self._owner.clear()
        for worker in workers:
            if worker.busy:
                worker.process.kill()
            else:
                worker.channel.send(packed(None))
        for worker in workers:
            _end(worker.process)
            worker.channel.close()

    def _fill(self, queue: deque[Work]) -> Iterator[Event]:
        """Give every idle worker something to do, and start workers for what is left."""
        for worker in [w for w in self._workers if not w.busy]:
            if worker.process.poll() is not None:  # killed while it had nothing to do: nothing is lost
                self._remove(worker)
            elif (work := self._next_for(worker, queue)) is not None:
                self._assign(worker, work)
        while len(self._workers) < self._count and (work := self._next_for(None, queue)) is not None:
            try:
                worker = self._start()
            except OSError as error:  # no process or no memory now; the others, if any, go on
                yield NotBegun(work.device, f"a worker process cannot be started: {error}", KILLS_ALLOWED)
                time.sleep(LOOK_S)
                return
            self._workers.append(worker)
            self._assign(worker, work)

    def _start(self) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            handle = theirs.fileno()
            code = BOOTSTRAP.format(path=sys.path, handle=handle, parent=os.getpid())
            process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL, pass_fds=(handle,), start_new_session=True)
        worker = _Worker(process, Channel(ours))
        worker.channel.send(self._packed_setup)
        return worker

    def _next_for(self, worker: _Worker | None, queue: deque[Work]) -> Work | None:
        """The first work that this worker, or a new one, may do: an exclusive device stays with the worker that has it."""
        for work in queue:
            if not exclusive(work.device, self._setup.opener) or self._owner.get(work.device, worker) is worker:
                queue.remove(work)
                return work
        return None

    def _assign(self, worker: _Worker, work: Work) -> None:
        worker.device, worker.todo, worker.baseline = work.device, deque(work.trials), work.baseline
        worker.busy, worker.began, worker.answered, worker.progressed = True, False, False, False
        if exclusive(work.device, self._setup.opener):
            self._owner[work.device] = worker
        self._extend(worker)
        worker.channel.send(packed(work))

    def _extend(self, worker: _Worker) -> None:
        known = worker.device in worker.opened
        worker.deadline = time.monotonic() + (self._timeout_s if known else max(self._timeout_s, OPEN_TIMEOUT_S))

    def _collect(self, queue: deque[Work]) -> Iterator[Event]:
        """Wait until something happens, then hand on what every worker has said."""
        busy = [w for w in self._workers if w.busy]
        if not busy:
            return
        with selectors.DefaultSelector() as selector:
            for worker in busy:
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.channel.has_unsent else 0)
                selector.register(worker.channel, events)
            selector.select(max(0.0, min(LOOK_S, min(w.deadline for w in busy) - time.monotonic())))
        for worker in busy:
            worker.channel.flush()
            ended = worker.process.poll() is not None  # before the channel is emptied: what a dead worker said before it died counts
            messages, alive = worker.channel.receive()
            for event in messages:
                if event is None:
                    worker.busy = False
                    break
                self._note(worker, event)
                yield event
            if worker.busy and (ended or not alive):
                yield from self._replace(worker, queue, "")
            elif worker.busy and time.monotonic() >= worker.deadline:
                yield from self._replace(worker, queue, f"no answer within {self._timeout_s:g} s")

    def _note(self, worker: _Worker, event: Event) -> None:
        if isinstance(event, Opened):
            worker.opened.add(event.device)
        elif isinstance(event, Began):
            worker.began = True
        elif isinstance(event, Finished | Failed):
            worker.todo.popleft()
            worker.began, worker.progressed = False, True
            if isinstance(event, Finished) and event.trial.clean:
                worker.baseline = event.result.baseline
        elif isinstance(event, NotBegun | Fatal):
            worker.todo.clear()
        worker.answered |= not isinstance(event, Began)
        self._extend(worker)

    def _replace(self, worker: _Worker, queue: deque[Work], why: str) -> Iterator[Event]:
        """Take a worker away that died or says nothing. A trial that had begun is a failed attempt; its successors are given back."""
        self._remove(worker)
        code = worker.process.returncode or 0
        died = -code if code < 0 and not why else 0
        why = why or (f"worker died of {_signal_name(died)}" if died else f"worker ended with exit code {code}")
        if worker.began:
            trial = worker.todo.popleft()
            if worker.todo and not trial.clean:
                queue.appendleft(Group(tuple(worker.todo), worker.baseline))
            yield Failed(trial, "crash" if died in FAULT_SIGNALS and not trial.clean else "infrastructure", why)
        elif worker.todo and worker.progressed:
            if worker.baseline is not None:
                queue.appendleft(Group(tuple(worker.todo), worker.baseline))
        elif worker.todo or not worker.answered:
            allowed = KILLS_ALLOWED if died and died not in FAULT_SIGNALS else DEATHS_ALLOWED
            yield NotBegun(worker.device, f"{why} before a trial began", allowed)

    def _remove(self, worker: _Worker) -> None:
        _end(worker.process, kill=True)
        worker.channel.close()
        self._workers.remove(worker)
        for spec in [s for s, w in self._owner.items() if w is worker]:
            del self._owner[spec]


def default_workers() -> int:
    """One for each core that this process may use."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _packed_setup(setup: Setup) -> bytes:
    module = getattr(setup.opener, "__module__", None)
    if module == "__main__":
        raise ConfigError("what opens devices is defined in the script that runs: workers cannot import it; put it into a module", "opener")
    try:
        return packed(setup)
    except Exception as error:  # pickle raises anything
        raise ConfigError(f"what opens devices cannot travel to workers ({error}); use a function of a module", "opener") from error


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in signal.valid_signals() and number < 32 else f"signal {number}"


def _end(process: subprocess.Popen[bytes], *, kill: bool = False) -> None:
    """Wait a while for the end. A process that even a kill does not end, in a driver, is left behind: the campaign goes on."""
    for last in (kill, True):
        if last:
            process.kill()
        try:
            process.wait(STOP_TIMEOUT_S)
            return
        except subprocess.TimeoutExpired:
            continue
