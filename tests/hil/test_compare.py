"""Two campaigns compared: the pairing, what is refused and why, gates on bounds, and the XML for build servers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from edgechaos.hil.analysis.compare import compare
from edgechaos.hil.analysis.documents import CampaignDocument, campaign_document
from edgechaos.hil.analysis.gates import Gate, Limit, Policy, check_run, judge, merged, outcome_share, parse_gate, read_policy, unlike
from edgechaos.hil.campaign.config import Images, Sweep
from edgechaos.hil.report.junit import Case, junit
from edgechaos.support.errors import ConfigError
from edgechaos.support.statistics import mean_over_masks, paired_difference, proportion
from tests.helpers.campaigns import GRAPH, campaign, run
from tests.helpers.graphs import chaos_graph

OTHER = chaos_graph(sizes=(12, 16, 4), fail_q=0, noise=True)
SWEEP = (Sweep("dead", (0.0, 0.5)), Sweep("omission", (0.25,)))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One campaign on two models."""
    made = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    for folder, graph in zip(made, (GRAPH, OTHER), strict=True):
        run(folder, campaign(sweep=SWEEP, masks=6), graph=graph).write(folder)
    return made


@pytest.fixture(scope="module")
def pair(folders: tuple[Path, Path]) -> tuple[CampaignDocument, CampaignDocument]:
    """Labels are a model's own here, so that the data is declared to be the same."""
    first, second = (campaign_document(folder / "results.json") for folder in folders)
    return first, with_about(second, data=replace(second.about.data, hash=first.about.data.hash))


def with_about(document: CampaignDocument, **changes: Any) -> CampaignDocument:
    return replace(document, about=replace(document.about, **changes))


def reasons(first: CampaignDocument, second: CampaignDocument, **options: Any) -> str:
    with pytest.raises(ConfigError, match="cannot be compared") as caught:
        compare(first, second, **options)
    return str(caught.value)


def test_results_hold_what_pairs_are_made_of(pair: tuple[CampaignDocument, CampaignDocument]) -> None:
    for curve in pair[0].curves:
        for p in curve.points:
            shares = [c / curve.images for c in p.per_mask["correct"]]
            assert p.accuracy == mean_over_masks(shares)
            assert p.difference == paired_difference(shares, [c / curve.images for c in p.per_mask["clean"]])
            assert {name: sum(column) for name, column in p.per_mask.items() if name in p.outcomes} == p.outcomes
            assert p.per_mask["mask"] == tuple(range(6))


def test_the_change_is_paired_by_mask(pair: tuple[CampaignDocument, CampaignDocument]) -> None:
    first, _ = pair
    half = next(p for p in first.curves[0].points if p.rate == 0.5)
    rows = half.per_mask
    keep = [4, 1, 0, 5]  # another order, and masks 2 and 3 were lost
    columns = {name: tuple(column[k] for k in keep) for name, column in rows.items()}
    gain = {0: 3, 1: 1, 4: 2, 5: 2}
    columns["correct"] = tuple(c + gain[m] for c, m in zip(columns["correct"], columns["mask"], strict=True))
    changed = replace(half, masks=4, lost=2, per_mask=columns)
    curve = replace(first.curves[0], points=(changed,))
    point = compare(first, replace(first, curves=(curve,))).curves[0].points[0]
    assert (point.masks, point.alone) == (4, 2)
    by_hand = paired_difference([gain[m] / 24 for m in (0, 1, 4, 5)], [0.0] * 4)
    assert (point.change.low, point.change.high) == pytest.approx((by_hand.low, by_hand.high), abs=1e-12)
    assert point.loss_change.value == pytest.approx(point.change.value)
    assert (point.clean_change.low, point.clean_change.high) == (0.0, 0.0)
    assert point.second.value - point.first.value == pytest.approx(point.change.value)


