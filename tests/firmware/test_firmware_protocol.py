"""The device's side of the protocol through the server over memory: verbs, replay, resynchronisation, refusals, garbage."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cobs import cobs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgechaos import reference
from edgechaos.arithmetic.random_bits import RANDOM_ID
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.firmware_gen import protocol
from edgechaos.firmware_gen.compilers.c.generate import HOST_PATCHES, HOST_PAYLOAD, generate
from edgechaos.firmware_gen.plan.slots import placed_slots, slots_crc
from edgechaos.firmware_gen.protocol import ErrorCode, Hello, Level, Verb
from edgechaos.graph.artifact import content_hash
from edgechaos.graph.tensors import Constant
from tests.helpers.firmware_host import HostLibrary, library, setting
from tests.helpers.graphs import chaos_graph, codes_for

GRAPH = chaos_graph(sizes=(12, 8, 6, 4))
SLOTS = len(placed_slots(GRAPH))
CLASSES = 4


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("protocol")
    library(GRAPH, folder).close()
    return next(folder.glob("*.so"))


@pytest.fixture
def host(built: Path) -> Iterator[HostLibrary]:
    instance = HostLibrary(GRAPH, built)
    yield instance
    instance.close()


def frame(verb: int, payload: bytes = b"", seq: int = 1, version: int = protocol.VERSION) -> bytes:
    raw = protocol.FRAME_HEAD.pack(version, verb, seq, len(payload)) + payload
    return b"\0" + cobs.encode(raw + protocol.CRC.pack(zlib.crc32(raw))) + b"\0"


def replies(data: bytes) -> list[tuple[int, int, bytes]]:
    """(type, seq, payload) of every frame, each checked."""
    found = []
    for piece in filter(None, data.split(b"\0")):
        raw = cobs.decode(piece)
        assert zlib.crc32(raw[:-4]) == protocol.CRC.unpack(raw[-4:])[0]
        version, kind, seq, length = protocol.FRAME_HEAD.unpack(raw[:6])
        assert version == protocol.VERSION
        assert length == len(raw) - 10
        found.append((kind, seq, raw[6:-4]))
    return found


def ask(host: HostLibrary, verb: int, payload: bytes = b"", seq: int = 1) -> bytes:
    """The payload of the one good reply."""
    (reply,) = replies(host.exchange(frame(verb, payload, seq)))
    assert reply[:2] == (verb | protocol.REPLY, seq)
    return reply[2]


def refused(host: HostLibrary, verb: int, payload: bytes = b"", version: int = protocol.VERSION) -> tuple[ErrorCode, int]:
    """(code, detail) of the one error reply."""
    ((kind, _, body),) = replies(host.exchange(frame(verb, payload, seq=9, version=version)))
    assert kind == Verb.ERROR | protocol.REPLY
    code, detail = protocol.ERROR_REPLY.unpack(body)
    return ErrorCode(code), detail


def infer(head: int = 0, seed: int = 3, sample: int = 7, count: int = 1) -> bytes:
    return protocol.INFER_HEAD.pack(head, seed, sample, count)


def test_hello_says_who_it_is(host: HostLibrary) -> None:
    hello = Hello.unpack(ask(host, Verb.HELLO))
    assert (hello.protocol, hello.random_id, hello.max_payload) == (protocol.VERSION, RANDOM_ID, HOST_PAYLOAD)
    assert hello.levels == Level.MODEL
    assert (hello.slots, hello.slots_crc) == (SLOTS, slots_crc(placed_slots(GRAPH)))
    assert hello.patch_capacity == HOST_PATCHES
    assert hello.model_hash.hex() == content_hash(GRAPH)
    assert hello.firmware_hash.hex() == generate(GRAPH, None).firmware_hash
    assert (hello.timer_hz, hello.uid, hello.boot_counter, hello.reset_cause) == (0, b"host".ljust(16, b"\0"), 1, 0)
    host.restart(cause=3)
    again = Hello.unpack(ask(host, Verb.HELLO))
    assert (again.boot_counter, again.reset_cause) == (2, 3)


def test_inference_and_results(host: HostLibrary) -> None:
    codes = codes_for(GRAPH, 1, 4)
    data = codes[0].tobytes()
    ask(host, Verb.INPUT, protocol.INPUT_HEAD.pack(0) + data[:5])
    ask(host, Verb.INPUT, protocol.INPUT_HEAD.pack(5) + data[5:], seq=2)
    reply = ask(host, Verb.INFER, infer(count=3), seq=3)
    wanted = reference.run(GRAPH, codes, seed=3, samples=[9])  # the last of samples 7, 8, 9
    assert protocol.INFER_REPLY.unpack(reply[:10]) == (wanted.labels[0], 0)
    np.testing.assert_array_equal(np.frombuffer(reply[10:], "<i4"), wanted.logits[0])
    np.testing.assert_array_equal(np.frombuffer(ask(host, Verb.RESULT, struct.pack("<H", 1), seq=4), "<i4"), wanted.logits[0, 1:])
    assert ask(host, Verb.STATE_HASH, seq=5) == struct.pack("<I", host.state_hash())
    counted = protocol.COUNTERS_REPLY.unpack(ask(host, Verb.COUNTERS, seq=6))
    assert counted == (3, 6, 0, 0, 0)


def test_a_repeated_request_is_replayed_and_not_performed_again(host: HostLibrary) -> None:
    request = frame(Verb.INFER, infer(), seq=5)
    assert host.exchange(request) == host.exchange(request)
    inferences, _, _, replayed, _ = protocol.COUNTERS_REPLY.unpack(ask(host, Verb.COUNTERS, seq=6))
    assert (inferences, replayed) == (1, 1)


def test_the_same_number_with_another_content_is_a_new_request(host: HostLibrary) -> None:
    host.exchange(frame(Verb.INFER, infer(sample=1), seq=5))
    host.exchange(frame(Verb.INFER, infer(sample=2), seq=5))
    assert protocol.COUNTERS_REPLY.unpack(ask(host, Verb.COUNTERS, seq=6))[0] == 2


def test_hello_is_never_replayed_and_clears_the_cache(host: HostLibrary) -> None:
    request = frame(Verb.INFER, infer(), seq=5)
    host.exchange(request)
    host.exchange(frame(Verb.HELLO, seq=5))
    host.exchange(frame(Verb.HELLO, seq=5))
    host.exchange(request)
    counted = protocol.COUNTERS_REPLY.unpack(ask(host, Verb.COUNTERS, seq=6))
    assert (counted[0], counted[3]) == (2, 0)


def test_refusals_are_replayed_too(host: HostLibrary) -> None:
    request = frame(Verb.RESULT, struct.pack("<H", 0), seq=5)
    assert host.exchange(request) == host.exchange(request)


@pytest.mark.parametrize(
    ("verb", "payload", "code", "detail"),
    [
        (0x33, b"", ErrorCode.BAD_VERB, 0x33),
        (0x33, b"x", ErrorCode.BAD_VERB, 0x33),
        (0, b"x", ErrorCode.BAD_VERB, 0),
        (Verb.ERROR, b"", ErrorCode.BAD_VERB, 0x7F),
        (Verb.HELLO, b"x", ErrorCode.BAD_LENGTH, 1),
        (Verb.INFER, b"", ErrorCode.BAD_LENGTH, 0),
        (Verb.INFER, infer(head=1), ErrorCode.OUT_OF_RANGE, 1),
        (Verb.INFER, infer(count=0), ErrorCode.OUT_OF_RANGE, 0),
        (Verb.RESULT, b"\0\0", ErrorCode.NO_RESULT, 2),
        (Verb.STATE_HASH, b"", ErrorCode.NO_RESULT, 0),
        (Verb.INPUT, struct.pack("<I", 12) + b"x", ErrorCode.OUT_OF_RANGE, 12),
        (Verb.INPUT, struct.pack("<I", 2**32 - 1) + b"xx", ErrorCode.OUT_OF_RANGE, 2**32 - 1),
        (Verb.SET, b"\0\0\0", ErrorCode.BAD_LENGTH, 3),
        (Verb.SET, protocol.SET_HEAD.pack(SLOTS, 0), ErrorCode.OUT_OF_RANGE, SLOTS),
        (Verb.SET, protocol.SET_HEAD.pack(65535, 0) + b"\1", ErrorCode.OUT_OF_RANGE, 65535),
        (Verb.SET, setting(GRAPH, "cortex0", "dead", b"\1", 8), ErrorCode.OUT_OF_RANGE, 16),
        (Verb.SET, setting(GRAPH, "cortex0", "dead", b"\1\1"), ErrorCode.OUT_OF_RANGE, 16),
        (Verb.SET, setting(GRAPH, "cortex0", "dead", b"\1", 3), ErrorCode.OUT_OF_RANGE, 3),
        (Verb.SET, setting(GRAPH, "cortex0", "stuck", b"\1", 65528), ErrorCode.OUT_OF_RANGE, 65536),
        (Verb.SET, setting(GRAPH, "cortex0", "fail_q", b"xx"), ErrorCode.BAD_LENGTH, 2),
        (Verb.SET, setting(GRAPH, "cortex0", "fail_q", struct.pack("<I", 65537)), ErrorCode.OUT_OF_RANGE, 65537),
        (Verb.SET, setting(GRAPH, "cortex0", "fail_q", struct.pack("<I", 2**32 - 1)), ErrorCode.OUT_OF_RANGE, 2**32 - 1),
        (Verb.SET, setting(GRAPH, "cortex0", "fail_q", struct.pack("<II", 0, 0)), ErrorCode.OUT_OF_RANGE, 2),
        (Verb.SET, setting(GRAPH, "cortex0", "threshold", struct.pack("<i", 0), 8), ErrorCode.OUT_OF_RANGE, 9),
        (Verb.PATCH, b"xx", ErrorCode.BAD_LENGTH, 2),
    ],
)
def test_what_a_device_refuses(host: HostLibrary, verb: int, payload: bytes, code: ErrorCode, detail: int) -> None:
    assert refused(host, verb, payload) == (code, detail)


@pytest.mark.parametrize("verb", [Verb.HELLO, Verb.INFER, Verb.SESSION])
@pytest.mark.parametrize("version", [0, 1, 2, 4, 255])
def test_another_version_is_refused(host: HostLibrary, version: int, verb: Verb) -> None:
    """In a frame of this version, which `replies` checks: that names it to a host that knows another."""
    assert refused(host, verb, version=version) == (ErrorCode.BAD_VERSION, version)


def session_of(host: HostLibrary, seq: int = 90) -> int:
    return Hello.unpack(ask(host, Verb.HELLO, seq=seq)).session


def test_a_session_lasts_until_a_restart(host: HostLibrary) -> None:
    assert session_of(host) == 0
    for number in (1, 2**64 - 1, 0x0100000000000000):
        ask(host, Verb.SESSION, protocol.SESSION.pack(number), seq=number & 0xFF)
        assert session_of(host) == number
        ask(host, Verb.CLEAR, seq=70)
        host.exchange(frame(Verb.INFER, infer(), seq=71))
        assert session_of(host) == number
    host.boots = 0  # as after a loss of power: the counter agrees
    host.restart()
    hello = Hello.unpack(ask(host, Verb.HELLO))
    assert (hello.boot_counter, hello.session) == (1, 0)


def test_no_session_has_the_number_0_or_another_length(host: HostLibrary) -> None:
    ask(host, Verb.SESSION, protocol.SESSION.pack(5))
    assert refused(host, Verb.SESSION, bytes(8)) == (ErrorCode.OUT_OF_RANGE, 0)
    for size in (0, 7, 9):
        assert refused(host, Verb.SESSION, b"\1" * size) == (ErrorCode.BAD_LENGTH, size)
    assert session_of(host) == 5


def test_a_session_begins_with_nothing_of_the_one_before(host: HostLibrary) -> None:
    codes = codes_for(GRAPH, 1, 4)
    ask(host, Verb.SESSION, protocol.SESSION.pack(5))
    ask(host, Verb.SET, setting(GRAPH, "cortex1", "dead", b"\xff"), seq=2)
    ask(host, Verb.INPUT, protocol.INPUT_HEAD.pack(0) + codes[0].tobytes(), seq=3)
    faulty = ask(host, Verb.INFER, infer(), seq=4)
    ask(host, Verb.SESSION, protocol.SESSION.pack(6), seq=5)
    assert refused(host, Verb.RESULT, b"\0\0")[0] == ErrorCode.NO_RESULT
    ask(host, Verb.INPUT, protocol.INPUT_HEAD.pack(0) + codes[0].tobytes(), seq=6)
    clean = ask(host, Verb.INFER, infer(), seq=7)
    wanted = reference.run(GRAPH, codes, seed=3, samples=[7]).logits[0]
    np.testing.assert_array_equal(np.frombuffer(clean[10:], "<i4"), wanted)
    assert clean != faulty


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ((3, 0, 0, 1), ErrorCode.OUT_OF_RANGE),  # no such matrix
        ((0, 8, 0, 1), ErrorCode.OUT_OF_RANGE),  # no such output
        ((0, 0, 12, 1), ErrorCode.OUT_OF_RANGE),  # no such input
        ((0, 0, 0, 256), ErrorCode.OUT_OF_RANGE),  # no flip of an 8-bit word
        ((0, 0, 0, -(2**31)), ErrorCode.OUT_OF_RANGE),
        ((0, 0, protocol.BIAS_INPUT, 2**31 - 1), ErrorCode.OUT_OF_RANGE),  # would void the proof
    ],
)
def test_a_patch_that_could_overflow_is_refused(host: HostLibrary, row: tuple[int, int, int, int], code: ErrorCode) -> None:
    assert refused(host, Verb.PATCH, protocol.PATCH_ROW.pack(*row))[0] == code


def test_a_word_is_patched_once(host: HostLibrary) -> None:
    weight = int(GRAPH.value("cortex0_weight")[2, 3])
    delta = 1 if weight < 127 else -1
    rows = [protocol.PATCH_ROW.pack(0, o, 3, 0) for o in (5, 1)] + [protocol.PATCH_ROW.pack(0, 2, 3, delta)]
    ask(host, Verb.PATCH, b"".join(rows))
    assert refused(host, Verb.PATCH, rows[2])[0] == ErrorCode.OUT_OF_RANGE
    ask(host, Verb.CLEAR, seq=3)
    ask(host, Verb.PATCH, rows[2], seq=4)


def test_clear_removes_what_was_loaded(host: HostLibrary) -> None:
    codes = codes_for(GRAPH, 1, 4)
    plan = resolve(GRAPH, FaultPlan((DeadNeurons(layer="cortex1", rate=1.0),)))
    ask(host, Verb.INPUT, protocol.INPUT_HEAD.pack(0) + codes[0].tobytes())
    ask(host, Verb.SET, setting(GRAPH, "cortex1", "dead", b"\xff"), seq=2)
    for seq, graph in ((3, apply(GRAPH, plan)), (5, GRAPH)):
        reply = ask(host, Verb.INFER, infer(), seq=seq)
        np.testing.assert_array_equal(np.frombuffer(reply[10:], "<i4"), reference.run(graph, codes, seed=3, samples=[7]).logits[0])
        ask(host, Verb.CLEAR, seq=seq + 1)


def test_thresholds_are_set_entry_by_entry_and_restored(host: HostLibrary) -> None:
    """Negative entries and the ends of int32; CLEAR brings back what is in flash."""
    codes = codes_for(GRAPH, 1, 4)
    clean = GRAPH.value("cortex1_threshold")
    ask(host, Verb.INPUT, protocol.INPUT_HEAD.pack(0) + codes[0].tobytes())
    for seq, (first, values) in enumerate([(0, [-(2**31)] * 6), (2, [2**31 - 1, -7]), (5, [2**31 - 1]), (0, [])], 2):
        ask(host, Verb.CLEAR, seq=10 * seq)
        ask(host, Verb.SET, setting(GRAPH, "cortex1", "threshold", struct.pack(f"<{len(values)}i", *values), first), seq=10 * seq + 1)
        moved = clean.copy()
        moved[first : first + len(values)] = values
        faulty = replace(GRAPH, constants={**GRAPH.constants, "cortex1_threshold": Constant(moved, 32)})
        reply = ask(host, Verb.INFER, infer(), seq=10 * seq + 2)
        np.testing.assert_array_equal(np.frombuffer(reply[10:], "<i4"), reference.run(faulty, codes, seed=3, samples=[7]).logits[0])


def test_a_refused_set_changes_nothing(tmp_path: Path) -> None:
    graph = chaos_graph(sizes=(12, 8, 4), sampling="binomial", noise=False, ticks=5)
    bare, codes = library(graph, tmp_path), codes_for(graph, 1, 4)
    ask(bare, Verb.INPUT, protocol.INPUT_HEAD.pack(0) + codes[0].tobytes())
    table = struct.pack("<5I", 0, 0, 0, 0, 2**31 + 1)
    assert refused(bare, Verb.SET, setting(graph, "cortex0", "table", table)) == (ErrorCode.OUT_OF_RANGE, 2**31 + 1)
    reply = ask(bare, Verb.INFER, infer(), seq=2)
    np.testing.assert_array_equal(np.frombuffer(reply[10:], "<i4"), reference.run(graph, codes, seed=3, samples=[7]).logits[0])
    bare.close()


def test_reset_is_acknowledged_and_then_wanted(host: HostLibrary) -> None:
    assert not host.wants_reset()
    assert ask(host, Verb.RESET) == b""
    assert host.wants_reset()


def test_a_frame_after_garbage_is_answered(host: HostLibrary) -> None:
    garbage = bytes(range(1, 256)) * 20  # longer than any frame, with no end
    answered = replies(host.exchange(garbage + frame(Verb.COUNTERS)))
    assert [protocol.COUNTERS_REPLY.unpack(r[2])[1:3] for r in answered] == [(1, 1)]


@pytest.mark.parametrize("damage", ["flip", "drop", "length"])
def test_a_damaged_frame_is_dropped(host: HostLibrary, damage: str) -> None:
    good = frame(Verb.INFER, infer())
    if damage == "flip":
        bad = good[:6] + bytes([good[6] ^ 0x10 or 1]) + good[7:]
    elif damage == "drop":
        bad = good[:7] + good[8:]
    else:
        raw = protocol.FRAME_HEAD.pack(protocol.VERSION, Verb.HELLO, 1, 3)
        bad = b"\0" + cobs.encode(raw + protocol.CRC.pack(zlib.crc32(raw))) + b"\0"
    assert host.exchange(bad) == b""
    assert protocol.COUNTERS_REPLY.unpack(ask(host, Verb.COUNTERS))[2] == 1


@pytest.mark.parametrize("bit", range(32))
def test_a_frame_whose_crc_is_wrong_is_dropped(host: HostLibrary, bit: int) -> None:
    raw = protocol.FRAME_HEAD.pack(protocol.VERSION, Verb.HELLO, 1, 0)
    bad = b"\0" + cobs.encode(raw + protocol.CRC.pack(zlib.crc32(raw) ^ 1 << bit)) + b"\0"
    assert host.exchange(bad) == b""
    assert protocol.COUNTERS_REPLY.unpack(ask(host, Verb.COUNTERS))[1:3] == (1, 1)


@pytest.mark.parametrize("excess", [-4, -1, 1, 2, 256])
def test_a_frame_that_lies_about_its_length_is_dropped(host: HostLibrary, excess: int) -> None:
    """Its CRC is right: a byte too many must not be taken for payload."""
    payload = protocol.INPUT_HEAD.pack(0) + bytes(6)
    raw = protocol.FRAME_HEAD.pack(protocol.VERSION, Verb.INPUT, 1, len(payload)) + payload[: len(payload) + excess] + bytes(max(excess, 0))
    bad = b"\0" + cobs.encode(raw + protocol.CRC.pack(zlib.crc32(raw))) + b"\0"
    assert host.exchange(bad) == b""
    assert protocol.COUNTERS_REPLY.unpack(ask(host, Verb.COUNTERS))[1:3] == (1, 1)


def test_the_longest_frame_is_taken_and_one_byte_more_is_not(host: HostLibrary) -> None:
    def of(size: int) -> bytes:
        return frame(Verb.INPUT, bytes(size), seq=size & 0xFFFF)

    ((kind, _, _),) = replies(host.exchange(of(HOST_PAYLOAD)))
    assert kind == Verb.ERROR | protocol.REPLY, "it is read, and refused: the model's input is shorter"
    for size in (HOST_PAYLOAD + 1, HOST_PAYLOAD + 2, 2 * HOST_PAYLOAD, 65535):
        assert host.exchange(of(size)) == b""
    assert protocol.COUNTERS_REPLY.unpack(ask(host, Verb.COUNTERS))[1:3] == (2, 4)


@pytest.mark.parametrize("excess", [1, 2, 300])
def test_the_longest_frame_with_bytes_behind_it_is_no_frame(host: HostLibrary, excess: int) -> None:
    """Cut to what the buffer holds it would be whole."""
    raw = protocol.FRAME_HEAD.pack(protocol.VERSION, Verb.INPUT, 1, HOST_PAYLOAD) + bytes(HOST_PAYLOAD)
    raw += protocol.CRC.pack(zlib.crc32(raw))
    assert host.exchange(b"\0" + cobs.encode(raw) + b"\0") != b""
    assert host.exchange(b"\0" + cobs.encode(raw + b"\7" * excess) + b"\0") == b""
    assert protocol.COUNTERS_REPLY.unpack(ask(host, Verb.COUNTERS, seq=2))[1:3] == (2, 1)


@pytest.mark.parametrize("missing", [1, 2, 100])
def test_a_block_that_ends_early_is_no_frame(host: HostLibrary, missing: int) -> None:
    """All of the frame is there, but its last block says that more was to come: something was lost, it cannot be told what."""
    good = bytearray(frame(Verb.COUNTERS, seq=1))
    last = max(at for at in range(1, len(good) - 1) if at + good[at] == len(good) - 1)
    good[last] += missing
    assert host.exchange(bytes(good)) == b""
    assert protocol.COUNTERS_REPLY.unpack(ask(host, Verb.COUNTERS))[1:3] == (1, 1)


@pytest.mark.parametrize("size", [0, 1, 4, 9])
def test_what_is_shorter_than_any_frame_is_dropped(host: HostLibrary, size: int) -> None:
    assert host.exchange(b"\0" + cobs.encode(bytes(size)) + b"\0") == b""
    assert protocol.COUNTERS_REPLY.unpack(ask(host, Verb.COUNTERS))[1:3] == (1, 1)


def test_without_hooks_faults_are_refused_by_name(tmp_path: Path) -> None:
    bare = library(GRAPH, tmp_path, faults=False)
    hello = Hello.unpack(ask(bare, Verb.HELLO))
    assert (int(hello.levels), hello.patch_capacity, hello.slots, hello.slots_crc) == (0, 0, 0, 0)
    assert refused(bare, Verb.SET, b"\0\0\0\0\1")[0] == ErrorCode.FAULTS_COMPILED_OUT
    assert refused(bare, Verb.PATCH)[0] == ErrorCode.FAULTS_COMPILED_OUT
    assert ask(bare, Verb.CLEAR) == b""
    bare.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.one_of(st.binary(max_size=300), st.tuples(st.integers(0, 255), st.binary(max_size=300))), max_size=6))
def test_no_bytes_break_the_server(built: Path, pieces: list[bytes | tuple[int, bytes]]) -> None:
    """Whatever comes, every answer is a good frame, and the next HELLO is answered."""
    host = HostLibrary(GRAPH, built)
    for seq, piece in enumerate(pieces):
        # RESET stops the server by design; a long INFER count would only take time.
        if isinstance(piece, tuple):
            piece = b"" if piece[0] in (Verb.RESET, Verb.INFER) else frame(piece[0], piece[1], seq)
        replies(host.exchange(piece))
    kind, _, body = replies(host.exchange(frame(Verb.HELLO, seq=999)))[-1]
    assert kind == Verb.HELLO | protocol.REPLY
    assert Hello.unpack(body).protocol == protocol.VERSION
    host.close()
