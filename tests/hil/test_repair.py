"""What reads dead units is fitted into the graph's own integers, sent, and gives the mended model's logits bit for bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edgechaos import reference
from edgechaos.cli import main
from edgechaos.devices.fakes.board import FakeBoard
from edgechaos.devices.fakes.device import FakeDevice
from edgechaos.faults.injections import CLEAN, ResolvedPlan
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.unit_stuck import UnitStuck
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.faults.words import changed_words, with_rows, with_words
from edgechaos.graph import artifact
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.tensors import Constant
from edgechaos.hil.energy.model import board_energy, energy_per_inference
from edgechaos.hil.repair import mend
from edgechaos.hil.repair.damaged import DamagedDevice
from edgechaos.hil.repair.diagnose import diagnose
from edgechaos.hil.repair.layers import unit_layers
from edgechaos.hil.repair.refit import Items, refit
from edgechaos.hil.repair.softmax import fit, loss
from edgechaos.support.errors import FaultError, VerificationError
from tests.helpers.hil_devices import PER_INFERENCE, ReferenceDevice
from tests.helpers.mixed_graphs import items_for, mixed_graph
from tests.helpers.places import ROOT
from tests.hil.test_diagnose import NETS, last

pytestmark = pytest.mark.trains

NAMES = ("plain", "spiking", "spiking, expected", "k-WTA", "channels, plain", "two spiking layers", "text", "thermal")


def taught(graph: IntegerGraph, count: int = 1500, seed: int = 0) -> Items:
    """Random items, and what the undamaged model makes of them as labels."""
    codes = items_for(graph, count, seed)
    head = graph.heads[0].name
    return Items(codes, reference.run(graph, codes, seed=5, head=head).labels.astype(np.int64), head, 5)


def share(graph: IntegerGraph, damage: ResolvedPlan, items: Items) -> float:
    return float((reference.run(apply(graph, damage), items.codes, seed=items.seed, head=items.head).labels == items.labels).mean())


def doubt(graph: IntegerGraph, damage: ResolvedPlan, items: Items) -> float:
    """Cross-entropy of the logits: random networks lose certainty before they lose classes."""
    return loss(reference.run(apply(graph, damage), items.codes, seed=items.seed, head=items.head).logits.astype(float), items.labels)


@pytest.mark.parametrize("net", NAMES)
def test_dead_units_are_made_up_for_and_patch_rows_are_the_mended_model(net: str) -> None:
    graph = NETS[net]()
    fitting, held_out = taught(graph), taught(graph, 600, seed=1)
    for mask in range(2):
        damage = resolve(graph, FaultPlan((DeadNeurons(last(graph), 0.5, seed=mask),)))
        mended = refit(graph, damage, fitting)
        assert doubt(mended, damage, held_out) < doubt(graph, damage, held_out)
        rows = changed_words(graph, mended)
        assert rows, "something changed"
        patched = apply(graph, ResolvedPlan(damage.slots, rows))
        probe = held_out.codes[:64]
        expected = reference.run(apply(mended, damage), probe, seed=9, head=fitting.head).logits
        assert (reference.run(patched, probe, seed=9, head=fitting.head).logits == expected).all()
        assert artifact.from_bytes(artifact.to_bytes(mended)).nodes == mended.nodes, "a repaired graph is a graph"
    if net.startswith("spiking"):
        assert share(mended, damage, held_out) > share(graph, damage, held_out) + 0.1


def test_channels_that_later_layers_read_are_made_up_for() -> None:
    graph = NETS["two convolutions"]()
    fitting, held_out = taught(graph, 800), taught(graph, 400, seed=1)
    damage = resolve(graph, FaultPlan((DeadNeurons(unit_layers(graph)[0].name, neurons=(1,)),)))
    mended = refit(graph, damage, fitting)
    rows = changed_words(graph, mended)
    assert unit_layers(graph)[0].readers[0].name in rows
    assert share(mended, damage, held_out) > share(graph, damage, held_out)
    (reader,) = unit_layers(graph)[0].readers

    def gap(model: IntegerGraph) -> float:
        sums = [
            reference.run(g, held_out.codes, head=held_out.head, keep=(reader.output,)).tensors[reader.output].astype(float)
            for g in (graph, apply(model, damage))
        ]
        return float(np.square(sums[0] - sums[1]).mean())

    assert gap(mended) < 0.9 * gap(graph)


def test_stuck_units_and_a_probe_set_alone() -> None:
    graph = NETS["spiking"]()
    damage = resolve(graph, FaultPlan((DeadNeurons(neurons=(2, 3, 8)), StuckAtOne(neurons=(0, 5, 11)))))
    held_out = taught(graph, 800, seed=1)
    before = share(graph, damage, held_out)
    assert share(refit(graph, damage, taught(graph)), damage, held_out) > before + 0.05
    assert share(refit(graph, damage, taught(graph, 150)), damage, held_out) > before, "150 items are enough to do better"


def test_a_unit_that_hardly_ever_speaks_takes_no_resolution_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """One unit that says something on one item in a thousand: a fit may give it a hundred times the others' weights."""
    graph = NETS["spiking"]()
    (layer,) = unit_layers(graph)
    sums = reference.run(graph, taught(graph).codes, seed=5, keep=(layer.driver.output,)).tensors[layer.driver.output]
    threshold = graph.value("cortex0_threshold").copy()
    threshold[7] = np.sort(sums.reshape(-1, layer.count)[:, 7])[-2]
    rare = replace(graph, constants={**graph.constants, "cortex0_threshold": Constant(threshold, 32)}).validate()

    def wild(*args: Any, **options: Any) -> Any:
        found = fit(*args, **options)
        weight = found.weight.copy()
        weight[:, 7] = 100 * np.abs(np.delete(weight, 7, axis=1)).max()
        return replace(found, weight=weight, used=found.used | (np.arange(len(found.used)) == 7))

    monkeypatch.setattr("edgechaos.hil.repair.refit.fit", wild)
    damage = resolve(rare, FaultPlan((DeadNeurons(neurons=(0, 1, 2, 3, 4, 8, 9, 10, 11, 12)),)))
    held_out = taught(rare, 800, seed=1)
    assert doubt(refit(rare, damage, taught(rare)), damage, held_out) < 0.85 * doubt(rare, damage, held_out)


