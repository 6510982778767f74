"""Replies that no device of this protocol sends: each is named, whatever it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from edgechaos.devices.fakes.board import FakeBoard
from edgechaos.devices.fakes.device import FakeDevice
from edgechaos.devices.protocol.client import Client, Link, Request, Timeouts, _refused
from edgechaos.devices.protocol.device import LEAST_PAYLOAD, _unpack
from edgechaos.devices.protocol.frames import MAX_PAYLOAD, Frame, FrameDecoder
from edgechaos.firmware_gen.protocol import (
    BIAS_INPUT,
    COUNTERS_REPLY,
    ERROR_REPLY,
    INFER_HEAD,
    INPUT_HEAD,
    REPLY,
    RESULT_HEAD,
    VERSION,
    ErrorCode,
    Level,
    ResetCause,
    Verb,
)
from edgechaos.support.errors import DeviceHang, DeviceReset, LinkError, ShapeError
from tests.helpers.graphs import chaos_graph, codes_for


def test_an_error_code_has_its_name_or_its_number() -> None:
    known = _refused(Verb.INFER, ERROR_REPLY.pack(ErrorCode.BAD_VERSION, 3))
    assert str(known) == "INFER was refused: bad_version, detail 3"
    unknown = _refused(Verb.INFER, ERROR_REPLY.pack(255, 3))
    assert str(unknown) == "INFER was refused: error code 255, detail 3"


@pytest.mark.parametrize("size", [0, COUNTERS_REPLY.size - 1, COUNTERS_REPLY.size + 1])
def test_counters_of_another_length_are_a_link_error(size: int) -> None:
    with pytest.raises(LinkError, match=rf"the reply to COUNTERS has {size} bytes, not {COUNTERS_REPLY.size}"):
        _unpack(COUNTERS_REPLY, bytes(size), "COUNTERS")


class Wire(Link):
    """Gives `noise` after every frame that is written, and nothing more."""

    def __init__(self, noise: bytes) -> None:
        self.noise, self.pending, self.written = noise, b"", list[Frame]()

    def write(self, data: bytes) -> None:
        (frame,) = FrameDecoder().feed(data)
        self.written.append(frame)
        self.pending = self.noise

    def read(self, timeout_s: float) -> bytes:
        data, self.pending = self.pending, b""
        return data

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_noise_is_no_silence(attempts: int) -> None:
    """Of the request all attempts but the first are counted, of HELLO all."""
    noisy, silent = Wire(b"\x55\x66\x77"), Wire(b"")
    with pytest.raises(LinkError, match=rf"^COUNTERS: {3 * (2 * attempts - 1)} bytes came back, no reply among them"):
        Client(noisy, attempts=attempts).request(Verb.COUNTERS)
    with pytest.raises(DeviceHang, match=r"^no answer to COUNTERS nor to HELLO"):
        Client(silent, attempts=attempts).request(Verb.COUNTERS)
    for wire in (noisy, silent):
        assert [f.kind for f in wire.written] == [Verb.COUNTERS] * attempts + [Verb.HELLO] * attempts
    for wire, heard in ((Wire(b"\x55\x66"), f"{2 * attempts} bytes came"), (Wire(b""), "nothing came back")):
        with pytest.raises(LinkError, match=f"^no answer to HELLO in {attempts} attempts: {heard}"):
            Client(wire, attempts=attempts).greet()


@pytest.mark.parametrize(
    ("noise", "message"), [(263_216, "bytes came back, no reply among them"), (263_217, "the device babbles: 263217 bytes")]
)
def test_four_of_the_longest_frames_are_no_babble(noise: int, message: str) -> None:
    """65,804 bytes each: 65,535 of payload, 10 around them, 258 and one that COBS adds."""
    with pytest.raises(LinkError, match=message):
        Client(Wire(b"\x55" * noise), attempts=1).request(Verb.COUNTERS)


@pytest.mark.parametrize(("verb", "wait"), [(Verb.HELLO, 2.0), (Verb.INFER, 5.0), (Verb.COUNTERS, 3.0)])
def test_each_verb_waits_as_long_as_it_may_take(verb: Verb, wait: float) -> None:
    assert Timeouts(hello_s=2.0, request_s=3.0, infer_s=5.0).of(verb) == wait
    assert (Timeouts().hello_s, Timeouts().request_s, Timeouts().infer_s) == (1.0, 1.0, 10.0)


@pytest.mark.parametrize(
    ("payload", "inputs", "logits"),
    [
        (131, [(0, 124), (124, 124), (248, 52)], [30, 62, 94]),
        (132, [(0, 128), (128, 128), (256, 44)], [30, 63, 96]),
        (304, [(0, 300)], [73]),
        (303, [(0, 296), (296, 4)], [73]),
        (410, [(0, 300)], []),
        (409, [(0, 300)], [99]),
    ],
)
def test_an_item_is_cut_into_whole_words_and_full_frames(payload: int, inputs: list[tuple[int, int]], logits: list[int]) -> None:
    """300 codes and 100 logits: 4 bytes of offset before codes, 10 before the first logits of a reply."""
    graph = chaos_graph(sizes=(300, 2, 100))
    hello = replace(FakeBoard(graph).hello, max_payload=payload)
    codes = bytes(k % 251 for k in range(300))
    found = list(FakeDevice(graph)._infer_requests(hello, graph.head(), codes, 7, 9))
    wanted = [Request(Verb.INPUT, INPUT_HEAD.pack(at) + codes[at : at + size]) for at, size in inputs]
    wanted += [Request(Verb.INFER, INFER_HEAD.pack(0, 7, 9, 1)), *(Request(Verb.RESULT, RESULT_HEAD.pack(first)) for first in logits)]
    assert found == wanted


GRAPH = chaos_graph()
ITEM = codes_for(GRAPH, 1, 4)


def opened() -> FakeDevice:
    device = FakeDevice(GRAPH, timeouts=Timeouts(infer_s=3.0))
    device.open()
    return device


def test_one_item_many_times() -> None:
    """One INFER of so many inferences from sample 0 on, which may take so many times as long as one; then all is as before."""
    device = opened()
    client, waited = device._opened().client, list[float]()
    usual, requests = client.timeouts, client.requests

    def watched(batch: Sequence[Request]) -> list[bytes]:
        waited.append(client.timeouts.infer_s)
        return requests(batch)

    client.requests = watched  # type: ignore[method-assign]
    device.repeat(ITEM, 5, seed=7)
    device.repeat(ITEM, 1)
    assert waited == [15.0, 3.0]
    assert client.timeouts == usual
    sent = [INFER_HEAD.unpack(f.payload) for f in device.link.requests if f.kind == Verb.INFER]
    assert sent == [(0, 7, 0, 5), (0, 0, 0, 1)]
    assert device.counters().inferences == 6
    client.requests = lambda batch: []  # type: ignore[method-assign]
    device.repeat(ITEM, 2**32 - 1)
    with pytest.raises(ShapeError, match="head 'main' takes int8"):
        device.repeat(ITEM.astype(np.int16), 1)
    for items, times in ((ITEM, 0), (ITEM, 2**32), (ITEM[:0], 1), (np.repeat(ITEM, 2, axis=0), 1)):
        with pytest.raises(ShapeError, match=rf"^repeat takes one item and 1 to 4294967295 times, not {len(items)} items {times} times"):
            device.repeat(items, times)


def test_a_restart_between_repeated_inferences_is_found() -> None:
    device = opened()
    device.link.script.extend(["ok", "ok", "reset"])  # INPUT, INFER, then HELLO
    with pytest.raises(DeviceReset, match="restarted by itself"):
        device.repeat(ITEM, 2)


def test_numbers_on_the_wire() -> None:
    """A host and a device of different releases agree on them."""
    verbs = {"HELLO": 1, "SET": 2, "PATCH": 3, "CLEAR": 4, "INFER": 5, "INPUT": 6, "RESULT": 7, "STATE_HASH": 8, "COUNTERS": 9}
    assert {v.name: int(v) for v in Verb} == {**verbs, "RESET": 10, "PARAM": 11, "SESSION": 12, "COMMIT": 13, "ERROR": 127}
    codes = ("BAD_VERSION", "BAD_VERB", "BAD_LENGTH", "OUT_OF_RANGE", "NO_SPACE", "NO_RESULT", "FAULTS_COMPILED_OUT", "REFUSED", "MEMORY")
    assert {c.name: int(c) for c in ErrorCode} == {name: number for number, name in enumerate(codes, 1)}
    assert {level.name: int(level) for level in Level} == {"MODEL": 1, "MEMORY": 2, "MACHINE": 4, "LINK": 8}
    causes = {"POWER_ON": 0, "SOFTWARE": 1, "WATCHDOG": 2, "FAULT": 3, "PIN": 4, "UNKNOWN": 255}
    assert {c.name: int(c) for c in ResetCause} == causes
    assert (VERSION, REPLY, BIAS_INPUT, MAX_PAYLOAD, LEAST_PAYLOAD) == (3, 0x80, 0xFFFF, 65535, 116)


class Slow(Wire):
    """A byte of noise after 0.4 s, again and again."""

    def __init__(self) -> None:
        super().__init__(b"")
        self.clock_s = 0.0
        self.waited = list[float]()

    def read(self, timeout_s: float) -> bytes:
        self.waited.append(timeout_s)
        self.clock_s += 0.4
        return b"\x55"

    def now(self) -> float:
        return self.clock_s


def test_nobody_looks_once_the_time_is_up() -> None:
    """At 0, 0.4 and 0.8 of one second, of the request and of HELLO."""
    slow = Slow()
    with pytest.raises(LinkError, match="bytes came back"):
        Client(slow, Timeouts(hello_s=1.0, request_s=1.0), attempts=1).request(Verb.COUNTERS)
    assert slow.waited == pytest.approx([1.0, 0.6, 0.2] * 2)
