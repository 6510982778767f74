"""The whole C runtime against the reference in one graph per build: every kernel, in each form that a processor may get."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.protocol.frames import FrameDecoder, encode
from edgechaos.faults.injections import ResolvedPlan
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.firmware_gen.compilers.c.generate import Firmware, generate
from edgechaos.firmware_gen.compilers.c.lowering import working_memory
from edgechaos.firmware_gen.plan.memory import BYTES, plan_memory
from edgechaos.firmware_gen.plan.slots import placed_slots
from edgechaos.firmware_gen.protocol import REPLY, SET_HEAD, Verb
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.conv import Conv
from edgechaos.graph.kinds.embedding_bag import EmbeddingBag
from tests.helpers.edges import SAMPLES as EDGE_SAMPLES
from tests.helpers.edges import SEED as EDGE_SEED
from tests.helpers.edges import edge_graph, edge_items
from tests.helpers.firmware_host import GCC, HostLibrary, compile_host
from tests.helpers.places import C_SOURCES
from tests.helpers.vector_cases import vectors
from tests.helpers.zoo import SAMPLES, SEED, items, plans, zoo

MEMORY = C_SOURCES / "memory.c"
FILL = 0x5A
"""Of the first array; each has its own, so that what one lends another is seen."""
ACLE = C_SOURCES / "acle"
AVX2 = Path("/proc/cpuinfo").exists() and " avx2 " in Path("/proc/cpuinfo").read_text()
BUILDS: dict[str, tuple[str, ...]] = {
    "64-bit": ("-fsanitize=undefined", "-fno-sanitize-recover=all"),
    "32-bit": ("-DEC_SPECULATIVE=0", "-DEC_WIDE=1"),
    "16-bit pairs": ("-DEC_SPECULATIVE=0", "-D__ARM_FEATURE_DSP", "-D__ARMEL__", f"-I{ACLE}"),
    **({"avx2": ("-mavx2",)} if AVX2 else {}),
}


@cache
def graph() -> IntegerGraph:
    return zoo()


@cache
def firmware() -> Firmware:
    return generate(graph(), None)


@cache
def wanted() -> list[tuple[ResolvedPlan, list[tuple[Any, Any, Any]]]]:
    """Per plan, per head: logits, labels and the last item's state hash."""
    found = []
    for plan in plans(graph()):
        faulty, heads = apply(graph(), plan), []
        for head in graph().heads:
            read = reference.readout_input(graph(), head)
            result = reference.run(faulty, items(graph(), head.name), seed=SEED, samples=SAMPLES, head=head.name, keep=(read,))
            heads.append((result.logits, result.labels, reference.state_hash(result.tensors[read], result.logits)[-1]))
        found.append((plan, heads))
    return [*found, found[0]]


class Memory:
    """The arrays of a model's state that one run may use, in the order of tests/firmware/c/memory.c."""

    NAMES = ("words", "halves", "codes", "noise", "membrane", "refractory", "list", "hits", "sums", "block", "window", "event")

    def __init__(self, host: HostLibrary) -> None:
        find, bytes_ = host._lib.test_array, ctypes.c_uint32()
        find.restype = ctypes.c_void_p
        self.arrays = [(find(host._handle, k, ctypes.byref(bytes_)), bytes_.value) for k in range(len(self.NAMES))]
        assert find(host._handle, len(self.NAMES), ctypes.byref(bytes_)) is None

    def fill(self) -> None:
        """Whatever an array held before must not matter."""
        for k, (at, size) in enumerate(self.arrays):
            ctypes.memset(at, FILL + k, size)

    def touched(self, head: str) -> list[str]:
        """The arrays in which a run of this head wrote where none of its values lie."""
        return [
            name
            for k, (name, (at, size), free) in enumerate(zip(self.NAMES, self.arrays, beyond(head), strict=False))
            if not (np.frombuffer(ctypes.string_at(at, size), np.uint8)[free[:size]] == FILL + k).all()
        ]