def test_plain_units_stuck_at_a_code_are_made_up_for() -> None:
    graph = NETS["text"]()
    damage = resolve(graph, FaultPlan((UnitStuck(last(graph), neurons=(0, 2, 7), code=127),)))
    held_out = taught(graph, 800, seed=1)
    before = share(graph, damage, held_out)
    assert before < 1
    assert share(refit(graph, damage, taught(graph)), damage, held_out) > before + 0.05


def test_nothing_damaged_nothing_changed() -> None:
    graph = NETS["spiking"]()
    assert refit(graph, CLEAN, taught(graph, 50)) is graph
    assert changed_words(graph, graph) == {}


def test_words_that_other_nodes_read_are_left_to_them() -> None:
    graph = mixed_graph(family="shared", spiking=False)
    names = [n.name for n in graph.weighted() if n.weight == "cortex_w"] or [n.name for n in graph.weighted() if "matmul" in n.name]
    node = graph.node(names[0])
    words = graph.value(node.weight) + 0  # type: ignore[attr-defined]
    words.reshape(-1)[0] = 1 - words.reshape(-1)[0]
    other = with_words(graph, node, words)  # type: ignore[arg-type]
    assert (graph.value(node.weight) != words).any()  # type: ignore[attr-defined]
    assert set(changed_words(graph, other)) == {names[0]}


def test_a_repair_is_sent_compared_and_measured() -> None:
    graph = NETS["k-WTA"]()
    damage = resolve(graph, FaultPlan((DeadNeurons(rate=0.5, seed=2), WeightBitFlip(rate=0.02, seed=3))))
    items = taught(graph, 300, seed=1)
    device = DamagedDevice(FakeDevice(graph), damage)
    with device:
        info = device.open()
        found = diagnose(device, info, with_rows(graph, damage.patch), items.codes[:40], seed=5)
        assert found.certain
        repair = mend.plan_repair(graph, found, taught(graph), damage.patch)
        predicted = mend.predict(repair, items)
        got = mend.send(device, info, repair, items)
        assert (got.before, got.after) == (predicted.before, predicted.after)
        assert got.gain.low > 0
        assert got.measured
        expected = reference.run(apply(repair.mended, ResolvedPlan(damage.slots)), items.codes, seed=5).logits
        assert (device.infer(items.codes, seed=5).logits == expected).all(), "flipped words are put back"
        device.inject(CLEAN)
        back = device.infer(items.codes, seed=5).labels
        assert float((back == items.labels).mean()) == got.before.value, "undone"


