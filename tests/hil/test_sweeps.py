"""Sweeps of any kind of fault: its own field, its options, its level, and the words that a report has for it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.faults.kinds.threshold_scale import ThresholdScale
from edgechaos.faults.plan import apply
from edgechaos.hil.analysis.documents import check_document
from edgechaos.hil.analysis.results import Results
from edgechaos.hil.campaign.config import Campaign, EnergySettings, Sweep
from edgechaos.hil.campaign.plan import plan_campaign
from edgechaos.hil.campaign.reading import read_campaign
from edgechaos.hil.campaign.source import to_toml
from edgechaos.hil.report.inputs import Inputs
from edgechaos.hil.report.page import compose
from edgechaos.hil.runner import run_campaign
from edgechaos.support.errors import ConfigError
from tests.helpers.campaigns import GRAPH, campaign, items, run

THRESHOLDS = Sweep("threshold_scale", values=(0.5, 1.0, 2.0), options={"rate": 0.5})
RAM = Sweep("ram_bit_flip", rates=(0.0, 0.001, 0.004), options={"address": 0x20000000, "words": 2500}, devices=("unicorn:mps2-an386",))


def stored(results: Results) -> dict[str, Any]:
    """As the report reads it."""
    document: dict[str, Any] = json.loads(json.dumps(results.to_json()))
    return document


def test_any_field_is_swept_and_named(tmp_path: Path) -> None:
    spec = campaign(sweep=(THRESHOLDS,))
    results = run(tmp_path, spec)
    (curve,) = results.curves
    assert (curve.swept, [p.rate for p in curve.points]) == ("factor", [0.5, 1.0, 2.0])
    assert curve.points[1].outcomes == {"not_activated": 96}, "the neutral factor is the clean run"
    assert "accuracy at factor 0.5 of the threshold, permanently, of neurons, all layers, rate 0.5, on plain" in results.statements()[0]
    trial = plan_campaign(spec).cells[0].trials[2]
    assert trial.plan.faults == (ThresholdScale(factor=0.5, rate=0.5, seed=trial.plan.faults[0].seed),)  # type: ignore[attr-defined]
    data = items()
    found = reference.run(apply(GRAPH, trial.plan), data.codes, seed=trial.seed).labels == data.labels
    assert curve.points[0].accuracy.value == pytest.approx(
        np.mean(
            [
                (reference.run(apply(GRAPH, t.plan), data.codes, seed=t.seed).labels == data.labels).mean()
                for t in plan_campaign(spec).cells[0].trials
            ]
        )
    )
    assert found.any()


def test_the_report_draws_a_field_that_is_no_share_and_reads_documents_of_before(tmp_path: Path) -> None:
    document = stored(run(tmp_path, campaign(sweep=(THRESHOLDS, Sweep("dead", (0.0, 0.5))))))
    html = compose(Inputs(campaign=document)).html
    assert "factor of the thresholds" in html
    assert "<th>factor</th>" in html
    assert "by factor" in html
    for curve in document["curves"]:
        del curve["swept"]
    document["curves"] = document["curves"][1:]
    assert "<th>rate (%)</th>" in compose(Inputs(campaign=document)).html
    document["curves"][0]["points"][0]["rate"] = 1.5
    with pytest.raises(Exception, match=r"rate, empty_rates: 1\.5 is outside 0\.\.1"):
        check_document("campaign", document, "x")


def test_joules_are_those_of_the_point_that_changes_nothing(tmp_path: Path) -> None:
    """The lowest factor is not the clean model."""
    spec = campaign(sweep=(THRESHOLDS,), devices=("counting",), energy=EnergySettings("stm32l4r5"))
    html = compose(Inputs(campaign=stored(run(tmp_path / "a", spec)))).html
    assert "clean (counting" in html
    without = replace(spec, sweep=(replace(THRESHOLDS, values=(0.5, 2.0)),))
    assert "at factor 0.5 threshold scale (counting" in compose(Inputs(campaign=stored(run(tmp_path / "b", without)))).html


def test_a_file_says_the_same(tmp_path: Path) -> None:
    spec = replace(campaign(sweep=(THRESHOLDS, RAM)), artifact="")
    path = tmp_path / "campaign.toml"
    path.write_text(to_toml(spec))
    assert read_campaign(path) == spec
    assert "values = [0.5, 1.0, 2.0]" in path.read_text()


@pytest.mark.parametrize(
    ("sweep", "place", "message"),
    [
        (Sweep("threshold_scale", rates=(0.5,)), "rates", "does not apply to threshold_scale, whose factor is swept; write values"),
        (Sweep("dead", values=(0.5,)), "values", "whose rate is swept; write rates"),
        (Sweep("threshold_scale"), "values", "is empty"),
        (Sweep("threshold_scale", values=(17.0,)), "values[0]", "= 17 is outside 0..16"),
        (Sweep("dead", (0.5,), options={"neurons": 3}), "options.neurons", "is no option of dead, which takes none"),
        (Sweep("threshold_scale", values=(0.5,), options={"seed": 3}), "options.seed", "which takes rate"),
        (Sweep("ram_bit_flip", (0.5,), options={"adress": 3}), "options.adress", "which takes address, words"),
        (Sweep("ram_bit_flip", (0.5,)), "", "missing key @ address"),
        (Sweep("ram_bit_flip", (0.5,), options={"address": "top"}), "", "expected an integer, got 'top' @ address"),
        (Sweep("ram_bit_flip", (0.5,), options={"address": 6}), "", "address 0x6 is not that of 1 words"),
        (
            Sweep("ram_bit_flip", (0.5,), "cortex0", options={"address": 8}),
            "layer",
            "does not apply to ram_bit_flip; name the place with options",
        ),
        (Sweep("weight_bit_flip", (0.5,), target="sign"), "", "target 'sign' is none of weight, bias"),
    ],
)
def test_what_does_not_fit_the_kind_is_refused_with_its_place(sweep: Sweep, place: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        run(tmp_path, campaign(sweep=(sweep,)))
    assert message in str(caught.value)
    assert ("sweep[0]." + place).rstrip(".") in str(caught.value)


def test_a_device_without_access_to_its_memory_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="device plain cannot carry faults of the memory"):
        run(tmp_path, campaign(sweep=(replace(RAM, devices=("plain",)), THRESHOLDS)))


def test_memory_faults_on_an_emulated_board_give_results_and_the_same_ones_again(tmp_path: Path) -> None:
    """Whatever flipped memory does to the firmware, protocol included, is an outcome of the fault."""
    spec = Campaign("ram", (RAM,), masks=3, images=replace(campaign().images, count=8), timeout=campaign().timeout)
    data = items(8)
    first, again = (run_campaign(spec, GRAPH, data, tmp_path / f"{k}.sqlite", workers=1) for k in range(2))
    document: dict[str, Any] = first.to_json()
    assert document["curves"] == again.to_json()["curves"]
    (curve,) = first.curves
    assert all(p.lost == 0 for p in curve.points)
    assert curve.points[0].outcomes == {"not_activated": 24}
    assert curve.persistence == "transient"
    assert set(curve.points[-1].outcomes) & {"crash", "hang", "reset", "sdc_critical", "sdc_other"}
