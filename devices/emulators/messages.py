"""Messages between a device and its emulator process: a JSON head and raw bytes, over two pipes. Nothing is unpickled.

A message is `(head, blob)`; on the wire `u32 head length | u32 blob length | head | blob`, little-endian.
"""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

LENGTHS = struct.Struct("<II")


def pack(head: dict[str, Any], blob: bytes = b"") -> bytes:
    """One message."""
    text = json.dumps(head).encode()
    return LENGTHS.pack(len(text), len(blob)) + text + blob


def unpack(body: bytes, head_length: int) -> tuple[dict[str, Any], bytes]:
    """Head and blob of what follows the two lengths."""
    return json.loads(body[:head_length]), body[head_length:]


def receive(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """The next message of a blocking stream; None at its end."""
    lengths = stream.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    head_length, blob_length = LENGTHS.unpack(lengths)
    body = stream.read(head_length + blob_length)
    return unpack(body, head_length) if len(body) == head_length + blob_length else None
