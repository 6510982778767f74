"""No kind of fault has a field that does nothing: each one alone changes what a plan comes down to, and what a strike holds is exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.streams import fault_stream
from edgechaos.cli.fault_option import parse_faults
from edgechaos.faults.base import fault_kinds
from edgechaos.faults.injections import ON_INJECTION, REGISTERS, Draw, ResolvedPlan, Strike, Wire
from edgechaos.faults.kinds.brown_out import BrownOut
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.instruction_bits import InstructionBits
from edgechaos.faults.kinds.instruction_skip import InstructionSkip
from edgechaos.faults.kinds.link import LinkBitErrors, LinkDelay
from edgechaos.faults.kinds.memory_bits import MemoryBits
from edgechaos.faults.kinds.program_counter import ProgramCounter
from edgechaos.faults.kinds.register_bits import RegisterBits
from edgechaos.faults.kinds.reset import Reset
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.repair.layers import unit_layers
from edgechaos.support.errors import FaultError
from tests.helpers.graphs import chaos_graph
from tests.helpers.mixed_graphs import mixed_graph

UNITS: Mapping[str, Any] = {"layer": 0, "rate": 0.4, "seed": 9, "neurons": (1, 2)}
"""Values beside those of BASE; a layer by its number."""
SYNAPSES: Mapping[str, Any] = {"node": "readout", "rate": 0.04, "seed": 9, "synapses": (1, 2)}
MOMENT: Mapping[str, Any] = {"onset": 7, "span": 5000, "trigger": "main+0x10", "hits": 3, "inference": 2}
STATES: Mapping[str, Any] = {**UNITS, "of": "refractoriness", "onset": 2, "lifespan": 3}
BASE: Mapping[str, Mapping[str, Any]] = {
    "ram_bit_flip": {"address": 64, "words": 4, "rate": 0.2},
    "threshold_scale": {"factor": 0.5, "rate": 0.5},
    "synapse_scale": {"factor": 0.5, "rate": 0.5},
    "brown_out": {"rate": 0.1},
    "instruction_bits": {"flips": 3, "op": "overwrite"},
    "memory_bits": {"flips": 3, "op": "overwrite"},
    "register_bits": {"flips": 3, "op": "overwrite"},
    "program_counter": {"flips": 3},
    "generator_stuck": {"value": 1},
    "generator_biased": {"bits": 3},
    "generator_period": {"period": 3},
    "generator_repeated": {"seeds": 3},
    "leak_scale": {"factor": 0.5},
    "refractory_scale": {"factor": 0.5},
    "winner_count": {"delta": 1},
}
"""Fields with which every other one matters; of other kinds a rate of 0.5."""
OTHERS: Mapping[str, Mapping[str, Any]] = {
    "dead": UNITS,
    "stuck_at_1": UNITS,
    "unit_stuck": {**UNITS, "code": 3},
    "omission": {"layer": 0, "rate": 0.4},
    "threshold_scale": {"layer": 0, "factor": 0.25, "rate": 0.4, "seed": 9},
    "leak_scale": {"layer": 0, "factor": 0.25},
    "refractory_scale": {"layer": 0, "factor": 0.25},
    "state_flip": {**STATES, "bit": 3},
    "state_set": {**STATES, "value": 3},
    "synapse_dead": SYNAPSES,
    "synapse_stuck": {**SYNAPSES, "code": 3},
    "synapse_scale": {**SYNAPSES, "factor": 0.25},
    "weight_bit_flip": {"node": "readout", "target": "bias", "rate": 0.04, "seed": 9, "bits": ((1, 2),), "bit": "0"},
    "winner_count": {"layer": 0, "delta": -1},
    "winner_dropped": {"layer": 0, "rate": 0.4, "seed": 9, "ranks": (0,)},
    "generator_stuck": {"layer": 0, "value": 9},
    "generator_biased": {"layer": 0, "bits": 9, "value": 1},
    "generator_period": {"layer": 0, "period": 9},
    "generator_repeated": {"layer": 0, "seeds": 9},
    "ram_bit_flip": {"address": 128, "words": 8, "rate": 0.4, "seed": 9, "bits": ((1, 2),)},
    "brown_out": {**MOMENT, "region": ".bss", "rate": 0.04, "seed": 9},
    "reset": {**MOMENT, "ram_lost": 1},
    "instruction_skip": {**MOMENT, "count": 2},
    "instruction_bits": {**MOMENT, "region": "main", "flips": 4, "op": "set", "value": 5, "lifespan": 6, "seed": 9},
    "memory_bits": {**MOMENT, "region": ".data", "flips": 4, "burst": 2, "op": "set", "value": 5, "held": 1, "lifespan": 6, "seed": 9},
    "register_bits": {**MOMENT, "register": "sp", "flips": 4, "bit": 3, "op": "set", "value": 5, "lifespan": 6, "seed": 9},
    "program_counter": {**MOMENT, "flips": 4, "bit": 3, "highest": 5, "seed": 9},
    **{f"link_{what}": {"rate": 0.4, "seed": 9} for what in ("bit_errors", "delay", "drop", "duplicate", "reset")},
}
IDLE: Mapping[str, tuple[str, ...]] = {"reset": ("seed",), "instruction_skip": ("seed",)}
"""Fields that act beside a span alone."""


@cache
def graph_of(kind: str) -> IntegerGraph:
    """Two layers that can have the fault."""
    if kind.startswith("winner"):
        return mixed_graph(family="kwta", hidden=16, depth=2)
    if kind == "unit_stuck":
        return mixed_graph(family="vision", spiking=False, depth=2, shape=(1, 10, 10))
    return chaos_graph(sizes=(12, 20, 16, 4), mode="stateful")


def comes_down_to(kind: str, **given: Any) -> str:
    graph = graph_of(kind)
    if given.get("layer") == 0:
        given["layer"] = unit_layers(graph)[0].name
    plan: ResolvedPlan = resolve(graph, FaultPlan((fault_kinds()[kind](**given),)))
    slots = sorted((*key, values.tolist()) for key, values in plan.slots.items())
    return repr((slots, {name: rows.tolist() for name, rows in plan.patch.items()}, plan.pokes, plan.strikes, plan.wires))


def test_no_kind_and_no_field_is_left_out() -> None:
    kinds = {name: kind for name, kind in fault_kinds().items() if kind.__module__.startswith("edgechaos.faults")}
    assert kinds.keys() == OTHERS.keys()
    for name, kind in kinds.items():
        assert {f.name for f in fields(kind)} == {*OTHERS[name], *IDLE.get(name, ())}, name


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, others in OTHERS.items() for field in others])
def test_each_field_alone_changes_what_is_injected(kind: str, field: str) -> None:
    base = dict(BASE.get(kind, {"rate": 0.5} if "rate" in OTHERS[kind] else {}))
    before = comes_down_to(kind, **base)
    assert before != repr(([], {}, (), (), ())), "it does something"
    if field in ("neurons", "synapses", "bits", "ranks") and "rate" in base:
        del base["rate"]  # they are given in its place
        before = comes_down_to(kind, **base)
    assert comes_down_to(kind, **{**base, field: OTHERS[kind][field]}) != before


def strike(fault: Any) -> Strike:
    (found,) = resolve(graph_of(""), FaultPlan((fault,))).strikes
    return found


def test_what_strikes_in_every_field() -> None:
    moment: dict[str, Any] = {"onset": 7, "trigger": "main+0x10", "hits": 3, "inference": 2}
    when: dict[str, Any] = {"onset": 7, "at": "main+0x10", "hits": 3, "inference": 2}
    draw = Draw(9, fault_stream("memory_bits"), 4, 2)
    how: dict[str, Any] = {"op": "overwrite", "value": 5, "lifespan": 6}
    memory = MemoryBits(region="x", flips=4, burst=2, seed=9, **how, **moment)
    assert strike(memory) == Strike("memory", "x", draw=draw, **how, **when)
    assert strike(replace(memory, held=1, lifespan=0)) == replace(strike(memory), held=True, lifespan=0)
    assert strike(InstructionBits(region="x", flips=4, seed=9, **how, **moment)) == Strike(
        "memory", "x", draw=Draw(9, fault_stream("instruction_bits"), 4), **how, **when
    )
    assert strike(RegisterBits(register="sp", bit=31, **how, **moment)) == Strike("register", "sp", mask=1 << 31, **how, **when)
    assert strike(ProgramCounter(bit=4, **moment)) == Strike("register", "pc", mask=16, **when)
    assert strike(InstructionSkip(count=2, **moment)) == Strike("skip", value=2, **when)
    assert strike(Reset(**moment)) == Strike("reset", value=0, **when)
    assert strike(Reset(ram_lost=1, **moment)) == Strike("reset", value=1, **when)
    lost, reset = resolve(graph_of(""), FaultPlan((BrownOut(region="x", rate=0.1, seed=9, **moment),))).strikes
    assert lost == Strike("memory", "x", draw=Draw(9, fault_stream("brown_out"), rate=0.1), **when)
    assert reset == strike(BrownOut(**moment)) == Strike("reset", **when), "nothing is lost where the rate is 0"
    assert strike(MemoryBits(flips=1)).onset == ON_INJECTION
    assert strike(InstructionBits(flips=1)).onset == 0


def word(seed: int, what: str) -> int:
    return int(random_bits.words(seed, fault_stream(what), [0], 1, 1)[0, 0, 0])


def test_what_is_drawn_of_a_strike() -> None:
    for seed in range(20):
        found = strike(RegisterBits(flips=5, seed=seed, onset=100, span=300))
        assert found.onset == 100 + (word(seed, "register_bits onset") * 300 >> 32)
        for kind in (Reset, InstructionSkip):
            assert strike(kind(onset=100, span=300, seed=seed)).onset == 100 + (word(seed, f"{kind.kind} onset") * 300 >> 32)
        assert found.where == REGISTERS[word(seed, "register_bits register") * 13 >> 32]
        order = random_bits.words(seed, fault_stream("register_bits bits"), [0], 1, 32)[0, 0].argsort(kind="stable").tolist()
        assert found.mask == sum(1 << bit for bit in order[:5])
        order = random_bits.words(seed, fault_stream("program_counter bits"), [0], 1, 9)[0, 0].argsort(kind="stable").tolist()
        assert strike(ProgramCounter(flips=3, highest=9, seed=seed)).mask == sum(2 << bit for bit in order[:3])


def test_nothing_where_nothing_changes() -> None:
    for fault in (RegisterBits(), ProgramCounter(), InstructionSkip(count=0)):
        assert not resolve(graph_of(""), FaultPlan((fault,))).strikes


def test_what_is_on_the_wire() -> None:
    plan = resolve(graph_of(""), FaultPlan((LinkBitErrors(0.1, 3), LinkDelay(0.2, 4))))
    assert plan.wires == (Wire("bits", 0.1, 3, fault_stream("link_bit_errors")), Wire("delay", 0.2, 4, fault_stream("link_delay")))


WORDS, LATEST = (0, 2**32 - 1), (0, 2**40)
SHARE, FACTOR = (0.0, 1.0), (0.0, 16.0)
WHEN: Mapping[str, tuple[float, float]] = {"onset": (-1, 2**40), "span": LATEST, "hits": (1, 2**32 - 1), "inference": LATEST}
CHANGE: Mapping[str, tuple[float, float]] = {"value": WORDS, "lifespan": LATEST}
TICKS: Mapping[str, tuple[float, float]] = {"rate": SHARE, "onset": (0, 127), "lifespan": (0, 127)}
LIMITS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    **{kind: {"rate": SHARE} for kind, others in OTHERS.items() if "rate" in others},
    "threshold_scale": {"factor": FACTOR, "rate": SHARE},
    "synapse_scale": {"factor": FACTOR, "rate": SHARE},
    "leak_scale": {"factor": FACTOR},
    "refractory_scale": {"factor": FACTOR},
    "state_flip": {**TICKS, "bit": (0, 15)},
    "state_set": {**TICKS, "value": (-(2**15), 2**15 - 1)},
    "winner_count": {"delta": (-65535, 65535)},
    "generator_stuck": {"value": WORDS},
    "generator_biased": {"bits": (0, 16), "value": (0, 1)},
    "generator_period": {"period": WORDS},
    "generator_repeated": {"seeds": WORDS},
    "brown_out": {**WHEN, "rate": SHARE},
    "reset": {**WHEN, "onset": LATEST},
    "instruction_skip": {**WHEN, "count": (0, 1000)},
    "instruction_bits": {**WHEN, **CHANGE, "flips": (0, 65536)},
    "memory_bits": {**WHEN, **CHANGE, "flips": (0, 65536), "burst": (1, 65536), "held": (0, 1)},
    "register_bits": {**WHEN, **CHANGE, "flips": (0, 32), "bit": (-1, 31)},
    "program_counter": {**WHEN, "flips": (0, 31), "highest": (1, 31)},
    "ram_bit_flip": {"rate": SHARE, "words": (1, 1 << 20)},
}
NEUTRAL: Mapping[str, float | None] = {
    **dict.fromkeys(("brown_out", "reset", "omission", "generator_stuck")),
    **dict.fromkeys(("threshold_scale", "synapse_scale", "leak_scale", "refractory_scale"), 1.0),
}
"""The value of the swept field that changes nothing, where it is not 0; None: each value does something."""


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, known in LIMITS.items() for field in known])
def test_a_field_takes_its_limits_and_nothing_beyond(kind: str, field: str) -> None:
    given = {"address": 0} if kind == "ram_bit_flip" else {}
    low, high = LIMITS[kind][field]
    beyond = (low - 1, high + 1) if isinstance(low, int) else (np.nextafter(low, -1), np.nextafter(high, high + 1))
    for value in (low, high):
        fault_kinds()[kind](**given, **{field: value}).check()
    for value in beyond:
        with pytest.raises(FaultError, match=f"{kind}: .*{field}|{kind}: .*(bit|bits|words|value|address)"):
            fault_kinds()[kind](**given, **{field: value}).check()


def test_what_classes_say() -> None:
    for name, limits in LIMITS.items():
        kind = fault_kinds()[name]
        assert kind.limits == limits[kind.swept], name
        assert kind.neutral == NEUTRAL.get(name, 0.0), name
        example = kind.example()
        assert example.startswith(f"{name}={'0.1' if kind.swept == 'rate' else '0.5' if kind.swept == 'factor' else '1'}")
        assert ("@7" in example) is kind.takes("seed")
        parse_faults((example,))
        with pytest.raises(FaultError):
            fault_kinds()[name](**{"address": 0} if name == "ram_bit_flip" else {}, **{kind.swept: float("nan")}).check()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (ProgramCounter(bit=0), "bit 0 is outside 1..31"),
        (ProgramCounter(bit=32), "bit 32 is outside 1..31"),
        (ProgramCounter(flips=6, highest=5), r"6 bits are not among bits 1\.\.5"),
        (MemoryBits(held=1, lifespan=1), "held bits have no lifespan"),
        (MemoryBits(region="0x20000000:0"), "is no section or symbol"),
        (MemoryBits(region="0x200000000:4"), "is no section or symbol"),
        (BrownOut(region="a b"), "is no section or symbol"),
        (InstructionBits(region="a b"), "is no section or symbol"),
        (Reset(trigger="main-4"), "is no address"),
        (Reset(trigger="x" * 128), "is no address"),
        (RegisterBits(register="pc"), "register 'pc' is (none|not one) of"),
        (MemoryBits(op="flip"), "op .flip. is (none|not one) of"),
        (RegisterBits(op="flip"), "op .flip. is (none|not one) of"),
        (InstructionBits(op="flip"), "op 'flip' is (none|not one) of set, clear, toggle, overwrite"),
    ],
)
def test_what_cannot_strike_is_refused(fault: Any, says: str) -> None:
    with pytest.raises(FaultError, match=says):
        fault.check()


def test_what_can_strike() -> None:
    for fault in (
        ProgramCounter(bit=1),
        ProgramCounter(bit=31),
        ProgramCounter(flips=5, highest=5),
        MemoryBits(held=1),
        MemoryBits(region="0x20000000:4096"),
        Reset(trigger="0x1c4"),
        Reset(trigger="main+0x10"),
        Reset(trigger="main+16"),
        RegisterBits(register="xpsr"),
    ):
        fault.check()


def test_places_in_words() -> None:
    assert resolve_place("memory_bits", region=".data") == "memory in .data"
    assert resolve_place("brown_out") == "memory in .noinit"
    assert resolve_place("instruction_bits", region="main") == "instructions of main"
    assert resolve_place("reset") == "of the core"
    assert (resolve_place("link_bit_errors"), resolve_place("link_drop")) == ("bits on the link", "requests on the link")
    assert (resolve_place("dead"), resolve_place("dead", layer="a")) == ("neurons, all layers", "neurons of a")
    assert (resolve_place("synapse_dead"), resolve_place("synapse_dead", node="a")) == ("synapses, all layers", "synapses of a")
    assert resolve_place("generator_stuck") == "random words, all layers"
    assert resolve_place("generator_stuck", layer="a") == "random words of a"


def resolve_place(kind: str, **given: Any) -> str:
    return fault_kinds()[kind](**given).place


def test_which_kinds_one_seed_stands_for() -> None:
    assert {name for name in OTHERS if not fault_kinds()[name](**({"address": 0} if name == "ram_bit_flip" else {})).uniform} == set()
    assert not WeightBitFlip(target="bias").uniform


def test_a_swept_field_at_a_value() -> None:
    bits, share = fault_kinds()["generator_biased"](), fault_kinds()["dead"]()
    assert repr(bits.at(3.0)).count("bits=3,") == 1, "a whole number, of a field that holds one"
    assert repr(bits.at(1.5)).count("bits=1.5,") == 1, "it is refused, not rounded"
    assert repr(share.at(1.0)).count("rate=1.0,") == 1
    assert share.at(0.25) == DeadNeurons(rate=0.25)
    assert share.seeded(5) == DeadNeurons(seed=5)
    assert bits.seeded(5) == bits
