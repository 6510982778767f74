"""What an emulated board has beside its core: instruction counts, watchdog, UART, GPIO, restart; compiled or in Python.

`CompiledHooks` runs hooks.c; `PythonHooks` says the same in Python, for machines without the compiler, and gives identical counts
(tested). Model: Arm DDI 0479, Cortex-M System Design Kit (UART, GPIO); Arm DDI 0403, AIRCR.
"""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.devices.emulators.exchange import TX_ROOM
from edgechaos.devices.emulators.instruction_classes import ClassCounts, CodeMap
from edgechaos.support.extras import need

PERIPHERAL_BYTES = 0x1000
SYSTEM_BASE = 0xE000E000
WINDOWS = 4096
MOST_ACCESSES = 1 << 21
"""Loads and stores that a trace holds, 24 MB."""
ACCESS_STORE = 0x80000000
NOT_YET = 2**64 - 1
NOWHERE = 2**32 - 1


class Stop(IntEnum):
    """Why the hooks stopped the core; NONE: it went to sleep, or a fault stopped it."""

    NONE = 0
    BUDGET = 1
    RESET = 2
    BABBLE = 3
    PAUSE = 4


class _Machine(ctypes.Structure):
    """`struct machine` of hooks.c, member by member."""

    _fields_ = (
        ("length", ctypes.c_void_p),
        ("before", ctypes.c_void_p),
        ("enter", ctypes.c_void_p),
        ("leave", ctypes.c_void_p),
        ("taken", ctypes.c_void_p),
        ("code_base", ctypes.c_uint32),
        ("halfwords", ctypes.c_uint32),
        ("stop", ctypes.c_void_p),
        ("reg_read", ctypes.c_void_p),
        ("reg_write", ctypes.c_void_p),
        ("pc_register", ctypes.c_int32),
        ("epsr_register", ctypes.c_int32),
        ("stop_reason", ctypes.c_uint32),
        ("executed", ctypes.c_uint64),
        ("budget", ctypes.c_uint64),
        ("pause_at", ctypes.c_uint64),
        ("watch", ctypes.c_uint32),
        ("watch_hits", ctypes.c_uint32),
        ("armed", ctypes.c_uint32),
        ("block_end", ctypes.c_uint32),
        ("gpio_base", ctypes.c_uint32),
        ("gpio_mask", ctypes.c_uint32),
        ("gpio_out", ctypes.c_uint32),
        ("window_open", ctypes.c_uint32),
        ("window_start", ctypes.c_uint64),
        ("windows", ctypes.c_void_p),
        ("window_count", ctypes.c_uint32),
        ("window_room", ctypes.c_uint32),
        ("rx", ctypes.c_void_p),
        ("rx_length", ctypes.c_uint32),
        ("rx_position", ctypes.c_uint32),
        ("tx", ctypes.c_void_p),
        ("tx_length", ctypes.c_uint32),
        ("tx_room", ctypes.c_uint32),
        ("uart_control", ctypes.c_uint32),
        ("uart_divider", ctypes.c_uint32),
        ("log", ctypes.c_void_p),
        ("log_length", ctypes.c_uint32),
        ("log_room", ctypes.c_uint32),
    )


def leave_it_block(engine: Any) -> None:
    """As in hooks.c: for callbacks of loads and stores."""
    engine.reg_write(need("unicorn.arm_const", "emulate").UC_ARM_REG_EPSR, 1 << 24)


@dataclass(frozen=True, slots=True)
class HooksState:
    """All that the hooks keep: the structure, what it points to that changes, and the bytes that the UART is being handed."""

    structure: bytes
    arrays: tuple[NDArray[Any], ...]
    rx: NDArray[np.uint8]


