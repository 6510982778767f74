"""The C server at its limits: pieces that end with the buffer, the last number of each kind, time and edges of an inference."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.random_bits import binomial_table
from edgechaos.firmware_gen import protocol
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.firmware_gen.plan.slots import placed_slots
from edgechaos.firmware_gen.protocol import ErrorCode, Hello, Verb
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import ChaosLayer
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from edgechaos.graph.tensors import Constant
from tests.firmware.test_firmware_protocol import ask, frame, infer, refused, replies
from tests.helpers.firmware_host import GCC, HostLibrary, compile_host, setting
from tests.helpers.graphs import chaos_graph, codes_for
from tests.helpers.mixed_graphs import items_for, mixed_graph
from tests.helpers.places import C_SOURCES

GRAPH = chaos_graph(sizes=(12, 8, 300), sampling="binomial", noise=False, ticks=5)
WRAP = tuple(f"-Wl,--wrap={name}" for name in ("ec_port_timer", "ec_port_gpio", "realloc", "calloc"))


def table(data: bytes, first: int = 0) -> bytes:
    return setting(GRAPH, "cortex0", "table", data, first)


def loss(fail_q: int, graph: IntegerGraph = GRAPH) -> bytes:
    return setting(graph, "cortex0", "fail_q", struct.pack("<I", fail_q))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("server")
    flags = ("-O0", "-fPIC", "-shared", *WRAP)
    return compile_host(generate(GRAPH, None), folder, GCC, flags, (C_SOURCES / "port.c", C_SOURCES / "sites.c"), "server.so")


@pytest.fixture
def host(built: Path) -> Iterator[HostLibrary]:
    instance = HostLibrary(GRAPH, built)
    yield instance
    instance.close()


def test_time_and_edges_of_inferences(host: HostLibrary, built: Path) -> None:
    """The clock of this build gains 1000 a look, the pin is recorded: three inferences take 3000 between two edges."""
    port = ctypes.CDLL(str(built))
    port.test_reset_port()
    reply = ask(host, Verb.INFER, infer(count=3))
    assert protocol.INFER_REPLY.unpack(reply[: protocol.INFER_REPLY.size])[1] == 3000
    assert (port.test_edges(), port.test_inferences_between()) == (2, 6)
    ask(host, Verb.INFER, infer(count=70_000 // 1000), seq=2)
    assert protocol.COUNTERS_REPLY.unpack(ask(host, Verb.COUNTERS, seq=3))[-1] == 73_000


def test_the_first_head_that_there_is_not_has_no_logits(built: Path) -> None:
    library = ctypes.CDLL(str(built))
    logits = library[f"{GRAPH.name}_logits"]
    logits.restype, logits.argtypes = ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_uint8)
    state = ctypes.create_string_buffer(1 << 16)
    assert logits(state, 0) is not None
    assert logits(state, len(GRAPH.heads)) is None


def test_a_clock_that_wraps_and_a_sum_that_needs_more_than_32_bits(host: HostLibrary, built: Path) -> None:
    port = ctypes.CDLL(str(built))
    port.test_reset_port()
    port.test_clock_gains(ctypes.c_uint32(0xC0000000))
    reply = ask(host, Verb.INFER, infer(count=3))
    assert protocol.INFER_REPLY.unpack(reply[: protocol.INFER_REPLY.size])[1] == 3 * 0xC0000000
    port.test_clock_gains(ctypes.c_uint32(1000))


def test_all_logits_in_pieces(host: HostLibrary) -> None:
    """300 logits: an INFER reply of at most 1,024 bytes holds 253, RESULT the rest, from any of them on."""
    codes = codes_for(GRAPH, 1, 4)
    ask(host, Verb.INPUT, protocol.INPUT_HEAD.pack(0) + codes[0].tobytes())
    wanted = reference.run(GRAPH, codes, seed=3, samples=[7]).logits[0]
    reply = ask(host, Verb.INFER, infer(), seq=2)[protocol.INFER_REPLY.size :]
    held = (1024 - protocol.INFER_REPLY.size) // 4
    np.testing.assert_array_equal(np.frombuffer(reply, "<i4"), wanted[:held])
    for seq, first in enumerate((0, held, 44, 299), 3):
        piece = np.frombuffer(ask(host, Verb.RESULT, struct.pack("<H", first), seq=seq), "<i4")
        np.testing.assert_array_equal(piece, wanted[first : first + 256])
    assert refused(host, Verb.RESULT, struct.pack("<H", 300)) == (ErrorCode.OUT_OF_RANGE, 300)


@pytest.mark.parametrize("size", [*range(236, 262), *range(494, 514)])
def test_requests_without_a_zero(host: HostLibrary, size: int) -> None:
    """Blocks of COBS are full at 254 bytes: then no zero follows, wherever the frame ends."""
    assert refused(host, Verb.INPUT, b"\1" * size) == (ErrorCode.OUT_OF_RANGE, 0x01010101)


@pytest.mark.parametrize("byte", range(4))
def test_replies_without_a_zero(host: HostLibrary, byte: int) -> None:
    """Logits are 01 01 01 01 but every 64th, of which one byte is 0, in turn: 254 others, or 258, lie between two of them."""
    wanted = np.full(300, 0x01010101, np.int64)
    for k, at in enumerate(range(3, 300, 64)):
        wanted[at] -= 1 << 8 * ((byte - k) % 4)
    delta = wanted - GRAPH.value("readout_bias")
    rows = [protocol.PATCH_ROW.pack(1, o, protocol.BIAS_INPUT, int(d)) for o, d in enumerate(delta)]
    for seq, first in enumerate(range(0, 300, 100), 1):
        assert ask(host, Verb.PATCH, b"".join(rows[first : first + 100]), seq) == b""
    ask(host, Verb.SET, setting(GRAPH, "cortex0", "dead", b"\xff"), seq=4)
    ask(host, Verb.INFER, infer(), seq=5)
    for seq, first in enumerate(range(0, 300, 7), 0x0101):
        piece = np.frombuffer(ask(host, Verb.RESULT, struct.pack("<H", first), seq=seq), "<i4")
        np.testing.assert_array_equal(piece, wanted[first : first + 256])


def test_the_last_byte_of_the_input(host: HostLibrary) -> None:
    ask(host, Verb.INPUT, protocol.INPUT_HEAD.pack(11) + b"\x05")
    ask(host, Verb.INPUT, protocol.INPUT_HEAD.pack(12), seq=2)
    assert refused(host, Verb.INPUT, protocol.INPUT_HEAD.pack(11) + b"\x05\x06") == (ErrorCode.OUT_OF_RANGE, 11)


def test_the_table_of_a_binomial_layer_decides_at_equality(host: HostLibrary) -> None:
    """Counts are the entries at or below the drawn word: entries equal to words that are drawn tell <= from <."""
    layer = GRAPH.node("cortex0")
    assert isinstance(layer, ChaosLayer)
    codes = codes_for(GRAPH, 1, 4)
    fires = reference.run(GRAPH, codes, seed=3, samples=[7], keep=("cortex0_acc",)).tensors["cortex0_acc"][0] > GRAPH.value(
        "cortex0_threshold"
    )
    words = random_bits.words(3, layer.fail_stream, [7], 1, 8)[0, 0] >> np.uint32(1)
    drawn = np.sort(np.resize(words[fires], 5)).astype("<u4")
    ask(host, Verb.INPUT, protocol.INPUT_HEAD.pack(0) + codes[0].tobytes())
    ask(host, Verb.SET, table(drawn[:2].tobytes()), seq=2)
    ask(host, Verb.SET, table(drawn[2:].tobytes(), 2), seq=3)
    counts = np.searchsorted(drawn, words, side="right") * fires
    wanted = GRAPH.value("readout_weight").astype(int) @ counts + GRAPH.value("readout_bias")
    ask(host, Verb.INFER, infer(), seq=4)
    np.testing.assert_array_equal(np.frombuffer(ask(host, Verb.RESULT, struct.pack("<H", 0), seq=5), "<i4"), wanted[:256])
    ask(host, Verb.CLEAR, seq=6)
    ask(host, Verb.INFER, infer(), seq=7)
    clean = reference.run(GRAPH, codes, seed=3, samples=[7]).logits[0]
    np.testing.assert_array_equal(np.frombuffer(ask(host, Verb.RESULT, struct.pack("<H", 0), seq=8), "<i4"), clean[:256])


TABLE_BYTES = binomial_table(5, 20000).astype("<u4").tobytes()


@pytest.mark.parametrize(
    ("verb", "payload", "code"),
    [
        (Verb.SET, table(b"\0"), ErrorCode.BAD_LENGTH),
        (Verb.SET, table(b"\0\0abc"), ErrorCode.BAD_LENGTH),
        (Verb.SET, table(TABLE_BYTES + b"abcd"), ErrorCode.OUT_OF_RANGE),
        (Verb.SET, table(TABLE_BYTES, 1), ErrorCode.OUT_OF_RANGE),
        (Verb.SET, table(struct.pack("<I", 2**31 + 1)), ErrorCode.OUT_OF_RANGE),
        (Verb.SET, loss(65537), ErrorCode.OUT_OF_RANGE),
        (Verb.PATCH, bytes(8), ErrorCode.BAD_LENGTH),
        (Verb.PATCH, protocol.PATCH_ROW.pack(2, 0, 0, 0), ErrorCode.OUT_OF_RANGE),
        (Verb.SET, setting(GRAPH, "cortex0", "stuck", b"\1"), ErrorCode.REFUSED),  # a sampled layer sends no spikes
        (Verb.SET, setting(GRAPH, "cortex0", "dead", b"\1", 8), ErrorCode.OUT_OF_RANGE),
        (Verb.SET, setting(GRAPH, "cortex0", "dead", b"")[:-1], ErrorCode.BAD_LENGTH),
        (Verb.SET, protocol.SET_HEAD.pack(len(placed_slots(GRAPH)), 0), ErrorCode.OUT_OF_RANGE),
        (Verb.PARAM, protocol.PARAM.pack(0, 0), ErrorCode.OUT_OF_RANGE),
    ],
)
def test_one_beyond_a_limit_is_refused(host: HostLibrary, verb: Verb, payload: bytes, code: ErrorCode) -> None:
    assert refused(host, verb, payload)[0] == code


@pytest.mark.parametrize(
    ("verb", "payload"),
    [
        (Verb.SET, table(TABLE_BYTES)),
        (Verb.SET, table(TABLE_BYTES[-4:], 4)),
        (Verb.SET, table(struct.pack("<I", 2**31), 4)),
        (Verb.SET, table(b"", 5)),
        (Verb.SET, loss(65536)),
        (Verb.SET, loss(0)),
        (Verb.PATCH, b""),
        (Verb.PATCH, protocol.PATCH_ROW.pack(1, 299, 7, 0)),
        (Verb.SET, setting(GRAPH, "cortex0", "dead", b"\xff")),
        (Verb.SET, setting(GRAPH, "cortex0", "dead", b"", 8)),
    ],
)
def test_the_limit_itself_is_accepted(host: HostLibrary, verb: Verb, payload: bytes) -> None:
    assert ask(host, verb, payload) == b""


@pytest.mark.parametrize("stored", ["readout_weight", "cortex0_weight"])
def test_a_patch_may_reach_both_ends_of_a_word_and_no_further(host: HostLibrary, stored: str) -> None:
    matrix = ("cortex0_weight", "readout_weight").index(stored)
    word = int(GRAPH.value(stored)[3, 5])
    for end, beyond in ((-128, -129), (127, 128)):
        assert ask(host, Verb.PATCH, protocol.PATCH_ROW.pack(matrix, 3, 5, end - word), seq=2) == b""
        ask(host, Verb.CLEAR, seq=3)
        assert refused(host, Verb.PATCH, protocol.PATCH_ROW.pack(matrix, 3, 5, beyond - word))[0] == ErrorCode.OUT_OF_RANGE


@pytest.mark.parametrize("order", [(4, 4), (4, 6, 6), (6, 4, 6), (6, 4, 4), (4, 6, 5, 5), (4, 6, 5, 4), (4, 6, 7, 6)])
def test_a_word_is_patched_once_in_whatever_order(host: HostLibrary, order: tuple[int, ...]) -> None:
    """Sites in ascending order need no search: what comes again must be found all the same."""
    *before, last = (protocol.PATCH_ROW.pack(1, output, 2, 0) for output in order)
    for seq, request in enumerate(before, 1):
        assert ask(host, Verb.PATCH, request, seq) == b""
    assert refused(host, Verb.PATCH, last)[0] == ErrorCode.OUT_OF_RANGE


def test_sites_differ_in_each_of_their_parts(host: HostLibrary) -> None:
    """Bias before weights, then by input, output, matrix: none of these is another's site."""
    bias = protocol.BIAS_INPUT
    sites = [(0, 0, bias), (0, 0, 0), (0, 0, 11), (0, 7, bias), (0, 7, 0), (1, 0, bias), (1, 0, 0), (1, 256, 0), (1, 257, 1), (1, 1, 1)]
    for seq, site in enumerate([*sites[1::2], *sites[::2]], 1):
        assert ask(host, Verb.PATCH, protocol.PATCH_ROW.pack(*site, 0), seq) == b""
    for site in sites:
        assert refused(host, Verb.PATCH, protocol.PATCH_ROW.pack(*site, 0))[0] == ErrorCode.OUT_OF_RANGE


