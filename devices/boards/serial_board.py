"""SerialBoard: a real board on a serial port, opened by a stable name, confirmed by HELLO, locked by its port and its UID.

A port is named as in /dev/serial/by-id/usb-STMicroelectronics_STM32_STLink_0123-if02. Ports are pyserial's. Every wait has a
time-out of its own, and the port is released on every error. Ports are confirmed, not trusted: a bench has two boards of a
kind, and /dev/ttyACM0 is whichever was plugged in first.
"""

from __future__ import annotations

import select

import serial

from edgechaos.devices.boards.locks import hold_board, hold_port
from edgechaos.devices.protocol.client import DEFAULT_TIMEOUTS, Client, Link, Timeouts
from edgechaos.devices.protocol.device import ProtocolDevice
from edgechaos.firmware_gen.board import Board
from edgechaos.firmware_gen.compilers.c.work import most_instructions
from edgechaos.firmware_gen.protocol import Hello
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import DeviceRefused, LinkError

WRITE_TIMEOUT_S = 2.0
READ_BYTES = 4096
LARGEST_EXCHANGE_BYTES = 16384
"""A request and its reply, with room: what a time-out must leave the wire time for."""
SLOWEST_CLOCK_HZ = 1_000_000
"""The clock of a board that is not named and has no timer, and the least that HELLO is believed."""
CYCLES_PER_INSTRUCTION = 2
"""Of a Cortex-M4 that waits for its flash: its multiplications, loads and stores take one or two."""


class SerialLink(Link):
    """One port, held exclusively, and the board behind it."""

    def __init__(self, port: str, baud: int) -> None:
        """Raises LinkError where the port is absent, busy or refuses the settings."""
        self.port = port
        # Before it is opened: that raises DTR, by which some boards restart, also under whoever is using them.
        self._locks = [hold_port(port)]
        try:
            # Opening raises DTR: boards with USB CDC need it, an Arduino restarts by it, which the retries of HELLO outlast.
            self._serial = serial.Serial(port, baud, timeout=0, write_timeout=WRITE_TIMEOUT_S, exclusive=True)
            self._serial.reset_input_buffer()
        except (serial.SerialException, OSError, ValueError) as error:
            self._release()
            raise LinkError(f"cannot open {port} at {baud} baud: {error}; `edgechaos devices` lists the ports there are") from error

    def write(self, data: bytes) -> None:
        """All bytes, or LinkError after the write time-out."""
        try:
            self._serial.write(data)
        except serial.SerialTimeoutException as error:
            raise LinkError(f"{self.port} took no bytes for {WRITE_TIMEOUT_S:g} s: nobody reads them; check the board's power") from error
        except (serial.SerialException, OSError) as error:
            raise self._gone(error) from error

    def read(self, timeout_s: float) -> bytes:
        """What has arrived, after waiting for the first byte of it."""
        try:
            ready, _, _ = select.select([self._serial.fileno()], [], [], timeout_s)
            return bytes(self._serial.read(READ_BYTES)) if ready else b""
        except (serial.SerialException, OSError) as error:
            raise self._gone(error) from error

    def lock_board(self, uid: str) -> None:
        """Hold the board of that UID, too. Raises LinkError where it is held already, through whatever port, by whatever user."""
        self._locks.append(hold_board(uid))

    def close(self) -> None:
        """Release port and board."""
        self._serial.close()
        self._release()

    def _release(self) -> None:
        while self._locks:
            self._locks.pop().release()

    def _gone(self, error: Exception) -> LinkError:
        return LinkError(f"{self.port} failed: {error}; is the board still plugged in?")


class SerialBoard(ProtocolDevice):
    """`uid`: the 32 hex digits of the one board that is meant; without it, whichever holds the model.

    An inference is waited for as long as `most_instructions` of the model take at the clock of `board`; without it, at the frequency of
    the timer that HELLO states, or at 1 MHz where the board has none. `timeouts` overrule all waits.
    """

    wire = frozenset({"link"})

    def __init__(
        self,
        graph: IntegerGraph,
        port: str,
        baud: int = 115_200,
        *,
        uid: str | None = None,
        board: Board | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        super().__init__(graph, f"serial:{port}", "board", timeouts or _timeouts(baud))
        self.port = port
        self.baud = baud
        self.uid = uid
        self.board = board
        self._given_timeouts = timeouts is not None
        self._link: SerialLink | None = None

    def _connect(self) -> SerialLink:
        self._link = SerialLink(self.port, self.baud)
        return self._link

    def _prepare(self, client: Client, hello: Hello) -> Hello:
        found = hello.uid.hex()
        if self.uid is not None and found != self.uid:
            raise DeviceRefused(f"{self.port} leads to board {found}, not {self.uid}; use the port of the board that is meant")
        assert self._link is not None
        self._link.lock_board(found)
        if not self._given_timeouts:
            clock_hz = self.board.clock_hz if self.board else max(hello.timer_hz, SLOWEST_CLOCK_HZ)
            work = self.board.core.work if self.board else 1
            client.timeouts = _timeouts(self.baud, work * infer_s(self.graph, hello.patch_capacity, clock_hz))
        return hello


def infer_s(graph: IntegerGraph, patch_capacity: int, clock_hz: int) -> float:
    """Seconds after which an inference that began will not end any more, at a core's clock."""
    return most_instructions(graph, patch_capacity) * CYCLES_PER_INSTRUCTION / clock_hz


def _timeouts(baud: int, work_s: float = 0.0) -> Timeouts:
    """The default waits, lengthened by the time the longest exchange spends on the wire (10 bits a byte), INFER's by its work."""
    wire_s = LARGEST_EXCHANGE_BYTES * 10 / baud
    default = DEFAULT_TIMEOUTS
    return Timeouts(default.hello_s + wire_s / 8, default.request_s + wire_s, default.request_s + work_s + wire_s)