class Hooks(ABC):
    """State shared by both implementations; a subclass attaches the callbacks."""

    def __init__(self, code: CodeMap, uart_base: int, gpio_base: int, gpio_pin: int) -> None:
        size = len(code.length) + 1
        self.code = code
        self.uart_base = uart_base
        self.gpio_base = gpio_base
        self.length = np.append(code.length, np.uint8(0))
        self.before = code.before()
        self._classes = ClassCounts(code)
        self._summed: tuple[NDArray[np.int64], NDArray[np.int64], dict[str, int]] = np.zeros(0, np.int64), np.zeros(0, np.int64), {}
        self.windows = np.zeros(WINDOWS, np.uint64)
        self.tx = np.zeros(TX_ROOM, np.uint8)
        self.rx = np.zeros(0, np.uint8)
        self.m = _Machine(code_base=code.base, halfwords=size - 1, gpio_base=gpio_base, gpio_mask=1 << gpio_pin)
        self.m.window_room, self.m.tx_room = WINDOWS, TX_ROOM
        self.m.pause_at, self.m.watch = NOT_YET, NOWHERE
        self.split(1)
        for name in ("length", "before", "windows", "tx"):
            setattr(self.m, name, getattr(self, name).ctypes.data)

    def split(self, parts: int) -> None:
        """Count in so many parts apart, from zero, in the first of them until `select` names another."""
        self.parts = np.zeros((parts, 3, int(self.before[-1]) + 1), np.int64)
        self.select(0)

    def select(self, part: int) -> None:
        """Count in that part from the next block of instructions on."""
        self.enter, self.leave, self.taken = self.parts[part]
        for name in ("enter", "leave", "taken"):
            setattr(self.m, name, getattr(self, name).ctypes.data)

    @abstractmethod
    def attach(self, engine: Any) -> None:
        """Map the peripherals of a Unicorn engine and add the hooks; before it first runs."""

    @abstractmethod
    def trace(self, engine: Any) -> None:
        """Note every load and store in `log` from now on, several times slower; before the engine first runs."""

    def _begin_log(self) -> None:
        self.log = np.zeros((MOST_ACCESSES, 3), np.uint32)
        self.m.log, self.m.log_room = self.log.ctypes.data, MOST_ACCESSES

    def save(self) -> HooksState:
        """All of the state, for `back_to`."""
        arrays = self.enter, self.leave, self.taken, self.windows[: self.m.window_count], self.tx[: self.m.tx_length]
        return HooksState(bytes(self.m), tuple(a.copy() for a in arrays), self.rx)

    def back_to(self, state: HooksState) -> None:
        """Everything as it was saved."""
        ctypes.memmove(ctypes.addressof(self.m), state.structure, len(state.structure))
        arrays: tuple[NDArray[Any], ...] = self.enter, self.leave, self.taken, self.windows, self.tx
        for array, saved in zip(arrays, state.arrays, strict=True):
            array[: len(saved)] = saved
        self.rx = state.rx

    def begin(self, received: bytes, budget: int) -> None:
        """Hand bytes to the UART and allow `budget` more instructions."""
        self.rx = np.frombuffer(received, np.uint8).copy()
        m = self.m
        m.rx, m.rx_length, m.rx_position = self.rx.ctypes.data, len(self.rx), 0
        m.tx_length = m.window_count = 0
        m.stop_reason = Stop.NONE
        m.budget = m.executed + budget

    def restart(self) -> None:
        """The peripherals after a reset: pins low, nothing received."""
        m = self.m
        m.gpio_out = m.window_open = m.uart_control = m.uart_divider = 0
        m.rx_position = m.rx_length
        m.stop_reason = Stop.NONE

    def clear_counts(self) -> None:
        """Start the counts by class from zero."""
        self.parts[:] = 0

    @property
    def stop_reason(self) -> Stop:
        """Why the core stopped."""
        return Stop(self.m.stop_reason)

    @property
    def waiting(self) -> bool:
        """Whether bytes wait in the UART: a real core would wake from WFI."""
        return self.m.rx_position < self.m.rx_length

    def sent(self) -> bytes:
        """What the firmware has sent since `begin`."""
        return self.tx[: self.m.tx_length].tobytes()

    def closed_windows(self) -> list[int]:
        """Instructions of each GPIO window closed since `begin`."""
        return [int(n) for n in self.windows[: self.m.window_count]]

    def length_at(self, address: int) -> int:
        """Halfwords of the instruction there; 1 outside of the image's code."""
        at = (address - self.code.base) // 2
        return max(int(self.code.length[at]), 1) if 0 <= at < len(self.code.length) else 1

    def after(self, address: int, instructions: int) -> int | None:
        """The address of the instruction that comes so many after another in straight line; None outside of the image's code."""
        at = (address - self.code.base) // 2
        if not 0 <= at < len(self.code.length) or not self.code.length[at]:
            return None
        starts = np.flatnonzero(self.code.length[at : at + 2 * instructions + 1])
        return address + 2 * int(starts[instructions]) if len(starts) > instructions else None

    def counts(self) -> dict[str, int]:
        """Instructions by class inside the windows, since `clear_counts`; keys as in `instruction_classes`."""
        enter, leave, taken = self.parts[0] if len(self.parts) == 1 else self.parts.sum(axis=0)
        runs = enter - leave
        if not (np.array_equal(runs, self._summed[0]) and np.array_equal(taken, self._summed[1])):  # most faults change no instruction
            self._summed = runs, taken.copy(), self._classes.sums(np.cumsum(runs)[:-1], taken[1:])
        return dict(self._summed[2])


