"""The device's side of the protocol in Python: answers frames from the NumPy reference.

Enters: a graph and request frames. Leaves: reply frames. It stands behind the scripted fake, and behind a pty where a
serial driver is tested without a board. The replay rule and the layouts are those of docs/protocol.md.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edgechaos.artifact import content_hash
from edgechaos.devices import frames
from edgechaos.devices.plan_payloads import patched_nodes
from edgechaos.errors import FaultError
from edgechaos.faults import ResolvedPlan, apply
from edgechaos.firmware_gen import protocol as p
from edgechaos.graph import ChaosLayer, IntegerGraph, ThermalNoise
from edgechaos.mortal import mortal
from edgechaos.random_bits import RANDOM_ID
from edgechaos.reference import Result, readout_input, run, state_hash

UID = bytes.fromhex("fa4e") + bytes(14)
ALL_CAPABILITIES = p.Capability.DEAD | p.Capability.STUCK_AT_1 | p.Capability.OMISSION | p.Capability.WEIGHT_BIT_FLIP


class Refusal(Exception):
    """What becomes an ERROR reply."""

    def __init__(self, code: p.ErrorCode, detail: int = 0) -> None:
        super().__init__(code.name)
        self.code = code
        self.detail = detail


@dataclass(slots=True)
class _State:
    """What a restart loses."""

    input: bytearray
    fail_q: dict[str, int] = field(default_factory=dict)
    dead: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    stuck: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    patch: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    faulty: IntegerGraph | None = None
    result: Result | None = None
    inferences: int = 0
    good: int = 0
    replayed: int = 0
    replay: tuple[tuple[int, int], bytes] | None = None

    def clear_faults(self) -> None:
        """Make the model clean."""
        for faults in (self.fail_q, self.dead, self.stuck, self.patch):
            faults.clear()
        self.faulty = None

    def begin(self) -> None:
        """What a session begins with; only the counters go on."""
        self.clear_faults()
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
        capabilities: p.Capability = ALL_CAPABILITIES,
        uid: bytes = UID,
        version: int = p.VERSION,
    ) -> None:
        self.graph = graph
        self.version = version
        self.hello = p.Hello(
            protocol=version,
            random_id=RANDOM_ID,
            capabilities=capabilities,
            max_payload=max_payload,
            patch_capacity=patch_capacity,
            timer_hz=0,
            boot_counter=0,
            session=0,
            reset_cause=p.ResetCause.POWER_ON,
            uid=uid,
            model_hash=bytes.fromhex(content_hash(graph)),
            firmware_hash=bytes(32),
        )
        self.restart(p.ResetCause.POWER_ON)

    def restart(self, cause: p.ResetCause) -> None:
        """Lose everything; the boot counter moves."""
        self.hello = replace(self.hello, boot_counter=self.hello.boot_counter + 1, session=0, reset_cause=int(cause))
        largest = max(self.graph.tensors[h.input].size * _itemsize(self.graph, h.input) for h in self.graph.heads)
        self._state = _State(bytearray(largest))

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
        verb = _VERBS.get(frame.kind)
        if verb is None:
            raise Refusal(p.ErrorCode.BAD_VERB)
        try:
            return verb(self, frame.payload)
        except struct.error as error:
            raise Refusal(p.ErrorCode.BAD_LENGTH, len(frame.payload)) from error
        except (IndexError, ValueError, FaultError) as error:
            raise Refusal(p.ErrorCode.OUT_OF_RANGE) from error

    def _hello(self, payload: bytes) -> bytes:
        h = self.hello
        return p.HELLO_REPLY.pack(
            h.protocol,
            h.random_id,
            h.capabilities,
            h.max_payload,
            h.patch_capacity,
            h.timer_hz,
            h.boot_counter,
            h.session,
            h.reset_cause,
            h.uid,
            h.model_hash,
            h.firmware_hash,
        )

    def _load_mask(self, payload: bytes) -> bytes:
        index, kind, first = p.MASK_HEAD.unpack_from(payload)
        layer = mortal(self.graph)[index]
        size = self.graph.tensors[layer.input].shape[0]
        masks = {p.MaskKind.DEAD: self._state.dead, p.MaskKind.STUCK: self._state.stuck}[p.MaskKind(kind)]
        if kind == p.MaskKind.STUCK and not (isinstance(layer, ChaosLayer) and layer.sampling == "ticks"):
            raise Refusal(p.ErrorCode.REFUSED)
        packed = np.packbits(masks.get(layer.name, np.zeros(size, bool)), bitorder="little")
        packed[first : first + len(payload) - p.MASK_HEAD.size] = np.frombuffer(payload[p.MASK_HEAD.size :], np.uint8)
        masks[layer.name] = np.unpackbits(packed, count=size, bitorder="little").astype(bool)
        return self._changed()

    def _inject(self, payload: bytes) -> bytes:
        kind, body = p.Injection(payload[0]), payload[1:]
        if kind is p.Injection.FAIL_Q:
            index, fail_q = p.INJECT_FAIL.unpack(body)
            self._state.fail_q[self.graph.chaos_layers()[index].name] = fail_q
        elif kind is p.Injection.PATCH:
            held = sum(map(len, self._state.patch.values()))
            if held + len(body) // p.PATCH_ROW.size > self.hello.patch_capacity:
                raise Refusal(p.ErrorCode.NO_SPACE, self.hello.patch_capacity)
            for index, out, into, delta in p.PATCH_ROW.iter_unpack(body):
                row = (out, -1 if into == p.BIAS_INPUT else into, delta)
                self._state.patch.setdefault(patched_nodes(self.graph)[index], []).append(row)
        # A binomial table is a function of fail_q, which the reference computes by itself.
        return self._changed()

    def _clear(self, payload: bytes) -> bytes:
        self._state.clear_faults()
        return b""

    def _changed(self) -> bytes:
        self._state.faulty = None
        return b""

    def _put_input(self, payload: bytes) -> bytes:
        offset, data = int.from_bytes(payload[:4], "little"), payload[4:]
        if offset + len(data) > len(self._state.input):
            raise Refusal(p.ErrorCode.OUT_OF_RANGE, offset)
        self._state.input[offset : offset + len(data)] = data
        return b""

    def _infer(self, payload: bytes) -> bytes:
        index, seed, sample, count = p.INFER_HEAD.unpack(payload)
        head, state = self.graph.heads[index], self._state
        tensor = self.graph.tensors[head.input]
        dtype = np.dtype(tensor.dtype).newbyteorder("<")
        codes = np.frombuffer(bytes(state.input), dtype, tensor.size).reshape(1, *tensor.shape).astype(tensor.dtype)
        if state.faulty is None:
            patch = {name: np.array(rows, np.int32).reshape(-1, 3) for name, rows in state.patch.items()}
            state.faulty = apply(self.graph, ResolvedPlan(dict(state.fail_q), dict(state.dead), dict(state.stuck), patch))
        sample_id = (sample + count - 1) & 0xFFFFFFFF
        state.result = run(
            state.faulty,
            codes,
            seed=seed,
            samples=[sample_id],
            head=head.name,
            keep=(readout_input(self.graph, head),),
            parameters=state.parameters,
        )
        state.inferences += count
        room = (self.hello.max_payload - p.INFER_REPLY.size) // 4
        return p.INFER_REPLY.pack(int(state.result.labels[0]), 0) + self._logits()[: 4 * room]

    def _param(self, payload: bytes) -> bytes:
        index, k = p.PARAM.unpack(payload)
        node = [n for n in self.graph.nodes if isinstance(n, ThermalNoise)][index]
        if not 0 <= k <= node.k_max:
            raise Refusal(p.ErrorCode.OUT_OF_RANGE, k)
        self._state.parameters[node.name] = k
        return b""

    def _session(self, payload: bytes) -> bytes:
        (session,) = p.SESSION.unpack(payload)
        if session == 0:
            raise Refusal(p.ErrorCode.OUT_OF_RANGE)
        self._state.begin()
        self.hello = replace(self.hello, session=session)
        return b""

    def _result(self, payload: bytes) -> bytes:
        first = int.from_bytes(payload, "little")
        return self._logits()[4 * first :][: self.hello.max_payload // 4 * 4]

    def _state_hash(self, payload: bytes) -> bytes:
        result = self._state.result
        if result is None:
            raise Refusal(p.ErrorCode.NO_RESULT)
        (read,) = result.tensors.values()
        return int(state_hash(read, result.logits)[0]).to_bytes(4, "little")

    def _logits(self) -> bytes:
        if self._state.result is None:
            raise Refusal(p.ErrorCode.NO_RESULT)
        return self._state.result.logits[0].astype("<i4").tobytes()

    def _counters(self, payload: bytes) -> bytes:
        state = self._state
        return p.COUNTERS_REPLY.pack(state.inferences, state.good, 0, state.replayed, 0)

    def _reset(self, payload: bytes) -> bytes:
        self.restart(p.ResetCause.SOFTWARE)
        return b""


def _itemsize(graph: IntegerGraph, tensor: str) -> int:
    return np.dtype(graph.tensors[tensor].dtype).itemsize


_VERBS: Mapping[int, Callable[[FakeBoard, bytes], bytes]] = {
    p.Verb.HELLO: FakeBoard._hello,
    p.Verb.LOAD_MASK: FakeBoard._load_mask,
    p.Verb.INJECT: FakeBoard._inject,
    p.Verb.CLEAR: FakeBoard._clear,
    p.Verb.INPUT: FakeBoard._put_input,
    p.Verb.INFER: FakeBoard._infer,
    p.Verb.RESULT: FakeBoard._result,
    p.Verb.STATE_HASH: FakeBoard._state_hash,
    p.Verb.COUNTERS: FakeBoard._counters,
    p.Verb.RESET: FakeBoard._reset,
    p.Verb.PARAM: FakeBoard._param,
    p.Verb.SESSION: FakeBoard._session,
}
