"""Dead and stuck units are found on every kind of layer, from logits or by driven tests, and nothing wrong is ever claimed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edgechaos import reference
from edgechaos.cli import main
from edgechaos.devices.contract import Device, DeviceInfo
from edgechaos.devices.fakes.device import FakeDevice
from edgechaos.faults.base import Fault
from edgechaos.faults.injections import CLEAN, ResolvedPlan
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.unit_stuck import UnitStuck
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.graph import artifact
from edgechaos.graph.heads import Encoding
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.readout import Readout
from edgechaos.graph.tensors import Constant
from edgechaos.hil.repair.damaged import DamagedDevice, added
from edgechaos.hil.repair.diagnose import diagnose
from edgechaos.hil.repair.diagnosis import Diagnosis, LayerDiagnosis
from edgechaos.hil.repair.driven import DrivenTests
from edgechaos.hil.repair.layers import UnitLayer, unit_layers
from edgechaos.support.errors import DataError, UnsupportedError
from tests.helpers.graphs import chaos_graph
from tests.helpers.hil_devices import ReferenceDevice
from tests.helpers.mixed_graphs import Builder, items_for, mixed_graph
from tests.helpers.places import ROOT


def plain() -> IntegerGraph:
    """A multilayer perceptron, whose readout takes clipped multiples of sums."""
    b = Builder(np.random.default_rng(4))
    x = b.tensor("codes", "int8", (14,))
    hidden = b.requantize(b.matmul(x, "first", 16), "first", "int8", 9000.0, per_channel=True, relu=True)
    hidden = b.requantize(b.matmul(hidden, "second", 12), "second", "int8", 9000.0, per_channel=True, relu=True)
    b.head("main", x, b.matmul(hidden, "readout", 6, Readout), Encoding("codes"))
    return b.graph()


NETS: Mapping[str, Any] = {
    "plain": plain,
    "spiking": lambda: chaos_graph(sizes=(12, 20, 6)),
    "spiking, binomial": lambda: chaos_graph(sizes=(12, 20, 6), sampling="binomial", noise=False),
    "spiking, expected": lambda: chaos_graph(sizes=(12, 20, 6), sampling="expected", noise=False),
    "stateful": lambda: chaos_graph(sizes=(12, 20, 6), mode="stateful", noise=False),
    "two spiking layers": lambda: chaos_graph(sizes=(12, 9, 8, 6), noise=False, fail_q=0),
    "k-WTA": lambda: mixed_graph(family="kwta", hidden=12, k=5),
    "channels, plain, spiking": lambda: mixed_graph(family="vision"),
    "channels, plain": lambda: mixed_graph(family="vision", spiking=False),
    "two convolutions": lambda: mixed_graph(family="vision", spiking=False, depth=2, shape=(1, 10, 10)),
    "text": lambda: mixed_graph(family="text", bits=4, spiking=False, hidden=12),
    "thermal": lambda: mixed_graph(family="thermal", hidden=10),
}


def found(graph: IntegerGraph, damage: ResolvedPlan, count: int = 48, device: Device | None = None, **info: Any) -> Diagnosis:
    """The diagnosis of a damaged device, on the reference unless another is given."""
    damaged = DamagedDevice(device or ReferenceDevice("plain", graph), damage)
    with damaged:
        return diagnose(damaged, replace(damaged.open(), **info), graph, items_for(graph, count), seed=5)


def check(graph: IntegerGraph, damage: ResolvedPlan, diagnosis: Diagnosis) -> int:
    """Asserts that nothing wrong is claimed; returns how many units are left open."""
    for layer in diagnosis.layers:
        dead, stuck = ({*np.flatnonzero(damage.slots.get((layer.layer, s), np.zeros(layer.units))).tolist()} for s in ("dead", "stuck"))
        low = int(getattr(graph.node(layer.layer), "low", 0))
        codes = {u: low + int(c) - 1 for u, c in enumerate(damage.slots.get((layer.layer, "stuck_code"), ())) if c}
        dead |= {u for u, code in codes.items() if code == 0}
        stuck |= {u for u, code in codes.items() if code != 0}
        assert set(layer.dead) == dead - set(layer.unknown), layer
        assert set(layer.stuck) == stuck - set(layer.unknown), layer
    return sum(len(layer.unknown) for layer in diagnosis.layers)


def last(graph: IntegerGraph) -> str:
    return unit_layers(graph)[-1].name


@pytest.mark.parametrize("net", NETS)
def test_dead_units_of_the_last_layer_are_all_found(net: str) -> None:
    graph = NETS[net]()
    for mask, rate in enumerate((0.25, 0.5, 0.75)):
        damage = resolve(graph, FaultPlan((DeadNeurons(last(graph), rate, seed=mask),)))
        diagnosis = found(graph, damage)
        assert check(graph, damage, diagnosis) == sum(layer.units for layer in diagnosis.layers if layer.method == "none")
        assert diagnosis.explains, diagnosis.confidence
        assert not diagnosis.layers[-1].unknown


@pytest.mark.parametrize("net", ["plain", "two spiking layers", "channels, plain, spiking", "channels, plain", "two convolutions", "text"])
def test_dead_units_of_every_layer_at_once(net: str) -> None:
    graph = NETS[net]()
    open_units = 0
    for mask in range(2):
        faults = tuple(DeadNeurons(layer.name, 0.34, seed=mask) for layer in unit_layers(graph))
        damage = resolve(graph, FaultPlan(faults))
        diagnosis = found(graph, damage)
        open_units += check(graph, damage, diagnosis)
        assert diagnosis.explains, diagnosis.confidence
    assert open_units == 0


@pytest.mark.parametrize("net", ["spiking", "stateful", "two spiking layers"])
def test_stuck_units_beside_dead_ones(net: str) -> None:
    graph = NETS[net]()
    layers = unit_layers(graph)
    for layer in layers:
        damage = resolve(graph, FaultPlan((DeadNeurons(layer.name, neurons=(1, 4)), StuckAtOne(layer.name, neurons=(0, 5)))))
        diagnosis = found(graph, damage)
        assert check(graph, damage, diagnosis) == 0
        assert diagnosis.certain
        (here,) = (x for x in diagnosis.layers if x.layer == layer.name)
        assert set(here.stuck) == {0, 5}


@pytest.mark.parametrize("net", ["text", "channels, plain"])
@pytest.mark.parametrize("code", [127, 1, 0])
def test_plain_units_stuck_at_any_code(net: str, code: int) -> None:
    graph = NETS[net]()
    layer = last(graph)
    damage = resolve(graph, FaultPlan((UnitStuck(layer, neurons=(0, 3), code=code), DeadNeurons(layer, neurons=(1,)))))
    diagnosis = found(graph, damage)
    assert check(graph, damage, diagnosis) == 0
    assert diagnosis.certain
    stuck, read = diagnosis.layers[-1].stuck, unit_layers(graph)[-1].readers[0].input
    sent = reference.run(apply(graph, damage), items_for(graph, 3), keep=(read,)).tensors[read].reshape(3, diagnosis.layers[-1].units, -1)
    assert {*stuck} == ({0, 3} if code else set())
    assert all((sent[:, unit] == at).all() for unit, at in stuck.items()), "the code is what the next matrix reads"


def test_logits_are_enough_without_fault_hooks() -> None:
    graph = NETS["spiking"]()
    for mask in range(5):
        damage = resolve(graph, FaultPlan((DeadNeurons(last(graph), 0.5, seed=mask),)))
        diagnosis = found(graph, damage, levels=frozenset())
        check(graph, damage, diagnosis)
        assert diagnosis.layers[-1].method == "responses"
        assert diagnosis.explains
        assert diagnosis.inferences == 48
        few = found(graph, damage, 4, levels=frozenset())
        check(graph, damage, few)
        assert few.layers[-1].unknown, "12 equations cannot decide 20 units"
        assert few.explains or "dead units among the rest" in few.confidence


def test_a_unit_that_is_silent_on_every_item_is_left_open_or_driven() -> None:
    graph = NETS["spiking"]()
    threshold = graph.value("cortex0_threshold").copy()
    threshold[7] = 2**31 - 1
    silent = replace(graph, constants={**graph.constants, "cortex0_threshold": Constant(threshold, 32)}).validate()
    damage = resolve(silent, FaultPlan((DeadNeurons("cortex0", neurons=(2, 7)),)))
    diagnosis = found(silent, damage, levels=frozenset())
    assert 7 in diagnosis.layers[0].unknown
    assert f"cannot tell {len(diagnosis.layers[0].unknown)}" in diagnosis.confidence
    assert not diagnosis.certain
    assert found(silent, damage).layers[0].dead == (2, 7), "by its threshold it speaks"


def test_two_units_that_do_the_same_stay_open_without_fault_hooks() -> None:
    graph = NETS["spiking"]()
    changed = dict(graph.constants)
    for name in ("cortex0_weight", "cortex0_bias", "cortex0_threshold", "cortex0_sigma"):
        value = graph.value(name).copy()
        value[3] = 0 if name == "cortex0_threshold" else value[3]  # it speaks
        value[4] = value[3]
        changed[name] = replace(changed[name], value=value)
    readout = graph.value("readout_weight").copy()
    readout[:, 4] = readout[:, 3]
    changed["readout_weight"] = replace(changed["readout_weight"], value=readout)
    nodes = tuple(replace(n, sigma=None, fail_q=0) if n.name == "cortex0" else n for n in graph.nodes)  # type: ignore[call-arg]
    twins = replace(graph, constants=changed, nodes=nodes).validate()
    damage = resolve(twins, FaultPlan((DeadNeurons("cortex0", neurons=(3, 9)),)))
    blind = found(twins, damage, 96, levels=frozenset())
    assert {3, 4} <= set(blind.layers[0].unknown)
    assert 9 in blind.layers[0].dead
    assert found(twins, damage, 96).layers[0].dead == (3, 9)


def test_other_faults_are_said_and_not_explained_away() -> None:
    graph = NETS["spiking"]()
    damage = resolve(graph, FaultPlan((DeadNeurons(rate=0.25), Omission(rate=0.5))))
    blind = found(graph, damage, levels=frozenset())
    assert not blind.explains
    assert blind.layers[0].unknown == tuple(range(20))
    assert "no fault hooks" in blind.layers[0].why
    driven = found(graph, damage)
    assert not driven.explains
    assert "it has other faults" in driven.confidence


def test_layers_that_cannot_be_tested_say_why() -> None:
    graph = mixed_graph(family="kwta", hidden=8, k=4, depth=2)
    damage = resolve(graph, FaultPlan((DeadNeurons(last(graph), 0.5),)))
    first, second = found(graph, damage).layers
    assert first.unknown == tuple(range(8))
    assert "compete" in first.why
    assert second.method == "tests"
    driven = NETS["k-WTA"]()
    bare = replace(driven, nodes=tuple(replace(n, bias=None) if n.name == unit_layers(driven)[0].driver.name else n for n in driven.nodes))  # type: ignore[call-arg]
    assert "has no bias to drive its units with" in found(bare.validate(), CLEAN).layers[0].why
    small = found(NETS["k-WTA"](), CLEAN, patch_capacity=4)
    assert "the device holds 4 changed words" in small.layers[0].why
    assert not small.certain


def test_what_cannot_be_diagnosed_is_refused() -> None:
    graph = NETS["spiking"]()
    device = ReferenceDevice("plain", graph)
    with pytest.raises(DataError, match="2 items at least"):
        diagnose(device, device.open(), graph, items_for(graph, 1))
    bare = mixed_graph(family="thermal", hidden=10, silent=False)  # its tables make codes of what is not there
    with pytest.raises(UnsupportedError, match="no layer whose units"):
        diagnose(ReferenceDevice("plain", bare), device.open(), bare, items_for(bare, 4))


def test_what_is_known_as_a_sentence() -> None:
    def said(*unknown: int, confirmed: int = 9) -> str:
        layers = (LayerDiagnosis("a", 5), LayerDiagnosis("b", 7, unknown=unknown))
        return Diagnosis("main", layers, confirmed, 9, 20).confidence

    rest = "logits bit for bit those of the diagnosed model on 9 items that the diagnosis did not use"
    assert said() == f"12 of 12 units decided, {rest}"
    assert said(2, 3) == f"10 of 12 units decided, {rest}; cannot tell 2: silent or shadowed in every test"
    other = "the device gives other logits on 2 of 9 items: it has other faults"
    assert said(confirmed=7) == f"12 of 12 units decided; {other}"
    assert said(1, confirmed=7) == f"11 of 12 units decided; {other} or dead units among the rest"


def test_every_obstacle_has_its_sentence() -> None:
    graph = NETS["two spiking layers"]()
    first, last = unit_layers(graph)
    codes = items_for(graph, 1)

    def said(*layers: UnitLayer, capacity: int = 100) -> str:
        tests = DrivenTests(ReferenceDevice("plain", graph), graph, graph.heads[0].name, codes, 5, capacity, layers)
        tests.known[last.name] = LayerDiagnosis(last.name, last.count, method="tests")
        return tests._obstacle(0)

    bare = replace(last, driver=replace(last.driver, bias=None))  # type: ignore[type-var]
    assert said(first, last) == said(last) == ""
    assert said(replace(first, readers=(*first.readers, *last.readers)), last) == "what 'cortex0' sends is read by more than one matrix"
    assert said(replace(first, readers=(bare.driver,)), bare) == "'cortex1_matmul' has no bias to set a working point with"
    several = "what the last layer sends reaches the logits by more than one matrix"
    assert said(replace(last, readers=last.readers * 2)) == said(first) == several
    assert said(last, capacity=6) == "the device holds 6 changed words, too few for a test"
    assert said(last, capacity=7) == "", "a row for each logit, and one"


def test_a_carrier_reads_its_unit_alone_with_the_largest_weight() -> None:
    graph = NETS["two spiking layers"]()
    layers = unit_layers(graph)
    tests = DrivenTests(ReferenceDevice("plain", graph), graph, graph.heads[0].name, items_for(graph, 1), 5, 100, layers)
    plan = tests._isolated(0, [(2, 0), (5, 0)], [1, 4])
    (reader,) = layers[0].readers
    rows, words = plan.patch[reader.name], graph.value(reader.weight).astype(int)
    np.add.at(words, (rows[:, 0], rows[:, 1]), rows[:, 2])
    wanted = graph.value(reader.weight).astype(int)
    for unit, carrier in ((2, 1), (5, 4)):
        wanted[carrier] = 127 * (np.arange(wanted.shape[1]) == unit)
    assert (words == wanted).all()
    threshold = graph.value("cortex1_threshold").copy()
    threshold[[1, 4]] = 0
    assert plan.slots["cortex1", "threshold"].tolist() == threshold.tolist()


def test_over_the_wire_and_left_without_faults() -> None:
    graph = NETS["k-WTA"]()
    damage = resolve(graph, FaultPlan((DeadNeurons(rate=0.5, seed=2),)))
    device = FakeDevice(graph)
    diagnosis = found(graph, damage, device=device)
    assert check(graph, damage, diagnosis) == 0
    with FakeDevice(graph) as clean:
        info: DeviceInfo = clean.open()
        assert not diagnose(clean, info, graph, items_for(graph, 8)).damaged
        assert (clean.infer(items_for(graph, 4)).logits == ReferenceDevice("plain", graph).infer(items_for(graph, 4)).logits).all()


def test_damage_stays_below_what_is_injected() -> None:
    graph = NETS["spiking"]()
    faults: tuple[Fault, ...] = (DeadNeurons(neurons=(3,)), WeightBitFlip(node="readout", rate=0.01, seed=1))
    damage = resolve(graph, FaultPlan(faults))
    device = DamagedDevice(ReferenceDevice("plain", graph), damage)
    items = items_for(graph, 8)
    with device:
        worn = device.infer(items).logits
        device.inject(resolve(graph, FaultPlan((DeadNeurons(neurons=(5,)),))))
        both = device.infer(items).logits
        device.inject(CLEAN)
        assert (device.infer(items).logits == worn).all()
        device.reset()
        assert (device.infer(items).logits == worn).all()
    silent = DamagedDevice(ReferenceDevice("plain", graph), resolve(graph, FaultPlan((Omission(rate=1.0),))))
    with silent:
        silent.inject(resolve(graph, FaultPlan((Omission(rate=0.0),))))
        assert (silent.infer(items).logits == graph.value("readout_bias")).all(), "no plan brings lost spikes back"
    assert (both != worn).any()
    rows = damage.patch["readout"]
    undone = added({"readout": rows}, {"readout": rows * np.array([1, 1, -1], np.int32)})
    assert undone == {}, "a change and its opposite leave no row"


def test_the_command_says_what_it_found(tmp_path: Path) -> None:
    path = tmp_path / "m.ecm"
    graph = artifact.load(ROOT / "benchmarks" / "pixels.ecm")
    artifact.save(graph, path)
    arguments = ["diagnose", str(path), "--device", "fake", "--data", "mnist5k", "--items", "32"]
    done = CliRunner().invoke(main, [*arguments, "--fault", "dead=0.5@1", "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    truth = resolve(graph, FaultPlan((DeadNeurons(rate=0.5, seed=1),))).slots["cortex0", "dead"]
    assert document["layers"][0]["dead"] == np.flatnonzero(truth).tolist()
    text = CliRunner().invoke(main, [*arguments, "--fault", "dead=0.5@1"]).stdout
    assert "... (32)" in text
    assert "64 of 64 units decided" in text
    other = CliRunner().invoke(main, [*arguments, "--fault", "omission=0.5"])
    assert other.exit_code == 1
    assert "it has other faults" in other.stdout
