"""For tests of the firmware itself: host builds with any compiler, and a thin ctypes wrapper around the library."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgechaos.devices.protocol.client import Request
from edgechaos.devices.protocol.frames import FrameDecoder, encode
from edgechaos.devices.protocol.plan_payloads import plan_requests
from edgechaos.faults.injections import ResolvedPlan
from edgechaos.faults.plan import apply
from edgechaos.firmware_gen.compilers.c.generate import HOST_PAYLOAD, Firmware, generate
from edgechaos.firmware_gen.places import RUNTIME
from edgechaos.firmware_gen.plan.kernels import Choice
from edgechaos.firmware_gen.plan.slots import placed_slots
from edgechaos.firmware_gen.projects.elf import write_sources
from edgechaos.firmware_gen.protocol import REPLY, SET_HEAD, Verb
from edgechaos.firmware_gen.toolchain import compile_in
from edgechaos.graph.integer_graph import IntegerGraph


class HostLibrary:
    """One instance of a model's library; closed by `close`."""

    def __init__(self, graph: IntegerGraph, path: Path) -> None:
        self.graph = graph
        self._lib = ctypes.CDLL(str(path))
        self._lib.ec_host_new.restype = ctypes.c_void_p
        for name in ("feed", "read"):
            getattr(self._lib, f"ec_host_{name}").restype = ctypes.c_uint32
        for name in ("infer", "state_hash", "wants_reset"):
            getattr(self._lib, f"ec_host_{name}").restype = ctypes.c_uint8
        self._handle = ctypes.c_void_p(None)
        self.boots = 0
        self.restart()

    def close(self) -> None:
        self._lib.ec_host_free(self._handle)
        self._handle = ctypes.c_void_p(None)

    def restart(self, cause: int = 0) -> None:
        """Another instance, whose boot counter is one more than `boots`."""
        self.close()
        self.boots += 1
        self._handle = ctypes.c_void_p(self._lib.ec_host_new(self.boots, cause))

    def infer(self, codes: NDArray[Any], seed: int, samples: ArrayLike, head: int = 0) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
        spec = self.graph.heads[head]
        codes = np.ascontiguousarray(codes)
        ids = np.ascontiguousarray(samples, np.uint32)
        logits = np.zeros((len(codes), self.graph.tensors[spec.logits].size), np.int32)
        labels = np.zeros(len(codes), np.uint16)
        code = self._lib.ec_host_infer(
            self._handle,
            ctypes.c_uint8(head),
            ctypes.c_uint32(len(codes)),
            codes.ctypes.data_as(ctypes.c_void_p),
            ids.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_uint32(seed),
            logits.ctypes.data_as(ctypes.c_void_p),
            labels.ctypes.data_as(ctypes.c_void_p),
        )
        assert code == 0
        return logits, labels

    def state_hash(self, head: int = 0) -> int:
        found = ctypes.c_uint32()
        assert self._lib.ec_host_state_hash(self._handle, ctypes.c_uint8(head), ctypes.byref(found)) == 0
        return found.value

    def inject(self, plan: ResolvedPlan) -> None:
        """Replace the faults, over the wire as on a board; the server must accept every request."""
        requests = [Request(Verb.CLEAR), *plan_requests(self.graph, apply(self.graph, plan), plan, HOST_PAYLOAD)]
        for seq, request in enumerate(requests):
            decoder = FrameDecoder()
            (reply,) = decoder.feed(self.exchange(encode(request.verb, seq, request.payload)))
            assert reply.kind == request.verb | REPLY, (request, reply)

    def exchange(self, data: bytes) -> bytes:
        """Feed bytes to the protocol server and take everything it answers."""
        waiting = self._lib.ec_host_feed(self._handle, data, ctypes.c_uint32(len(data)))
        out = ctypes.create_string_buffer(max(waiting, 1))
        count = self._lib.ec_host_read(self._handle, out, ctypes.c_uint32(waiting))
        return out.raw[:count]

    def wants_reset(self) -> bool:
        return bool(self._lib.ec_host_wants_reset(self._handle))


def setting(graph: IntegerGraph, node: str, slot: str, data: bytes, first: int = 0) -> bytes:
    """The payload of a SET of one slot."""
    (number,) = (p.number for p in placed_slots(graph) if (p.node, p.slot.name) == (node, slot))
    return SET_HEAD.pack(number, first) + data


def compile_host(
    firmware: Firmware, folder: Path, compiler: tuple[str, ...], flags: tuple[str, ...], extra: tuple[Path, ...] = (), output: str = "built"
) -> Path:
    """Compile a host firmware with any compiler, and with sources beside its own; returns what was built."""
    write_sources(firmware, folder)
    includes = ("-std=c99", "-Isrc", f"-I{RUNTIME / 'server'}")
    compile_in(compiler, (*includes, *flags, *firmware.sources, *(str(p) for p in extra), "-o", output), folder)
    return folder / output


GCC = ("gcc",)
ZIG = (sys.executable, "-m", "ziglang", "cc")


def library(graph: IntegerGraph, folder: Path, *, kernel: Choice = "auto", faults: bool = True, flags: tuple[str, ...] = ()) -> HostLibrary:
    """A fresh library in `folder`, outside the user's cache."""
    firmware = generate(graph, None, kernel=kernel, faults=faults)
    return HostLibrary(
        graph, compile_host(firmware, folder, GCC, ("-O1", "-fPIC", "-shared", *flags), output=f"{firmware.firmware_hash}.so")
    )
