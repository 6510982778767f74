"""The host's side of the wire protocol over any byte stream: retries, replays, and names for what went wrong.

A `Link` is a wire, an emulated UART or a scripted fake. A request that gets no good answer is sent again, byte for byte: a
device that had executed it replays its reply. A device that restarted by itself, or lost its power, has lost the session's
number, and HELLO says so: docs/protocol.md, Sessions.
"""

from __future__ import annotations

import secrets
import struct
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgechaos.devices.protocol import frames
from edgechaos.firmware_gen.protocol import ERROR_REPLY, REPLY, SESSION, VERSION, ErrorCode, Hello, ResetCause, Verb
from edgechaos.support.errors import DeviceDetected, DeviceError, DeviceHang, DevicePowerLoss, DeviceRefused, DeviceReset, LinkError

BABBLE_BYTES = 4 * frames.MAX_FRAME
"""More bytes than this without the reply that is awaited is babble: no queue of stale replies is as long."""
WITHOUT_REPLY = frozenset({Verb.SET, Verb.PATCH, Verb.CLEAR, Verb.INPUT, Verb.RESET, Verb.PARAM, Verb.SESSION})
"""Verbs whose reply carries nothing: one that does is no reply of this protocol."""
WRONG_WORDS = "a guarded table of the model has wrong words that cannot be corrected: the device gives no result"
OUTSIDE = frozenset({ResetCause.POWER_ON, ResetCause.PIN})
"""Restarts that come from outside the device: no fault of a model cuts the power or pulls the reset line."""


class Link(ABC):
    """A byte stream to a device. `depth`: how many frames it queues by itself, handing the device one at a time."""

    depth: int = 1

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send all of `data`. Raises LinkError where that takes longer than the link's own limit."""

    @abstractmethod
    def read(self, timeout_s: float) -> bytes:
        """One byte or more; b"" only once `timeout_s` has passed, or the link knows that nothing will come."""

    @abstractmethod
    def close(self) -> None:
        """Release the link, at any time, repeatedly."""

    def hard_reset(self) -> None:
        """Restart the device without its cooperation. Raises LinkError where the link has no reset line."""
        raise LinkError("the device does not answer and this link has no reset line; press its reset button or cycle its power")

    def now(self) -> float:
        """The clock of the time-outs, in seconds; a scripted link may have its own."""
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each step may take, in seconds. The slowest is an inference on a slow core."""

    hello_s: float = 1.0
    request_s: float = 1.0
    infer_s: float = 10.0

    def of(self, verb: Verb) -> float:
        """The wait for one verb's reply."""
        return {Verb.HELLO: self.hello_s, Verb.INFER: self.infer_s}.get(verb, self.request_s)


DEFAULT_TIMEOUTS = Timeouts()


@dataclass(frozen=True, slots=True)
class Request:
    """One verb and its payload."""

    verb: Verb
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class _Sent:
    request: Request
    seq: int
    data: bytes


