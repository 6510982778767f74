"""HostDevice: the firmware's own sources as a shared library in this process, the fastest device.

The library is built once and cached; a batch runs in one call. Everything but inference goes through the library's protocol server,
over memory, as on a board.
"""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.devices.contract import Counters, DeviceInfo, Inference
from edgechaos.devices.protocol.client import WRONG_WORDS, Link
from edgechaos.devices.protocol.device import ProtocolDevice
from edgechaos.firmware_gen.protocol import ErrorCode, ResetCause
from edgechaos.graph.heads import Head
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import DeviceDetected, DeviceError, LinkError

DEPTH = 64
_POINTER, _U8, _U32 = ctypes.c_void_p, ctypes.c_uint8, ctypes.c_uint32
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "new": (_POINTER, (_U32, _U8)),
    "free": (None, (_POINTER,)),
    "infer": (_U8, (_POINTER, _U8, _U32, _POINTER, _POINTER, _U32, _POINTER, _POINTER)),
    "feed": (_U32, (_POINTER, ctypes.c_char_p, _U32)),
    "read": (_U32, (_POINTER, ctypes.c_char_p, _U32)),
    "wants_reset": (_U8, (_POINTER,)),
}
"""Return and argument types of the functions used, as firmware_gen/runtime/server/ec_host.h declares them."""


class HostLink(Link):
    """Bytes into and out of one instance of the library; a reset makes another instance."""

    depth = DEPTH

    def __init__(self, library: Path) -> None:
        """Raises LinkError where the library does not load or lacks a function."""
        try:
            self._library = ctypes.CDLL(str(library))
            for name, (returns, takes) in _FUNCTIONS.items():
                function = getattr(self._library, f"ec_host_{name}")
                function.restype, function.argtypes = returns, takes
        except (OSError, AttributeError) as error:
            raise LinkError(f"{library} is not a host library of this release ({error}); delete it, it is built again") from error
        self.boots = 0
        self._instance: int | None = None
        self._start(ResetCause.POWER_ON)

    def write(self, data: bytes) -> None:
        """Feed the server, which answers at once."""
        self._waiting = self.call("feed", data, len(data))

    def read(self, timeout_s: float) -> bytes:
        """All that the server has to say; there is nothing to wait for."""
        buffer = ctypes.create_string_buffer(self._waiting)
        count = self.call("read", buffer, self._waiting)
        self._waiting -= count
        if self.call("wants_reset"):
            self._start(ResetCause.SOFTWARE)
        return buffer.raw[:count]

    def hard_reset(self) -> None:
        """A new instance."""
        self._start(ResetCause.PIN)

    def close(self) -> None:
        """Free the instance."""
        if self._instance is not None:
            self._library.ec_host_free(self._instance)
            self._instance = None

    def call(self, function: str, *arguments: Any) -> int:
        """One function of the library on this instance."""
        return int(getattr(self._library, f"ec_host_{function}")(self._instance, *arguments))

    def _start(self, cause: ResetCause) -> None:
        self.close()
        self.boots += 1
        self._waiting = 0
        self._instance = self._library.ec_host_new(self.boots, cause)
        if self._instance is None:
            raise LinkError("no memory for another instance of the model; close some devices")


class HostDevice(ProtocolDevice):
    """`library`: one built before, of the same model; by default it is built, or found in the cache."""

    def __init__(self, graph: IntegerGraph, library: Path | None = None) -> None:
        super().__init__(graph, "host", "host")
        self.library = library
        self._link: HostLink | None = None
        self._inferences = 0

    def _run(self, head: Head, rows: NDArray[Any], samples: NDArray[np.uint32], seed: int) -> Inference:
        """The whole batch in one call; other threads run meanwhile."""
        assert self._link is not None
        logits, labels = np.zeros((len(rows), self.graph.tensors[head.logits].size), np.int32), np.zeros(len(rows), np.uint16)
        arrays = (rows.ctypes.data, samples.ctypes.data, seed, logits.ctypes.data, labels.ctypes.data)
        code = self._link.call("infer", self.graph.heads.index(head), len(rows), *arrays)
        if code == ErrorCode.MEMORY:
            raise DeviceDetected(WRONG_WORDS)
        if code != 0:
            raise DeviceError(f"the host library refused the inference with error code {code}")
        self._opened().client.check_session()
        self._inferences += len(rows)
        return Inference(logits, labels)

    def counters(self) -> Counters:
        """As the contract says; the library's server does not see batches, so they are counted here."""
        return replace(super().counters(), inferences=self._inferences)

    def reset(self) -> DeviceInfo:
        """As the contract says."""
        self._inferences = 0
        return super().reset()

    def close(self) -> None:
        """Free the instance; the library stays loaded."""
        super().close()
        self._link = None

    def _connect(self) -> HostLink:
        from edgechaos.firmware_gen.projects.host import build_host

        self._inferences = 0
        self._link = HostLink(self.library or build_host(self.graph))
        return self._link
