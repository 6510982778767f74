"""One batch of requests, run again and again from one state of an emulated machine, each time under other faults.

What comes before a fault can have mattered is run once: a fault that the first requests do not notice starts after them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from edgechaos.devices.emulators.exchange import Exchange
from edgechaos.devices.emulators.unicorn.accesses import NEVER, Accesses, Tracer
from edgechaos.devices.emulators.unicorn.machine import EmulatedMachine, Snapshot
from edgechaos.faults.injections import ON_INJECTION, Strike
from edgechaos.support.errors import UnsupportedError

Frames = Sequence[tuple[bytes, int]]
"""(bytes, instructions allowed) each."""
MOST_PREFIXES = 64
"""Beginnings of batches that are kept, each with a copy of the RAM in use."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What one run gave: an exchange per request, fewer where it stopped; instructions by class inside the GPIO windows."""

    exchanges: list[Exchange]
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Prefix:
    """The first requests of a batch, run on the clean device."""

    exchanges: list[Exchange]
    after: Snapshot
    accesses: Accesses | None


@dataclass(slots=True)
class Replays:
    """machine: left as it was. twin: makes another one that is traced."""

    machine: EmulatedMachine
    twin: Callable[[], EmulatedMachine]
    _epoch: str = ""
    _base: Snapshot | None = None
    _prefixes: dict[tuple[bytes, ...], _Prefix] = field(default_factory=dict)
    _tracer: Tracer | None = None

    def run(self, epoch: str, first: int, frames: Frames, plans: Sequence[Sequence[Strike]]) -> Iterator[Replayed]:
        """The batch under each plan, its strikes at addresses.

        epoch: another text where the clean device is another than before, as after a restart. first: requests before the first
        inference. A plan that cannot be armed gives no exchange.
        """
        machine = self.machine
        machine.restore()
        entry = machine.snapshot()
        try:
            if self._base is None or epoch != self._epoch:
                self._epoch, self._base = epoch, entry
                self._prefixes.clear()
            prefix = self._prefix(self._base, frames[:first])
            for strikes in plans:
                late = all(_unnoticed(strike, prefix.accesses) for strike in strikes)
                machine.back_to(prefix.after if late else self._base)
                machine.hooks.clear_counts()
                try:
                    machine.strikes.arm(strikes)
                except UnsupportedError:  # who injects it alone is told why
                    yield Replayed([], {})
                    continue
                exchanges = list(prefix.exchanges) if late else []
                for frame in frames[len(exchanges) :]:
                    exchanges.append(machine.exchange(*frame))
                    if exchanges[-1].stopped is not None:
                        break
                yield Replayed(exchanges, machine.hooks.counts())
        finally:
            machine.back_to(entry)

    def _prefix(self, base: Snapshot, frames: Frames) -> _Prefix:
        key = tuple(data for data, _ in frames)
        if key not in self._prefixes:
            while len(self._prefixes) >= MOST_PREFIXES:
                del self._prefixes[next(iter(self._prefixes))]
            self.machine.back_to(base)
            exchanges = [self.machine.exchange(*frame) for frame in frames]
            after = self.machine.snapshot()
            if self._tracer is None:
                self._tracer = Tracer(self.machine, self.twin)
            self._prefixes[key] = _Prefix(exchanges, after, self._tracer.trace(base, frames, exchanges, after.ram))
        return self._prefixes[key]


def _unnoticed(strike: Strike, prefix: Accesses | None) -> bool:
    """Whether a strike may as well come after the prefix: it waits for an inference, or changes what the prefix does not touch."""
    if strike.onset != ON_INJECTION or strike.at is not None:
        return True
    if strike.what != "memory" or strike.held or strike.lifespan or prefix is None:
        return False
    return set(prefix.next(int(strike.where), strike.mask)[::2]) <= {NEVER}