class Client:
    """Sends requests and returns their replies. One client per link; not for several threads.

    `session` is the number that `begin` gave the device, None before it; `retried` counts requests that were sent again.
    """

    def __init__(self, link: Link, timeouts: Timeouts = DEFAULT_TIMEOUTS, attempts: int = 3) -> None:
        self.link = link
        self.timeouts = timeouts
        self.attempts = attempts
        self.decoder = frames.FrameDecoder()
        self.session: int | None = None
        self._boots: int
        self.retried = 0
        self._seq = 0
        self._arrived: deque[frames.Frame] = deque()
        self._heard: int

    def greet(self) -> Hello:
        """Say HELLO, outside any session. The device forgets the reply it would replay.

        Raises LinkError where nobody answers, DeviceRefused where the answer is not a HELLO of this protocol.
        """
        self.session = None
        return self._answered_hello()

    def begin(self) -> None:
        """Begin a session: the device is clean now, and whether it stays the same one `check_session` tells."""
        number = secrets.randbelow(2**64 - 1) + 1
        self.request(Verb.SESSION, SESSION.pack(number))
        hello = self._answered_hello()
        if hello.session != number:
            raise LinkError(f"the device took session {number:#x} and says {hello.session:#x}: it restarted just then; open it again")
        self.session, self._boots = number, hello.boot_counter

    def request(self, verb: Verb, payload: bytes = b"") -> bytes:
        """One request; errors as for `requests`."""
        return self.requests([Request(verb, payload)])[0]

    def requests(self, batch: Sequence[Request]) -> list[bytes]:
        """The reply payloads of a batch, executed in order.

        Raises DeviceRefused (an error reply), DeviceReset (it restarted meanwhile), DeviceHang (silence, HELLO included), LinkError
        (garbage, babble, or no answer although HELLO is answered). A batch that raises nothing may still have met a restarted
        device: nothing in it counts before `check_session`.
        """
        try:
            return self._requests(batch)
        except DeviceRefused:
            if self.session is not None:
                self.check_session()  # a device that has restarted lacks what the request stands on
            raise

    def check_session(self) -> None:
        """Raises DeviceReset where the session is over: faults and inputs are gone, what came since the last check is void.

        It goes on raising until the next `begin`, so that nobody measures a faulty model that has lost its faults. Raises LinkError
        where no session has begun since `greet`, as after a reset that failed half-way.
        """
        if self.session is None:
            raise LinkError("the device is in no session, as after a reset that failed: nothing it says can be checked; call reset()")
        self._check(self._answered_hello())

    def confirm(self, hello: bytes) -> None:
        """Raises as `check_session` where the payload of a HELLO says another session or start than this one."""
        self._check(_unpack_hello(hello))

    def held(self) -> Hello:
        """HELLO within the session: what the device says that it holds. Raises as `check_session` does."""
        self.check_session()
        return self._answered_hello()

    def _requests(self, batch: Sequence[Request]) -> list[bytes]:
        replies = []
        for first in range(0, len(batch), self.link.depth):
            sent = [self._number(r) for r in batch[first : first + self.link.depth]]
            answered = self._pipeline(sent)
            # Whatever the first pass left unanswered is done again in order: later requests may have run without it.
            replies += answered + [self._insist(s) for s in sent[len(answered) :]]
        return replies

    def _check(self, hello: Hello) -> None:
        if self.session is None or (hello.session, hello.boot_counter) == (self.session, self._boots):
            return
        if hello.session not in (0, self.session):
            raise DevicePowerLoss("another host has begun a session with this device; its faults are gone, see who uses it, call reset()")
        kind = DevicePowerLoss if hello.reset_cause in OUTSIDE else DeviceReset
        raise kind(
            f"the device restarted by itself ({_cause(hello)}; boot counter {self._boots} -> {hello.boot_counter}); "
            "its faults and inputs are gone; call reset() and repeat"
        )

    def _number(self, request: Request) -> _Sent:
        self._seq = (self._seq + 1) & 0xFFFF
        return _Sent(request, self._seq, frames.encode(request.verb, self._seq, request.payload))

    def _pipeline(self, sent: Sequence[_Sent]) -> list[bytes]:
        for one in sent:
            self.link.write(one.data)
        replies = []
        for one in sent:
            reply = self._await(one)
            if reply is None:
                break
            replies.append(reply)
        return replies

    def _insist(self, sent: _Sent) -> bytes:
        heard = 0
        for _ in range(self.attempts - 1):
            self.retried += 1
            self.link.write(sent.data)
            reply = self._await(sent)
            if reply is not None:
                return reply
            heard += self._heard
        name = sent.request.verb.name
        hello = self._hello()
        if hello is None and not heard + self._heard:
            raise DeviceHang(f"no answer to {name} nor to HELLO within their time-outs; reset the device")
        if hello is None:
            raise LinkError(f"{name}: {heard + self._heard} bytes came back, no reply among them; check baud rate and cable")
        self._check(hello)
        raise LinkError(f"HELLO is answered, {name} is not, in {self.attempts} attempts; the link or the firmware drops long frames")

    def _answered_hello(self) -> Hello:
        hello = self._hello()
        if hello is None:
            heard = f"{self._heard} bytes came, no reply among them" if self._heard else "nothing came back"
            raise LinkError(f"no answer to HELLO in {self.attempts} attempts: {heard}; check port, baud rate, power, and what is flashed")
        return hello

    def _hello(self) -> Hello | None:
        heard = 0
        for _ in range(self.attempts):
            self._discard_arrived()
            sent = self._number(Request(Verb.HELLO))
            self.link.write(sent.data)
            payload = self._await(sent)
            heard += self._heard
            if payload is not None:
                return _unpack_hello(payload)
        self._heard = heard
        return None

    def _discard_arrived(self) -> None:
        self._arrived.clear()
        self.decoder.clear()

    def _await(self, sent: _Sent) -> bytes | None:
        """The payload of the reply to `sent`; None at its time-out. Stale, doubled and foreign frames are passed over."""
        self._heard = 0
        for frame in self._frames(self.timeouts.of(sent.request.verb)):
            if frame.seq != sent.seq or frame.kind not in (sent.request.verb | REPLY, Verb.ERROR | REPLY):
                continue
            if frame.version != VERSION:
                raise _other_version(frame.version)
            if frame.kind == Verb.ERROR | REPLY:
                raise _refused(sent.request.verb, frame.payload)
            if frame.payload and sent.request.verb in WITHOUT_REPLY:
                raise LinkError(f"the reply to {sent.request.verb.name} carries {len(frame.payload)} bytes; flash firmware of this release")
            return frame.payload
        return None

    def _frames(self, timeout_s: float) -> Iterator[frames.Frame]:
        deadline = self.link.now() + timeout_s
        while True:
            while self._arrived:
                yield self._arrived.popleft()
            left = deadline - self.link.now()
            data = self.link.read(left) if left > 0 else b""
            if not data:
                return
            self._heard += len(data)
            if self._heard > BABBLE_BYTES * self.link.depth:
                raise LinkError(f"the device babbles: {self._heard} bytes and no reply among them; reset it, then check what it runs")
            self._arrived.extend(self.decoder.feed(data))


def _other_version(version: int) -> DeviceRefused:
    """The error where a device speaks another protocol."""
    return DeviceRefused(
        f"the device speaks protocol {version}, this release {VERSION}; flash firmware of this release", ErrorCode.BAD_VERSION
    )


def _unpack_hello(payload: bytes) -> Hello:
    if payload and payload[0] != VERSION:
        raise _other_version(payload[0])
    try:
        return Hello.unpack(payload)
    except struct.error as error:
        raise DeviceRefused(f"its HELLO has {len(payload)} bytes, not those of this protocol; flash firmware of this release") from error


def _cause(hello: Hello) -> str:
    known = hello.reset_cause in ResetCause._value2member_map_
    return f"reset cause {ResetCause(hello.reset_cause).name.lower() if known else hello.reset_cause}"


def _refused(verb: Verb, payload: bytes) -> DeviceError:
    if len(payload) != ERROR_REPLY.size:
        return DeviceRefused(f"{verb.name} was refused with a malformed error reply of {len(payload)} bytes")
    code, detail = ERROR_REPLY.unpack(payload)
    if code == ErrorCode.MEMORY:
        return DeviceDetected(WRONG_WORDS)
    name = ErrorCode(code).name.lower() if code in ErrorCode._value2member_map_ else f"error code {code}"
    return DeviceRefused(f"{verb.name} was refused: {name}, detail {detail}", code, detail)
