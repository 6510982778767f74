"""Campaign files, plans and their results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.devices.contract import DeviceInfo, Inference
from edgechaos.devices.fakes.device import FakeDevice
from edgechaos.devices.protocol import device as protocol_device
from edgechaos.devices.protocol.plan_payloads import check_plan as check_device_plan
from edgechaos.faults.injections import CLEAN, ResolvedPlan
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.graph.artifact import to_bytes
from edgechaos.graph.heads import Encoding
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.readout import Readout
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from edgechaos.hil.campaign.config import Images, Sweep, warnings
from edgechaos.hil.campaign.outcomes import OUTCOMES
from edgechaos.hil.campaign.plan import check_plan, plan_campaign, seeds
from edgechaos.hil.campaign.reading import read_campaign
from edgechaos.hil.execute import evaluate
from edgechaos.hil.execute.evaluate import EvaluationSet, Setup
from edgechaos.hil.runner import run_campaign
from edgechaos.support.errors import ConfigError, DataError, DeviceCrash, EdgeChaosError, FaultError
from tests.helpers.campaigns import GRAPH, InProcess, campaign, items, run
from tests.helpers.hil_devices import open_device
from tests.helpers.mixed_graphs import Builder, mixed_graph

SEEDS = [(3269421578, 3829921812), (3378907179, 4028770094), (109165076, 3037922294)]
"""Of the first masks of campaign seed 1: a release that draws others measures another experiment."""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "campaign.toml"
    path.write_text(text)
    return path


GOOD = """
name = "demo"
artifact = "pixels.ecm"
devices = ["host", "unicorn:mps2-an386"]
masks = 30
margin = "1 %"
timeout = "90 s"
[images]
count = 100
dataset = "digits8x8"
[energy]
board = "stm32l4r5"
[[sweep]]
fault = "dead"
rates = [0, 0.5]
layer = "cortex0"
devices = ["host"]
"""


def test_campaign_file(tmp_path: Path) -> None:
    spec = read_campaign(write(tmp_path, GOOD))
    assert (spec.margin, spec.timeout, spec.energy.board if spec.energy else None) == (0.01, 90.0, "stm32l4r5")
    assert spec.sweep == (Sweep("dead", (0.0, 0.5), layer="cortex0", devices=("host",)),)
    assert warnings(spec) == ()
    assert "Fewer than 30 masks: dead on host (5 masks)" in warnings(replace(spec, masks=5))[0]


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        ("masks = 30", "masks = 30\nmaks = 3", "", "unknown key 'maks'"),
        ("rates = [0, 0.5]", "rates = [0, 1.5]", "sweep[0].rates[1]", "sweep[0].rates[1] = 1.5 is outside 0..1"),
        ("rates = [0, 0.5]", "rates = [0, nan]", "sweep[0].rates[1]", "outside 0..1"),
        ("rates = [0, 0.5]", "rates = [0, 'half']", "sweep[0].rates[1]", "expected a number, got 'half' @ sweep[0].rates[1]"),
        ("rates = [0, 0.5]", "rates = [0.5, 0.5]", "sweep[0].rates[1]", "twice"),
        ("rates = [0, 0.5]", "rates = []", "sweep[0].rates", "empty"),
        ("rates = [0, 0.5]", "", "sweep[0].rates", "sweep[0].rates is empty"),
        ('fault = "dead"', 'fault = "death"', "sweep[0].fault", "'death' is not one of "),
        ('layer = "cortex0"', 'layre = "cortex0"', "sweep[0]", "unknown key 'layre' @ sweep[0]"),
        ('layer = "cortex0"', 'node = "cortex0"', "sweep[0].node", "does not apply to dead"),
        ("masks = 30", "masks = 1", "masks", "masks = 1 is outside 2..100000"),
        ("masks = 30", "masks = 3.5", "masks", "expected an integer, got 3.5 @ masks"),
        ("masks = 30", "masks = 30\ntemperature = -1", "temperature", "temperature = -1 is outside 0..inf"),
        ('margin = "1 %"', 'margin = "1 V"', "margin", 'expected a quantity such as "1 %"'),
        ('timeout = "90 s"', "timeout = 90", "timeout", 'expected a quantity such as "1 s", got 90 @ timeout'),
        ("count = 100", "count = 0", "images.count", "images.count = 0 is outside 1..10000000"),
        ('devices = ["host", "unicorn:mps2-an386"]', "devices = []", "devices", "devices is empty"),
        ("[energy]", "[energy", None, "is not valid TOML"),
    ],
)
def test_campaign_file_is_refused_with_the_place(tmp_path: Path, old: str, new: str, key: str | None, message: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        read_campaign(write(tmp_path, GOOD.replace(old, new)))
    assert message in str(caught.value)
    assert caught.value.key == key


def test_campaign_file_missing(tmp_path: Path) -> None:
    with pytest.raises(EdgeChaosError, match=r"cannot read campaign .*nowhere\.toml"):
        read_campaign(tmp_path / "nowhere.toml")


def test_seeds_depend_on_campaign_and_mask_alone() -> None:
    assert seeds(1, 3) == seeds(1, 5)[:3] == SEEDS
    assert len({pair for c in range(3) for pair in seeds(c, 50)}) == 150
    few, many = plan_campaign(campaign(masks=3)), plan_campaign(campaign(masks=5, devices=("other", "plain")))
    for cell in few.cells:
        twin = next(c for c in many.cells if (c.sweep, c.rate, c.device) == (cell.sweep, cell.rate, "plain"))
        assert twin.trials[:3] == cell.trials


def test_fault_sites_have_seeds_of_their_own() -> None:
    """With the words' seed instead, which neurons die would follow from which spikes are lost."""
    cell = next(c for c in plan_campaign(campaign(masks=3)).cells if c.sweep.fault == "dead" and c.rate > 0)
    assert [(trial.seed, fault.seed) for trial in cell.trials for fault in trial.plan.faults if isinstance(fault, DeadNeurons)] == SEEDS


