"""The host's side of the wire protocol over any byte stream: retries, replays, and names for what went wrong.

Enters: a `Link` (a wire, an emulated UART, a scripted fake) and requests. Leaves: checked reply payloads, in order.
A request that gets no good answer is sent again, byte for byte: a device that had executed it replays its reply
(docs/protocol.md). A device that restarted by itself is found out by the boot counter in HELLO.
"""

from __future__ import annotations

import struct
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgechaos.devices import frames
from edgechaos.errors import DeviceHang, DeviceRefused, DeviceReset, LinkError
from edgechaos.firmware_gen.protocol import ERROR_REPLY, REPLY, ErrorCode, Hello, Verb

BABBLE_BYTES = 4 * frames.MAX_FRAME
"""More bytes than this without the reply that is awaited is babble: no queue of stale replies is as long."""


class Link(ABC):
    """A byte stream to a device. `window`: how many frames it queues by itself, handing the device one at a time."""

    window: int = 1

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

    `boot_counter` is the device's at the last `greet`; `retried` counts requests that were sent again.
    """

    def __init__(self, link: Link, timeouts: Timeouts = DEFAULT_TIMEOUTS, attempts: int = 3) -> None:
        self.link = link
        self.timeouts = timeouts
        self.attempts = attempts
        self.decoder = frames.FrameDecoder()
        self.boot_counter: int | None = None
        self.retried = 0
        self._seq = 0
        self._arrived: deque[frames.Frame] = deque()
        self._heard = 0

    def greet(self) -> Hello:
        """Say HELLO and remember the boot counter. The device forgets the reply it would replay.

        Raises LinkError where nobody answers, DeviceRefused where the answer is not a HELLO of this protocol.
        """
        hello = self._answered_hello()
        self.boot_counter = hello.boot_counter
        return hello

    def request(self, verb: Verb, payload: bytes = b"") -> bytes:
        """One request; errors as for `requests`."""
        return self.requests([Request(verb, payload)])[0]

    def requests(self, batch: Sequence[Request]) -> list[bytes]:
        """The reply payloads of a batch, executed in order.

        Raises DeviceRefused (an error reply), DeviceReset (it restarted meanwhile), DeviceHang (silence, HELLO included), LinkError
        (garbage, babble, or no answer although HELLO is answered).
        """
        replies = []
        for first in range(0, len(batch), self.link.window):
            sent = [self._number(r) for r in batch[first : first + self.link.window]]
            answered = self._pipeline(sent)
            # Whatever the first pass left unanswered is done again in order: later requests may have run without it.
            replies += answered + [self._insist(s) for s in sent[len(answered) :]]
        return replies

    def check_boot(self) -> None:
        """Raises DeviceReset where the device has restarted since `greet`: faults and inputs are gone, results are void.

        It goes on raising until the next `greet`, so that nobody measures a faulty model that has lost its faults.
        """
        hello = self._answered_hello()
        if self.boot_counter is not None and hello.boot_counter != self.boot_counter:
            raise _restarted(hello, self.boot_counter)

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
        expected, name = self.boot_counter, sent.request.verb.name
        hello = self._hello()
        if hello is None and not heard + self._heard:
            raise DeviceHang(f"no answer to {name} nor to HELLO within their time-outs; reset the device")
        if hello is None:
            raise LinkError(f"{name}: {heard + self._heard} bytes came back, no reply among them; check baud rate and cable")
        if expected is not None and hello.boot_counter != expected:
            raise _restarted(hello, expected)
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
            if frame.seq != sent.seq:
                continue
            if frame.kind == Verb.ERROR | REPLY:
                raise _refused(sent.request.verb, frame.payload)
            if frame.kind == sent.request.verb | REPLY:
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
            if self._heard > BABBLE_BYTES * self.link.window:
                raise LinkError(f"the device babbles: {self._heard} bytes and no reply among them; reset it, then check what it runs")
            self._arrived.extend(self.decoder.feed(data))


def _unpack_hello(payload: bytes) -> Hello:
    try:
        return Hello.unpack(payload)
    except struct.error as error:
        raise DeviceRefused(f"its HELLO has {len(payload)} bytes, not those of this protocol; flash firmware of this release") from error


def _restarted(hello: Hello, expected: int) -> DeviceReset:
    return DeviceReset(
        f"the device restarted by itself (boot counter {expected} -> {hello.boot_counter}, reset cause {hello.reset_cause}); "
        "its faults and inputs are gone; call reset() and repeat"
    )


def _refused(verb: Verb, payload: bytes) -> DeviceRefused:
    if len(payload) != ERROR_REPLY.size:
        return DeviceRefused(f"{verb.name} was refused with a malformed error reply of {len(payload)} bytes")
    code, detail = ERROR_REPLY.unpack(payload)
    name = ErrorCode(code).name.lower() if code in ErrorCode._value2member_map_ else f"error code {code}"
    return DeviceRefused(f"{verb.name} was refused: {name}, detail {detail}", code)