def test_joules_before_and_after_where_instructions_are_counted() -> None:
    graph = NETS["spiking"]()
    damage = resolve(graph, FaultPlan((DeadNeurons(rate=0.5, seed=2),)))
    items, board = taught(graph, 60, seed=1), board_energy("stm32l4r5")
    one = energy_per_inference(PER_INFERENCE, board)
    for spec, wanted in (("counting", {"before": one, "after": one}), ("plain", {})):
        device = DamagedDevice(ReferenceDevice(spec, graph), damage)
        info = device.open()
        found = diagnose(device, info, graph, items.codes, seed=5)
        got = mend.send(device, info, mend.plan_repair(graph, found, taught(graph)), items)
        assert got.energy(board) == wanted


def test_a_committed_repair_is_more_words_than_the_device_holds_rows() -> None:
    graph = NETS["k-WTA"]()
    damage = resolve(graph, FaultPlan((DeadNeurons(rate=0.5, seed=2), WeightBitFlip(rate=0.02, seed=3))))
    items = taught(graph, 300, seed=1)
    device = DamagedDevice(FakeDevice(graph, board=FakeBoard(graph, patch_capacity=18)), ResolvedPlan(damage.slots))
    with device:
        info = device.open()
        found = diagnose(device, info, graph, items.codes[:40], seed=5)
        repair = mend.plan_repair(graph, found, taught(graph))
        with pytest.raises(FaultError, match="holds 18 at once; commit it"):
            mend.send(device, info, repair, items)
        got = mend.commit(device, repair, items)
        assert got.after == mend.predict(repair, items).after
        device.inject(CLEAN)
        assert float((device.infer(items.codes, seed=5).labels == items.labels).mean()) == got.after.value, "it stays"
        device.revert()
        assert float((device.infer(items.codes, seed=5).labels == items.labels).mean()) == got.before.value
    flipped = DamagedDevice(FakeDevice(graph), damage)
    with flipped:
        info = flipped.open()
        found = diagnose(flipped, info, with_rows(graph, damage.patch), items.codes[:40], seed=5)
        mend.commit(flipped, mend.plan_repair(graph, found, taught(graph), damage.patch), items)
    with pytest.raises(FaultError, match="takes no repair that stays"):
        mend.commit(ReferenceDevice("plain", graph), repair, items)


def test_words_that_flash_holds_wrong_are_put_right_by_a_commit() -> None:
    """As of a real board: its own words are the flipped ones, the artifact of the host has the right ones."""
    graph = NETS["spiking"]()
    wrong = with_rows(graph, {"readout": np.array([[1, 2, 5], [2, -1, 9]], np.int32)})
    board = FakeBoard(wrong)
    board.hello = replace(board.hello, model_hash=bytes.fromhex(artifact.content_hash(graph)))
    device = FakeDevice(graph, board=board)
    with device:
        mended = with_rows(graph, {"readout": np.array([[0, 0, -3]], np.int32)})
        device.commit(mended, wrong)
        codes = items_for(graph, 20)
        assert (device.infer(codes).logits == reference.run(mended, codes).logits).all()


def test_what_is_refused() -> None:
    graph = NETS["spiking"]()
    damage = resolve(graph, FaultPlan((DeadNeurons(rate=0.5),)))
    items = taught(graph, 100)
    device = DamagedDevice(FakeDevice(graph, board=FakeBoard(graph, patch_capacity=40)), damage)
    with device:
        info = device.open()
        found = diagnose(device, info, graph, items.codes, seed=5)
        repair = mend.plan_repair(graph, found, items)
        with pytest.raises(FaultError, match="words, device 'fake' holds 40 at once"):
            mend.send(device, info, repair, items)
    unexplained = diagnose(
        ReferenceDevice("plain", graph), info, with_rows(graph, {"readout": np.array([[0, -1, 7]], np.int32)}), items.codes
    )
    with pytest.raises(FaultError, match="it has other faults"):
        mend.plan_repair(graph, unexplained, items)
    other = ReferenceDevice("plain", graph)
    with pytest.raises(VerificationError, match="other logits than the mended model on"):
        mend.measured(other, (other.infer(items.codes), {}), repair, items)


