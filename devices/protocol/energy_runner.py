"""The text commands of MLPerf Tiny's EnergyRunner, spoken for a device: `name%`, `db load N%`, `db HH..%`, `infer N W%`, `results%`.

Commands end in `%`; every reply ends in `m-ready`. Texts: MLPerf Tiny, `api/internally_implemented.cpp` of the reference submission.
The adapter runs on the host: a time that it tells includes our link, so that it shows a model to the runner's tools, and is no
submission, which wants these commands in the firmware. Tried on recorded commands and on a pty; **untried on the runner itself**.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.devices.contract import Device
from edgechaos.devices.protocol.client import Link
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import EdgeChaosError

TERMINATOR, READY = b"%", "m-ready\r\n"
COMMAND_BYTES = 80
"""The longest command; what is longer loses its end, as in the reference."""
BYTES_PER_LINE = 8
POLL_S = 1.0
WARMUPS = 10
"""Inferences before those that are timed, where a command says none."""


class EnergyRunnerAdapter:
    """Answers bytes with bytes; `device` is open. model: as `profile` names it, e.g. "ad01". clock_s: seconds since any moment."""

    def __init__(self, device: Device, graph: IntegerGraph, model: str, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._device, self._graph, self._model, self._clock_s = device, graph, model, clock_s
        self._input = graph.tensors[graph.head(None).input]
        self._command, self._buffer, self._expected = bytearray(), bytearray(), 0
        self._logits = np.zeros(graph.tensors[graph.head(None).logits].size, np.int32)

    def greeting(self) -> bytes:
        """What is said once, before any command."""
        return f"m-init-done\r\n{READY}".encode()

    def feed(self, data: bytes) -> bytes:
        """The replies to what the bytes complete; the rest waits for more."""
        said = ""
        for byte in data:
            if byte == TERMINATOR[0]:
                arguments = self._command.decode("ascii", "replace").split()
                self._command.clear()
                said += (self._obey(arguments) if arguments else "") + READY
            elif len(self._command) < COMMAND_BYTES:
                self._command.append(byte)
        return said.encode("ascii", "replace")

    def _obey(self, arguments: list[str]) -> str:
        verbs = {"db": self._db, "infer": self._infer}
        if arguments[0] in verbs:
            return verbs[arguments[0]](arguments[1:])
        fixed = {
            "name": lambda: "m-name-dut-[EdgeChaos]\r\n",
            "timestamp": self._timestamp,
            "profile": lambda: f"m-profile-[ULPMark for tinyML Firmware V0.0.1]\r\nm-model-[{self._model}]\r\n",
            "results": self._results,
        }
        return fixed[arguments[0]]() if arguments[0] in fixed else f"e-[Unknown command: {arguments[0]}]\r\n"

    def _timestamp(self) -> str:
        return f"m-lap-us-{int(self._clock_s() * 1e6)}\r\n"

    def _results(self) -> str:
        return f"m-results-[{','.join(f'{value:.3f}' for value in self._logits * self._scale())}]\r\n"

    def _scale(self) -> float:
        scale = self._graph.tensors[self._graph.head(None).logits].scale
        return 1.0 if scale is None else float(scale)

    def _db(self, arguments: list[str]) -> str:
        if not arguments:
            return "e-[Command 'db' requires a subcommand]\r\n"
        if arguments[0] == "load":
            return self._load(arguments[1:])
        if arguments[0] == "print":
            rows = [self._buffer[k : k + BYTES_PER_LINE] for k in range(0, len(self._buffer), BYTES_PER_LINE)]
            return "".join(f"m-buffer-{row.hex('-')}\r\n" for row in rows)
        if len(arguments[0]) % 2:
            return "e-[Insufficent number of hex digits]\r\n"
        try:
            self._buffer += bytes.fromhex(arguments[0])[: max(self._expected - len(self._buffer), 0)]
        except ValueError:
            return f"e-[Invalid hex digit '{arguments[0][:BYTES_PER_LINE]}']\r\n"
        return "m-load-done\r\n" if len(self._buffer) == self._expected else ""

    def _load(self, arguments: list[str]) -> str:
        if not arguments:
            return "e-[Command 'db load' requires the # of bytes]\r\n"
        needed = self._input.size * np.dtype(self._input.dtype).itemsize
        if not (arguments[0].isascii() and arguments[0].isdecimal()) or int(arguments[0]) != needed:
            return f"e-[Command 'db load' must be {needed} bytes, one {self._input.dtype} input of {self._graph.name}]\r\n"
        self._buffer, self._expected = bytearray(), needed
        return f"m-[Expecting {needed} bytes]\r\n"

    def _infer(self, arguments: list[str]) -> str:
        given = [int(w) if w.isascii() and w.isdecimal() and len(w) < 10 else -1 for w in arguments[:2]]
        times, warmups = (*given, *(1, WARMUPS)[len(given) :])
        if times <= 0:
            return "e-[Inference iterations must be >0]\r\n"
        if warmups < 0:
            return "e-[Inference warmup must be >=0]\r\n"
        if not self._expected or len(self._buffer) != self._expected:
            return "e-[No input: send 'db load' and its bytes first]\r\n"
        codes = np.frombuffer(bytes(self._buffer), np.dtype(self._input.dtype).newbyteorder("<")).astype(self._input.dtype)
        item = codes.reshape(1, *self._input.shape)
        try:
            said = f"m-warmup-start-{warmups}\r\n"
            self._run(item, warmups)
            said += f"m-warmup-done\r\nm-infer-start-{times}\r\n{self._timestamp()}"
            self._run(item, times)
            said += f"{self._timestamp()}m-infer-done\r\n"
        except EdgeChaosError as error:
            return f"e-[{error}]\r\n"
        return said + self._results()

    def _run(self, item: NDArray[Any], times: int) -> None:
        for _ in range(times):
            self._logits = self._device.infer(item).logits[0]


def serve(adapter: EnergyRunnerAdapter, link: Link) -> None:
    """Greet, then answer what arrives, until the link is gone: that raises LinkError."""
    link.write(adapter.greeting())
    while True:
        if data := link.read(POLL_S):
            link.write(adapter.feed(data))
