"""Who speaks with whom: HELLO, versions, sessions, several hosts, and what a device says of itself that is not believed."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import pytest
from cobs import cobs

from edgechaos.devices.fakes.board import FakeBoard
from edgechaos.devices.fakes.device import FakeDevice, Misbehavior
from edgechaos.devices.protocol.frames import Frame, FrameDecoder, encode
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.firmware_gen.protocol import ERROR_REPLY, REPLY, ErrorCode, Hello, Level, Verb
from edgechaos.support.errors import (
    DevicePowerLoss,
    DeviceRefused,
    LinkError,
)
from tests.devices.test_link import CODES, GRAPH, is_right, opened


def test_two_hosts_on_one_board() -> None:
    board = FakeBoard(GRAPH)
    first, second = FakeDevice(GRAPH, board=board), FakeDevice(GRAPH, board=board)
    first.open()
    first.inject(resolve(GRAPH, FaultPlan((StuckAtOne(rate=0.5),))))
    second.open()
    assert is_right(second), "what a killed host has left does not reach the next"
    with pytest.raises(DevicePowerLoss, match="another host has begun a session"):
        first.infer(CODES)
    assert board.hello.session != 0


def test_a_session_has_a_number_of_its_own() -> None:
    board, seen = FakeBoard(GRAPH), set[int]()
    device = FakeDevice(GRAPH, board=board)
    for _ in range(5):
        device.open()
        seen.add(board.hello.session)
        device.close()
    device.open()
    device.reset()
    seen.add(board.hello.session)
    assert len(seen) == 6
    assert 0 not in seen


@pytest.mark.parametrize("largest", [False, True])
def test_a_session_may_have_any_number_of_64_bits_but_0(largest: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda bound: bound - 1 if largest else 0)
    board = FakeBoard(GRAPH)
    FakeDevice(GRAPH, board=board).open()
    assert board.hello.session == (2**64 - 1 if largest else 1)


def test_a_device_that_forgets_its_session_is_not_opened() -> None:
    board = FakeBoard(GRAPH)
    answer = board.answer

    def forgetful(frame: Frame) -> bytes:
        reply = answer(frame)
        board.hello = replace(board.hello, session=0)
        return reply

    board.answer = forgetful  # type: ignore[method-assign]
    with pytest.raises(LinkError, match="it restarted just then"):
        FakeDevice(GRAPH, board=board).open()


def test_firmware_of_the_first_protocol_is_refused_by_name() -> None:
    device = FakeDevice(GRAPH, board=FakeBoard(GRAPH, version=1))
    with pytest.raises(DeviceRefused, match="the device speaks protocol 1, this release 3; flash firmware of this release") as refused:
        device.open()
    assert refused.value.code == ErrorCode.BAD_VERSION
    assert device.link.closed == 1
    # What the C server of that release sends for a HELLO of this one: version 1, type 0xFF, code 1, detail 2.
    raw = bytes([1, 0xFF, 1, 0, 5, 0, 1, 2, 0, 0, 0])
    device.link.board.answer = lambda frame: b"\0" + cobs.encode(raw + zlib.crc32(raw).to_bytes(4, "little")) + b"\0"  # type: ignore[method-assign]
    with pytest.raises(DeviceRefused, match="the device speaks protocol 1"):
        FakeDevice(GRAPH, board=device.link.board).open()


@pytest.mark.parametrize("size", [1, 102, 110, 200])
def test_a_hello_of_another_version_is_named_whatever_its_length(size: int) -> None:
    board = FakeBoard(GRAPH)
    board._hello = lambda payload: bytes([4]) + bytes(size - 1)  # type: ignore[method-assign]
    board.answer = lambda frame: encode(frame.kind | REPLY, frame.seq, board._hello(b""))  # type: ignore[method-assign]
    with pytest.raises(DeviceRefused, match="the device speaks protocol 4, this release 3; flash firmware of this release"):
        FakeDevice(GRAPH, board=board).open()


def test_a_device_that_answers_hello_and_nothing_else() -> None:
    device = opened()
    respond = device.link._respond

    def deaf(frame: Frame) -> bytes:
        return respond(frame) if frame.kind == Verb.HELLO else b""

    device.link._respond = deaf  # type: ignore[method-assign]
    with pytest.raises(LinkError, match="HELLO is answered, INPUT is not, in 3 attempts"):
        device.infer(CODES)


def test_a_host_of_the_first_protocol_is_refused_by_number() -> None:
    reply = FakeBoard(GRAPH).answer(Frame(1, Verb.HELLO, 7, b"", 0))
    (frame,) = FrameDecoder().feed(reply)
    assert (frame.kind, frame.seq) == (Verb.ERROR | REPLY, 7)
    assert ERROR_REPLY.unpack(frame.payload) == (ErrorCode.BAD_VERSION, 1)


def test_levels_that_this_release_does_not_know_are_kept_and_mean_nothing() -> None:
    board = FakeBoard(GRAPH, levels=Level(0xFFFFFFFF))
    hello = Hello.unpack(board._hello(b""))
    assert int(hello.levels) == 0xFFFFFFFF
    assert hello.levels.names == {"model", "memory", "machine", "link"}
    assert FakeDevice(GRAPH, board=board).open().levels == {"model", "link"}, "the wire has verbs for no other; the link is the transport's"
    board = FakeBoard(GRAPH, levels=Level(0xFFFFFFF0))
    assert FakeDevice(GRAPH, board=board).open().levels == {"link"}


@pytest.mark.parametrize("lie", [{"slots": 3}, {"slots_crc": 1}])
def test_another_table_of_slots_is_refused(lie: dict[str, int]) -> None:
    board = FakeBoard(GRAPH)
    board.hello = replace(board.hello, **lie)  # type: ignore[arg-type]
    with pytest.raises(DeviceRefused, match=r"device 'fake' has \d+ fault slots \(table 0x.*build and flash firmware of this release"):
        FakeDevice(GRAPH, board=board).open()
    board.hello = replace(board.hello, levels=Level(0))
    assert FakeDevice(GRAPH, board=board).open().levels == {"link"}, "without hooks there is no table"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (["silence"] * 3, "nothing came back"),
        (["garbage"] * 3, "bytes came"),
        (["babble"], "babbles"),
        (["malformed"], "not those of this protocol"),
    ],
)
def test_a_device_that_cannot_say_hello(script: list[Misbehavior], message: str) -> None:
    device = FakeDevice(GRAPH, script)
    with pytest.raises((LinkError, DeviceRefused), match=message):
        device.open()
    assert device.link.closed == 1, "the link is released"


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        ({"protocol": 9}, "speaks protocol 9, this release 3; flash firmware of this release"),
        ({"protocol": 1}, "speaks protocol 1, this release 3"),
        ({"random_id": 7}, "other random words"),
        ({"model_hash": b"\x1b[31m" + bytes(27)}, "holds model 1b5b33316d00"),
        ({"max_payload": 0}, "takes 0 bytes"),
        ({"max_payload": 20}, "takes 20 bytes"),
        ({"max_payload": 109}, "takes 109 bytes"),
    ],
)
def test_a_hostile_hello_is_refused(lie: dict[str, Any], message: str) -> None:
    board = FakeBoard(GRAPH)
    board.hello = replace(board.hello, **lie)
    with pytest.raises(DeviceRefused, match=message):
        FakeDevice(GRAPH, board=board).open()


def test_what_hello_says_reaches_no_terminal_raw() -> None:
    board = FakeBoard(GRAPH, uid=b"\x1b]0;owned\x07" + bytes(6))
    board.hello = replace(board.hello, reset_cause=77)
    info = FakeDevice(GRAPH, board=board).open()
    assert info.uid == "1b5d303b6f776e656407000000000000"
    assert info.reset_cause == "code 77"


def test_hello_is_said_anew_each_time() -> None:
    device = FakeDevice(GRAPH, ["silence"])
    device.open()
    seqs = [f.seq for f in device.link.requests if f.kind == Verb.HELLO]
    assert len(seqs) == len(set(seqs)) == 3
