"""One batch of requests, run again and again from one state of an emulated machine, each time under other faults.

Late start: a fault is injected into a snapshot of the clean run from before it can matter. Pruning: a changed byte that the clean run
stores to before it loads it, or no longer uses, changes nothing, and changes of a byte between the same two uses of it are one.
Source: Schirmeier et al., "FAIL*: an open and versatile fault-injection framework" (EDCC 2015), def-use pruning.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from edgechaos.devices.emulators.exchange import Exchange
from edgechaos.devices.emulators.unicorn.accesses import UNUSED, Accesses, Tracer
from edgechaos.devices.emulators.unicorn.machine import EmulatedMachine, Snapshot
from edgechaos.faults.injections import ON_INJECTION, Strike
from edgechaos.support.errors import UnsupportedError

Frames = Sequence[tuple[bytes, int]]
"""(bytes, instructions allowed) each."""
Plan = Sequence[Strike]
MOST_PREFIXES = 64
"""Beginnings of batches that are kept, each with a copy of the RAM in use."""
MOST_SNAPSHOTS = 24
"""Of one clean run, each with a copy of the RAM in use and of the counts."""
FEWEST_LATE = 3
"""Plans that start late, below which another clean run for their snapshots costs more than it saves."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What one run gave: an exchange per request, fewer where it stopped; instructions by class inside the GPIO windows.

    inferred: the clean run says what it gives. That an equal change, between the same two uses, was run for it is not told: which of them
    was, depends on what else is asked for.
    """

    exchanges: list[Exchange]
    counts: dict[str, int]
    inferred: bool = False


@dataclass(frozen=True, slots=True)
class _Prefix:
    """The first requests of a batch, run on the clean device."""

    exchanges: list[Exchange]
    after: Snapshot
    accesses: Accesses | None


@dataclass(frozen=True, slots=True)
class _Golden:
    """The clean run of a whole batch. windows: (instructions after the prefix, instructions) of each; accesses: after the prefix."""

    run: Replayed
    windows: list[tuple[int, int]]
    accesses: Accesses | None


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a plan can begin. at: so many instructions after the prefix, None: before it. key: equal where the result is, None: unknown."""

    at: int | None = None
    key: Hashable = None


@dataclass(frozen=True, slots=True)
class _Saved:
    """A snapshot of the clean run, so many instructions after the prefix, with `opened` windows.

    midway: in the middle of the exchange that follows `exchanges`.
    """

    at: int
    snapshot: Snapshot
    exchanges: list[Exchange]
    opened: int = 0
    midway: bool = True