def test_every_point_in_both_is_compared_and_the_others_are_named(pair: tuple[CampaignDocument, CampaignDocument]) -> None:
    first, second = pair
    comparison = compare(first, second)
    assert [(c.fault, [p.rate for p in c.points]) for c in comparison.curves] == [("dead", [0.0, 0.5]), ("omission", [0.25])]
    assert comparison.unmatched == ()
    assert comparison.first["model_hash"] != comparison.second["model_hash"]
    assert len(comparison.statements()) == 3
    assert "M = 6 masks in both, 24 images" in comparison.statements()[1]
    fewer = replace(second, curves=(replace(second.curves[0], points=second.curves[0].points[:1]),))
    left = compare(first, fewer).unmatched
    assert "only in the first" in left[0]
    assert "at 50 %: only in the first" in left[0]
    assert "of omission" in left[1] or "omission" in left[1]
    assert "only in the second" in compare(fewer, second).unmatched[0]
    assert json.loads(json.dumps(comparison.to_json()))["kind"] == "edgechaos.comparison"


def test_runs_that_cannot_be_compared_are_refused_with_every_reason(pair: tuple[CampaignDocument, CampaignDocument]) -> None:
    first, second = pair
    assert "their first 24 items differ" in reasons(first, with_about(second, data=replace(second.about.data, hash={"24": "0"})))
    others = with_about(second, campaign=replace(second.about.campaign, seed=9, alpha=0.1, head="tail"))
    text = reasons(first, others)
    assert "seeds 1 and 9" in text
    assert "alpha 0.05 and 0.1" in text
    assert "heads '' and 'tail'" in text
    old = replace(second, curves=tuple(replace(c, points=tuple(replace(p, per_mask={}) for p in c.points)) for c in second.curves))
    assert "the second has no results per mask" in reasons(first, old)
    lost = with_about(
        replace(first, curves=tuple(replace(c, points=()) for c in first.curves)),
        trials=replace(first.about.trials, without_result={"infrastructure": 18}),
    )
    assert "the first has no result (18 infrastructure)" in reasons(lost, second)
    elsewhere = replace(second, curves=tuple(replace(c, device="other") for c in second.curves))
    assert "no fault, site, device and rate is in both" in reasons(first, elsewhere)
    assert len(compare(first, elsewhere, across_devices=True).curves) == 2
    with pytest.raises(ConfigError, match="one fault on several devices"):
        compare(first, replace(second, curves=(*second.curves, *elsewhere.curves)), across_devices=True)
    options = replace(second, curves=tuple(replace(c, options={"words": 4}) for c in second.curves))
    assert "is in both" in reasons(first, options)


def test_the_same_data_set_may_be_encoded_in_two_ways(pair: tuple[CampaignDocument, CampaignDocument]) -> None:
    def encoded(document: CampaignDocument, source: str) -> CampaignDocument:
        return with_about(document, data=replace(document.about.data, source=source, hash={"24": source + document.about.model.hash}))

    assert compare(encoded(pair[0], "a"), encoded(pair[1], "a")).curves
    assert "items differ" in reasons(encoded(pair[0], "a"), encoded(pair[1], "b"))
    assert "items differ" in reasons(encoded(pair[0], ""), encoded(pair[1], ""))


def test_gates_ask_the_bound_not_the_mean(pair: tuple[CampaignDocument, CampaignDocument]) -> None:
    point = next(p for p in pair[0].curves[0].points if p.rate == 0.5)
    assert point.accuracy.low < point.accuracy.value < point.accuracy.high

    def verdict(quantity: str, **limits: float) -> Any:
        (found,) = judge([Gate(quantity, fault="dead", at=Limit(0.5), **limits)], pair[0].curves)  # type: ignore[arg-type]
        return found

    assert verdict("accuracy", at_least=point.accuracy.low).passed
    assert not verdict("accuracy", at_least=point.accuracy.value).passed
    assert "more masks may decide" in verdict("accuracy", at_least=point.accuracy.value).reason
    assert "more masks" not in verdict("accuracy", at_least=point.accuracy.high + 0.001).reason
    assert verdict("accuracy", at_most=point.accuracy.high).passed
    assert not verdict("accuracy", at_most=point.accuracy.value).passed
    assert verdict("worst_accuracy", at_least=point.worst_accuracy).passed
    assert verdict("difference", at_least=point.difference.low).passed
    assert not verdict("energy_j", at_most=1.0).passed
    assert verdict("energy_j", at_most=1.0).estimate is None


