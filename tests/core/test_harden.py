"""Measures on the graph: what they change, that clean integers stay, and what they are worth under the faults they are against."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.host import HostDevice
from edgechaos.export import engines
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.harden.base import harden, hardening_kinds, parse_hardening
from edgechaos.harden.kinds.triplicate import Triplicate
from edgechaos.support.errors import ConfigError, VerificationError
from tests.helpers.graphs import chaos_graph
from tests.helpers.mixed_graphs import items_for, mixed_graph

PLAIN = mixed_graph(family="vision", spiking=False, depth=2, shape=(1, 9, 8))
RANKED = mixed_graph(family="kwta")
SPIKING = chaos_graph(sizes=(20, 14, 9, 5), fail_q=0, noise=False)
GRAPHS = {"channels and a plain layer": PLAIN, "spiking": SPIKING, "4 bits": mixed_graph(family="vision", spiking=False, bits=4)}


def test_every_kind_says_what_it_does() -> None:
    assert [*hardening_kinds()] == ["clamp", "parity", "secded", "triplicate"]
    for name, kind in hardening_kinds().items():
        assert kind.kind == name
        assert kind.title
        assert kind.effect
        for graph in (PLAIN, SPIKING):
            for place in kind.places(graph)[:1]:
                assert [*kind(place).struck(graph)], place


@pytest.mark.parametrize("name", GRAPHS)
def test_triplicated_units_say_what_they_said(name: str) -> None:
    graph = GRAPHS[name]
    codes = items_for(graph, 40)
    wanted = reference.run(graph, codes).logits
    assert Triplicate.places(graph)
    for place in Triplicate.places(graph):
        for units in ("", ":0", ":0,2"):
            hard = Triplicate(f"{place}{units}").apply(graph)
            np.testing.assert_array_equal(reference.run(hard, codes).logits, wanted)
            copied = units.count(",") + 1 if units else units_of(graph, place)
            assert units_of(hard, place) == units_of(graph, place) + 2 * copied


def units_of(graph: IntegerGraph, layer: str) -> int:
    return graph.tensors[graph.node(layer).output].shape[0]


@pytest.mark.parametrize("name", GRAPHS)
def test_a_dead_copy_costs_a_third_of_what_its_unit_says(name: str) -> None:
    """The last layer's logits are linear in its units: without one copy they move by a third, rounded to the stored weights."""
    graph = GRAPHS[name]
    place = Triplicate.places(graph)[-1]
    count, codes = units_of(graph, place), items_for(graph, 60)
    clean = reference.run(graph, codes).logits
    best = max(range(count), key=lambda u: int(np.abs(dead(graph, place, u, codes) - clean).sum()))
    hard = Triplicate(f"{place}:{best}").apply(graph)
    assert units_of(hard, place) == count + 2
    lost = (dead(graph, place, best, codes) - clean).astype(np.int64)
    parts = [dead(hard, place, unit, codes) - clean for unit in (best, count, count + 1)]
    assert np.abs(lost).max() > 0
    np.testing.assert_array_equal(sum(parts), lost)
    if name == "spiking":
        for part in parts:
            assert 0.2 < np.abs(part).sum() / np.abs(lost).sum() < 0.47


def dead(graph: IntegerGraph, layer: str, unit: int, codes: np.ndarray) -> np.ndarray:
    plan = FaultPlan((DeadNeurons(layer, neurons=(unit,)),))
    return np.asarray(reference.run(apply(graph, resolve(graph, plan)), codes).logits)


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        (chaos_graph(sizes=(20, 14, 5), noise=False), "losses"),
        (mixed_graph(family="kwta"), "winners"),
        (mixed_graph(family="shared"), "shared words"),
    ],
)
def test_copies_that_would_say_something_else_are_refused(graph: IntegerGraph, why: str) -> None:
    for node in graph.analysis.unit_nodes:
        if node.name not in Triplicate.places(graph):
            with pytest.raises(ConfigError, match="no such place"):
                Triplicate(node.name).apply(graph)
            return
    raise AssertionError(why)


@pytest.mark.parametrize("units", ["99", "-1", "x", "1,,2"])
def test_units_that_there_are_not(units: str) -> None:
    place = Triplicate.places(SPIKING)[0]
    with pytest.raises(ConfigError, match="units are numbers from 0 to 13"):
        Triplicate(f"{place}:{units}").apply(SPIKING)


def test_a_clamp_keeps_what_was_observed_and_cuts_off_the_rest() -> None:
    many = items_for(RANKED, 60)
    codes, node = many // 64, next(n for n in RANKED.nodes if isinstance(n, Requantize))
    head, keep = RANKED.heads[0].name, (node.output,)
    seen = reference.run(RANKED, codes, keep=keep).tensors[node.output]
    measure = parse_hardening(f"clamp={node.name}")
    hard = harden(RANKED, [measure], {head: codes})
    bounded = hard.node(node.name)
    assert isinstance(bounded, Requantize)
    assert (bounded.low, bounded.high) == (min(0, int(seen.min())), int(seen.max()))
    np.testing.assert_array_equal(reference.run(hard, codes).logits, reference.run(RANKED, codes).logits)
    found, wanted = (reference.run(g, many, keep=keep).tensors[node.output] for g in (hard, RANKED))
    assert wanted.max() > bounded.high
    np.testing.assert_array_equal(found, np.clip(wanted, bounded.low, bounded.high))
    assert [s["node"] for s in measure.struck(RANKED)] == [RANKED.weighted()[0].name]
    with pytest.raises(ConfigError, match="calibration items"):
        measure.apply(RANKED)
    with pytest.raises(ConfigError, match="calibration items"):
        measure.apply(RANKED, {head: codes[:0]})


def test_a_measure_that_changes_logits_is_a_defect() -> None:
    codes = {SPIKING.heads[0].name: items_for(SPIKING, 8)}

    class Wrong(Triplicate):
        def apply(self, graph, codes=()):  # type: ignore[no-untyped-def]
            weight = graph.constants["readout_weight"]
            return replace(graph, constants={**graph.constants, "readout_weight": replace(weight, value=-weight.value)})

    with pytest.raises(VerificationError, match="other logits"):
        harden(SPIKING, [Wrong("x")], codes)


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_hardened_integers_on_every_back_end(name: str) -> None:
    from edgechaos.devices.emulators.device import EmulatedDevice
    from edgechaos.devices.kinds.unicorn import emulated_firmware

    graph = GRAPHS[name]
    codes = items_for(graph, 12)
    places = {kind: hardening_kinds()[kind].places(graph) for kind in ("clamp", "triplicate", "secded")}
    measures = [parse_hardening(f"{kind}={found[0]}") for kind, found in places.items() if found]
    hard = harden(graph, measures, {graph.heads[0].name: codes})
    wanted = reference.run(graph, codes).logits
    for engine in ("onnxruntime-on", "onnx-reference"):
        np.testing.assert_array_equal(engines.run(hard, codes, engine=engine).logits, wanted)
    for made in (HostDevice(hard), EmulatedDevice(hard, emulated_firmware(hard, "mps2-an386", faults=False))):
        with made as device:
            np.testing.assert_array_equal(device.infer(codes).logits, wanted)
