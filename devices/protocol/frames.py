"""Frames of the wire protocol: encode one, and find them again in a byte stream that may hold garbage.

COBS is the `cobs` package's, the CRC-32 is zlib's. Layout: `edgechaos.firmware_gen.protocol`, docs/protocol.md.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache

from cobs import cobs

from edgechaos.firmware_gen.protocol import CRC, FRAME_HEAD, REPLY, VERSION

MAX_PAYLOAD = 0xFFFF
"""What the length field can say; a device's own limit is in its HELLO."""
OVERHEAD = FRAME_HEAD.size + CRC.size
MAX_FRAME = MAX_PAYLOAD + OVERHEAD + (MAX_PAYLOAD + OVERHEAD) // 254 + 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame whose length and CRC are right; `crc` is what the replay rule compares."""

    version: int
    kind: int
    seq: int
    payload: bytes
    crc: int


def encode(kind: int, seq: int, payload: bytes, version: int = VERSION) -> bytes:
    """`00 | COBS(version, kind, seq, len, payload, crc32) | 00`; the leading 00 ends whatever garbage came before."""
    body = FRAME_HEAD.pack(version, kind, seq, len(payload)) + payload
    return b"\0" + cobs.encode(body + CRC.pack(zlib.crc32(body))) + b"\0"


def decode(stuffed: bytes) -> Frame | None:
    """The frame between two zero bytes, or None where anything about it is wrong."""
    try:
        body = cobs.decode(stuffed)
    except cobs.DecodeError:
        return None
    if len(body) < OVERHEAD:
        return None
    (crc,) = CRC.unpack(body[-CRC.size :])
    version, kind, seq, length = FRAME_HEAD.unpack(body[: FRAME_HEAD.size])
    payload = body[FRAME_HEAD.size : -CRC.size]
    if crc != zlib.crc32(body[: -CRC.size]) or length != len(payload):
        return None
    return Frame(version, kind, seq, payload, crc)


@lru_cache(maxsize=256)
def encoded(kind: int, seq: int, payload: bytes) -> bytes:
    """The same, kept: batches that are run again and again send the same items."""
    return encode(kind, seq, payload)


@lru_cache(maxsize=256)
def answered(sent: bytes, kind: int, seq: int) -> bytes | None:
    """The payload of the reply to a request where it is all that was sent; None where it is not."""
    frame = decode(sent.strip(b"\0"))
    good = frame is not None and (frame.version, frame.kind, frame.seq) == (VERSION, kind | REPLY, seq)
    return frame.payload if frame is not None and good else None


class FrameDecoder:
    """Fed with bytes in any portions; holds at most one frame's worth of them. Counts what was `good` and `bad`."""

    def __init__(self) -> None:
        self.good = 0
        self.bad = 0
        self._partial = bytearray()
        self._overrun = False

    def feed(self, data: bytes) -> list[Frame]:
        """The good frames that end in `data`, in order."""
        frames = []
        *ended, rest = data.split(b"\0")
        for piece in ended:
            frame = self._end(piece)
            if frame is not None:
                frames.append(frame)
        self._extend(rest)
        return frames

    def clear(self) -> None:
        """Forget a frame begun."""
        self._partial.clear()
        self._overrun = False

    def _extend(self, piece: bytes) -> None:
        room = MAX_FRAME - len(self._partial)
        self._overrun |= len(piece) > room
        self._partial += piece[:room]

    def _end(self, piece: bytes) -> Frame | None:
        self._extend(piece)
        stuffed, overrun = bytes(self._partial), self._overrun
        self.clear()
        if not stuffed:
            return None
        frame = None if overrun else decode(stuffed)
        self.good += frame is not None
        self.bad += frame is None
        return frame