def test_a_share_of_outcomes_that_never_occurred_still_has_an_interval(pair: tuple[CampaignDocument, CampaignDocument]) -> None:
    point = next(p for p in pair[0].curves[0].points if p.rate == 0.5)
    assert outcome_share(point, "crash", 24) == proportion(0, 24)
    assert outcome_share(point, "sdc_critical", 24) == mean_over_masks([c / 24 for c in point.per_mask["sdc_critical"]])


def test_a_gate_that_nothing_answers_is_an_error(pair: tuple[CampaignDocument, CampaignDocument]) -> None:
    with pytest.raises(ConfigError, match=r"is asked of fault dead, at 0\.7, and no point is that; there are .* at 0, 0\.5"):
        judge([parse_gate("accuracy>=0.1,fault=dead,at=0.7")], pair[0].curves)
    empty = [replace(c, points=(), empty_rates=(0.5,)) for c in pair[0].curves]
    (first, *_) = judge([parse_gate("accuracy>=0.1,fault=dead,at=50 %")], empty)
    assert (first.passed, first.estimate) == (False, None)
    assert list(check_run(Policy(1), empty)) == ["no point has a result: nothing was tested"]


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("accuracy>=90%,fault=dead,at=0.5", Gate("accuracy", at_least=Limit(0.9), fault="dead", at=Limit(0.5))),
        ("sdc_critical <= 1 %", Gate("sdc_critical", at_most=Limit(0.01))),
        ("energy_j<=1.5 uJ,device=unicorn:mps2-an386", Gate("energy_j", at_most=Limit(1.5e-6), device="unicorn:mps2-an386")),
        ("change>=-1%", Gate("change", at_least=Limit(-0.01))),
    ],
)
def test_a_gate_as_words(text: str, gate: Gate) -> None:
    made = parse_gate(text)
    assert made == replace(gate, at_least=made.at_least, at_most=made.at_most)
    for side in ("at_least", "at_most"):
        assert getattr(made, side) == (None if getattr(gate, side) is None else pytest.approx(getattr(gate, side)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("accuracy>0.9", "expected QUANTITY>=LIMIT"),
        ("acuracy>=0.9", "no quantity 'acuracy', did you mean 'accuracy'"),
        ("accuracy>=high", "expected a quantity"),
        ("accuracy>=0.9,layer=x", "no field 'layer'"),
        ("accuracy>=0.9,fault=ded", "no fault 'ded', did you mean 'dead'"),
        ("accuracy>=nan", "expected a quantity"),
    ],
)
def test_a_gate_that_cannot_be_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_gate(text)


def policy_file(folder: Path, text: str) -> Path:
    (folder / "policy.toml").write_text(text)
    return folder / "policy.toml"


def test_a_policy_file(tmp_path: Path, pair: tuple[CampaignDocument, CampaignDocument]) -> None:
    text = 'policy = 1\nmasks = 7\nlost = "10 %"\nmargin = "2 %"\nsame = ["model"]\n'
    policy = read_policy(policy_file(tmp_path, text + '[[gate]]\nquantity = "accuracy"\nat_least = "20 %"\nfault = "dead"\n'))
    assert policy == Policy(1, (Gate("accuracy", Limit(0.2), fault="dead"),), 7, Limit(0.1), Limit(0.02), ("model",))
    assert next(check_run(policy, pair[0].curves)).endswith("6 masks, fewer than 7")
    assert "lost to the infrastructure" in list(check_run(policy, [with_lost(c) for c in pair[0].curves]))[1]
    comparison = compare(*pair)
    assert list(unlike(policy, comparison.first, comparison.second)) == ["the policy wants the same model, and they differ"]
    assert list(unlike(policy, comparison.first, comparison.first)) == []
    assert merged(None, [Gate("change")]).gate == (Gate("change"),)
    assert merged(policy, [Gate("change")]).gate == (*policy.gate, Gate("change"))


