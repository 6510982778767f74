"""Faults that strike an emulated core while it runs: when, what they change, and what undoes them.

The core stops before a block of instructions in which something is due, runs the instructions of it that come before, and is changed
there: exact to the instruction, at no cost while nothing is due. The hooks stop it at both edges of an inference's window too.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Protocol

from edgechaos.devices.emulators.exchange import OPERATIONS
from edgechaos.devices.emulators.unicorn.hooks import NOT_YET, NOWHERE, Hooks, leave_it_block
from edgechaos.faults.injections import ON_INJECTION, Strike
from edgechaos.support.errors import UnsupportedError

NOPS = {1: b"\x00\xbf", 2: b"\xaf\xf3\x00\x80"}
"""NOP of one halfword and of two: in an IT block they advance it as what they replace would."""


class Core(Protocol):
    """What strikes need of a machine."""

    hooks: Hooks
    engine: Any
    unicorn: Any

    def read_memory(self, address: int, count: int) -> bytes:
        """Bytes of RAM or flash. Raises UnsupportedError where the board has neither there."""
        ...

    def word(self, address: int) -> int:
        """The 32-bit word there."""
        ...

    def set_word(self, address: int, word: int) -> None:
        """Change a word, of flash too."""
        ...

    def register(self, name: str) -> int:
        """A register of REGISTERS."""
        ...

    def set_register(self, name: str, value: int) -> None:
        """Change a register."""
        ...

    def skip(self, count: int) -> None:
        """Run so many instructions that do nothing in place of the next ones."""
        ...

    def restart(self, ram_lost: bool) -> None:
        """Start the core again at once, with its RAM or without."""
        ...


@dataclass(frozen=True, slots=True, order=True)
class _Due:
    """What is to be done once so many instructions are executed. early: rather a few before than by stopping in the middle of a block."""

    when: int
    order: int
    act: Callable[[], None]
    undoes: bool
    early: bool = False


class Strikes:
    """Those armed on one machine. `until`: where the core must stop next; None: wherever the hooks stop it."""

    def __init__(self, machine: Core) -> None:
        self._machine = machine
        self._m = machine.hooks.m
        self._order = count()
        self._armed: tuple[Strike, ...] = ()
        self._due: list[_Due] = []
        self._watched: list[Strike] = []
        self._held: list[tuple[Any, Strike]] = []
        self._inference = 0
        self._inside = False
        self.until: int | None = None

    def arm(self, strikes: Iterable[Strike], opened: int = 0) -> None:
        """Do at once what is due at once, and wait for the rest. Raises UnsupportedError for an address that is no memory.

        opened: windows since the injection where this comes later, the one that may be open among them.
        """
        self._armed = tuple(strikes)
        self._inference = opened - bool(self._m.window_open)
        for strike in self._armed:
            if strike.what == "memory":
                self._machine.read_memory(int(strike.where), 4)
        if len({s.at for s in self._armed if s.at is not None}) > 1:
            raise UnsupportedError("the faults of a plan may wait for one address at a time; give them the same")
        for strike in self._armed:
            if strike.onset == ON_INJECTION and strike.at is None:
                self._strike(strike)
        self._m.armed = any(s.onset != ON_INJECTION or s.at is not None for s in self._armed)
        if self._m.armed and self._m.window_open:
            self._edge()

    def mark(self, moments: Iterable[int], act: Callable[[], None]) -> None:
        """Do something at each of these numbers of executed instructions, or up to a block before; with nothing armed."""
        for executed in moments:
            heapq.heappush(self._due, _Due(executed, next(self._order), act, undoes=False, early=True))
            self._m.pause_at = self._due[0].when

    def disarm(self) -> None:
        """Nothing strikes from now on; what was changed stays."""
        for hook, _ in self._held:
            self._machine.engine.hook_del(hook)
        if self._held:
            self._machine.engine.ctl_flush_tb()
        self._armed, self._held = (), []
        self._forget()
        self._inference, self._m.armed = 0, 0

    def stopped(self, pc: int) -> None:
        """The core stands before the instruction at `pc`, because the hooks paused it or because it has come to `until`."""
        m, here = self._m, self.until == pc
        self.until = None
        if self._due and self._due[0].early:
            heapq.heappop(self._due).act()
            m.pause_at = self._due[0].when if self._due else NOT_YET
            return
        if bool(m.window_open) != self._inside:
            self._edge()  # the hooks stop again before this block, where something is due in it
            return
        if self._watched and m.watch_hits == 0:
            if m.watch != pc:
                self._run_to(m.watch, pc)
                return
            m.watch = NOWHERE
            watched, self._watched = self._watched, []
            for strike in watched:
                self._strike(strike)
        elif self._due and not here and m.executed < self._due[0].when:
            address = self._machine.hooks.after(pc, self._due[0].when - m.executed)
            if address is not None:
                self._run_to(address, pc)
                return
            here = True  # code that the image does not know: as near as the hooks can tell
        while self._due and (here or m.executed >= self._due[0].when):
            here = False
            heapq.heappop(self._due).act()
        m.pause_at = self._due[0].when if self._due else NOT_YET

    def _run_to(self, address: int, pc: int) -> None:
        self.until = address
        self._machine.engine.ctl_remove_cache(pc, address + 2)  # a block that is translated already has no end there

    def _edge(self) -> None:
        """The window has opened, or closed: then what is to be undone is undone, and what has not come never does."""
        self._inside = bool(self._m.window_open)
        self._m.pause_at = NOT_YET
        if not self._inside:
            undone, self._due = self._due, []
            for entry in undone:
                if entry.undoes:
                    entry.act()
            self._watched, self._m.watch = [], NOWHERE
            return
        self._inference += 1
        for strike in self._armed:
            if strike.inference not in (0, self._inference):
                continue
            if strike.at is not None:
                self._watched.append(strike)
                self._m.watch, self._m.watch_hits = int(strike.at), strike.hits
            elif strike.onset != ON_INJECTION:
                self._at(self._m.window_start + strike.onset, partial(self._strike, strike))

    def _at(self, executed: int, act: Callable[[], None], undoes: bool = False) -> None:
        heapq.heappush(self._due, _Due(executed, next(self._order), act, undoes))
        self._m.pause_at = self._due[0].when

    def _forget(self) -> None:
        self._due, self._watched, self._inside, self.until = [], [], False, None
        self._m.pause_at, self._m.watch = NOT_YET, NOWHERE

    def _strike(self, strike: Strike) -> None:
        machine = self._machine
        if strike.what == "reset":
            self._forget()
            machine.restart(ram_lost=bool(strike.value))
        elif strike.what == "skip":
            machine.skip(strike.value)
        elif strike.what == "register":
            self._change(strike, lambda: machine.register(str(strike.where)), lambda value: machine.set_register(str(strike.where), value))
        else:
            address = int(strike.where)
            self._change(strike, lambda: machine.word(address), lambda value: machine.set_word(address, value))
            if strike.held:
                self._hold(strike, address)

    def _change(self, strike: Strike, read: Callable[[], int], write: Callable[[int], None]) -> None:
        old = read()
        write(OPERATIONS[strike.op](old, strike.mask, strike.value) & 0xFFFFFFFF)
        if strike.lifespan and not strike.held:

            def undo() -> None:
                write((read() & ~strike.mask) | (old & strike.mask))

            self._at(self._m.executed + strike.lifespan, undo, undoes=True)

    def _hold(self, strike: Strike, address: int) -> None:
        """The bits keep what they were changed to, whatever is stored: they are put back before every load."""
        machine = self._machine
        kept = machine.word(address) & strike.mask

        def load(engine: Any, access: int, at: int, size: int, value: int, user: Any) -> None:
            machine.set_word(address, (machine.word(address) & ~strike.mask) | kept)
            leave_it_block(engine)

        unicorn = machine.unicorn
        self._held.append((machine.engine.hook_add(unicorn.UC_HOOK_MEM_READ, load, None, address, address + 3), strike))
        machine.engine.ctl_flush_tb()