def test_a_cleared_patch_has_no_effect(host: HostLibrary) -> None:
    codes = codes_for(GRAPH, 1, 4)
    ask(host, Verb.INPUT, protocol.INPUT_HEAD.pack(0) + codes[0].tobytes())
    wanted = reference.run(GRAPH, codes, seed=3, samples=[7]).logits[0][:253]
    for matrix, outputs, inputs in ((0, 8, 12), (1, 300, 8)):
        rows = [protocol.PATCH_ROW.pack(matrix, o % outputs, o % inputs, -1 if o % 2 else 1) for o in range(8)]
        for row in rows:  # one may be refused, where the word is at its end
            ask(host, Verb.CLEAR, seq=2)
            host.exchange(frame(Verb.PATCH, row, seq=4))
        ask(host, Verb.CLEAR, seq=5)
        reply = ask(host, Verb.INFER, infer(), seq=6)[protocol.INFER_REPLY.size :]
        np.testing.assert_array_equal(np.frombuffer(reply, "<i4"), wanted[: len(reply) // 4])


def test_a_loss_below_which_the_readout_could_overflow(tmp_path: Path) -> None:
    """An expected layer multiplies by a gain that falls with the loss: the lowest that fits is accepted, one less is not."""
    graph = chaos_graph(sizes=(12, 8, 4), sampling="expected", noise=False, ticks=127)
    bias = np.full(4, 2**31 - 1 - 24_000_000, np.int32)
    graph = replace(graph, constants={**graph.constants, "readout_bias": Constant(bias, 32)}).validate()
    layer = graph.node("cortex0")
    assert isinstance(layer, ChaosLayer)
    lowest = layer.lowest(graph, graph.analysis.bounds, layer.slot(graph, "fail_q"))
    assert 0 < lowest < layer.fail_q
    host = HostLibrary(graph, compile_host(generate(graph, None), tmp_path, GCC, ("-O0", "-fPIC", "-shared"), output="expected.so"))
    assert ask(host, Verb.SET, loss(lowest, graph)) == b""
    assert refused(host, Verb.SET, loss(lowest - 1, graph)) == (ErrorCode.OUT_OF_RANGE, lowest - 1)
    host.close()


def test_a_temperature_up_to_the_largest(tmp_path: Path) -> None:
    graph = mixed_graph(family="thermal")
    noise = [n for n in graph.nodes if isinstance(n, ThermalNoise)]
    host = HostLibrary(graph, compile_host(generate(graph, None), tmp_path, GCC, ("-O0", "-fPIC", "-shared"), output="thermal.so"))
    codes, samples = items_for(graph, 4), np.arange(4, dtype=np.uint32)
    for index, node in enumerate(noise):
        assert refused(host, Verb.PARAM, protocol.PARAM.pack(index, node.k_max + 1)) == (ErrorCode.OUT_OF_RANGE, node.k_max + 1)
        assert ask(host, Verb.PARAM, protocol.PARAM.pack(index, node.k_max), seq=2 + index) == b""
        hottest = {n.name: n.k_max for n in noise[: index + 1]}
        wanted = reference.run(graph, codes, seed=3, parameters=hottest)
        np.testing.assert_array_equal(host.infer(codes, 3, samples)[0], wanted.logits)
    assert refused(host, Verb.PARAM, protocol.PARAM.pack(len(noise), 0)) == (ErrorCode.OUT_OF_RANGE, len(noise))
    host.close()


def test_a_library_without_memory(host: HostLibrary, built: Path) -> None:
    """There is no instance, and what one has no room for is lost; it answers again when there is."""
    port = ctypes.CDLL(str(built))
    port.ec_host_new.restype = ctypes.c_void_p
    port.test_memory_is_full(1)
    assert port.ec_host_new(1, 0) is None
    assert host.exchange(frame(Verb.HELLO)) == b""
    port.test_memory_is_full(0)
    assert Hello.unpack(ask(host, Verb.HELLO, seq=2)).boot_counter == 1


def test_a_server_that_begins_in_used_memory(built: Path) -> None:
    """No session, no result, nothing counted, no fault."""
    codes, out = codes_for(GRAPH, 1, 4), ctypes.create_string_buffer(1 << 14)
    asked = [
        frame(Verb.COUNTERS, seq=1),
        frame(Verb.RESULT, b"\0\0", seq=2),
        frame(Verb.HELLO, seq=3),
        frame(Verb.INPUT, protocol.INPUT_HEAD.pack(0) + codes[0].tobytes(), seq=4),
        frame(Verb.INFER, infer(), seq=5),
    ]
    count = ctypes.CDLL(str(built)).test_begin(b"".join(asked), sum(map(len, asked)), out)
    counters, refusal, hello, _, logits = replies(out.raw[:count])
    assert protocol.COUNTERS_REPLY.unpack(counters[2]) == (0, 1, 0, 0, 0)
    assert refusal[2][0] == ErrorCode.NO_RESULT
    assert Hello.unpack(hello[2]).session == 0
    held = np.frombuffer(logits[2][protocol.INFER_REPLY.size :], "<i4")
    np.testing.assert_array_equal(held, reference.run(GRAPH, codes, seed=3, samples=[7]).logits[0][: len(held)])


# Setters alone, on tables that have one entry more behind their end (tests/firmware/c/sites.c)

REFUSED, RANGE, BIAS = ErrorCode.REFUSED, ErrorCode.OUT_OF_RANGE, protocol.BIAS_INPUT
SETS: list[tuple[int, int, bytes, int, int, dict[int, int]]] = [
    # slot, first entry, bytes; code, detail; what changes in the words
    (0, 0, b"\x01\xff", 0, 0, {0: 0xFF01}),
    (0, 8, b"\x07", 0, 0, {0: 0x0700}),
    (0, 8, b"\x07\x01", RANGE, 24, {}),
    (0, 16, b"", 0, 0, {}),
    (0, 16, b"\x01", RANGE, 24, {}),
    (0, 7, b"\x01", RANGE, 7, {}),
    (0, 9, b"", RANGE, 9, {}),
    (1, 0, b"\x03\x2b", 0, 0, {1: 3, 2: 43}),
    (1, 1, b"\x2a", 0, 0, {2: 42}),
    (1, 0, b"\x02", RANGE, 2, {}),
    (1, 0, b"\x03\x2c", RANGE, 44, {}),
    (1, 1, b"\x03\x03", RANGE, 3, {}),
    (2, 0, struct.pack("<3h", -5, 5, 0), 0, 0, {3: 2**32 - 5, 4: 5, 5: 0}),
    (2, 2, struct.pack("<h", -1), 0, 0, {5: 2**32 - 1}),
    (2, 2, struct.pack("<h", -6), RANGE, 65530, {}),
    (2, 1, struct.pack("<2h", 0, 6), RANGE, 6, {}),
    (2, 0, b"\0\0\0", ErrorCode.BAD_LENGTH, 3, {}),
    (3, 0, struct.pack("<2i", -(2**31), 2**31 - 1), 0, 0, {6: 2**31, 7: 2**31 - 1}),
    (3, 1, struct.pack("<i", -7), 0, 0, {7: 2**32 - 7}),
    (3, 2, b"", 0, 0, {}),
    (3, 3, b"", RANGE, 3, {}),
    (4, 0, b"", REFUSED, 4, {}),
    (5, 0, struct.pack("<I", 2), 0, 0, {9: 2}),
    (5, 0, struct.pack("<I", 0), RANGE, 0, {}),
    (6, 0, b"\x34\x12\xff\xff", 0, 0, {10: 0x1234, 11: 0xFFFF}),
    (7, 0, struct.pack("<I", 1), RANGE, 7, {}),
    (8, 0, b"", RANGE, 8, {}),
]


@pytest.fixture
def sites(built: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(built))
    library.test_words.restype = ctypes.POINTER(ctypes.c_uint32)
    library.test_patch.argtypes = [ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint16, ctypes.c_int32, ctypes.c_void_p]
    library.test_clear()
    return library


@pytest.mark.parametrize(("slot", "first", "data", "code", "detail", "changes"), SETS)
def test_entries_of_every_width(
    sites: ctypes.CDLL, slot: int, first: int, data: bytes, code: int, detail: int, changes: dict[int, int]
) -> None:
    """All of them or none; CLEAR brings back what was there."""
    about, clean = ctypes.c_uint32(0), [0, 11, 22, *[0] * 13]
    assert sites.test_words()[:16] == clean
    assert sites.test_set(slot, first, data, len(data), ctypes.byref(about)) == code
    assert about.value == detail
    assert sites.test_words()[:16] == [changes.get(k, word) for k, word in enumerate(clean)]
    sites.test_clear()
    assert sites.test_words()[:16] == clean


WORDS: list[tuple[int, int, int, int, int]] = [
    # matrix, output, input; what it holds, how many values its width has: dense, by rows, packed by outputs, by inputs, in 2 bits
    *((0, k // 2, k % 2, w, 256) for k, w in enumerate((0, 10, -20, 30))),
    *((1, k % 2, k // 2, w, 256) for k, w in enumerate((0, 10, -20, 30))),
    *((2, k // 4, k % 4, w, 16) for k, w in enumerate((1, 2, 3, -8, -1, 7, 5, 6))),
    *((3, k % 4, k // 4, w, 16) for k, w in enumerate((1, 2, 3, -8, -1, 7, 5, 6))),
    *((4, k // 8, k % 8, w, 4) for k, w in enumerate((1, 0, -2, 0, -1, 0, 0, -2, -1, -1, -1, 1, 1, 1, -2, 1))),
    *((5, k // 4, k % 4, w, 256) for k, w in enumerate((0, 10, -20, 30, 1, 2, 3, 4))),
]


@pytest.mark.parametrize(("matrix", "output", "column", "word", "values"), WORDS)
def test_a_patched_word_stays_within_its_stored_bits(
    sites: ctypes.CDLL, matrix: int, output: int, column: int, word: int, values: int
) -> None:
    about = ctypes.c_uint32(0)
    for end, beyond in ((-values // 2 - word, -1), (values // 2 - 1 - word, 1)):
        assert sites.test_patch(matrix, output, column, end + beyond, ctypes.byref(about)) == RANGE
        assert about.value == (end + beyond) % 2**32
        assert sites.test_patch(matrix, output, column, end, ctypes.byref(about)) == 0
        sites.test_clear()


@pytest.mark.parametrize(
    ("matrix", "output", "column", "detail"),
    [(6, 0, 0, 6), (7, 0, 0, 7), (5, 2, 0, 2), (5, 0, 4, 4), (3, 4, 0, 4), (3, 0, 2, 2), (1, 0, BIAS, BIAS), (0, 2, BIAS, 2)],
)
def test_a_word_that_no_matrix_has(sites: ctypes.CDLL, matrix: int, output: int, column: int, detail: int) -> None:
    about = ctypes.c_uint32(0)
    assert sites.test_patch(matrix, output, column, 0, ctypes.byref(about)) == RANGE
    assert about.value == detail


@pytest.mark.parametrize(("output", "bias"), [(0, 0), (1, 1000)])
def test_a_bias_up_to_its_limit(sites: ctypes.CDLL, output: int, bias: int) -> None:
    """1,005 either way."""
    about = ctypes.c_uint32(0)
    for end, beyond in ((-1005 - bias, -1), (1005 - bias, 1)):
        assert sites.test_patch(5, output, BIAS, end + beyond, ctypes.byref(about)) == RANGE
        assert sites.test_patch(5, output, BIAS, end, ctypes.byref(about)) == 0
        sites.test_clear()


def test_as_many_patches_as_there_is_room_for_at_sites_beyond_fifteen_bits(tmp_path: Path) -> None:
    """None of the first is another's, whichever halves of their numbers agree."""
    graph = chaos_graph(sizes=(2, 33000, 4), noise=False, ticks=1)
    wide = HostLibrary(graph, compile_host(generate(graph, None), tmp_path, GCC, ("-O0", "-fPIC", "-shared"), output="sites.so"))
    apart = [(0, 32768, 0), (0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 0, 32768), (0, 32768, BIAS), (1, 0, 32767), (0, 1, 0)]
    for seq, site in enumerate(apart, 1):
        assert ask(wide, Verb.PATCH, protocol.PATCH_ROW.pack(*site, 0), seq) == b"", site
    ask(wide, Verb.CLEAR)
    room = Hello.unpack(ask(wide, Verb.HELLO)).patch_capacity
    rows = [protocol.PATCH_ROW.pack(0, k // 2, k % 2, 0) for k in range(room + 1)]
    for seq, first in enumerate(range(0, room, 100), 1):
        assert ask(wide, Verb.PATCH, b"".join(rows[first : min(first + 100, room)]), seq) == b""
    assert refused(wide, Verb.PATCH, rows[room]) == (ErrorCode.NO_SPACE, room)
    wide.close()