def test_masks_are_many_or_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"masks, rates and devices make up to 400,000 trials, 250,000 are the most; lower masks"):
        read_campaign(write(tmp_path, GOOD.replace("masks = 30", "masks = 100000").replace("[0, 0.5]", "[0.1, 0.2, 0.5]")))
    with pytest.raises(ConfigError, match=r"masks = 1 is outside 2\.\.100000"):
        run(tmp_path, campaign(masks=1))


def test_a_message_lists_few_of_many_defects(tmp_path: Path) -> None:
    rates = ", ".join(["7"] * 20_000)
    with pytest.raises(ConfigError) as caught:
        read_campaign(write(tmp_path, GOOD.replace("rates = [0, 0.5]", f"rates = [{rates}]")))
    assert len(str(caught.value)) < 600
    assert str(caught.value).endswith("; and more")


def test_a_plan_is_proved_once_for_all_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Except where biases flip: there the largest word decides, and a mask that overflows is found wherever it stands."""
    applied: list[object] = []

    def counted(graph: IntegerGraph, plan: FaultPlan) -> IntegerGraph:
        applied.append(plan)
        return apply(graph, plan)

    monkeypatch.setattr("edgechaos.hil.campaign.plan.apply", counted)
    kinds = (Sweep("dead", (0.0, 0.5)), Sweep("weight_bit_flip", (0.01, 0.1)), Sweep("omission", (0.5,)))
    check_plan(plan_campaign(campaign(sweep=kinds, masks=200, devices=("a", "b"))), GRAPH)
    assert len(applied) == 5
    applied.clear()
    biased = replace(Builder(np.random.default_rng(1)), bits=4)
    x = biased.tensor("codes", "int8", (6,))
    biased.head("main", x, biased.matmul(x, "readout", 3, Readout), Encoding("codes"))
    graph = biased.graph()
    sweep = Sweep("weight_bit_flip", (1 / 96,), node=graph.nodes[0].name, target="bias")  # one of 3 * 32 bits
    plan = plan_campaign(campaign(sweep=(sweep,), masks=40))
    overflows = [m for m, trial in enumerate(plan.cells[0].trials) if not carried(graph, trial.plan)]
    assert overflows
    assert overflows[0] > 0
    with pytest.raises(ConfigError, match=rf"sweep weight_bit_flip at rate 0\.0104167, mask {overflows[0]}: "):
        check_plan(plan, graph)
    assert len(applied) <= overflows[0] + 1
    applied.clear()
    few = plan_campaign(campaign(sweep=(sweep,), masks=max(2, overflows[0])))
    check_plan(few, graph)
    assert 0 < len(applied) < max(3, overflows[0])


def test_a_plan_is_resolved_once_per_trial_and_proved_once_per_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the device crashes on an image, so that the batch is halved and the plan loaded again and again."""
    resolved: list[FaultPlan] = []
    proved: list[object] = []
    given: list[object] = []

    class Crashing(FakeDevice):
        def inject(self, plan: ResolvedPlan) -> None:
            given.append(plan)
            super().inject(plan)
            self.faulty = plan is not CLEAN

        def infer(self, codes: NDArray[Any], **options: Any) -> Inference:
            if self.faulty and 5 in options["samples"]:
                raise DeviceCrash("unmapped read")
            return super().infer(codes, **options)

    def resolving(graph: IntegerGraph, plan: FaultPlan) -> ResolvedPlan:
        resolved.append(plan)
        return resolve(graph, plan)

    def proving(graph: IntegerGraph, plan: ResolvedPlan, info: DeviceInfo) -> IntegerGraph:
        proved.append(plan)
        return check_device_plan(graph, plan, info)

    monkeypatch.setattr(evaluate, "resolve", resolving)
    monkeypatch.setattr(protocol_device, "check_plan", proving)
    spec = campaign(masks=2, sweep=(Sweep("dead", (0.5,)),))
    executor = InProcess(Setup(to_bytes(GRAPH), items(), lambda spec, graph: Crashing(graph)))
    results = run_campaign(spec, GRAPH, items(), tmp_path / "ledger.sqlite", executor=executor, opener=open_device)
    assert results.curves[0].points[0].outcomes["crash"] == 2
    assert len(resolved) == len(proved) == 2
    assert len(given) > 8


