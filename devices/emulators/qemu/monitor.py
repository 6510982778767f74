"""QEMU's monitor over a socket: QMP, and the commands for people that QMP passes on. Source: QEMU 7.2, docs/interop/qmp-spec.txt."""

from __future__ import annotations

import json
import re
import select
import socket
from collections.abc import Callable
from typing import Any

PATIENCE_S = 0.01


class Monitor:
    """A connection to a QEMU that runs. Its end is an EOFError. meanwhile: called again and again while an answer is awaited."""

    def __init__(self, end: socket.socket, meanwhile: Callable[[], None]) -> None:
        self._socket, self._meanwhile, self._lines = end, meanwhile, b""
        self._receive()  # the greeting
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        """One command, answered; what happened meanwhile is passed over."""
        try:
            self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        except OSError as error:
            raise EOFError(str(error)) from error
        while "return" not in (answer := self._receive()):
            assert "error" not in answer, answer
        return answer["return"]

    def registers(self) -> dict[str, int]:
        """Of the core, by name in lower case, as far as QEMU prints them."""
        text = self.execute("human-monitor-command", **{"command-line": "info registers"})
        return {name.lower(): int(value, 16) for name, value in re.findall(r"(\w+)(?:=| +)([0-9a-f]{8})\b", text)}

    def words(self, address: int, count: int) -> list[int]:
        """Memory and registers of peripherals, as the core sees them."""
        text = self.execute("human-monitor-command", **{"command-line": f"x /{count}xw {address:#x}"})
        return [int(word, 16) for line in text.splitlines() for word in re.findall(r"0x([0-9a-f]{8})\b", line.partition(":")[2])]

    def close(self) -> None:
        """Release the socket."""
        self._socket.close()

    def _receive(self) -> dict[str, Any]:
        while b"\n" not in self._lines:
            if not select.select([self._socket], [], [], PATIENCE_S)[0]:
                self._meanwhile()
                continue
            try:
                piece = self._socket.recv(1 << 16)
            except OSError as error:
                raise EOFError(str(error)) from error
            if not piece:
                raise EOFError("QEMU has ended")
            self._lines += piece
        line, _, self._lines = self._lines.partition(b"\n")
        return dict[str, Any](json.loads(line))
