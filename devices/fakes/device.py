"""A scripted fake: the same client as a board's, a virtual clock, and every misbehavior of real links on request.

The script names one misbehavior per request; time-outs take no time. Used by the tests of this package and by whoever
tests a campaign without hardware.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Literal

from edgechaos.devices.fakes.board import FakeBoard
from edgechaos.devices.protocol import frames
from edgechaos.devices.protocol.client import DEFAULT_TIMEOUTS, Link, Timeouts
from edgechaos.devices.protocol.device import ProtocolDevice
from edgechaos.firmware_gen.protocol import ERROR_REPLY, REPLY, ErrorCode, ResetCause, Verb
from edgechaos.graph.integer_graph import IntegerGraph

Misbehavior = Literal[
    "ok",
    "silence",  # the request is lost on its way
    "lost_reply",  # executed, the reply is lost
    "noise",  # garbage, zero bytes included, before the reply
    "garbage",  # garbage instead of the reply
    "corrupt",  # one bit of the reply flipped
    "truncate",  # the reply breaks off
    "duplicate",  # the reply comes twice
    "stale",  # the previous reply comes first
    "wrong_seq",  # the reply to a request that was not made
    "crossed",  # the same with a whole answer of other numbers, then the reply
    "wrong_kind",  # the right seq, another verb
    "slow",  # a byte every millisecond
    "babble",  # bytes without end
    "reset",  # restarts before it executes the request
    "power_loss",  # loses its power, and with it the boot counter, before it executes the request
    "power_loss_late",  # loses it once the request is executed, before the reply has left
    "power_loss_after",  # loses it once the reply has left
    "refuse",  # an error reply
    "malformed",  # a good frame with a byte too many
    "hang",  # nothing from now on, until a hard reset
]

BYTE_S = 0.001
GARBAGE = bytes(range(1, 256)) + b"\x00\x03\x01\x02\x00\x00\xff\x01\x02"


class FakeLink(Link):
    """Reads requests, asks the board, and spoils the replies as the script says; "ok" once the script has ended."""

    def __init__(self, board: FakeBoard, script: Iterable[Misbehavior] = (), reset_line: bool = True) -> None:
        self.board = board
        self.script = deque(script)
        self.reset_line = reset_line
        self.requests: list[frames.Frame] = []
        self.closed = 0
        self._decoder = frames.FrameDecoder()
        self._pending = bytearray()
        self._last = b""
        self._clock_s = 0.0
        self._slow = self._babbles = self._hangs = False

    def now(self) -> float:
        """Virtual seconds: they pass while nothing comes, and a millisecond per slow byte."""
        return self._clock_s

    def write(self, data: bytes) -> None:
        """Every good frame is answered at once, into the buffer that `read` empties."""
        for frame in self._decoder.feed(data):
            self.requests.append(frame)
            self._pending += self._respond(frame)

    def read(self, timeout_s: float) -> bytes:
        """What is buffered, a byte of it where the link is slow; otherwise the clock moves to the time-out."""
        if self._babbles:
            self._pending += GARBAGE.replace(b"\0", b"\1")
        if not self._pending:
            self._clock_s += timeout_s
            return b""
        portion = 1 if self._slow else len(self._pending)
        data = bytes(self._pending[:portion])
        del self._pending[:portion]
        self._clock_s += BYTE_S * self._slow
        return data

    def hard_reset(self) -> None:
        """As by a reset line; also ends "hang" and "babble". Raises LinkError where the fake has been given no reset line."""
        if not self.reset_line:
            super().hard_reset()
        self._hangs = self._babbles = self._slow = False
        self._pending.clear()
        self.board.restart(ResetCause.PIN)

    def close(self) -> None:
        """Counted, so that a test sees the link released."""
        self.closed += 1

    def _respond(self, frame: frames.Frame) -> bytes:
        step = self.script.popleft() if self.script else "ok"
        self._hangs |= step == "hang"
        self._babbles |= step == "babble"
        self._slow |= step == "slow"
        if self._hangs or step in ("silence", "babble"):
            return b""
        if step == "refuse":
            return frames.encode(Verb.ERROR | REPLY, frame.seq, ERROR_REPLY.pack(ErrorCode.REFUSED, 7))
        if step == "reset":
            self.board.restart(ResetCause.WATCHDOG)
            return b""
        if step == "power_loss":
            self.board.lose_power()
            return b""
        reply, stale = self.board.answer(frame), self._last
        self._last = reply
        if step in ("power_loss_late", "power_loss_after"):
            self.board.lose_power()
        return _spoil(step, reply, stale)


def _spoil(step: Misbehavior, reply: bytes, stale: bytes) -> bytes:
    good = frames.decode(reply.strip(b"\0"))
    assert good is not None, "a FakeBoard's reply is a good frame"
    middle = len(reply) // 2
    return {
        "lost_reply": b"",
        "power_loss_late": b"",
        "noise": GARBAGE + reply,
        "garbage": GARBAGE,
        "corrupt": reply[:middle] + bytes([reply[middle] ^ 0x10]) + reply[middle + 1 :],
        "truncate": reply[:middle],
        "duplicate": reply + reply,
        "stale": stale + reply,
        "wrong_seq": frames.encode(good.kind, good.seq + 1 & 0xFFFF, good.payload),
        "crossed": frames.encode(good.kind, good.seq + 1 & 0xFFFF, good.payload[:2] + bytes(len(good.payload[2:]))) + reply,
        "wrong_kind": frames.encode(good.kind ^ 0x40, good.seq, good.payload),
        "malformed": frames.encode(good.kind, good.seq, good.payload + b"\0"),
    }.get(step, reply)


class FakeDevice(ProtocolDevice):
    """A device without hardware. `script` is played from the first request (HELLO) on; `link` shows what was sent."""

    wire = frozenset({"link"})

    def __init__(
        self,
        graph: IntegerGraph,
        script: Iterable[Misbehavior] = (),
        *,
        board: FakeBoard | None = None,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        reset_line: bool = True,
    ) -> None:
        super().__init__(graph, "fake", "fake", timeouts)
        self.link = FakeLink(board or FakeBoard(graph), script, reset_line)

    def _connect(self) -> FakeLink:
        return self.link
