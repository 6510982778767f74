"""Boards whose power is cut at any step of any exchange: the Python fake, the C server, the firmware on the emulated core."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgechaos.devices.emulators.firmware_image import load_elf
from edgechaos.devices.emulators.libraries import hook_library
from edgechaos.devices.emulators.unicorn.machine import EmulatedMachine
from edgechaos.devices.fakes.board import FakeBoard
from edgechaos.devices.protocol import frames
from edgechaos.devices.protocol.client import Link
from edgechaos.devices.protocol.device import ProtocolDevice
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.work import most_request_instructions
from edgechaos.firmware_gen.protocol import ResetCause
from edgechaos.graph.integer_graph import IntegerGraph
from tests.helpers.firmware_host import HostLibrary

BUDGET = most_request_instructions(load_board("mps2-an386"))


class Board(ABC):
    """Answers frames; a step is what this board can be cut at: an instruction, a byte, a stage of an answer."""

    @abstractmethod
    def exchange(self, data: bytes, steps: int | None = None) -> tuple[bytes, int]:
        """The reply to a frame and the steps it took. With `steps`, the power is cut after so many; what was sent by then is sent."""

    @abstractmethod
    def lose_power(self) -> None:
        """Off and on again."""

    @abstractmethod
    def reset(self) -> None:
        """A pulse on the reset pin."""


class PythonBoard(Board):
    """The fake: cut before it executes, before it replies, after it has replied."""

    def __init__(self, graph: IntegerGraph) -> None:
        self.board = FakeBoard(graph)

    def exchange(self, data: bytes, steps: int | None = None) -> tuple[bytes, int]:
        (frame,) = frames.FrameDecoder().feed(data)
        reply = self.board.answer(frame) if steps != 0 else b""
        if steps is not None:
            self.lose_power()
        return (reply if steps not in (0, 1) else b""), 3

    def lose_power(self) -> None:
        self.board.lose_power()

    def reset(self) -> None:
        self.board.restart(ResetCause.PIN)


class CServer(Board):
    """The firmware's server in the host library: cut at any byte of a request or of its reply."""

    def __init__(self, graph: IntegerGraph, library: Path) -> None:
        self.host = HostLibrary(graph, library)

    def exchange(self, data: bytes, steps: int | None = None) -> tuple[bytes, int]:
        if steps is not None and steps <= len(data):
            self.host.exchange(data[:steps])
            self.lose_power()
            return self.host.exchange(data[steps:]), 0  # the host's adapter goes on sending
        reply = self.host.exchange(data)
        if steps is not None:
            self.lose_power()
            return reply[: steps - len(data)], 0
        if self.host.wants_reset():
            self.host.restart(ResetCause.SOFTWARE)
        return reply, len(data) + len(reply)

    def lose_power(self) -> None:
        self.host.boots = 0
        self.host.restart(ResetCause.POWER_ON)

    def reset(self) -> None:
        self.host.restart(ResetCause.PIN)


Offsets = tuple[int, ...]
Ram = Callable[[bytes, Offsets], bytes]
"""What RAM holds when the power is back, of what it held before and of where its words that count boots lie."""


def zeros(ram: bytes, counters: Offsets) -> bytes:
    return bytes(len(ram))


def noise(ram: bytes, counters: Offsets) -> bytes:
    return np.random.default_rng(7).bytes(len(ram))


def kept(ram: bytes, counters: Offsets) -> bytes:
    return ram


def kept_but_for_the_boot_counter(ram: bytes, counters: Offsets) -> bytes:
    """The core restarts, RAM survives, and its count of boots will agree with the one before."""
    words = np.frombuffer(ram, "<u4").copy()
    words[np.array(counters) // 4] -= 1
    return words.tobytes()


class EmulatedBoard(Board):
    """The ELF on the emulated core: cut at any instruction."""

    def __init__(self, elf: Path, ram: Ram) -> None:
        self.board = load_board("mps2-an386")
        self.machine = EmulatedMachine(load_elf(elf), self.board, hook_library())
        self.ram = ram
        self.machine.power_on(BUDGET)
        before = np.frombuffer(self.memory(), "<u4")
        self.reset()
        after = np.frombuffer(self.memory(), "<u4")
        self.counters = tuple(4 * int(k) for k in np.flatnonzero((before == 1) & (after == 2)))
        self.machine.power_on(BUDGET)

    def memory(self) -> bytes:
        return bytes(self.machine.engine.mem_read(self.board.ram.origin, self.board.ram.bytes))

    def exchange(self, data: bytes, steps: int | None = None) -> tuple[bytes, int]:
        done = self.machine.exchange(data, BUDGET if steps is None else max(1, steps))
        if steps is None:
            assert done.stopped is None, done.stopped
        else:
            self.lose_power()
        return done.sent, done.executed

    def lose_power(self) -> None:
        started = self.machine.power_on(BUDGET, self.ram(self.memory(), self.counters))
        assert started.stopped is None, started.stopped

    def reset(self) -> None:
        self.machine.pin_reset(BUDGET)


class CutLink(Link):
    """A link to a board whose power goes at one moment: in exchange `at` after `arm`, after that share of its steps, or before it."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.steps: list[int] = []
        self._moment: tuple[int, float] | None = None
        self._received = b""

    def arm(self, at: int | None = None, share: float = 0.0, steps: int = 0) -> None:
        """Count exchanges from here. share < 0: the power goes and comes back before exchange `at`; else after share * steps."""
        self.steps = []
        self._moment = None if at is None else (at, -1.0 if share < 0 else int(share * steps))

    def write(self, data: bytes) -> None:
        cut = self._moment[1] if self._moment is not None and self._moment[0] == len(self.steps) else None
        if cut is not None and cut < 0:
            self.board.lose_power()
            cut = None
        sent, steps = self.board.exchange(data, None if cut is None else int(cut))
        self.steps.append(steps)
        self._received += sent

    def read(self, timeout_s: float) -> bytes:
        received, self._received = self._received, b""
        return received

    def hard_reset(self) -> None:
        self.board.reset()

    def close(self) -> None:
        pass


class PoweredDevice(ProtocolDevice):
    """A device on such a link."""

    def __init__(self, graph: IntegerGraph, board: Board) -> None:
        super().__init__(graph, "powered", "board")
        self.link = CutLink(board)

    def _connect(self) -> Link:
        return self.link
