"""The requests that carry a fault plan, byte for byte, in pieces as small as a device may ask for."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest

from edgechaos.arithmetic.random_bits import binomial_table
from edgechaos.devices.contract import DeviceInfo
from edgechaos.devices.protocol.plan_payloads import check_plan, patched_nodes, plan_requests
from edgechaos.faults.plan import CLEAN, DeadNeurons, FaultPlan, Omission, ResolvedPlan, StuckAtOne, WeightBitFlip, resolve
from edgechaos.firmware_gen.protocol import Verb
from edgechaos.support.errors import FaultError
from tests.helpers.graphs import chaos_graph

GRAPH = chaos_graph(sizes=(12, 60, 6, 4))
INFO = DeviceInfo("d", "fake", "0" * 64, "0" * 64, "u", frozenset({"dead", "stuck_at_1", "omission", "weight_bit_flip"}), 3)


def sent(plan: ResolvedPlan, most: int = 1024, graph: object = GRAPH) -> list[tuple[Verb, bytes]]:
    return [(r.verb, r.payload) for r in plan_requests(graph, plan, most)]  # type: ignore[arg-type]


def test_a_clean_plan_sends_nothing() -> None:
    assert sent(CLEAN) == []


def test_masks_are_bits_low_first_in_pieces() -> None:
    plan = resolve(GRAPH, FaultPlan((DeadNeurons("cortex0", neurons=(0, 9, 59)), StuckAtOne("cortex1", neurons=(5,)))))
    dead, stuck = b"\x01\x02\0\0\0\0\0\x08", b"\x20"
    assert sent(plan) == [
        (Verb.LOAD_MASK, struct.pack("<BBH", 0, 0, 0) + dead),
        (Verb.LOAD_MASK, struct.pack("<BBH", 1, 1, 0) + stuck),
    ]
    assert [payload for _, payload in sent(plan, 10)] == [
        struct.pack("<BBH", 0, 0, 0) + dead[:6],
        struct.pack("<BBH", 0, 0, 6) + dead[6:],
        struct.pack("<BBH", 1, 1, 0) + stuck,
    ]


def test_a_loss_probability_and_its_binomial_table() -> None:
    graph = chaos_graph(sampling="binomial", noise=False, ticks=5)
    plan = resolve(graph, FaultPlan((Omission(rate=0.25),)))
    table = binomial_table(5, 16384).astype("<u4").tobytes()
    loss = (Verb.INJECT, b"\x00" + struct.pack("<BI", 0, 16384))
    assert len(table) == 20
    assert sent(plan, 64, graph) == [loss, (Verb.INJECT, b"\x02" + struct.pack("<BB", 0, 0) + table)]
    # 3 bytes of head: of 12 to 14 bytes 8 are left for whole words, of 15 there are 12
    for most, words in ((11, 2), (12, 2), (14, 2), (15, 3)):
        pieces = [
            (Verb.INJECT, b"\x02" + struct.pack("<BB", 0, first) + table[4 * first : 4 * (first + words)]) for first in range(0, 5, words)
        ]
        assert sent(plan, most, graph) == [loss, *pieces]


def test_patches_by_number_of_their_matrix_the_bias_as_the_last_input() -> None:
    flips = (WeightBitFlip("cortex1_matmul", bits=((0, 0), (67, 1))), WeightBitFlip("readout", "bias", bits=((2, 4),)))
    plan = resolve(GRAPH, FaultPlan(flips))
    assert patched_nodes(GRAPH) == ("cortex0_matmul", "cortex1_matmul", "readout")
    weight, bias = GRAPH.value("cortex1_weight"), GRAPH.value("readout_bias")
    deltas = [1 - 2 * int(weight[0, 0] & 1), 2 - 2 * int(weight[1, 7] & 2), 16 - 2 * int(bias[2] & 16)]
    rows = [struct.pack("<BHHi", 1, 0, 0, deltas[0]), struct.pack("<BHHi", 1, 1, 7, deltas[1])]
    last = struct.pack("<BHHi", 2, 2, 0xFFFF, deltas[2])
    assert sent(plan) == [(Verb.INJECT, b"\x01" + rows[0] + rows[1]), (Verb.INJECT, b"\x01" + last)]
    for most, pieces in ((19, [rows[0] + rows[1]]), (18, rows), (10, rows)):
        assert sent(plan, most) == [(Verb.INJECT, b"\x01" + piece) for piece in (*pieces, last)]


def test_a_device_takes_as_many_words_as_it_holds() -> None:
    three = resolve(GRAPH, FaultPlan((WeightBitFlip("readout", bits=((0, 0), (1, 0), (2, 0))),)))
    check_plan(GRAPH, three, INFO)
    with pytest.raises(FaultError, match="the plan changes 3 words, device 'd' holds 2; lower the rate"):
        check_plan(GRAPH, three, replace(INFO, patch_capacity=2))


@pytest.mark.parametrize("fault", [DeadNeurons(rate=0.5), StuckAtOne(rate=0.5), Omission(rate=0.5), WeightBitFlip(rate=0.002)])
def test_a_capability_that_lacks_is_named(fault: DeadNeurons | StuckAtOne | Omission | WeightBitFlip) -> None:
    plan, info = resolve(GRAPH, FaultPlan((fault,))), replace(INFO, patch_capacity=1000)
    check_plan(GRAPH, plan, info)
    check_plan(GRAPH, plan, replace(info, capabilities=frozenset({fault.kind})))
    with pytest.raises(FaultError, match=f"device 'd' cannot carry {fault.kind}; it was built without"):
        check_plan(GRAPH, plan, replace(info, capabilities=INFO.capabilities - {fault.kind}))
    check_plan(GRAPH, CLEAN, replace(info, capabilities=frozenset()))


def test_a_plan_of_another_graph_is_refused() -> None:
    plan = ResolvedPlan(dead={"nobody": np.ones(4, bool)})
    with pytest.raises(FaultError, match="nobody"):
        check_plan(GRAPH, plan, INFO)


def test_a_plan_that_breaks_a_rule_of_the_graph_is_refused() -> None:
    plan = ResolvedPlan(patch={"readout": np.array([[0, 0, 1000]], np.int32)})
    with pytest.raises(FaultError, match=r"the plan does not fit graph 'tiny': .*stored bits"):
        check_plan(GRAPH, plan, INFO)
