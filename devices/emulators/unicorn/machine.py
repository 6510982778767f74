"""An emulated board: Unicorn's model of a core with a board's memory map, run from one WFI to the next.

It stops with a crash (PC, LR and their symbols), a hang or babble. Not modelled by Unicorn: NVIC, SysTick, fault registers and
handlers; whatever would be a fault exception is reported as a crash.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edgechaos.devices.emulators.exchange import OPERATIONS, Exchange, Outcome, Stopped
from edgechaos.devices.emulators.firmware_image import FirmwareImage
from edgechaos.devices.emulators.instruction_classes import map_code
from edgechaos.devices.emulators.unicorn.hooks import CompiledHooks, Hooks, HooksState, PythonHooks, Stop, leave_it_block
from edgechaos.devices.emulators.unicorn.strikes import NOPS, Strikes
from edgechaos.faults.injections import Strike
from edgechaos.firmware_gen.board import Board
from edgechaos.support.errors import UnsupportedError
from edgechaos.support.extras import need

NEVER = 0xFFFFFFFE
"""An address that code never reaches: emulation ends at WFI, or where a hook stops it."""
PAGE = 0x1000
MOST_RESTARTS = 100
"""Restarts between two sleeps, beyond which a firmware is in a reset loop."""
FAULTS = (
    "READ_UNMAPPED",
    "WRITE_UNMAPPED",
    "FETCH_UNMAPPED",
    "READ_PROT",
    "WRITE_PROT",
    "FETCH_PROT",
    "READ_UNALIGNED",
    "WRITE_UNALIGNED",
    "FETCH_UNALIGNED",
    "INSN_INVALID",
    "EXCEPTION",
)
"""Unicorn's errors that a real core would take as a fault exception; any other is a failure of the emulator."""

PERIPHERALS = "cmsdk"
"""Whose serial port and pins are modelled, wherever the board file puts them; the port may be the user's own."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A machine between two instructions: its core, the RAM it uses, its peripherals and counts."""

    context: Any
    pc: int
    ram: bytes
    hooks: HooksState


def is_emulated(board: Board) -> bool:
    """Whether this machine has a board's core and peripherals."""
    return board.peripherals == PERIPHERALS and bool(board.core.unicorn)