def with_lost(curve: Any) -> Any:
    return replace(curve, points=tuple(replace(p, lost=1) for p in curve.points))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("policy = 2\n", "policy = 2, this release reads policy = 1"),
        ("masks = 3\n", "policy = None"),
        ('policy = 1\nsame = ["colour"]\n', "'colour' is not model, firmware or versions"),
        ('policy = 1\n[[gate]]\nquantity = "accuracy"\n', "neither at_least nor at_most"),
        ('policy = 1\n[[gate]]\nquantity = "accuracy"\nat_least = "high"\n', r"gate\[0\].at_least"),
        ('policy = 1\n[[gates]]\nquantity = "accuracy"\n', "unknown key 'gates'"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_with_its_place(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        read_policy(policy_file(tmp_path, text))


def parsed(cases: Sequence[Case]) -> ElementTree.Element:
    return ElementTree.fromstring(junit("suite", cases, {"model": "ab"}).encode())


def test_junit_counts_what_failed_and_what_has_no_answer() -> None:
    root = parsed([Case("g", "a", "out"), Case("g", "b", "out", failure="low"), Case("g", "c", error="no result")])
    assert root.attrib == {"tests": "3", "failures": "1", "errors": "1", "skipped": "0"}
    suite = root[0]
    assert [(c.get("name"), [e.tag for e in c]) for c in suite.findall("testcase")] == [
        ("a", ["system-out"]),
        ("b", ["failure"]),
        ("c", ["error"]),
    ]
    assert suite.find("properties/property[@name='model']") is not None


def test_a_run_that_tested_nothing_is_no_success() -> None:
    for cases in ([], [Case("g", "c", error="no result")]):
        assert int(parsed(cases).attrib["failures"]) == 1


def test_hostile_text_is_text_in_the_xml() -> None:
    evil = "\x1b[31m</testcase>]]>&\x00\ud800\uffff"
    case = parsed([Case(evil, evil, evil, failure=evil)])[0].find("testcase")
    assert case is not None
    assert str(case.get("name")).startswith("\ufffd[31m</testcase>]]>&")


def test_documents_with_impossible_masks_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    from edgechaos.support.errors import ArtifactError

    document = json.loads((folders[0] / "results.json").read_text())
    for change, says in (
        ({"mask": [0, 0, 1, 2, 3, 4]}, "names a mask twice"),
        ({"correct": [1, 2]}, "not one mask, correct and clean"),
        ({"correct": [1, 2, 3, 4, 5, 25]}, "is outside 0..24"),
    ):
        spoiled = json.loads(json.dumps(document))
        spoiled["curves"][0]["points"][0]["per_mask"] |= change
        (tmp_path / "r.json").write_text(json.dumps(spoiled))
        with pytest.raises(ArtifactError, match=says):
            campaign_document(tmp_path / "r.json")
    (tmp_path / "r.json").write_text("{}")
    with pytest.raises(ArtifactError, match="holds no results of a campaign"):
        campaign_document(tmp_path / "r.json")


def test_the_decision_is_right_as_often_as_it_says() -> None:
    """A gate at the true mean passes in about 2.5 % of campaigns: one-sided, at a confidence of 95 % two-sided."""
    rng = np.random.default_rng(3)
    passed = sum(mean_over_masks(list(rng.normal(0.9, 0.02, 30))).low >= 0.9 for _ in range(4000))
    assert 0.015 < passed / 4000 < 0.035


def test_all_infrastructure_has_no_curve_with_points(tmp_path: Path) -> None:
    spec = campaign(devices=("scripted:link-clean",), sweep=(Sweep("dead", (0.5,)),), masks=2, attempts=1, images=Images(4))
    results = run(tmp_path, spec)
    assert [c.points for c in results.curves] == [()]
    assert list(check_run(Policy(1), results.curves)) == ["no point has a result: nothing was tested"]
