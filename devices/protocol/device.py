"""A device behind the wire protocol: the Device contract over any link. Boards, emulators and the fake differ in their link.

A subclass brings the `Link`. Everything that a device says is checked before it is used: in HELLO protocol, random function,
model hash, frame size and session; in replies lengths, classes and counts.
"""

from __future__ import annotations

import struct
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgechaos.arithmetic.random_bits import RANDOM_ID
from edgechaos.devices.contract import Counters, Device, DeviceInfo, Inference, Kind, Machine, Memory, checked
from edgechaos.devices.protocol.client import DEFAULT_TIMEOUTS, Client, Link, Request, Timeouts
from edgechaos.devices.protocol.faulty_link import FaultyLink
from edgechaos.devices.protocol.frames import MAX_PAYLOAD
from edgechaos.devices.protocol.plan_payloads import check_plan, plan_requests
from edgechaos.devices.protocol.repairs import lost_repair, repair_requests
from edgechaos.faults.injections import CLEAN, ResolvedPlan
from edgechaos.firmware_gen.plan.slots import placed_slots, slots_crc
from edgechaos.firmware_gen.protocol import (
    COUNTERS_REPLY,
    HELLO_REPLY,
    INFER_HEAD,
    INFER_REPLY,
    PARAM,
    ErrorCode,
    Hello,
    Level,
    ResetCause,
    Verb,
)
from edgechaos.graph.artifact import content_hash
from edgechaos.graph.heads import Head
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.reference import check_inputs, check_parameters
from edgechaos.support.errors import DeviceCrash, DeviceDetected, DeviceHang, DeviceRefused, DeviceReset, FaultError, LinkError, ShapeError

GROUP = 64
"""Inferences handed to the client at once: enough to hide a link's latency, few enough to bound memory, and to find a restart soon."""
LEAST_PAYLOAD = HELLO_REPLY.size
"""A device must carry at least this much payload in a frame: the longest fixed layout of the protocol."""
_OUTSIDE: Mapping[str, type] = {"memory": Memory, "machine": Machine}
"""Levels of faults that come from outside the firmware, and what a device must be for them."""
MOST_TICKS = 2**32 - 1
"""Of one inference: boards count them in 32 bits."""
OFFSET = struct.Struct("<I")
FIRST_LOGIT = struct.Struct("<H")


@dataclass(frozen=True, slots=True)
class _Session:
    """What one opening established."""

    client: Client
    hello: Hello
    info: DeviceInfo


@dataclass(frozen=True, slots=True)
class Batch:
    """The requests of an `infer`: of its parameters, of every item, and the HELLO that ends it. outputs: of the head."""

    parts: tuple[tuple[Request, ...], ...]
    outputs: int