def carried(graph: IntegerGraph, plan: FaultPlan) -> bool:
    try:
        apply(graph, plan)
    except FaultError:
        return False
    return True


def test_common_random_numbers_and_shared_trials() -> None:
    plan = plan_campaign(campaign(devices=("a", "b")))
    assert len(set(plan.trials)) == len(plan.trials) == 2 * 4 * (1 + 3 + 2)  # clean, 3 omission rates, 2 dead rates above 0
    for cell in plan.cells:
        assert [t.seed for t in cell.trials] == [c.seed for c in cell.clean]
        assert all(c.clean for c in cell.clean)
    of_device = [{(t.plan.id, t.seed) for t in plan.trials if t.device == d} for d in "ab"]
    assert of_device[0] == of_device[1]
    zero_dead = next(c for c in plan.cells if c.sweep.fault == "dead" and c.rate == 0)
    assert zero_dead.trials == zero_dead.clean
    zero_omission = next(c for c in plan.cells if c.sweep.fault == "omission" and c.rate == 0)
    assert zero_omission.trials[0].plan == FaultPlan((Omission(rate=0.0),))


def test_impossible_plan_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sweep dead at rate 0\.5, mask 0: .*no spiking, k-WTA or plain layer 'cortex9'"):
        run(tmp_path, campaign(sweep=(Sweep("dead", (0.5,), layer="cortex9"),)))
    assert not (tmp_path / "ledger.sqlite").exists()


