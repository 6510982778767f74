"""The parent's end of an emulator process: a Link whose bytes go through an emulated UART, and whose device can be killed.

DeviceCrash, DeviceHang and LinkError say where in the firmware it stopped. Time on this link is counted in instructions. The one
wall clock guards against a process that makes no progress at all, which is a fault of the infrastructure, not of the device.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgechaos.devices.emulators.messages import LENGTHS, pack, unpack
from edgechaos.devices.protocol import frames
from edgechaos.devices.protocol.client import Link
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.work import most_request_instructions
from edgechaos.firmware_gen.protocol import INFER_HEAD, Verb
from edgechaos.support.errors import (
    ArtifactError,
    ConfigError,
    DeviceCrash,
    DeviceError,
    DeviceHang,
    EdgeChaosError,
    FaultError,
    LinkError,
    UnsupportedError,
)

GUARD_S = 120.0
"""Seconds that a process may take for an answer beyond the time that its instructions take."""
SLOWEST_HZ = 1_000_000
"""Instructions per second of an emulator on a machine that does much else; tens of millions on an idle one."""
SLOWEST_PYTHON_HZ = 10_000
"""The same with the hooks in Python."""
MOST_BUDGET = 2**62
"""What the hooks can count in 64 bits, whatever has been counted before."""
DEPTH = 256
Started = tuple[str, Path, str, Path | None]
"""What a process is started with: engine, ELF, board, and the compiled library of its hooks, where there is one."""
_REPORTED: dict[str, type[EdgeChaosError]] = {c.__name__: c for c in (ArtifactError, ConfigError, UnsupportedError)}
_STOPPED: dict[str, type[DeviceError]] = {"crash": DeviceCrash, "hang": DeviceHang, "babble": LinkError}


class EmulatorProcess:
    """A child process that answers messages, and dies when told to, when it does not answer, or when its parent is gone."""

    def __init__(self, what: Started, guard_s: float = GUARD_S) -> None:
        """Raises what the child reports: ArtifactError, UnsupportedError, ConfigError; LinkError where it does not start."""
        self._guard_s = guard_s
        self._slowest_hz = SLOWEST_HZ if what[3] else SLOWEST_PYTHON_HZ
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the child)
        command = [sys.executable, "-m", "edgechaos.devices.emulators.process", *(str(one) for one in what if one is not None)]
        # In a session of its own, Ctrl-C reaches the parent alone, which closes it in order.
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,
        )
        try:
            head, _ = self.receive()
            if "error" in head:
                raise _REPORTED.get(head["error"], LinkError)(head["message"])
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether the child runs."""
        return self._child.poll() is None

    def call(self, head: dict[str, Any], blob: bytes = b"") -> tuple[dict[str, Any], bytes]:
        """Send a message and wait for its one answer. Raises LinkError as `send` and `receive` do."""
        self.send(head, blob)
        return self.receive(head.get("budget", 0))

    def send(self, head: dict[str, Any], blob: bytes = b"") -> None:
        """Send a message. Raises LinkError where the process is dead."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(pack(head, blob))
            self._child.stdin.flush()
        except OSError as error:
            raise self._dead() from error

    def receive(self, budget: int = 0) -> tuple[dict[str, Any], bytes]:
        """Wait for an answer that `budget` instructions may precede. Raises LinkError where the process is dead or does not answer."""
        guard_s = self._guard_s + budget / self._slowest_hz
        deadline = time.monotonic() + guard_s
        head_length, blob_length = LENGTHS.unpack(self._read(LENGTHS.size, deadline, guard_s))
        return unpack(self._read(head_length + blob_length, deadline, guard_s), head_length)

    def close(self) -> None:
        """Kill the child, if it lives, and reap it."""
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout, self._stderr):
            try:
                if stream is not None:
                    stream.close()
            except BrokenPipeError:
                pass  # an unsent message to a killed child

    def _read(self, size: int, deadline: float, guard_s: float) -> bytes:
        assert self._child.stdout is not None
        handle, data = self._child.stdout.fileno(), bytearray()
        while len(data) < size:
            if not select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0]:
                self._child.kill()
                raise LinkError(f"the emulator process did not answer within {guard_s:g} s and was killed; call reset() to start another")
            piece = os.read(handle, size - len(data))
            if not piece:
                raise self._dead()
            data += piece
        return bytes(data)

    def _dead(self) -> LinkError:
        self._child.kill()
        code = self._child.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        self._stderr.seek(0)
        said = self._stderr.read().decode(errors="replace").strip().splitlines()
        last = f": {said[-1]}" if said else ""
        return LinkError(f"the emulator process {how}{last}; call reset() to start another")


class EmulatorLink(Link):
    """Frames are queued and go to the child together, which hands the device one at a time.

    infer_budget: instructions that an INFER of one sample may take, from frame to sleep.
    request_budget: the same of a start and of every other request.
    windows: instructions of every GPIO window closed, in order; emptied by whoever reads them.
    poked: whether memory was changed from outside since it was last restored.
    """

    depth = DEPTH

    def __init__(self, what: Started, infer_budget: int, guard_s: float = GUARD_S) -> None:
        self._arguments = (what, guard_s)
        self.infer_budget = infer_budget
        self.request_budget = most_request_instructions(load_board(what[2]))
        self.windows: list[int] = []
        self._queued: list[tuple[bytes, int]] = []
        self._received = b""
        self._down: tuple[type[DeviceError], str] | None = None
        self.poked = False
        self.process = EmulatorProcess(*self._arguments)
        try:
            self.power_cycle()
        except BaseException:
            self.process.close()
            raise

    def write(self, data: bytes) -> None:
        """Queue one frame."""
        frame = frames.decode(data.strip(b"\0"))
        self._queued.append((data, self.budget(frame.kind, frame.payload) if frame else self.request_budget))

    def read(self, timeout_s: float) -> bytes:
        """What the firmware sent; runs what is queued. b"" where it sleeps and has nothing to say: nothing will come."""
        self._check_alive()
        if self._queued and not self._received:
            queued, self._queued = self._queued, []
            head = {"op": "run", "lengths": [len(d) for d, _ in queued], "budgets": [b for _, b in queued]}
            self.process.send(head, b"".join(d for d, _ in queued))
            for _, budget in queued:  # an answer a frame: the process shows that it gets on
                self._take(*self.process.receive(budget))
        received, self._received = self._received, b""
        return received

    def now(self) -> float:
        """Time stands still: whether an answer will come is known, and no pause of this machine is the device's."""
        return 0.0

    def hard_reset(self) -> None:
        """Pulse the reset pin; start another process where the old one is gone."""
        self._forget()
        try:
            self._take(*self.process.call({"op": "pin_reset", "budget": self.request_budget}))
        except LinkError:
            self.process.close()
            self.process = EmulatorProcess(*self._arguments)
            self.power_cycle()

    def power_cycle(self) -> None:
        """Start with RAM empty; the boot counter starts over as well, and no session goes on."""
        self._forget()
        self._take(*self.process.call({"op": "power_on", "budget": self.request_budget}))

    def counts(self) -> dict[str, int]:
        """Instructions by class inside the GPIO windows, since the last restart from outside or `clear_counts`."""
        return self.process.call({"op": "counts"})[0]

    def clear_counts(self) -> None:
        """Start the counts by class from zero."""
        self.process.call({"op": "clear_counts"})

    def memory(self, operation: str, *arguments: Any) -> bytes:
        """read_memory, poke, arm or restore of the machine. Raises FaultError for an address that is no memory of the board."""
        self.poked |= operation in ("poke", "arm")
        head, read = self.process.call({"op": operation, "arguments": arguments})
        if "error" in head:
            raise FaultError(head["error"])
        return read

    def restore(self) -> None:
        """The device as it was before the first poke, also where it has crashed since; nothing where nothing was poked."""
        if self.poked:
            self.memory("restore")
            self.poked = False
            self._forget()

    def close(self) -> None:
        """Kill the process."""
        self.process.close()

    def _forget(self) -> None:
        self._queued, self._received, self._down = [], b"", None
        self.windows.clear()

    def replay(self, about: dict[str, Any], given: Sequence[tuple[bytes, int]]) -> tuple[dict[str, Any], bytes]:
        """What the device answers to the same frames, (bytes, budget), under each of `about["plans"]`: an answer each, of process.py."""
        lengths, budgets = [len(data) for data, _ in given], [budget for _, budget in given]
        self.process.send({"op": "replay", **about, "lengths": lengths, "budgets": budgets}, b"".join(data for data, _ in given))
        return self.process.receive(sum(budgets) * (2 + len(about["plans"])))

    def budget(self, verb: int, payload: bytes) -> int:
        """Instructions that a request may take, from frame to sleep."""
        if verb != Verb.INFER or len(payload) != INFER_HEAD.size:
            return self.request_budget
        _, _, _, samples = INFER_HEAD.unpack(payload)
        return min(samples * self.infer_budget, MOST_BUDGET)

    def _take(self, answer: dict[str, Any], sent: bytes) -> None:
        self._received += sent
        self.windows += answer["windows"]
        if answer["stopped"] is not None:
            stopped = answer["stopped"]
            message = f"{stopped['outcome']} at {stopped['pc']} (LR {stopped['lr']}): {stopped['reason']}; call reset()"
            self._down = _STOPPED[stopped["outcome"]], message
            self._check_alive()

    def _check_alive(self) -> None:
        """A device that has stopped stays so until it is reset."""
        if self._down is not None:
            kind, message = self._down
            raise kind(message)