class EmulatedMachine:
    """One core, its memories and peripherals. `power_on` first; after a stop only `power_on` or `pin_reset` help."""

    def __init__(self, image: FirmwareImage, board: Board, library: Path | None, traced: bool = False) -> None:
        """library: the compiled hooks, or None for those in Python. traced: every load and store is noted, which takes time.

        Raises UnsupportedError where the board's peripherals or the image's instructions are not emulated.
        """
        if not is_emulated(board):
            raise UnsupportedError(
                f"board '{board.name}' is not emulated: Unicorn runs boards with peripherals {PERIPHERALS!r} and a core of its own"
            )
        self.image = image
        self.board = board
        code, places = map_code(image, board.core), (board.serial.base, board.edge.base, board.edge.pin)
        self.hooks: Hooks = CompiledHooks(library, code, *places) if library is not None else PythonHooks(code, *places)
        self.unicorn = need("unicorn", "emulate")
        self._arm = need("unicorn.arm_const", "emulate")
        used = (end - board.ram.origin for start, end in image.regions.values() if board.ram.holds(start))
        self._used = min(_pages(max(used, default=PAGE)), _pages(board.ram.bytes))
        self._beyond_used = False
        self.engine = self._make_engine(traced)
        self._at_reset = self.engine.context_save()
        self._pc = 0
        self._bad_access = ""
        self._kept: Snapshot | None = None
        self._flash: dict[int, int] = {}  # by address the words that were changed since the image was loaded
        self.strikes = Strikes(self)

    def power_on(self, budget: int, ram: bytes = b"") -> Exchange:
        """Start and run to the first WFI, RAM holding zeros, or whatever it comes up with. Counts by class start from zero."""
        self._fill_ram(ram)
        return self.pin_reset(budget)

    def split_counts(self, parts: int, calls: list[tuple[int, int]]) -> bytes:
        """Count in parts from now on: what the instruction at an address calls, in the part beside it. Nothing may run yet."""
        self.hooks.split(parts)
        for address, part in calls:
            self.engine.hook_add(self.unicorn.UC_HOOK_CODE, partial(self._call, part), None, address, address)
        self.engine.ctl_flush_tb()
        return b""

    def _call(self, part: int, engine: Any, address: int, size: int, user: Any) -> None:
        self.hooks.select(part)

    def counted_parts(self) -> bytes:
        """`Hooks.parts`, (parts, 3, instructions + 1) int64."""
        return self.hooks.parts.tobytes()

    def _fill_ram(self, ram: bytes = b"") -> None:
        self.engine.mem_write(self.board.ram.origin, ram.ljust(self.board.ram.bytes, b"\0")[: self.board.ram.bytes])
        if self._beyond_used and not ram:
            size = _pages(self.board.ram.bytes) - self._used
            self.engine.mem_protect(self.board.ram.origin + self._used, size, self.unicorn.UC_PROT_READ)
        self._beyond_used = bool(ram)

    def pin_reset(self, budget: int) -> Exchange:
        """Start again with RAM as it is, as after a pulse on the reset pin. Counts by class start from zero."""
        self._restart()
        self.hooks.clear_counts()
        return self.exchange(b"", budget)

    def counts(self) -> dict[str, int]:
        """Instructions by class inside the windows, since `clear_counts`."""
        return self.hooks.counts()

    def clear_counts(self) -> None:
        """Start the counts by class from zero."""
        self.hooks.clear_counts()

    def read_memory(self, address: int, count: int) -> bytes:
        """Bytes of RAM or flash. Raises UnsupportedError where the board has neither there."""
        self.board.region(address, count)
        return bytes(self.engine.mem_read(address, count))

    def poke(self, address: int, mask: int, op: str) -> None:
        """Set, clear or toggle bits of a word of RAM or flash now; `restore` undoes it, and all that followed from it."""
        self.read_memory(address, 4)
        self._keep()
        self.set_word(address, OPERATIONS[op](self.word(address), mask, 0))

    def arm(self, strikes: list[dict[str, Any]]) -> None:
        """Let faults strike, fields of `Strike` each, now or while inferences run; `restore` undoes them, and all that followed."""
        self._keep()
        try:
            self.strikes.arm(Strike(**strike) for strike in strikes)
        except UnsupportedError:
            self.restore()
            raise

    def _keep(self) -> None:
        if self._kept is None:
            self._kept = self.snapshot()

    def restore(self) -> None:
        """Core and memories as before the first poke or strike since the last restore; what was counted stays."""
        kept, self._kept = self._kept, None
        if kept is not None:
            self._put_back(kept)
            self.hooks.restart()  # it slept: pins low, nothing received

    def snapshot(self) -> Snapshot:
        """All of its state, for `back_to`; its flash is the image's."""
        size = self.board.ram.bytes if self._beyond_used else self._used
        ram = bytes(self.engine.mem_read(self.board.ram.origin, size))
        return Snapshot(self.engine.context_save(), self._pc, ram, self.hooks.save())

    def back_to(self, snapshot: Snapshot) -> None:
        """Everything as it was then, whatever was done since; nothing is armed."""
        self._kept = None
        self._put_back(snapshot)
        self.hooks.back_to(snapshot.hooks)
        self.strikes.disarm()

    def _put_back(self, snapshot: Snapshot) -> None:
        self.strikes.disarm()
        self.engine.context_restore(snapshot.context)
        self._pc = snapshot.pc
        if self._beyond_used and len(snapshot.ram) < self.board.ram.bytes:
            self._fill_ram()
        self.engine.mem_write(self.board.ram.origin, snapshot.ram)
        changed, self._flash = self._flash, {}
        for address, word in changed.items():
            self._write(address, word)

    def word(self, address: int) -> int:
        """The 32-bit word there."""
        return int.from_bytes(self.engine.mem_read(address, 4), "little")

    def set_word(self, address: int, word: int) -> None:
        """Change a word, of flash too."""
        if self.board.flash.holds(address):
            self._flash.setdefault(address, self.word(address))
        elif self.board.ram.holds(address) and address >= self.board.ram.origin + self._used:
            self._beyond_used = True
        self._write(address, word)

    def _write(self, address: int, word: int) -> None:
        self.engine.mem_write(address, (word & 0xFFFFFFFF).to_bytes(4, "little"))
        if any(start < address + 4 and address < end for start, end in self.image.code):
            self.engine.ctl_remove_cache(address & ~3, (address & ~3) + 4)  # what was translated is not what is there now

    def register(self, name: str) -> int:
        """A register of REGISTERS."""
        return self._pc if name == "pc" else self._register(name.upper())

    def set_register(self, name: str, value: int) -> None:
        """Change a register; the counter of an M core has no bit 0."""
        if name == "pc":
            self._pc = value & ~1
        else:
            self.engine.reg_write(getattr(self._arm, f"UC_ARM_REG_{name.upper()}"), value)

    def skip(self, count: int) -> None:
        """Run `count` instructions that do nothing in place of the next ones."""
        for _ in range(count):
            length = self.hooks.length_at(self._pc)
            was, after = bytes(self.engine.mem_read(self._pc, 2 * length)), self._pc + 2 * length
            self._overwrite(NOPS[length])
            self.engine.emu_start(self._pc | 1, after)
            self._overwrite(was)
            self._pc = after

    def _overwrite(self, code: bytes) -> None:
        self.engine.mem_write(self._pc, code)
        self.engine.ctl_remove_cache(self._pc, self._pc + len(code))

    def restart(self, ram_lost: bool) -> None:
        """Start the core again at once, with its RAM or without."""
        if ram_lost:
            self._fill_ram()
        self._restart()

    def exchange(self, received: bytes, budget: int) -> Exchange:
        """Hand bytes to the UART and run until the core sleeps with none left, or has executed `budget` instructions."""
        self.hooks.begin(received, budget)
        return self.proceed()

    def proceed(self) -> Exchange:
        """Run on from a snapshot that was taken in the middle of an exchange."""
        hooks, before = self.hooks, self.hooks.m.executed
        stopped = self._run()
        return Exchange(hooks.sent(), hooks.m.executed - before, hooks.closed_windows(), stopped)

    def _run(self) -> Stopped | None:
        restarts = 0
        while True:
            self._bad_access = ""
            until = self.strikes.until
            try:
                self.engine.emu_start(self._pc | 1, NEVER if until is None else until)
            except self.unicorn.UcError as error:
                if error.errno not in self._faults():
                    raise
                return self._stopped("crash", f"{error}{self._bad_access}")
            reason = self.hooks.stop_reason
            if reason is Stop.BUDGET:
                return self._stopped("hang", "it ran out of the instructions it was allowed")
            if reason is Stop.BABBLE:
                return self._stopped("babble", f"it sent more than {len(self.hooks.tx)} bytes")
            if reason is Stop.RESET:
                restarts += 1
                if restarts > MOST_RESTARTS:
                    return self._stopped("hang", f"it restarted more than {MOST_RESTARTS} times without getting to sleep")
                self._restart()
                continue
            self._pc = self._register("PC")
            if reason is Stop.PAUSE or (until is not None and self._pc == until):
                self.hooks.m.stop_reason = Stop.NONE
                self.strikes.stopped(self._pc)
            elif not self.hooks.waiting:
                return None

    def _restart(self) -> None:
        self.engine.context_restore(self._at_reset)
        vectors = bytes(self.engine.mem_read(self.board.flash.origin, 8))
        self.engine.reg_write(self._arm.UC_ARM_REG_SP, int.from_bytes(vectors[:4], "little"))
        self._pc = int.from_bytes(vectors[4:], "little") & ~1
        self.hooks.restart()

    def _make_engine(self, traced: bool) -> Any:
        unicorn, arm, board = self.unicorn, self._arm, self.board
        # UC_MODE_MCLASS would silently make it a Cortex-M33.
        engine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB)
        engine.ctl_set_cpu_model(getattr(arm, board.core.unicorn))
        # No store reaches the code and no code runs from RAM, as with real flash: either would be a fault taking effect.
        engine.mem_map(board.flash.origin, _pages(board.flash.bytes), unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        engine.mem_map(board.ram.origin, self._used, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        beyond, size = board.ram.origin + self._used, _pages(board.ram.bytes) - self._used
        if size:  # RAM that the firmware does not use: a store there is noted, so that nobody need look for it
            engine.mem_map(beyond, size, unicorn.UC_PROT_READ)
            engine.hook_add(unicorn.UC_HOOK_MEM_WRITE_PROT, self._note_store, None, beyond, beyond + size - 1)
        for address, data in self.image.segments:
            if not board.flash.origin <= address <= board.flash.origin + board.flash.bytes - len(data):
                raise UnsupportedError(f"the image loads {len(data)} bytes at {address:#010x}, outside the flash of board '{board.name}'")
            engine.mem_write(address, data)
        self.hooks.attach(engine)
        if traced:
            self.hooks.trace(engine)
        for first, last in ((0, board.ram.origin - 1), (beyond, 0xFFFFFFFF)):
            engine.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._note_bad_access, None, first, last)
        return engine

    def _note_store(self, engine: Any, access: int, address: int, size: int, value: int, user: Any) -> bool:
        self._beyond_used = True
        engine.mem_protect(address // PAGE * PAGE, PAGE, self.unicorn.UC_PROT_READ | self.unicorn.UC_PROT_WRITE)
        engine.mem_write(address, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))  # the store that is reported is not done
        leave_it_block(engine)
        return True

    def _note_bad_access(self, engine: Any, access: int, address: int, size: int, value: int, user: Any) -> bool:
        self._bad_access = f" at {address:#010x}"
        return False

    def _faults(self) -> frozenset[int]:
        return frozenset(getattr(self.unicorn, f"UC_ERR_{name}") for name in FAULTS)

    def _stopped(self, outcome: Outcome, reason: str) -> Stopped:
        pc, lr = self._register("PC"), self._register("LR")
        return Stopped(outcome, reason, self.image.where(pc), self.image.where(lr & ~1))

    def _register(self, name: str) -> int:
        return int(self.engine.reg_read(getattr(self._arm, f"UC_ARM_REG_{name}")))


def _pages(size: int) -> int:
    return (size + PAGE - 1) // PAGE * PAGE