@dataclass(slots=True)
class Replays:
    """machine: `leave` puts it back as it was. twin: makes another one that is traced."""

    machine: EmulatedMachine
    twin: Callable[[], EmulatedMachine]
    _epoch: str = ""
    _base: Snapshot | None = None
    _entry: Snapshot | None = None
    _prefixes: dict[tuple[bytes, ...], _Prefix] = field(default_factory=dict)
    _golden: dict[tuple[bytes, ...], _Golden] = field(default_factory=dict)
    _tracer: Tracer | None = None

    def run(self, epoch: str, first: int, frames: Frames, plans: Sequence[Plan], prune: bool = False) -> Iterator[Replayed]:
        """The batch under each plan, its strikes at addresses.

        epoch: another text where the clean device is another than before, as after a restart. first: requests before the first
        inference. prune: infer what need not be run. A plan that cannot be armed gives no exchange.
        """
        if self._entry is None:
            self.machine.restore()
            self._entry = self.machine.snapshot()
        if self._base is None or epoch != self._epoch:
            self._epoch, self._base = epoch, self._entry
            self._prefixes.clear()
            self._golden.clear()
        prefix = self._prefix(self._base, frames[:first], any(map(_at_once, (s for plan in plans for s in plan))))
        golden = self._clean_run(prefix, frames, prune)
        starts = [_start(plan, prefix.accesses, golden) for plan in plans]
        saved = self._snapshots(prefix, frames, [s.at for s in starts if s.at and not (prune and s.key == ())])
        known: dict[Hashable, Replayed] = {(): golden.run}
        for plan, start in zip(plans, starts, strict=True):
            if not plan:
                yield golden.run
            elif prune and start.key in known:
                yield replace(known[start.key], inferred=start.key == ())
            else:
                done = self._under(plan, start, saved, frames)
                if start.key is not None:
                    known[start.key] = done
                yield done

    def leave(self) -> None:
        """The machine as it was before the first run: for whatever is not a run."""
        if self._entry is not None:
            self.machine.back_to(self._entry)
            self._entry = None

    def _under(self, plan: Plan, start: _Start, saved: list[_Saved], frames: Frames) -> Replayed:
        machine = self.machine
        assert self._base is not None
        begin = _Saved(0, self._base, [], midway=False)
        if start.at is not None:
            begin = max((s for s in saved if s.at <= start.at), key=lambda s: s.at)
        machine.back_to(begin.snapshot)
        if not begin.midway:
            machine.hooks.clear_counts()
        try:
            machine.strikes.arm(plan, begin.opened)
        except UnsupportedError:  # who injects it alone is told why
            return Replayed([], {})
        return self._rest([*begin.exchanges, *([machine.proceed()] if begin.midway else [])], frames)

    def _rest(self, exchanges: list[Exchange], frames: Frames) -> Replayed:
        """Run what is left of the frames, up to where it stops."""
        for frame in frames[len(exchanges) :]:
            if exchanges and exchanges[-1].stopped is not None:
                break
            exchanges.append(self.machine.exchange(*frame))
        return Replayed(exchanges, self.machine.hooks.counts())

    def _prefix(self, base: Snapshot, frames: Frames, traced: bool) -> _Prefix:
        key = tuple(data for data, _ in frames)
        if key not in self._prefixes or (traced and self._prefixes[key].accesses is None):
            while len(self._prefixes) >= MOST_PREFIXES:
                del self._prefixes[next(iter(self._prefixes))]
            self.machine.back_to(base)
            exchanges = [self.machine.exchange(*frame) for frame in frames]
            after = self.machine.snapshot()
            self._prefixes[key] = _Prefix(exchanges, after, self._trace(base, frames, exchanges, after.ram) if traced else None)
        return self._prefixes[key]

    def _clean_run(self, prefix: _Prefix, frames: Frames, traced: bool) -> _Golden:
        key = tuple(data for data, _ in frames)
        known = self._golden.get(key)
        if known is None or (traced and known.accesses is None):
            machine, m = self.machine, self.machine.hooks.m
            machine.back_to(prefix.after)
            machine.hooks.clear_counts()
            zero, exchanges = m.executed, list(prefix.exchanges)
            windows: list[tuple[int, int]] = []
            for frame in frames[len(exchanges) :]:
                exchanges.append(machine.exchange(*frame))
                windows += [(m.window_start - zero, length) for length in exchanges[-1].windows[-1:]]
            run, end, rest = Replayed(exchanges, machine.hooks.counts()), machine.snapshot().ram, len(prefix.exchanges)
            sound = traced and all(done.stopped is None for done in exchanges)
            accesses = self._trace(prefix.after, frames[rest:], exchanges[rest:], end) if sound else None
            self._golden = {key: _Golden(run, windows, accesses)}
        return self._golden[key]

    def _trace(self, snapshot: Snapshot, frames: Frames, exchanges: list[Exchange], end: bytes) -> Accesses | None:
        if self._tracer is None:
            self._tracer = Tracer(self.machine, self.twin)
        return self._tracer.trace(snapshot, frames, exchanges, end)

    def _snapshots(self, prefix: _Prefix, frames: Frames, starts: list[int]) -> list[_Saved]:
        """The end of the prefix, and where there are enough plans that start later, snapshots shortly before some of their starts."""
        saved = [_Saved(0, prefix.after, prefix.exchanges, midway=False)]
        if len(starts) < FEWEST_LATE:
            return saved
        starts.sort()
        marks = {starts[k * len(starts) // MOST_SNAPSHOTS] for k in range(MOST_SNAPSHOTS)}
        machine, m = self.machine, self.machine.hooks.m
        machine.back_to(prefix.after)
        machine.hooks.clear_counts()
        zero, exchanges = m.executed, list(prefix.exchanges)

        def save() -> None:
            opened = sum(len(e.windows) for e in exchanges) + m.window_count + m.window_open
            saved.append(_Saved(m.executed - zero, machine.snapshot(), list(exchanges), opened))

        machine.strikes.mark([zero + at for at in marks], save)
        for frame in frames[len(exchanges) :]:
            exchanges.append(machine.exchange(*frame))
        return saved


def _start(plan: Plan, prefix: Accesses | None, golden: _Golden) -> _Start:
    """Where a plan can begin, and what tells whether another one gives the same.

    Of several strikes the clean run tells only whether none matters: one that does may have another one used.
    """
    found = [_first_use(strike, prefix, golden) for strike in plan]
    if any(at is None for at, _ in found):
        return _Start()
    keys = [key for _, key in found if key != ()]
    key = tuple(keys) if len(plan) == 1 or not keys else (None,)
    return _Start(min((at for at, _ in found if at is not None), default=0), None if None in key else key)


def _at_once(strike: Strike) -> bool:
    return strike.onset == ON_INJECTION and strike.at is None


def _first_use(strike: Strike, prefix: Accesses | None, golden: _Golden) -> tuple[int | None, Hashable]:
    """(how late it can strike, None: not after the prefix; what it comes to: () nothing, None what is not known)."""
    where, plain = int(strike.where) if strike.what == "memory" else -1, strike.what == "memory" and not (strike.held or strike.lifespan)
    moment = 0
    if _at_once(strike):
        if not plain or prefix is None or any(use != UNUSED for use in prefix.next(where, strike.mask)):
            return None, None
    else:
        begin, length = golden.windows[max(strike.inference, 1) - 1] if max(strike.inference, 1) <= len(golden.windows) else (0, 0)
        moment = begin + (strike.onset if strike.at is None else 0)
        once = strike.inference > 0 or len(golden.windows) == 1
        plain = plain and once and strike.at is None and strike.onset < length
    if not plain or golden.accesses is None:
        return moment, None
    uses = golden.accesses.next(where, strike.mask, moment)
    latest = moment if strike.onset != ON_INJECTION else min(use.when for use in uses)
    return latest, () if all(use.stores for use in uses) else (where, strike.op, strike.mask, strike.value, *(use.access for use in uses))