class CompiledHooks(Hooks):
    """The callbacks of a shared library built from hooks.c."""

    def __init__(self, library: Path, code: CodeMap, uart_base: int, gpio_base: int, gpio_pin: int) -> None:
        super().__init__(code, uart_base, gpio_base, gpio_pin)
        self._library = ctypes.CDLL(str(library))

    def attach(self, engine: Any) -> None:
        """As in the base class, past Unicorn's Python layer: its callbacks would be Python functions."""
        unicorn = need("unicorn", "emulate")
        uclib = need("unicorn.unicorn_py3.unicorn", "emulate").uclib
        handle, user = engine._uch, ctypes.byref(self.m)
        self.m.stop = ctypes.cast(uclib.uc_emu_stop, ctypes.c_void_p).value
        for function in ("reg_read", "reg_write"):
            setattr(self.m, function, ctypes.cast(getattr(uclib, f"uc_{function}"), ctypes.c_void_p).value)
        arm = need("unicorn.arm_const", "emulate")
        self.m.pc_register, self.m.epsr_register = arm.UC_ARM_REG_PC, arm.UC_ARM_REG_EPSR

        def callback(name: str) -> ctypes.c_void_p:
            return ctypes.cast(getattr(self._library, f"edgechaos_{name}"), ctypes.c_void_p)

        def check(status: int) -> None:
            if status != unicorn.UC_ERR_OK:
                raise unicorn.UcError(status)

        for base, name in ((self.uart_base, "uart"), (SYSTEM_BASE, "system")):
            read, write = callback(f"{name}_read"), callback(f"{name}_write")
            size = ctypes.c_size_t(PERIPHERAL_BYTES)
            check(uclib.uc_mmio_map(handle, ctypes.c_uint64(base), size, read, user, write, user))
        engine.mem_map(self.gpio_base, PERIPHERAL_BYTES, unicorn.UC_PROT_READ)
        engine.ctl_set_tlb_mode(unicorn.UC_TLB_VIRTUAL)
        everywhere, gpio = (1, 0), (self.gpio_base, self.gpio_base + PERIPHERAL_BYTES - 1)
        for kind, name, (first, last) in (
            (unicorn.UC_HOOK_BLOCK, "block", everywhere),
            (unicorn.UC_HOOK_MEM_WRITE_PROT, "gpio_store", gpio),
            (unicorn.UC_HOOK_TLB_FILL, "tlb_fill", everywhere),
        ):
            hook = ctypes.c_size_t()
            bounds = ctypes.c_uint64(first), ctypes.c_uint64(last)
            check(uclib.uc_hook_add(handle, ctypes.byref(hook), kind, callback(name), user, *bounds))

    def trace(self, engine: Any) -> None:
        """As in the base class."""
        self._begin_log()
        unicorn, hook = need("unicorn", "emulate"), ctypes.c_size_t()
        uclib = need("unicorn.unicorn_py3.unicorn", "emulate").uclib
        kind, everywhere = unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, (ctypes.c_uint64(1), ctypes.c_uint64(0))
        callback = ctypes.cast(self._library.edgechaos_access, ctypes.c_void_p)
        status = uclib.uc_hook_add(engine._uch, ctypes.byref(hook), kind, callback, ctypes.byref(self.m), *everywhere)
        if status != unicorn.UC_ERR_OK:
            raise unicorn.UcError(status)