def test_a_fit_of_what_can_be_separated() -> None:
    rng = np.random.default_rng(1)
    true = rng.normal(size=(4, 6))
    x = rng.integers(0, 100, (3000, 6)).astype(np.float32)
    x[:, 2] = 7
    labels = (x @ true.T - (true * x.mean(axis=0)).sum(axis=1)).argmax(axis=1)
    found = fit(x, labels, 4)
    assert ((x @ found.weight.T + found.bias).argmax(axis=1) == labels).mean() > 0.97
    assert not found.used[2]
    assert (found.weight[:, 2] == 0).all()
    logits = x @ found.weight.T + found.bias
    assert loss(logits, labels) == pytest.approx(loss(1000 * logits, labels)), "integers have no scale of their own"
    silent = fit(np.zeros((30, 3), np.float32), np.arange(30) % 3, 3)
    assert np.allclose(silent.bias, np.log(1 / 3))


def test_the_command_mends_measures_and_keeps_a_record(tmp_path: Path) -> None:
    path, out, log = tmp_path / "m.ecm", tmp_path / "out.ecm", tmp_path / "all.jsonl"
    path.write_bytes((ROOT / "benchmarks" / "pixels.ecm").read_bytes())
    arguments = ["repair", str(path), "--device", "fake", "--data", "mnist5k", "--items", "200", "--probes", "32", "--fit-items", "1500"]
    arguments += ["--fault", "dead=0.75@1", "-o", str(out), "--log", str(log)]
    dry = CliRunner().invoke(main, [*arguments, "--dry-run", "--json"])
    assert dry.exit_code == 0, dry.output
    assert not list(tmp_path.glob("*.jsonl"))
    assert not out.exists()
    done = CliRunner().invoke(main, [*arguments, "--json"])
    document = json.loads(done.stdout)
    assert document["accuracy"]["gain"]["low"] > 0.05
    predicted = json.loads(dry.stdout)["accuracy"]
    assert not predicted["measured"]
    assert predicted | {"measured": True} == document["accuracy"]
    mended = artifact.load(out)
    assert artifact.content_hash(mended) == document["mended"]
    assert mended.metadata["repair"]["of"] == document["of"] == artifact.content_hash(artifact.load(path))
    assert len(mended.metadata["repair"]["layers"][0]["dead"]) == 48
    again = CliRunner().invoke(main, arguments)
    assert "gain: +" in again.stdout
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [e["action"] for e in entries] == ["patched", "patched"]
    assert entries[0]["words"] == document["words"]
    assert entries[0]["time"].endswith("+00:00")
    committed = CliRunner().invoke(main, [*arguments, "--commit", "--json"])
    assert json.loads(committed.stdout)["accuracy"] == document["accuracy"]
    again = CliRunner().invoke(main, ["repair", str(path), "--device", "fake", "--again", str(out), "--log", str(log)])
    assert f"committed again: fake holds {document['mended'][:12]}" in again.stdout, again.output
    fresh = CliRunner().invoke(main, ["repair", str(out), "--device", "fake", "--undo", "--log", str(log)])
    assert fresh.exit_code == 1, "a fake of the mended model has no other to go back to"
    assert "holds model" in fresh.stderr
    assert [json.loads(line)["action"] for line in log.read_text().splitlines()][2:] == ["committed", "committed again"]
    assert CliRunner().invoke(main, ["repair", str(out), "--undo", "--commit"]).exit_code == 2
    assert "no mended one" in CliRunner().invoke(main, ["repair", str(path), "--device", "fake", "--undo"]).stderr
    whole = CliRunner().invoke(main, ["repair", str(path), "--device", "fake", "--data", "mnist5k", "--items", "20", "-o", str(out)])
    assert "nothing is dead or stuck" in whole.stdout
