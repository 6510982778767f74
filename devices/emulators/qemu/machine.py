"""A QEMU board as an emulated machine: started with its firmware, run from one sleep to the next, its instructions counted by plugin.c.

Everything that passes between the two is inherited: serial port, monitor and the plugin's socket are ends of socket pairs, the counts a
piece of shared memory. No port or file of this machine is taken, and a QEMU whose owner is gone ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import select
import socket
import struct
import subprocess
import tempfile
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np

from edgechaos.devices.emulators.exchange import OPERATIONS, TX_ROOM, Exchange, Outcome, Stopped
from edgechaos.devices.emulators.firmware_image import load_elf
from edgechaos.devices.emulators.instruction_classes import ClassCounts, map_code
from edgechaos.devices.emulators.qemu.debug_stub import DebugStub
from edgechaos.devices.emulators.qemu.monitor import PATIENCE_S, Monitor
from edgechaos.firmware_gen.board import Board
from edgechaos.support.errors import UnsupportedError

WINDOWS = 4096
UNBOUNDED = 2**63
REMEDIES = {"qemu-system-arm": "apt-get install qemu-system-arm", "qemu-system-riscv32": "apt-get install qemu-system-misc"}
"""The command that installs each program on Debian."""
NUDGE_S = 0.05
"""After so long without news QEMU is asked something, whose loop can sleep over bytes that came before a serial port was set up."""
SILENCE_S = 1.0
"""For so long a core sleeps that has been handed all its bytes and has nothing to say, as after a frame with a wrong checksum."""


class Stop(IntEnum):
    """Why the plugin holds the core."""

    NONE = 0
    BUDGET = 1
    FAULT = 2
    RESTARTS = 3


class _Shared(ctypes.Structure):
    """`struct shared` of plugin.c, member by member."""

    _fields_ = (
        ("executed", ctypes.c_uint64),
        ("budget", ctypes.c_uint64),
        ("window_start", ctypes.c_uint64),
        ("windows", ctypes.c_uint64 * WINDOWS),
        ("window_count", ctypes.c_uint32),
        ("window_open", ctypes.c_uint32),
        ("start_budget", ctypes.c_uint64),
        ("starts", ctypes.c_uint32),
        ("restless", ctypes.c_uint32),
        ("asleep", ctypes.c_uint32),
        ("stop", ctypes.c_uint32),
        ("block_start", ctypes.c_uint32),
        ("block_end", ctypes.c_uint32),
        ("code_base", ctypes.c_uint32),
        ("halfwords", ctypes.c_uint32),
        ("reset_at", ctypes.c_uint32),
        ("fault_at", ctypes.c_uint32),
        ("edge_at", ctypes.c_uint32),
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    """A sleeping machine: its registers, the RAM that its firmware uses, and by address the words beyond that were changed since."""

    registers: str
    ram: bytes
    words: dict[int, bytes]


class QemuMachine:
    """One QEMU at a time. `power_on` first; after a stop only `power_on` or `pin_reset` help."""

    def __init__(self, elf: Path, board: Board, library: Path) -> None:
        """library: the compiled plugin. Raises UnsupportedError where QEMU has no such board, or the core not the image's instructions."""
        if not board.qemu:
            raise UnsupportedError(f"board '{board.name}' names no machine of QEMU; say `qemu = \"MACHINE\"` in its file")
        self._elf, self.image, self.board, self._library = elf, load_elf(elf), board, library
        self.code = map_code(self.image, board.core)
        self._classes = ClassCounts(self.code)
        self._size = ctypes.sizeof(_Shared) + 4 * 8 * (len(self.code.length) + 1)
        self._process: subprocess.Popen[bytes] | None = None
        self._kept: _Kept | None = None
        self._down = False
        used = (end - board.ram.origin for start, end in self.image.regions.values() if board.ram.holds(start))
        self._used = -(-max(used, default=4) // 4) * 4

    def power_on(self, budget: int) -> Exchange:
        """Start and run to the first sleep, RAM holding zeros. Counts by class start from zero."""
        self.close()
        self._start(budget)
        return self._begun(0)

    def pin_reset(self, budget: int) -> Exchange:
        """Start again with RAM as it is, as after a pulse on the reset pin. Counts by class start from zero."""
        if self._process is None or self._process.poll() is not None:
            return self.power_on(budget)
        m, starts = self._m, self._m.starts
        with self._single_blocks():
            self._monitor.execute("system_reset")
            while m.starts == starts:
                self._step()
            self.clear_counts()
        m.budget = m.executed + budget
        self._release()
        return self._begun(starts)

    def exchange(self, received: bytes, budget: int) -> Exchange:
        """Hand bytes to the serial port and run until the core sleeps with none left, or has executed `budget` instructions."""
        m, before = self._m, self._m.executed
        m.budget, m.window_count = before + budget, 0
        stopped, sent = self._run(received, bool)
        self._down = stopped is not None
        return Exchange(sent, m.executed - before, list(m.windows[: m.window_count]), stopped)

    def counts(self) -> dict[str, int]:
        """Instructions by class inside the windows, since `clear_counts`."""
        enter, leave, taken = self._runs
        starts = np.flatnonzero(self.code.length)
        return self._classes.sums(np.cumsum(enter - leave)[starts], taken[starts + self.code.length[starts]])

    def clear_counts(self) -> None:
        """Start the counts by class from zero."""
        for array in self._runs:
            array[:] = 0

    def read_memory(self, address: int, count: int) -> bytes:
        """Bytes of RAM or flash. Raises UnsupportedError where the board has neither there."""
        self.board.region(address, count)
        with self._halted():
            return self._stub.read(address, count)

    def poke(self, address: int, mask: int, op: str) -> None:
        """Set, clear or toggle bits of a word of RAM or flash now; `restore` undoes it, and what followed from it in the RAM in use."""
        region = self.board.region(address, 4)
        with self._halted():
            if self._kept is None:
                self._kept = _Kept(self._stub.registers(), self._stub.read(self.board.ram.origin, self._used), {})
            word = self._stub.read(address, 4)
            if region is self.board.flash or address >= self.board.ram.origin + self._used:
                self._kept.words.setdefault(address, word)
            poked = OPERATIONS[op](int.from_bytes(word, "little"), mask, 0)
            self._stub.write(address, poked.to_bytes(4, "little"))

    def restore(self) -> None:
        """Core and memories as before the first poke since the last restore."""
        kept, self._kept = self._kept, None
        if kept is None:
            return
        if self._down:
            self.pin_reset(UNBOUNDED // 2)
        with self._halted():
            self._stub.write(self.board.ram.origin, kept.ram)
            for address, word in kept.words.items():
                self._stub.write(address, word)
            self._stub.set_registers(kept.registers)

    @contextmanager
    def _halted(self) -> Iterator[None]:
        """The core stopped, as the debug stub wants it."""
        with self._single_blocks():
            self._monitor.execute("stop")
        try:
            yield
        finally:
            self._monitor.execute("cont")

    @contextmanager
    def _single_blocks(self) -> Iterator[None]:
        """A core that the plugin holds goes on by a block at a time, until QEMU has stopped it: it looks for that between two blocks."""
        budget, self._m.budget = self._m.budget, 0
        try:
            yield
        finally:
            self._m.budget = budget

    def _step(self) -> None:
        if self._m.budget == 0:
            select.select([self._control], [], [], PATIENCE_S)
            self._release()

    def close(self) -> None:
        """End QEMU."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._monitor.close()
            self._stub.close()
            self._control.close()
            self._serial.close()
            self._process = None

    def _start(self, budget: int) -> None:
        code, halfwords, board, image = self.code, len(self.code.length), self.board, self.image
        file = tempfile.TemporaryFile()  # noqa: SIM115 (the mapping keeps it)
        file.truncate(self._size)
        memory = mmap.mmap(file.fileno(), self._size)
        self._m = m = _Shared.from_buffer(memory)
        arrays = np.frombuffer(memory, np.int64, 4 * (halfwords + 1), ctypes.sizeof(_Shared)).reshape(4, -1)
        self._runs, arrays[3, :-1] = arrays[:3], 2 * code.length.astype(np.int64)
        m.code_base, m.halfwords, m.edge_at = code.base, halfwords, board.edge.base
        m.reset_at, m.fault_at = (image.address(name) & ~1 for name in ("Reset_Handler", "Fault_Handler"))
        m.start_budget = m.budget = budget
        (self._serial, serial), (self._control, control), (monitor, monitored), (stub, stubbed) = (socket.socketpair() for _ in range(4))
        theirs = (serial.fileno(), control.fileno(), monitored.fileno(), stubbed.fileno())
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as QEMU)
        command = [board.core.qemu, "-M", board.qemu, "-bios", "none", "-display", "none", "-nodefaults"]
        command += ["-chardev", f"socket,id=serial,fd={theirs[0]}", "-serial", "chardev:serial"]
        command += ["-chardev", f"socket,id=monitor,fd={theirs[2]}", "-mon", "chardev=monitor,mode=control"]
        command += ["-chardev", f"socket,id=stub,fd={theirs[3]}", "-gdb", "chardev:stub", "-S"]
        command += ["-plugin", f"{self._library},memory={file.fileno()},size={self._size},control={theirs[1]}", "-kernel", str(self._elf)]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=self._said, stderr=self._said, pass_fds=(*theirs, file.fileno())
            )
        except OSError as error:
            raise UnsupportedError(f"cannot run {command[0]} ({error.strerror}); on Debian: {REMEDIES[command[0]]}") from error
        for end in (serial, control, monitored, stubbed, file):
            end.close()
        self._serial.setblocking(False)
        self._control.setblocking(False)
        try:
            self._monitor, self._stub = Monitor(monitor, self._step), DebugStub(stub)
            self._monitor.execute("cont")
        except EOFError as error:
            raise UnsupportedError(f"{command[0]} -M {board.qemu} does not start: {self._last_words()}") from error

    def _begun(self, starts: int) -> Exchange:
        stopped, sent = self._run(b"", lambda sent: self._m.starts > starts)
        self._down = stopped is not None
        return Exchange(sent, self._m.executed, [], stopped)

    def _run(self, received: bytes, settled: Callable[[bytes], bool]) -> tuple[Stopped | None, bytes]:
        """Until the core sleeps, has all its bytes and `settled` holds of what it sent; or for SILENCE_S without that."""
        m, sent, waiting, quiet_s = self._m, bytearray(), memoryview(received), 0.0
        while True:
            changed = select.select([self._serial, self._control], [self._serial] if waiting else [], [], NUDGE_S)
            quiet_s = 0.0 if any(changed) or not m.asleep else quiet_s + NUDGE_S
            if quiet_s:
                self._monitor.execute("query-status")
            if self._control in changed[0] and not self._drain():
                return self._ended(), bytes(sent)
            if m.stop == Stop.BUDGET and m.executed <= m.budget:
                self._release()  # from before it was given more
            elif m.stop:
                return self._held(Stop(m.stop)), bytes(sent)
            sent += self._heard()
            if waiting and changed[1]:
                waiting = waiting[self._serial.send(waiting) :]
            if len(sent) > TX_ROOM:
                return self._stopped("babble", f"it sent more than {TX_ROOM} bytes"), bytes(sent)
            # Asleep after something was heard: it has said all. Asked the other way round, it may just have woken up.
            if m.asleep and not waiting and not self._untaken() and (quiet_s > SILENCE_S or settled(bytes(sent))):
                return None, bytes(sent + self._heard())

    def _drain(self) -> bool:
        """Take the plugin's notices; whether QEMU lives."""
        try:
            return bool(self._control.recv(4096))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _heard(self) -> bytes:
        try:
            return self._serial.recv(1 << 16)
        except OSError:
            return b""

    def _untaken(self) -> int:
        """Bytes that the serial port has not yet taken."""
        return int(struct.unpack("i", fcntl.ioctl(self._serial, termios.TIOCOUTQ, bytes(4)))[0])

    def _release(self) -> None:
        """Let the core go on where the plugin holds it."""
        if self._m.stop:
            self._m.stop = Stop.NONE
            self._control.send(b"\0")

    def _held(self, why: Stop) -> Stopped:
        if why is not Stop.FAULT:
            said = (
                "it ran out of the instructions it was allowed"
                if why is Stop.BUDGET
                else "it restarted again and again without getting to sleep"
            )
            return self._stopped("hang", said)
        fault = self._fault()
        starts = self._m.starts
        self._m.budget = UNBOUNDED
        self._release()  # its handler restarts it, unless it cannot start either
        while not (self._m.starts > starts and (self._m.asleep or self._m.stop)):
            if not self._drain():
                break
            select.select([self._control], [], [], 0.01)
        return fault

    def _fault(self) -> Stopped:
        """At the handler's first instruction: the fault registers (DDI 0403, B3.2.15 to B3.2.19), and the frame that was pushed; on RISC-V
        the registers of the trap (Privileged Architecture, 3.1.14 to 3.1.16)."""
        registers = self._monitor.registers()
        if "mcause" in registers:
            reason = ", ".join(f"{name} {registers[name]:#010x}" for name in ("mcause", "mtval"))
            return Stopped("crash", reason, self.image.where(registers["mepc"]), self.image.where(registers["ra"]))
        frame = self._monitor.words(registers["r13"], 8)
        cfsr, hfsr, _, mmfar, bfar = self._monitor.words(0xE000ED28, 5)
        where = f", BFAR {bfar:#010x}" if cfsr & 0x8000 else f", MMFAR {mmfar:#010x}" if cfsr & 0x80 else ""
        reason = f"exception {registers['xpsr'] & 0x1FF}, CFSR {cfsr:#010x}, HFSR {hfsr:#010x}{where}"
        return Stopped("crash", reason, self.image.where(frame[6] & ~1), self.image.where(frame[5] & ~1))

    def _stopped(self, outcome: Outcome, reason: str) -> Stopped:
        registers = self._monitor.registers()
        link = registers.get("r14", registers.get("ra", 0))
        return Stopped(outcome, reason, self.image.where(self._m.block_start), self.image.where(link & ~1))

    def _ended(self) -> Stopped:
        """A core that locks up ends QEMU."""
        assert self._process is not None
        self._process.wait()
        return Stopped("crash", f"QEMU ended: {self._last_words()}", self.image.where(self._m.block_start), "?")

    def _last_words(self) -> str:
        if self._process is not None:
            self._process.wait()
        self._said.seek(0)
        lines = [line for line in self._said.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[0] if lines else "it says nothing"
