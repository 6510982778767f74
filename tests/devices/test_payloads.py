"""The requests that carry a fault plan, byte for byte, in pieces as small as a device may ask for."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest

from edgechaos.arithmetic.random_bits import binomial_table
from edgechaos.devices.contract import DeviceInfo
from edgechaos.devices.protocol.plan_payloads import check_plan, patched_nodes, plan_requests
from edgechaos.faults.injections import CLEAN, ResolvedPlan
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.firmware_gen.protocol import Verb
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import FaultError
from tests.helpers.graphs import chaos_graph

GRAPH = chaos_graph(sizes=(12, 60, 6, 4))
INFO = DeviceInfo("d", "fake", "0" * 64, "0" * 64, "u", frozenset({"model"}), 3)


def sent(plan: ResolvedPlan, most: int = 1024, graph: IntegerGraph = GRAPH) -> list[tuple[Verb, bytes]]:
    return [(r.verb, r.payload) for r in plan_requests(graph, apply(graph, plan), plan, most)]


def test_a_clean_plan_sends_nothing() -> None:
    assert sent(CLEAN) == []


def test_masks_are_bits_low_first_in_pieces() -> None:
    plan = resolve(GRAPH, FaultPlan((DeadNeurons("cortex0", neurons=(0, 9, 59)), StuckAtOne("cortex1", neurons=(5,)))))
    dead, stuck = b"\x01\x02\0\0\0\0\0\x08", b"\x20"
    assert sent(plan) == [(Verb.SET, struct.pack("<HH", 0, 0) + dead), (Verb.SET, struct.pack("<HH", 5, 0) + stuck)]
    assert [payload for _, payload in sent(plan, 10)] == [
        struct.pack("<HH", 0, 0) + dead[:6],
        struct.pack("<HH", 0, 48) + dead[6:],
        struct.pack("<HH", 5, 0) + stuck,
    ]


def test_a_mask_that_ends_with_a_byte_has_no_byte_more() -> None:
    plan = resolve(GRAPH, FaultPlan((DeadNeurons("cortex0", neurons=(3, 7)),)))
    assert sent(plan) == [(Verb.SET, struct.pack("<HH", 0, 0) + b"\x88")]


def test_a_slot_is_sent_from_the_first_entry_that_differs_to_the_last() -> None:
    plan = resolve(GRAPH, FaultPlan((DeadNeurons("cortex0", neurons=(21, 35)),)))
    assert sent(plan) == [(Verb.SET, struct.pack("<HH", 0, 16) + b"\x20\0\x08")]


@pytest.mark.parametrize(
    ("slots", "missing"), [(6, None), (5, "'stuck' of 'cortex1'"), (1, "'stuck' of 'cortex1'"), (0, "'dead' of 'cortex0'")]
)
def test_a_device_with_fewer_slots_takes_what_they_carry(slots: int, missing: str | None) -> None:
    """Slot 0 and slot 5 are set; a slot that a plan leaves alone may lack."""
    plan = resolve(GRAPH, FaultPlan((DeadNeurons("cortex0", neurons=(3,)), StuckAtOne("cortex1", neurons=(5,)))))
    if missing is None:
        assert [(r.verb, r.payload) for r in plan_requests(GRAPH, apply(GRAPH, plan), plan, 1024, slots)] == sent(plan)
    else:
        with pytest.raises(FaultError, match=f"its firmware has no slot {missing} yet"):
            plan_requests(GRAPH, apply(GRAPH, plan), plan, 1024, slots)


def test_a_loss_probability_and_its_binomial_table() -> None:
    graph = chaos_graph(sampling="binomial", noise=False, ticks=5)
    plan = resolve(graph, FaultPlan((Omission(rate=0.25),)))
    table = binomial_table(5, 16384).astype("<u4").tobytes()
    loss = (Verb.SET, struct.pack("<HHI", 2, 0, 16384))
    assert len(table) == 20
    assert sent(plan, 64, graph) == [loss, (Verb.SET, struct.pack("<HH", 4, 0) + table)]
    # 4 bytes of head: of 12 to 15 bytes 8 are left for whole words, of 16 there are 12
    for most, words in ((12, 2), (13, 2), (15, 2), (16, 3)):
        pieces = [(Verb.SET, struct.pack("<HH", 4, first) + table[4 * first : 4 * (first + words)]) for first in range(0, 5, words)]
        assert sent(plan, most, graph) == [loss, *pieces]


def test_patches_by_number_of_their_matrix_the_bias_as_the_last_input() -> None:
    flips = (WeightBitFlip("cortex1_matmul", bits=((0, 0), (67, 1))), WeightBitFlip("readout", "bias", bits=((2, 4),)))
    plan = resolve(GRAPH, FaultPlan(flips))
    assert patched_nodes(GRAPH) == ("cortex0_matmul", "cortex1_matmul", "readout")
    weight, bias = GRAPH.value("cortex1_weight"), GRAPH.value("readout_bias")
    deltas = [1 - 2 * int(weight[0, 0] & 1), 2 - 2 * int(weight[1, 7] & 2), 16 - 2 * int(bias[2] & 16)]
    rows = [struct.pack("<BHHi", 1, 0, 0, deltas[0]), struct.pack("<BHHi", 1, 1, 7, deltas[1])]
    last = struct.pack("<BHHi", 2, 2, 0xFFFF, deltas[2])
    assert sent(plan) == [(Verb.PATCH, rows[0] + rows[1]), (Verb.PATCH, last)]
    for most, pieces in ((18, [rows[0] + rows[1]]), (17, rows), (9, rows)):
        assert sent(plan, most) == [(Verb.PATCH, piece) for piece in (*pieces, last)]


def test_a_device_takes_as_many_words_as_it_holds() -> None:
    three = resolve(GRAPH, FaultPlan((WeightBitFlip("readout", bits=((0, 0), (1, 0), (2, 0))),)))
    check_plan(GRAPH, three, INFO)
    with pytest.raises(FaultError, match="the plan changes 3 words, device 'd' holds 2; lower the rate"):
        check_plan(GRAPH, three, replace(INFO, patch_capacity=2))


@pytest.mark.parametrize("fault", [DeadNeurons(rate=0.5), StuckAtOne(rate=0.5), Omission(rate=0.5), WeightBitFlip(rate=0.002)])
def test_a_level_that_lacks_is_named(fault: DeadNeurons | StuckAtOne | Omission | WeightBitFlip) -> None:
    plan, info = resolve(GRAPH, FaultPlan((fault,))), replace(INFO, patch_capacity=1000)
    check_plan(GRAPH, plan, info)
    with pytest.raises(FaultError, match="device 'd' cannot carry faults of the model; it was built without"):
        check_plan(GRAPH, plan, replace(info, levels=frozenset()))
    check_plan(GRAPH, CLEAN, replace(info, levels=frozenset()))


def test_a_plan_of_another_graph_is_refused() -> None:
    plan = ResolvedPlan.of(dead={"nobody": np.ones(4, bool)})
    with pytest.raises(FaultError, match="nobody"):
        check_plan(GRAPH, plan, INFO)


def test_a_plan_that_breaks_a_rule_of_the_graph_is_refused() -> None:
    plan = ResolvedPlan.of(patch={"readout": np.array([[0, 0, 1000]], np.int32)})
    with pytest.raises(FaultError, match=r"the plan does not fit graph 'tiny': .*stored bits"):
        check_plan(GRAPH, plan, INFO)
