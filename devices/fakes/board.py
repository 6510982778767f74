"""The device's side of the protocol in Python: answers frames from the NumPy reference.

It stands behind the scripted fake, and behind a pty where a serial driver is tested without a board. The replay rule and the
layouts are those of docs/protocol.md; what it refuses, and how, is what the C server refuses.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic.random_bits import RANDOM_ID
from edgechaos.devices.fakes.faults import LoadedFaults, Refusal, out_of_range
from edgechaos.devices.protocol import frames
from edgechaos.faults.words import with_rows
from edgechaos.firmware_gen import protocol as p
from edgechaos.firmware_gen.plan.slots import placed_slots, slots_crc
from edgechaos.graph.artifact import content_hash
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from edgechaos.graph.weighted import Summing
from edgechaos.reference import Result, readout_input, run, state_hash

UID = bytes.fromhex("fa4e") + bytes(14)


@dataclass(slots=True)
class _State:
    """What a restart loses."""

    input: bytearray
    faults: LoadedFaults
    model: IntegerGraph
    parameters: dict[str, int] = field(default_factory=dict)
    faulty: IntegerGraph | None = None
    result: Result | None = None
    read: NDArray[Any] | None = None
    inferences: int = 0
    good: int = 0
    replayed: int = 0
    replay: tuple[tuple[int, int], bytes] | None = None

    def begin(self) -> None:
        """What a session begins with; only the counters go on."""
        self.faults.clear()
        self.faulty = None
        self.parameters.clear()
        self.input[:] = bytes(len(self.input))
        self.result = None


class FakeBoard:
    """One frame in, one frame out. `hello` is what it says of itself: change it to make it lie."""

    def __init__(
        self,
        graph: IntegerGraph,
        max_payload: int = 1024,
        patch_capacity: int = 1024,
        levels: p.Level = p.Level.MODEL,
        uid: bytes = UID,
        version: int = p.VERSION,
        repair_bytes: int = 1 << 22,
    ) -> None:
        self.graph = graph
        self.version = version
        placed = placed_slots(graph)
        self.hello = p.Hello(
            protocol=version,
            random_id=RANDOM_ID,
            levels=levels,
            max_payload=max_payload,
            patch_capacity=patch_capacity,
            slots=len(placed),
            slots_crc=slots_crc(placed),
            timer_hz=0,
            boot_counter=0,
            session=0,
            reset_cause=p.ResetCause.POWER_ON,
            uid=uid,
            model_hash=bytes.fromhex(content_hash(graph)),
            firmware_hash=bytes(32),
        )
        self._flashed = self.hello.model_hash
        self.repair_bytes = repair_bytes
        self.restart(p.ResetCause.POWER_ON)

    def restart(self, cause: p.ResetCause) -> None:
        """Lose everything; the boot counter moves."""
        self.hello = replace(self.hello, boot_counter=self.hello.boot_counter + 1, session=0, reset_cause=int(cause))
        largest = max(self.graph.tensors[h.input].size * _itemsize(self.graph, h.input) for h in self.graph.heads)
        self._state = _State(bytearray(largest), LoadedFaults(self.graph), self.graph)
        self.hello = replace(self.hello, model_hash=self._flashed)

    def lose_power(self) -> None:
        """Lose everything, the boot counter too, which lies in RAM."""
        self.hello = replace(self.hello, boot_counter=0)
        self.restart(p.ResetCause.POWER_ON)

    def answer(self, frame: frames.Frame) -> bytes:
        """The reply frame to a good request frame; a repeated one gets the same reply again."""
        state, key = self._state, (frame.seq, frame.crc)
        state.good += 1
        if frame.kind != p.Verb.HELLO and state.replay is not None and state.replay[0] == key:
            state.replayed += 1
            return state.replay[1]
        try:
            kind, payload = frame.kind | p.REPLY, self._execute(frame)
        except Refusal as refusal:
            kind, payload = p.Verb.ERROR | p.REPLY, p.ERROR_REPLY.pack(refusal.code, refusal.detail)
        reply = frames.encode(kind, frame.seq, payload, self.version)
        state.replay = None if frame.kind == p.Verb.HELLO else (key, reply)
        return reply

    def _execute(self, frame: frames.Frame) -> bytes:
        if frame.version != self.version:
            raise Refusal(p.ErrorCode.BAD_VERSION, frame.version)
        if frame.kind not in _VERBS:
            raise Refusal(p.ErrorCode.BAD_VERB, frame.kind)
        verb, length = _VERBS[frame.kind]
        if not length(len(frame.payload)):
            raise Refusal(p.ErrorCode.BAD_LENGTH, len(frame.payload))
        try:
            return verb(self, frame.payload)
        except struct.error as error:
            raise Refusal(p.ErrorCode.BAD_LENGTH, len(frame.payload)) from error

    def _hello(self, payload: bytes) -> bytes:
        h = self.hello
        return p.HELLO_REPLY.pack(
            h.protocol,
            h.random_id,
            h.levels,
            h.max_payload,
            h.patch_capacity,
            h.slots,
            h.slots_crc,
            h.timer_hz,
            h.boot_counter,
            h.session,
            h.reset_cause,
            h.uid,
            h.model_hash,
            h.firmware_hash,
        )

    def _set(self, payload: bytes) -> bytes:
        number, first = p.SET_HEAD.unpack_from(payload)
        self._state.faults.set(number, first, payload[p.SET_HEAD.size :])
        return self._changed()

    def _patch(self, payload: bytes) -> bytes:
        for row in list(p.PATCH_ROW.iter_unpack(payload)):
            self._changed()  # the rows before one that is refused are loaded
            self._state.faults.add_patch(*row, capacity=self.hello.patch_capacity)
        return self._changed()

    def _clear(self, payload: bytes) -> bytes:
        self._state.faults.clear()
        return self._changed()

    def _changed(self) -> bytes:
        self._state.faulty = None
        return b""

    def _put_input(self, payload: bytes) -> bytes:
        (offset,), data = p.INPUT_HEAD.unpack_from(payload), payload[p.INPUT_HEAD.size :]
        if offset + len(data) > len(self._state.input):
            raise out_of_range(offset)
        self._state.input[offset : offset + len(data)] = data
        return b""

    def _infer(self, payload: bytes) -> bytes:
        index, seed, sample, count = p.INFER_HEAD.unpack(payload)
        if index >= len(self.graph.heads) or count == 0:
            raise out_of_range(index)
        head, state = self.graph.heads[index], self._state
        tensor = self.graph.tensors[head.input]
        dtype = np.dtype(tensor.dtype).newbyteorder("<")
        codes = np.frombuffer(bytes(state.input), dtype, tensor.size).reshape(1, *tensor.shape).astype(tensor.dtype)
        if state.faulty is None:
            state.faulty = state.faults.graph_under()
        sample_id = (sample + count - 1) & 0xFFFFFFFF
        read = readout_input(self.graph, head)
        state.result = run(
            state.faulty,
            codes,
            seed=seed,
            samples=[sample_id],
            head=head.name,
            keep=(read,) if read != head.input else (),
            parameters=state.parameters,
        )
        state.read = state.result.tensors.get(read, codes)
        state.inferences += count
        room = (self.hello.max_payload - p.INFER_REPLY.size) // 4
        return p.INFER_REPLY.pack(int(state.result.labels[0]), 0) + self._logits()[: 4 * room]

    def _param(self, payload: bytes) -> bytes:
        index, k = p.PARAM.unpack(payload)
        nodes = [n for n in self.graph.nodes if isinstance(n, ThermalNoise)]
        if index >= len(nodes):
            raise out_of_range(index)
        if not 0 <= k <= nodes[index].k_max:
            raise out_of_range(k)
        self._state.parameters[nodes[index].name] = k
        return b""

    def _session(self, payload: bytes) -> bytes:
        (session,) = p.SESSION.unpack(payload)
        if session == 0:
            raise out_of_range(0)
        self._state.begin()
        self.hello = replace(self.hello, session=session)
        return b""

    def _result(self, payload: bytes) -> bytes:
        logits, (first,) = self._logits(p.RESULT_HEAD.size), p.RESULT_HEAD.unpack(payload)
        if 4 * first >= len(logits):
            raise out_of_range(first)
        return logits[4 * first :][: self.hello.max_payload // 4 * 4]

    def _state_hash(self, payload: bytes) -> bytes:
        result, read = self._state.result, self._state.read
        if result is None or read is None:
            raise Refusal(p.ErrorCode.NO_RESULT)
        return int(state_hash(read, result.logits)[0]).to_bytes(4, "little")

    def _logits(self, detail: int = 0) -> bytes:
        if self._state.result is None:
            raise Refusal(p.ErrorCode.NO_RESULT, detail)
        return self._state.result.logits[0].astype("<i4").tobytes()

    def _counters(self, payload: bytes) -> bytes:
        state = self._state
        return p.COUNTERS_REPLY.pack(state.inferences, state.good, 0, state.replayed, 0)

    def _commit(self, payload: bytes) -> bytes:
        state = self._state
        state.result = None
        if not payload:
            state.model, held = self.graph, self._flashed
        else:
            rows = state.faults.rows()
            for number, node in enumerate(self.graph.weighted()):
                if node.name in rows and not isinstance(node, Summing):
                    raise Refusal(p.ErrorCode.REFUSED, number)
            if not self.repair_bytes:
                raise Refusal(p.ErrorCode.NO_SPACE, 0)
            state.model, (held,) = with_rows(state.model, rows), p.COMMIT.unpack(payload)
        state.faults.settle_on(state.model, forget_rows=bool(payload))
        self.hello = replace(self.hello, model_hash=held)
        return self._changed()

    def _reset(self, payload: bytes) -> bytes:
        self.restart(p.ResetCause.SOFTWARE)
        return b""


def _itemsize(graph: IntegerGraph, tensor: str) -> int:
    return np.dtype(graph.tensors[tensor].dtype).itemsize


def _at_least(size: int) -> Callable[[int], bool]:
    return lambda length: length >= size


def _just(size: int) -> Callable[[int], bool]:
    return lambda length: length == size


_VERBS: Mapping[int, tuple[Callable[[FakeBoard, bytes], bytes], Callable[[int], bool]]] = {
    p.Verb.HELLO: (FakeBoard._hello, _just(0)),
    p.Verb.SET: (FakeBoard._set, _at_least(p.SET_HEAD.size)),
    p.Verb.PATCH: (FakeBoard._patch, _at_least(0)),
    p.Verb.CLEAR: (FakeBoard._clear, _just(0)),
    p.Verb.INPUT: (FakeBoard._put_input, _at_least(p.INPUT_HEAD.size)),
    p.Verb.INFER: (FakeBoard._infer, _just(p.INFER_HEAD.size)),
    p.Verb.RESULT: (FakeBoard._result, _just(p.RESULT_HEAD.size)),
    p.Verb.STATE_HASH: (FakeBoard._state_hash, _just(0)),
    p.Verb.COUNTERS: (FakeBoard._counters, _just(0)),
    p.Verb.RESET: (FakeBoard._reset, _just(0)),
    p.Verb.COMMIT: (FakeBoard._commit, lambda length: length in (0, p.COMMIT.size)),
    p.Verb.PARAM: (FakeBoard._param, _just(p.PARAM.size)),
    p.Verb.SESSION: (FakeBoard._session, _just(p.SESSION.size)),
}
"""What answers a verb, and the lengths of payload that it takes: those of runtime/server/ec_server.c."""