def test_too_few_items(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs 25 items, 'drawn' has 24"):
        run(tmp_path, campaign(images=Images(25)))


def test_results_equal_the_reference(tmp_path: Path) -> None:
    data, spec = items(), campaign()
    results = run(tmp_path, spec)
    plan = plan_campaign(spec)
    assert results.about["trials"] == {"planned": 24, "with_result": 24, "retried": 0, "without_result": {}}
    assert len(results.curves) == 2
    for curve, sweep in zip(results.curves, spec.sweep, strict=True):
        for point in curve.points:
            cell = next(c for c in plan.cells if c.sweep == sweep and c.rate == point.rate)
            accuracies, outcomes = [], dict.fromkeys(OUTCOMES, 0)
            for trial in cell.trials:
                clean = reference.run(GRAPH, data.codes, seed=trial.seed)
                faulty = reference.run(apply(GRAPH, trial.plan), data.codes, seed=trial.seed)
                accuracies.append(float((faulty.labels == data.labels).mean()))
                for k, label in enumerate(data.labels):
                    outcomes[expected_outcome(trial.clean, clean, faulty, k, int(label))] += 1
            assert point.accuracy.value == pytest.approx(np.mean(accuracies))
            assert point.worst_accuracy == min(accuracies)
            assert point.worst_mask == int(np.argmin(accuracies))
            assert point.outcomes == {k: v for k, v in outcomes.items() if v}


@pytest.mark.parametrize(("graph", "head"), [(mixed_graph(family="shared"), "texts"), (mixed_graph(family="thermal"), None)])
def test_the_head_and_the_parameters_of_a_campaign_reach_the_device(tmp_path: Path, graph: IntegerGraph, head: str | None) -> None:
    """What the curve says is what the reference answers on that head, at that temperature, and on no other."""
    noise = [n for n in graph.nodes if isinstance(n, ThermalNoise)]
    parameters = {n.name: n.k_max for n in noise}
    spec = graph.tensors[graph.head(head).input]
    codes = np.arange(24 * spec.size).reshape(24, *spec.shape).astype(spec.dtype) % 29
    labels = reference.run(graph, codes, seed=7, head=head, parameters=parameters).labels.astype(np.int64)
    data = EvaluationSet("drawn", codes, labels, head, parameters)
    sweep = Sweep("weight_bit_flip", (0.0, 0.05))
    executor = InProcess(Setup(to_bytes(graph), data, open_device))
    plan = plan_campaign(campaign(sweep=(sweep,)))
    results = run_campaign(campaign(sweep=(sweep,)), graph, data, tmp_path / "ledger.sqlite", executor=executor, opener=open_device)
    for point, cell in zip(results.curves[0].points, plan.cells, strict=True):
        runs = [
            reference.run(apply(graph, t.plan), codes, seed=t.seed, head=head, parameters=parameters).labels == labels for t in cell.trials
        ]
        assert point.accuracy.value == pytest.approx(np.mean(runs))
    assert results.about["model"]["head"] == graph.head(head).name
    assert data.hash(24) != EvaluationSet("drawn", codes, labels).hash(24)


def expected_outcome(is_clean: bool, clean: reference.Result, faulty: reference.Result, k: int, label: int) -> str:
    if clean.labels[k] != faulty.labels[k]:
        return "sdc_critical" if clean.labels[k] == label else "sdc_other"
    if (clean.logits[k] != faulty.logits[k]).any():
        return "tolerable"
    return "not_activated" if is_clean else "masked"


def test_dead_units_of_a_plain_network_are_a_sweep_like_any_other(tmp_path: Path) -> None:
    graph = mixed_graph(family="thermal", hidden=16)
    spec = campaign(sweep=(Sweep("dead", (0.0, 0.25, 1.0)),))
    (curve,) = run(tmp_path, spec, graph=graph).curves
    assert curve.points[0].outcomes.get("not_activated") == 96
    assert not any("not_activated" in point.outcomes for point in curve.points[1:])
    codes, labels = items(graph=graph).codes, items(graph=graph).labels
    for point, cell in zip(curve.points, plan_campaign(spec).cells, strict=True):
        runs = [reference.run(apply(graph, t.plan), codes, seed=t.seed).labels == labels for t in cell.trials]
        assert point.accuracy.value == pytest.approx(np.mean(runs))
    with pytest.raises(ConfigError, match="cannot have its 'dead' set: table 'lut3' does not map 0"):
        run(tmp_path / "loud", spec, graph=mixed_graph(family="thermal", hidden=16, silent=False))


def test_a_plan_without_effect_on_the_model_is_not_activated(tmp_path: Path) -> None:
    results = run(tmp_path, campaign(sweep=(Sweep("omission", (6554 / 65536,)), Sweep("dead", (0.01,)))))
    for curve in results.curves:  # the deployed loss probability, and round(0.01 * 16) = 0 neurons
        assert curve.points[0].outcomes == {"not_activated": 96}
        assert curve.points[0].difference.value == 0
        assert curve.points[0].no_harm.holds