class ProtocolDevice(Device):
    """Implements everything but where the bytes go: a subclass connects and returns a Link.

    wire: {"link"} where inferences pass a link that asks again for what is lost, so that faults of the link mean something.
    """

    wire: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, graph: IntegerGraph, name: str, kind: Kind, timeouts: Timeouts = DEFAULT_TIMEOUTS, attempts: int = 3) -> None:
        self.graph = graph
        self.name = name
        self.kind = kind
        self._timeouts = timeouts
        self._attempts = attempts
        self._session: _Session | None = None
        self._loaded = True
        self._proved: tuple[ResolvedPlan, IntegerGraph] | None = None
        self._table = placed_slots(graph)
        self._flashed: IntegerGraph | None = None

    @abstractmethod
    def _connect(self) -> Link:
        """Start or find the device and return its link. Raises LinkError where it is absent or busy."""

    def _prepare(self, client: Client, hello: Hello) -> Hello:
        """What a subclass must do once per opening, after HELLO was checked; returns the HELLO that holds from now on."""
        return hello

    def open(self) -> DeviceInfo:
        """Connect and check HELLO; an open device just says again who it is."""
        if self._session is not None:
            return self._session.info
        link = self._connect()
        try:
            client = Client(link, self._timeouts, self._attempts)
            hello = self._prepare(client, self._greet(client))
            client.begin()
        except BaseException:
            link.close()
            raise
        self._proved = None
        self._session = _Session(client, hello, self._describe(hello))
        return self._session.info

    def infer(
        self,
        codes: NDArray[Any],
        *,
        seed: int = 0,
        samples: ArrayLike | None = None,
        head: str | None = None,
        parameters: Mapping[str, int] | None = None,
    ) -> Inference:
        """As the contract says."""
        with self._faulty_wire():
            spec = self.graph.head(head)
            ids = np.ascontiguousarray(check_inputs(self.graph, spec, codes, samples, seed))
            self._refuse_lost()
            self._set_parameters(parameters)
            rows = np.ascontiguousarray(codes, codes.dtype.newbyteorder("<"))
            return checked(self._run(spec, rows, ids, seed), len(codes), self.graph.tensors[spec.logits].size, self.name)

    def _run(self, head: Head, rows: NDArray[Any], samples: NDArray[np.uint32], seed: int) -> Inference:
        """Checked items, little-endian: one frame or more each. The session is checked after every group, before its results count."""
        session, outputs = self._opened(), self.graph.tensors[head.logits].size
        logits, labels = np.zeros((len(rows), outputs), np.int32), np.zeros(len(rows), np.uint16)
        for first in range(0, len(rows), GROUP):
            group = range(first, min(first + GROUP, len(rows)))
            requests = [list(self._infer_requests(session.hello, head, rows[i].tobytes(), seed, int(samples[i]))) for i in group]
            replies = iter(session.client.requests([r for item in requests for r in item]))
            for i, item in zip(group, requests, strict=True):
                labels[i], logits[i] = self._read_item(outputs, [(r, next(replies)) for r in item])
            session.client.check_session()
        return Inference(logits, labels)

    def _batch(
        self,
        codes: NDArray[Any],
        *,
        seed: int = 0,
        samples: ArrayLike | None = None,
        head: str | None = None,
        parameters: Mapping[str, int] | None = None,
    ) -> Batch:
        """The requests of a whole `infer`, and its last HELLO. Raises as `infer` does."""
        spec, session = self.graph.head(head), self._opened()
        ids = check_inputs(self.graph, spec, codes, samples, seed)
        self._refuse_lost()
        rows = np.ascontiguousarray(codes, codes.dtype.newbyteorder("<"))
        items = [tuple(self._infer_requests(session.hello, spec, row.tobytes(), seed, int(i))) for row, i in zip(rows, ids, strict=True)]
        return Batch((self._parameter_requests(parameters), *items, (Request(Verb.HELLO),)), self.graph.tensors[spec.logits].size)

    def _read_batch(self, batch: Batch, replies: Sequence[bytes]) -> Inference:
        """What the replies to a batch say. Raises LinkError, DeviceRefused or DeviceReset as `infer` does."""
        left = iter(replies)
        parts = [[(request, next(left)) for request in part] for part in batch.parts]
        self._opened().client.confirm(parts[-1][0][1])
        read = [self._read_item(batch.outputs, part) for part in parts[1:-1]]
        logits = np.array([logits for _, logits in read], np.int32).reshape(len(read), batch.outputs)
        return Inference(logits, np.array([label for label, _ in read], np.uint16))

    def repeat(self, codes: NDArray[Any], times: int, *, seed: int = 0, head: str | None = None) -> None:
        """Run one item, (1, *input shape), `times` times between two edges of the marker pin; nothing is on the link meanwhile.

        Raises ShapeError or GraphError for what is no item of the head, or no count from 1 on; DeviceError as `infer` does.
        """
        spec = self.graph.head(head)
        check_inputs(self.graph, spec, codes, None, seed)
        if len(codes) != 1 or not 1 <= times < 2**32:
            raise ShapeError(f"repeat takes one item and 1 to {2**32 - 1} times, not {len(codes)} items {times} times")
        session = self._opened()
        item = np.ascontiguousarray(codes.astype(codes.dtype.newbyteorder("<"))).tobytes()
        usual = session.client.timeouts
        session.client.timeouts = replace(usual, infer_s=usual.infer_s * times)
        try:
            session.client.requests([*self._infer_requests(session.hello, spec, item, seed, 0, times)])
        finally:
            session.client.timeouts = usual
        session.client.check_session()

    def inject(self, plan: ResolvedPlan) -> None:
        """As the contract says. Everything that can be known beforehand is checked before anything is loaded."""
        session = self._opened()
        self._repair_wire()
        if self._loaded or plan is CLEAN:  # what an injection has loaded; whoever asks for a clean device is not spared the request
            session.client.request(Verb.CLEAR)
        self._loaded = bool(plan.slots or plan.patch)
        if plan is CLEAN:
            return
        if self._proved is None or plan is not self._proved[0]:  # a device that crashes under a plan is given the same one again and again
            self._proved = plan, check_plan(self.graph, plan, session.info)
        try:
            session.client.requests(plan_requests(self.graph, self._proved[1], plan, session.hello.max_payload, session.hello.slots))
            for poke in plan.pokes:
                assert isinstance(self, Memory)
                self.poke(poke.address, poke.mask, poke.op)
            if plan.strikes:
                assert isinstance(self, Machine)
                self.arm(plan.strikes)
            if plan.wires:
                session.client.link = FaultyLink(session.client.link, plan.wires)
        except (DeviceRefused, FaultError) as error:
            self.inject(CLEAN)
            raise FaultError(f"device '{self.name}' refused the plan: {error}") from error

    def commit(self, mended: IntegerGraph, held: IntegerGraph | None = None) -> DeviceInfo:
        """As the protocol Repairable says."""
        session = self._opened()
        flashed = self._flashed or self.graph
        now = held or (flashed if session.info.model_hash == content_hash(flashed) else self.graph)
        requests = repair_requests(now, mended, session.hello.patch_capacity, session.hello.max_payload)
        session.client.request(Verb.CLEAR)
        try:
            session.client.requests(requests)
        except DeviceRefused as error:
            self.revert()
            room = f"it has {error.detail} bytes for repaired matrices; give its board more: NAME,repair_bytes=65536"
            why = room if error.code == ErrorCode.NO_SPACE else error
            raise FaultError(f"device '{self.name}' refused the repair, and holds the model that was flashed: {why}") from error
        return self._hold(mended, flashed)

    def revert(self) -> DeviceInfo:
        """As the protocol Repairable says."""
        session, flashed = self._opened(), self._flashed
        session.client.request(Verb.CLEAR)
        session.client.request(Verb.COMMIT)
        if flashed is not None:
            return self._hold(flashed, None)
        hello = session.client.held()
        self._session = _Session(session.client, hello, self._describe(hello))
        return self._session.info

    def _hold(self, graph: IntegerGraph, flashed: IntegerGraph | None) -> DeviceInfo:
        """The device holds this graph now. Raises DeviceRefused where it says another."""
        session = self._opened()
        hello = session.client.held()
        self.graph, self._flashed, self._proved = graph, flashed, None
        self._session = _Session(session.client, hello, self._describe(hello))
        self._refuse_lost()
        return self._session.info

    def _refuse_lost(self) -> None:
        """Raises DeviceRefused where a repair was committed, and the device does not hold it."""
        held = self._opened().info.model_hash
        if self._flashed is not None and held != content_hash(self.graph):
            raise DeviceRefused(f"device '{self.name}': {lost_repair(held, self.graph) or 'it holds another model'}")

    def counters(self) -> Counters:
        """The device's own counters, and how often this side had to ask again."""
        session = self._opened()
        inferences, good, bad, replayed, ticks = _unpack(COUNTERS_REPLY, session.client.request(Verb.COUNTERS), "COUNTERS")
        session.client.check_session()  # counted since a restart that nobody asked for, they would be too low
        if ticks > inferences * MOST_TICKS * (session.hello.timer_hz > 0):
            raise LinkError(f"device '{self.name}' counted {ticks} ticks in {inferences} inferences, more than it can; flash it again")
        link = {"good": good, "bad": bad, "replayed": replayed, "retried": session.client.retried}
        return Counters(inferences, timer_ticks=ticks, timer_hz=session.hello.timer_hz, link=link)

    def reset(self) -> DeviceInfo:
        """Ask the device to restart; one that no longer answers is reset by its link, where that has a reset line."""
        session = self._opened()
        self._repair_wire()
        try:
            session.client.request(Verb.RESET)
            hello = self._greet_anew(session.client)
        except (DeviceHang, DeviceCrash, DeviceReset, LinkError):
            session.client.link.hard_reset()
            hello = self._greet_anew(session.client)
        session.client.begin()
        self._loaded = False
        self._session = _Session(session.client, hello, self._describe(hello))
        return self._session.info

    def _repair_wire(self) -> None:
        """Take the faults off the link."""
        client = self._opened().client
        if isinstance(client.link, FaultyLink):
            client.link = client.link.below

    @contextmanager
    def _faulty_wire(self) -> Iterator[None]:
        """What a link with faults makes of an inference, where retries do not get past it, is the fault's outcome."""
        try:
            yield
        except (LinkError, DeviceReset) as error:
            if self._session is None or not isinstance(self._session.client.link, FaultyLink):
                raise
            kind = DeviceReset if isinstance(error, DeviceReset) else DeviceDetected
            raise kind(f"on a link with faults: {error}") from error

    def close(self) -> None:
        """Release the link."""
        if self._session is not None:
            self._session.client.link.close()
            self._session = None

    def _set_parameters(self, parameters: Mapping[str, int] | None) -> None:
        """One request per ThermalNoise node, in node order; raises GraphError before anything is sent."""
        self._opened().client.requests(self._parameter_requests(parameters))

    def _parameter_requests(self, parameters: Mapping[str, int] | None) -> tuple[Request, ...]:
        settings = check_parameters(self.graph, parameters)
        return tuple(Request(Verb.PARAM, PARAM.pack(index, k)) for index, k in enumerate(settings.values()))

    def _opened(self) -> _Session:
        if self._session is None:
            raise LinkError(f"device '{self.name}' is not open; call open() first")
        return self._session

    def _greet_anew(self, client: Client) -> Hello:
        hello = self._greet(client, self._flashed)
        if hello.session != 0:
            raise LinkError(f"device '{self.name}' was told to restart and did not: its session goes on; cycle its power")
        return hello

    def _greet(self, client: Client, flashed: IntegerGraph | None = None) -> Hello:
        """flashed: what a device holds that has lost its repair, where it had one."""
        hello = client.greet()
        expected, held = content_hash(flashed or self.graph), hello.model_hash.hex()
        if held != expected:
            why = lost_repair(held, self.graph) or "build and flash this model's firmware"
            raise DeviceRefused(f"device '{self.name}' holds model {held[:12]}, not '{self.graph.name}' {expected[:12]}; {why}")
        if hello.random_id != RANDOM_ID:
            raise DeviceRefused(f"device '{self.name}' draws other random words (id {hello.random_id:#010x}, not {RANDOM_ID:#010x})")
        if not LEAST_PAYLOAD <= hello.max_payload <= MAX_PAYLOAD:
            raise DeviceRefused(
                f"device '{self.name}' takes {hello.max_payload} bytes of payload; {LEAST_PAYLOAD} are the least that works"
            )
        known = self._table[: hello.slots] if hello.slots >= sum(not p.slot.added for p in self._table) else self._table
        if Level.MODEL in hello.levels and (hello.slots, hello.slots_crc) != (len(known), slots_crc(known)):
            raise DeviceRefused(
                f"device '{self.name}' has {hello.slots} fault slots (table {hello.slots_crc:#010x}), this release {len(self._table)} "
                f"({slots_crc(self._table):#010x}); build and flash firmware of this release"
            )
        return hello

    def _describe(self, hello: Hello) -> DeviceInfo:
        known = hello.reset_cause in ResetCause._value2member_map_
        return DeviceInfo(
            name=self.name,
            kind=self.kind,
            model_hash=hello.model_hash.hex(),
            firmware_hash=hello.firmware_hash.hex(),
            uid=hello.uid.hex(),
            levels=hello.levels.names & {"model"} | {name for name, kind in _OUTSIDE.items() if isinstance(self, kind)} | self.wire,
            patch_capacity=hello.patch_capacity,
            boot_counter=hello.boot_counter,
            reset_cause=ResetCause(hello.reset_cause).name.lower() if known else f"code {hello.reset_cause}",
        )

    def _infer_requests(self, hello: Hello, head: Head, codes: bytes, seed: int, sample: int, times: int = 1) -> Iterator[Request]:
        step = (hello.max_payload - OFFSET.size) & ~3  # whole words, so that no element is split
        for offset in range(0, len(codes), step):
            yield Request(Verb.INPUT, OFFSET.pack(offset) + codes[offset : offset + step])
        yield Request(Verb.INFER, INFER_HEAD.pack(self.graph.heads.index(head), seed, sample, times))
        per_reply = (hello.max_payload - INFER_REPLY.size) // 4
        for first in range(per_reply, self.graph.tensors[head.logits].size, hello.max_payload // 4):
            yield Request(Verb.RESULT, FIRST_LOGIT.pack(first))

    def _read_item(self, outputs: int, exchanged: Iterable[tuple[Request, bytes]]) -> tuple[int, NDArray[np.int32]]:
        label, logits = 0, b""
        for request, reply in exchanged:
            if request.verb is Verb.INFER:
                label, _ = _unpack(INFER_REPLY, reply[: INFER_REPLY.size], "INFER")
                logits = reply[INFER_REPLY.size :]
            elif request.verb is Verb.RESULT:
                logits += reply
        if len(logits) != 4 * outputs:
            raise LinkError(f"device '{self.name}' returned {len(logits)} bytes of logits, not the {4 * outputs} of {outputs} outputs")
        return label, np.frombuffer(logits, "<i4").astype(np.int32)


def _unpack(layout: struct.Struct, payload: bytes, verb: str) -> tuple[int, ...]:
    if len(payload) != layout.size:
        raise LinkError(f"the reply to {verb} has {len(payload)} bytes, not {layout.size}; flash firmware of this release")
    return layout.unpack(payload)
