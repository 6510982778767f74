"""What a run of an emulated machine loads and stores, so that it is known which changes of its memory it could notice.

A second machine, which notes every access and is several times slower for it, repeats the run from a snapshot. It must end as the first
one did, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgechaos.devices.emulators.exchange import Exchange
from edgechaos.devices.emulators.unicorn.hooks import ACCESS_STORE, MOST_ACCESSES
from edgechaos.devices.emulators.unicorn.machine import EmulatedMachine, Snapshot

SPECIAL = ("fpscr", "lr", "xpsr", "control", "primask", "basepri", "faultmask", "sp")
REGISTERS = (*(f"r{k}" for k in range(13)), *(f"s{k}" for k in range(32)), *SPECIAL)
"""A core's state between two instructions, but for the program counter."""


@dataclass(frozen=True, slots=True)
class Use:
    """An access, its number: how many instructions come before it, and whether it stores, so that what was there is gone."""

    access: int
    when: int
    stores: bool


UNUSED = Use(2**32 - 1, 2**32 - 1, True)
"""Nothing reads it any more."""


@dataclass(frozen=True, slots=True, eq=False)
class Accesses:
    """In order: address, bytes, whether it stored, and how many instructions came before, each (accesses,). code: where code lies."""

    address: NDArray[np.uint32]
    size: NDArray[np.uint32]
    stored: NDArray[np.bool_]
    when: NDArray[np.uint32]
    code: tuple[tuple[int, int], ...]

    def next(self, address: int, mask: int, after: int = 0) -> tuple[Use, ...]:
        """The first use of each byte of a word in which `mask` has bits, of those that `after` instructions or more come before.

        An instruction is always read, at once.
        """
        bytes_struck = [address + k for k in range(4) if mask >> 8 * k & 0xFF]
        if any(start < address + 4 and address < end for start, end in self.code):
            return (Use(0, after, False),) * len(bytes_struck)
        return tuple(self._use(byte, after) for byte in bytes_struck)

    def _use(self, byte: int, after: int) -> Use:
        hits = (self.address <= byte) & (byte < self.address + self.size) & (self.when >= after)
        first = int(hits.argmax()) if len(hits) else 0
        return Use(first, int(self.when[first]), bool(self.stored[first])) if len(hits) and hits[first] else UNUSED


class Tracer:
    """twin: makes another machine of the same image on the same board; it is made when it is first needed."""

    def __init__(self, machine: EmulatedMachine, twin: Callable[[], EmulatedMachine]) -> None:
        self._machine = machine
        self._make = twin
        self._twin: EmulatedMachine | None = None

    def trace(self, snapshot: Snapshot, frames: Sequence[tuple[bytes, int]], seen: Sequence[Exchange], end: bytes) -> Accesses | None:
        """The accesses of a run from a snapshot of the machine; None where there are more than are held.

        frames: (bytes, instructions allowed) each; seen, end: what the run gave, and the RAM it ended with.
        """
        if self._twin is None:
            self._twin = self._make()
        twin, board = self._twin, self._machine.board
        self._machine.back_to(snapshot)
        for name in REGISTERS:
            twin.set_register(name, self._machine.register(name))
        twin.set_register("pc", snapshot.pc)
        twin.engine.mem_write(board.ram.origin, snapshot.ram)
        m = twin.hooks.m
        m.log_length = m.executed = 0
        given = [twin.exchange(*frame) for frame in frames]
        assert [(e.sent, e.windows) for e in given] == [(e.sent, e.windows) for e in seen], "a traced run answers otherwise"
        assert twin.snapshot().ram == end, "a traced run ends otherwise"
        if m.log_length > MOST_ACCESSES:
            return None
        address, size, when = twin.hooks.log[: m.log_length].T.copy()
        return Accesses(address, size & ~np.uint32(ACCESS_STORE), size >= ACCESS_STORE, when, twin.image.code)
