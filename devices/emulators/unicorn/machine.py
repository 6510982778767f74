"""An emulated board: Unicorn's model of a core with a board's memory map, run from one WFI to the next.

It stops with a crash (PC, LR and their symbols), a hang or babble. Not modelled by Unicorn: NVIC, SysTick, fault registers and
handlers; whatever would be a fault exception is reported as a crash.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgechaos.devices.emulators.firmware_image import FirmwareImage
from edgechaos.devices.emulators.instruction_classes import map_code
from edgechaos.devices.emulators.unicorn.hooks import CompiledHooks, PythonHooks, Stop
from edgechaos.firmware_gen.board import Board, Region
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

Outcome = Literal["crash", "hang", "babble"]


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why the core did not get back to sleep. Addresses as `name+0x10` where the image has the name."""

    outcome: Outcome
    reason: str
    pc: str
    lr: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """From one WFI to the next: bytes sent, instructions executed, instructions of each GPIO window closed."""

    sent: bytes
    executed: int
    windows: list[int]
    stopped: Stopped | None = None


def is_emulated(board: Board) -> bool:
    """Whether this machine has a board's core and peripherals."""
    return board.peripherals == PERIPHERALS and bool(board.core.unicorn)


class EmulatedMachine:
    """One core, its memories and peripherals. `power_on` first; after a stop only `power_on` or `pin_reset` help."""

    def __init__(self, image: FirmwareImage, board: Board, library: Path | None) -> None:
        """library: the compiled hooks, or None for those in Python.

        Raises UnsupportedError where the board's peripherals or the image's instructions are not emulated.
        """
        if not is_emulated(board):
            raise UnsupportedError(
                f"board '{board.name}' is not emulated: Unicorn runs boards with peripherals {PERIPHERALS!r} and a core of its own"
            )
        self.image = image
        self.board = board
        code, places = map_code(image, board.core), (board.serial.base, board.edge.base, board.edge.pin)
        self.hooks = CompiledHooks(library, code, *places) if library is not None else PythonHooks(code, *places)
        self._unicorn = need("unicorn", "emulate")
        self._arm = need("unicorn.arm_const", "emulate")
        self._engine = self._make_engine()
        self._at_reset = self._engine.context_save()
        self._pc = 0
        self._bad_access = ""
        self._kept: tuple[Any, int, list[bytes]] | None = None

    def power_on(self, budget: int, ram: bytes = b"") -> Exchange:
        """Start and run to the first WFI, RAM holding zeros, or whatever it comes up with. Counts by class start from zero."""
        self._engine.mem_write(self.board.ram.origin, ram.ljust(self.board.ram.bytes, b"\0")[: self.board.ram.bytes])
        return self.pin_reset(budget)

    def pin_reset(self, budget: int) -> Exchange:
        """Start again with RAM as it is, as after a pulse on the reset pin. Counts by class start from zero."""
        self._restart()
        self.hooks.clear_counts()
        return self.exchange(b"", budget)

    def read_memory(self, address: int, count: int) -> bytes:
        """Bytes of RAM or flash. Raises UnsupportedError where the board has neither there."""
        self._region(address, count)
        return bytes(self._engine.mem_read(address, count))

    def poke(self, address: int, mask: int, op: str) -> None:
        """Set, clear or toggle bits of a word of RAM or flash now; `restore` undoes it, and all that followed from it."""
        word = int.from_bytes(self.read_memory(address, 4), "little")
        if self._kept is None:
            self._kept = (self._engine.context_save(), self._pc, [self._memory(r) for r in (self.board.ram, self.board.flash)])
        changed = {"set": word | mask, "clear": word & ~mask, "toggle": word ^ mask}[op]
        self._engine.mem_write(address, (changed & 0xFFFFFFFF).to_bytes(4, "little"))
        self._engine.ctl_flush_tb()  # what was translated from flash is not what is there now

    def restore(self) -> None:
        """Core and memories as before the first poke since the last restore."""
        if self._kept is not None:
            context, self._pc, kept = self._kept
            self._engine.context_restore(context)
            for region, data in zip((self.board.ram, self.board.flash), kept, strict=True):
                self._engine.mem_write(region.origin, data)
            self._engine.ctl_flush_tb()
            self._kept = None

    def _memory(self, region: Region) -> bytes:
        return bytes(self._engine.mem_read(region.origin, region.bytes))

    def _region(self, address: int, count: int) -> Region:
        for region in (self.board.ram, self.board.flash):
            if region.origin <= address and address + count <= region.origin + region.bytes:
                return region
        raise UnsupportedError(f"board '{self.board.name}' has no {count} bytes of RAM or flash at {address:#010x}")

    def exchange(self, received: bytes, budget: int) -> Exchange:
        """Hand bytes to the UART and run until the core sleeps with none left, or has executed `budget` instructions."""
        hooks = self.hooks
        before = hooks.m.executed
        hooks.begin(received, budget)
        stopped = self._run()
        return Exchange(hooks.sent(), hooks.m.executed - before, hooks.closed_windows(), stopped)

    def _run(self) -> Stopped | None:
        restarts = 0
        while True:
            self._bad_access = ""
            try:
                self._engine.emu_start(self._pc | 1, NEVER)
            except self._unicorn.UcError as error:
                if error.errno not in self._faults():
                    raise
                return self._stopped("crash", f"{error}{self._bad_access}")
            if self.hooks.stop_reason is Stop.BUDGET:
                return self._stopped("hang", "it ran out of the instructions it was allowed")
            if self.hooks.stop_reason is Stop.BABBLE:
                return self._stopped("babble", f"it sent more than {len(self.hooks.tx)} bytes")
            if self.hooks.stop_reason is Stop.RESET:
                restarts += 1
                if restarts > MOST_RESTARTS:
                    return self._stopped("hang", f"it restarted more than {MOST_RESTARTS} times without getting to sleep")
                self._restart()
                continue
            self._pc = self._register("PC")
            if not self.hooks.waiting:
                return None

    def _restart(self) -> None:
        self._engine.context_restore(self._at_reset)
        vectors = bytes(self._engine.mem_read(self.board.flash.origin, 8))
        self._engine.reg_write(self._arm.UC_ARM_REG_SP, int.from_bytes(vectors[:4], "little"))
        self._pc = int.from_bytes(vectors[4:], "little") & ~1
        self.hooks.restart()

    def _make_engine(self) -> Any:
        unicorn, arm, board = self._unicorn, self._arm, self.board
        # UC_MODE_MCLASS would silently make it a Cortex-M33.
        engine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB)
        engine.ctl_set_cpu_model(getattr(arm, board.core.unicorn))
        # No store reaches the code and no code runs from RAM, as with real flash: either would be a fault taking effect.
        engine.mem_map(board.flash.origin, _pages(board.flash.bytes), unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        engine.mem_map(board.ram.origin, _pages(board.ram.bytes), unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        for address, data in self.image.segments:
            if not board.flash.origin <= address <= board.flash.origin + board.flash.bytes - len(data):
                raise UnsupportedError(f"the image loads {len(data)} bytes at {address:#010x}, outside the flash of board '{board.name}'")
            engine.mem_write(address, data)
        self.hooks.attach(engine)
        engine.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._note_bad_access)
        return engine

    def _note_bad_access(self, engine: Any, access: int, address: int, size: int, value: int, user: Any) -> bool:
        self._bad_access = f" at {address:#010x}"
        return False

    def _faults(self) -> frozenset[int]:
        return frozenset(getattr(self._unicorn, f"UC_ERR_{name}") for name in FAULTS)

    def _stopped(self, outcome: Outcome, reason: str) -> Stopped:
        pc, lr = self._register("PC"), self._register("LR")
        return Stopped(outcome, reason, self.image.where(pc), self.image.where(lr & ~1))

    def _register(self, name: str) -> int:
        return int(self._engine.reg_read(getattr(self._arm, f"UC_ARM_REG_{name}")))


def _pages(size: int) -> int:
    return (size + PAGE - 1) // PAGE * PAGE
