"""QEMU's debug stub over a socket: memory and registers of a machine that is stopped. Source: GDB manual, appendix E (remote protocol)."""

from __future__ import annotations

import socket

CHUNK = 1024
"""Bytes of memory in a packet; QEMU's are of 4096 characters."""


class DebugStub:
    """A connection to a QEMU that runs."""

    def __init__(self, end: socket.socket) -> None:
        self._socket, self._stream = end, end.makefile("rb")

    def read(self, address: int, count: int) -> bytes:
        """Memory, as the core sees it."""
        chunks = ((address + at, min(CHUNK, count - at)) for at in range(0, count, CHUNK))
        return b"".join(bytes.fromhex(self._ask(f"m{start:x},{size:x}")) for start, size in chunks)

    def write(self, address: int, data: bytes) -> None:
        """Change memory, of flash too."""
        for at in range(0, len(data), CHUNK):
            piece = data[at : at + CHUNK]
            self._ask(f"M{address + at:x},{len(piece):x}:{piece.hex()}")

    def registers(self) -> str:
        """All of them, in the stub's own order."""
        return self._ask("g")

    def set_registers(self, registers: str) -> None:
        """As `registers` gave them."""
        self._ask(f"G{registers}")

    def close(self) -> None:
        """Release the socket."""
        self._stream.close()
        self._socket.close()

    def _ask(self, packet: str) -> str:
        self._socket.sendall(f"${packet}#{sum(packet.encode()) & 0xFF:02x}".encode())
        while True:
            while (start := self._stream.read(1)) != b"$":
                if not start:
                    raise EOFError("QEMU has ended")
            body = b"".join(iter(lambda: self._stream.read(1), b"#")).decode()
            self._stream.read(2)
            self._socket.sendall(b"+")
            if not body.startswith(("T", "S")):  # that it stopped is known
                assert not body.startswith("E"), (packet, body)
                return body
