"""The fake board against the C server: the same reply to any request, refusals and their details included."""

from __future__ import annotations

import struct
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgechaos.devices.conformance import difference
from edgechaos.devices.fakes.board import FakeBoard
from edgechaos.devices.fakes.device import FakeDevice
from edgechaos.devices.protocol.frames import FrameDecoder, encode
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.generator import GeneratorPeriod
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.firmware_gen import protocol as p
from edgechaos.firmware_gen.compilers.c.generate import HOST_PATCHES, HOST_PAYLOAD
from edgechaos.firmware_gen.plan.slots import placed_slots, slots_crc
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import DeviceRefused, FaultError
from tests.helpers.firmware_host import HostLibrary, library
from tests.helpers.graphs import chaos_graph
from tests.helpers.mixed_graphs import mixed_graph

GRAPHS = {
    "spiking": chaos_graph(sizes=(12, 8, 6, 4)),
    "binomial": chaos_graph(sizes=(12, 8, 4), sampling="binomial", noise=False),
    "expected": chaos_graph(sizes=(12, 8, 4), sampling="expected", noise=False),
    "text": mixed_graph(family="text"),
    "thermal": mixed_graph(family="thermal"),
    "k-WTA": mixed_graph(family="kwta"),
}
few = st.integers(0, 9)
u8 = few | st.integers(0, 255)
u16 = few | st.integers(0, 65535)
u32 = few | st.integers(65534, 65538) | st.integers(0, 2**32 - 1)
i32 = st.integers(-260, 260) | st.integers(-(2**31), 2**31 - 1)
column = few | st.just(p.BIAS_INPUT) | u16
patch_rows = st.lists(st.builds(p.PATCH_ROW.pack, u8, u16, column, i32), max_size=4).map(b"".join)
entries = st.lists(st.builds(struct.Struct("<I").pack, u32 | st.integers(2**31 - 1, 2**31 + 1)), max_size=3).map(b"".join)
tail = st.just(b"") | st.binary(max_size=3)
first = few | st.just(8) | u16
REQUESTS = {
    p.Verb.SET: st.tuples(st.builds(p.SET_HEAD.pack, few | u16, first), entries, tail).map(b"".join) | st.binary(max_size=8),
    p.Verb.PATCH: st.tuples(patch_rows, tail).map(b"".join),
    p.Verb.INPUT: st.tuples(st.builds(p.INPUT_HEAD.pack, u32), st.binary(max_size=20)).map(b"".join),
    p.Verb.INFER: st.builds(p.INFER_HEAD.pack, st.integers(0, 2), u32, u32, st.integers(0, 2)),
    p.Verb.RESULT: st.builds(p.RESULT_HEAD.pack, u16),
    p.Verb.PARAM: st.builds(p.PARAM.pack, u8, i32),
    p.Verb.SESSION: st.builds(p.SESSION.pack, st.integers(0, 2**64 - 1)),
    p.Verb.CLEAR: st.just(b""),
    p.Verb.STATE_HASH: st.just(b""),
    p.Verb.COUNTERS: st.just(b""),
}
requests = st.sampled_from(list(REQUESTS)).flatmap(lambda verb: st.tuples(st.just(int(verb)), REQUESTS[verb]))
wild = st.tuples(st.integers(0, 255).filter(lambda verb: verb not in (p.Verb.HELLO, p.Verb.RESET)), st.binary(max_size=16))


@cache
def built(name: str) -> Path:
    folder = Path(mkdtemp(prefix="edgechaos-fake-"))
    library(GRAPHS[name], folder).close()
    return next(folder.glob("*.so"))


def understood(graph: IntegerGraph, verb: int, payload: bytes) -> bool:
    """Whether the two must agree on what follows. A binomial table is not the fake's: it computes it from fail_q."""
    derived = {slot.number for slot in placed_slots(graph) if slot.slot.name in ("table", "fail_q")}
    sampled = any(layer.sampling == "binomial" for layer in graph.chaos_layers())
    return not (sampled and verb == p.Verb.SET and int.from_bytes(payload[:2], "little") in derived)


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
@settings(max_examples=80, deadline=None)
@given(said=st.lists(requests | wild, max_size=10))
def test_the_fake_answers_as_the_firmware_does(name: str, said: list[tuple[int, bytes]]) -> None:
    graph = GRAPHS[name]
    host, board = HostLibrary(graph, built(name)), FakeBoard(graph, max_payload=HOST_PAYLOAD, patch_capacity=HOST_PATCHES)
    for seq, (verb, payload) in enumerate(said):
        data = encode(verb, seq, payload)
        (frame,) = FrameDecoder().feed(data)
        assert board.answer(frame) == host.exchange(data), (p.Verb(verb).name if verb in p.Verb._value2member_map_ else verb, payload)
        if not understood(graph, verb, payload):
            data = encode(p.Verb.CLEAR, 0x8000 + seq, b"")
            (frame,) = FrameDecoder().feed(data)
            assert board.answer(frame) == host.exchange(data)
    host.close()


def test_firmware_from_before_a_slot_was_added_takes_the_faults_that_it_has() -> None:
    graph = chaos_graph()
    first = tuple(p for p in placed_slots(graph) if not p.slot.added)
    board = FakeBoard(graph)
    board.hello = replace(board.hello, slots=len(first), slots_crc=slots_crc(first))
    with FakeDevice(graph, board=board) as device:
        plan = resolve(graph, FaultPlan((DeadNeurons(rate=0.5),)))
        device.inject(plan)
        assert difference(device, graph, plan) == ""
        with pytest.raises(FaultError, match="has no slot 'draw_period' of 'cortex0' yet; build and flash firmware of this release"):
            device.inject(resolve(graph, FaultPlan((GeneratorPeriod(period=3),))))
        assert difference(device, graph) == ""
    board.hello = replace(board.hello, slots=len(first) - 1, slots_crc=slots_crc(first[:-1]))
    with pytest.raises(DeviceRefused, match="fault slots"):
        FakeDevice(graph, board=board).open()
