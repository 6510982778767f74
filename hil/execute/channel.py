"""Messages between a campaign and one of its workers: pickles, each behind its length, over a pair of sockets.

The campaign's end never waits. A worker may be killed, stopped or hang at any byte, also before it has read anything: what it does not
read yet is kept here, and what it has written in part is no message yet. The worker's end may wait: it has nothing else to do.
"""

from __future__ import annotations

import pickle
import socket
import struct
from collections import deque
from typing import Any, Protocol

LENGTH = struct.Struct("<Q")
LONGEST = 1 << 32
"""A longer message has a spoiled length: a device that crashes in its worker's process may have written over anything."""
PIECE = 1 << 18


class Stream(Protocol):
    """The worker's end as a file."""

    def read(self, size: int, /) -> bytes:
        """Exactly so many bytes, fewer at the end."""

    def write(self, data: bytes, /) -> int:
        """All of them."""

    def flush(self) -> None:
        """Send what is buffered."""


def packed(message: object) -> bytes:
    """A message as it travels; made once where it is sent to many."""
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return LENGTH.pack(len(body)) + body


class Channel:
    """The campaign's end. `flush` when it is writable, `receive` when it is readable."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._unsent: deque[memoryview] = deque()
        self._received = bytearray()

    def fileno(self) -> int:
        """For selectors."""
        return self._end.fileno()

    @property
    def has_unsent(self) -> bool:
        """Whether `flush` still has something to do."""
        return bool(self._unsent)

    def send(self, data: bytes) -> None:
        """Hand over a packed message; it leaves now or by later calls of `flush`."""
        self._unsent.append(memoryview(data))
        self.flush()

    def flush(self) -> None:
        """Write as much as the worker takes. One that is gone takes nothing; it is found by its end."""
        try:
            while self._unsent:
                sent = self._end.send(self._unsent[0])
                self._unsent[0] = self._unsent[0][sent:]
                if not self._unsent[0]:
                    self._unsent.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._unsent.clear()

    def receive(self) -> tuple[list[Any], bool]:
        """(messages that have arrived whole, whether more can come)."""
        open_still = True
        try:
            while data := self._end.recv(PIECE):
                self._received += data
            open_still = False
        except BlockingIOError:
            pass
        except OSError:
            open_still = False
        messages: list[Any] = []
        while len(self._received) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._received)
            if length > LONGEST:
                return messages, False
            end = LENGTH.size + length
            if len(self._received) < end:
                break
            try:
                messages.append(pickle.loads(self._received[LENGTH.size : end]))
            except Exception:  # pickle raises anything; a worker that writes garbage has lost its memory
                return messages, False
            del self._received[:end]
        return messages, open_still

    def close(self) -> None:
        """Close this end: an idle worker then ends by itself."""
        self._end.close()


def read_message(stream: Stream) -> Any:
    """The worker's end: the next message. Raises EOFError where the campaign is gone."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    (length,) = LENGTH.unpack(head)
    body = stream.read(length)
    if len(body) < length:
        raise EOFError
    return pickle.loads(body)


def write_message(stream: Stream, message: object, *, now: bool = True) -> None:
    """The worker's end: send a message, now or with the next one. Raises OSError where the campaign is gone."""
    stream.write(packed(message))
    if now:
        stream.flush()