class PythonHooks(Hooks):
    """The callbacks in Python: slow, and there without a compiler. Names and steps follow hooks.c."""

    UART_DATA, UART_STATE, UART_CONTROL, UART_DIVIDER, UART_RX_FULL = 0x00, 0x04, 0x08, 0x10, 2
    GPIO_DATA, GPIO_OUT, GPIO_MASKED_LOW, GPIO_MASKED_HIGH, GPIO_MASKED_END = 0x00, 0x04, 0x400, 0x800, 0xC00
    AIRCR, AIRCR_KEY, SYSRESETREQ = 0xD0C, 0x05FA, 4

    def attach(self, engine: Any) -> None:
        """As in the base class."""
        unicorn = need("unicorn", "emulate")
        self._pc = need("unicorn.arm_const", "emulate").UC_ARM_REG_PC
        gpio_end = self.gpio_base + PERIPHERAL_BYTES - 1
        engine.mmio_map(self.uart_base, PERIPHERAL_BYTES, self._uart_read, None, self._uart_write, None)
        engine.mem_map(self.gpio_base, PERIPHERAL_BYTES, unicorn.UC_PROT_READ)
        engine.mmio_map(SYSTEM_BASE, PERIPHERAL_BYTES, self._system_read, None, self._system_write, None)
        engine.hook_add(unicorn.UC_HOOK_BLOCK, self._block)
        engine.hook_add(unicorn.UC_HOOK_MEM_WRITE_PROT, self._gpio_store, None, self.gpio_base, gpio_end)

    def trace(self, engine: Any) -> None:
        """As in the base class."""
        self._begin_log()
        unicorn = need("unicorn", "emulate")
        self._store = unicorn.UC_MEM_WRITE
        engine.hook_add(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, self._access)

    def _access(self, engine: Any, access: int, address: int, size: int, value: int, user: Any) -> None:
        m = self.m
        if m.log_length < m.log_room:
            before = m.executed - self._instructions(engine.reg_read(self._pc), m.block_end)
            self.log[m.log_length] = address, size | (ACCESS_STORE if access == self._store else 0), before & 0xFFFFFFFF
        m.log_length += 1
        leave_it_block(engine)

    def _mapped(self, address: int) -> bool:
        return address >= self.m.code_base and (address - self.m.code_base) >> 1 <= self.m.halfwords

    def _halfword(self, address: int) -> int:
        return (address - self.m.code_base) >> 1

    def _inside(self, address: int) -> bool:
        return address > self.m.code_base and int(self.length[self._halfword(address) - 1]) == 2

    def _instructions(self, start: int, end: int) -> int:
        if self._mapped(start) and self._mapped(end):
            return int(self.before[self._halfword(end)]) - int(self.before[self._halfword(start)])
        return (end - start) >> 1

    def _count_run(self, start: int, end: int, times: int) -> None:
        if self._mapped(start) and self._mapped(end):
            self.enter[self.before[self._halfword(start)]] += times
            self.leave[self.before[self._halfword(end)]] += times

    def _stop(self, engine: Any, reason: Stop) -> None:
        self.m.stop_reason = reason
        engine.emu_stop()

    def _block(self, engine: Any, address: int, size: int, user: Any) -> None:
        m, end = self.m, address + size
        count = self._instructions(address, end)
        watched = address <= m.watch < end
        m.watch_hits -= watched
        if m.executed + count > m.pause_at or (watched and m.watch_hits == 0):
            self._stop(engine, Stop.PAUSE)
            return
        if m.window_open:
            if address != m.block_end and self._mapped(m.block_end) and not self._inside(m.block_end):
                self.taken[self.before[self._halfword(m.block_end)]] += 1
            self._count_run(address, end, 1)
        m.block_end = end
        m.executed += count
        if m.executed > m.budget:
            self._stop(engine, Stop.BUDGET)

    def _edge(self, store_pc: int, level: int) -> None:
        m = self.m
        at = store_pc + (2 * int(self.length[self._halfword(store_pc)]) if self._mapped(store_pc) else 2)
        executed = m.executed - self._instructions(at, m.block_end)
        if level == m.window_open:
            return
        m.window_open = level
        if m.armed:
            m.pause_at = 0
        self._count_run(at, m.block_end, 1 if level else -1)
        if level:
            m.window_start = executed
        elif m.window_count < m.window_room:
            self.windows[m.window_count] = executed - m.window_start
            m.window_count += 1

    def _gpio_store(self, engine: Any, access: int, address: int, size: int, value: int, user: Any) -> bool:
        m, offset, mask = self.m, address - self.gpio_base, 0
        if offset in (self.GPIO_DATA, self.GPIO_OUT):
            mask = 0xFFFF
        elif self.GPIO_MASKED_LOW <= offset < self.GPIO_MASKED_HIGH:
            mask = (offset - self.GPIO_MASKED_LOW) >> 2 & 0xFF
        elif self.GPIO_MASKED_HIGH <= offset < self.GPIO_MASKED_END:
            mask = ((offset - self.GPIO_MASKED_HIGH) >> 2 & 0xFF) << 8
        m.gpio_out = (m.gpio_out & ~mask) | (value & mask)
        self._edge(engine.reg_read(self._pc), int((m.gpio_out & m.gpio_mask) != 0))
        leave_it_block(engine)
        return True

    def _uart_read(self, engine: Any, offset: int, size: int, user: Any) -> int:
        m = self.m
        if offset == self.UART_DATA and m.rx_position < m.rx_length:
            m.rx_position += 1
            return int(self.rx[m.rx_position - 1])
        if offset == self.UART_STATE:
            return self.UART_RX_FULL if m.rx_position < m.rx_length else 0
        return int({self.UART_CONTROL: m.uart_control, self.UART_DIVIDER: m.uart_divider}.get(offset, 0))

    def _uart_write(self, engine: Any, offset: int, size: int, value: int, user: Any) -> None:
        m = self.m
        if offset == self.UART_DATA:
            if m.tx_length < m.tx_room:
                self.tx[m.tx_length] = value & 0xFF
                m.tx_length += 1
            else:
                self._stop(engine, Stop.BABBLE)
        elif offset == self.UART_CONTROL:
            m.uart_control = value
        elif offset == self.UART_DIVIDER:
            m.uart_divider = value

    def _system_read(self, engine: Any, offset: int, size: int, user: Any) -> int:
        return 0

    def _system_write(self, engine: Any, offset: int, size: int, value: int, user: Any) -> None:
        if offset == self.AIRCR and value >> 16 == self.AIRCR_KEY and value & self.SYSRESETREQ:
            self._stop(engine, Stop.RESET)