@cache
def beyond(head: str) -> list[Any]:
    """Per array, the bytes that a head has no business with, as a mask; of the event list nothing is said."""
    path = graph().path(head)
    own = replace(graph(), nodes=path, heads=(graph().head(head),))
    alone = plan_memory(own, 0, False, working_memory(own, firmware().kernels))
    masks = {pool: np.ones(BYTES[pool] * size, bool) for pool, size in firmware().plan.pools.items()}
    for node in path:
        place, tensor = firmware().plan.places.get(node.output), graph().tensors[node.output]
        if place is not None:
            width = BYTES[place.pool]
            masks[place.pool][width * place.first : width * (place.first + tensor.size * max(tensor.ticks, 1))] = False
    used: tuple[int, ...] = (
        4 * alone.scratch.stateful,
        *(2 * alone.scratch.stateful,) * 2,
        2 * alone.scratch.neurons,
        alone.scratch.neurons,
    )
    used += (4 * alone.scratch.sums, 2 * alone.scratch.block, alone.scratch.window)
    return [*(masks[pool] for pool in ("words", "halves", "codes")), *(np.arange(1 << 16) >= size for size in used)]


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILDS)
def test_every_kernel(name: str, tmp_path: Path) -> None:
    """No fault, every kind of fault at once, and none again."""
    built = compile_host(firmware(), tmp_path, GCC, ("-O0", "-fPIC", "-shared", *BUILDS[name]), (MEMORY,), f"{name}.so")
    host = HostLibrary(graph(), built)
    memory = Memory(host)
    for plan, heads in wanted():
        host.inject(plan)
        agrees(host, memory, heads)
    fill_behind_masks(host)
    agrees(host, memory, wanted()[0][1])
    host.close()


def agrees(host: HostLibrary, memory: Memory, heads: list[tuple[Any, Any, Any]]) -> None:
    """Every head's logits, labels and state hash are these, and nothing is written where none of its values lie."""
    for index, (head, (logits, labels, hashed)) in enumerate(zip(graph().heads, heads, strict=True)):
        memory.fill()
        seen = host.infer(items(graph(), head.name), SEED, SAMPLES, index)
        np.testing.assert_array_equal(seen[0], logits, err_msg=head.name)
        np.testing.assert_array_equal(seen[1], labels, err_msg=head.name)
        assert host.state_hash(index) == hashed, head.name
        assert memory.touched(head.name) == [], head.name


def fill_behind_masks(host: HostLibrary) -> None:
    """Set the bits behind the last entry of every mask, which mean nothing."""
    for seq, placed in enumerate(p for p in placed_slots(graph()) if p.slot.dtype == "bool" and p.slot.refused is None):
        length = placed.slot.length
        if length % 8:
            payload = SET_HEAD.pack(placed.number, length - length % 8) + bytes([0xFF << length % 8 & 0xFF])
            (reply,) = FrameDecoder().feed(host.exchange(encode(Verb.SET, seq, payload)))
            assert reply.kind == Verb.SET | REPLY, reply


def test_a_patch_that_was_cleared_is_forgotten(tmp_path: Path) -> None:
    """The table's first row still holds it: a look beyond the table's end would find it."""
    host = HostLibrary(graph(), compile_host(firmware(), tmp_path, GCC, ("-O0", "-fPIC", "-shared"), output="cleared.so"))
    clean = wanted()[0][1]
    for index, head in enumerate(graph().heads):
        for node in graph().path(head.name):
            if isinstance(node, Conv | EmbeddingBag):
                word = 2 * graph().value(node.weight)[0].size
                host.inject(resolve(graph(), FaultPlan((WeightBitFlip(node.name, bits=((word, 0),)),))))
                host.inject(wanted()[0][0])
                logits = host.infer(items(graph(), head.name), SEED, SAMPLES, index)[0]
                np.testing.assert_array_equal(logits, clean[index][0], err_msg=head.name)
    host.close()


def test_values_where_a_rule_decides(tmp_path: Path) -> None:
    """Sums, membranes, losses, counts, tokens and amplitudes at their limits: the committed integers."""
    edges = edge_graph()
    host = HostLibrary(edges, compile_host(generate(edges, None), tmp_path, GCC, ("-O0", "-fPIC", "-shared"), output="edges.so"))
    for index, (head, case) in enumerate(zip(edges.heads, vectors("edges"), strict=True)):
        (run,) = case["runs"]
        for item, sample, logits, hashed in zip(
            edge_items(head.name), EDGE_SAMPLES, run["tensors"][case["logits"]], run["state_hashes"], strict=True
        ):
            found = host.infer(item[None], EDGE_SEED, [sample], index)[0]
            assert (found[0].tolist(), host.state_hash(index)) == (logits, hashed), head.name
    host.close()
