"""The report page: what it says, what it refuses, what it never does. Also the numbers and the terminal's table."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from edgechaos.cli.show import print_table, terminal
from edgechaos.devices.contract import HotLine, Part, Profile
from edgechaos.graph.artifact import content_hash, to_bytes
from edgechaos.hil.analysis import quantities
from edgechaos.hil.analysis.results import Results
from edgechaos.hil.campaign.config import EnergySettings, Images, Kelvin, Sweep, warnings
from edgechaos.hil.campaign.outcomes import OUTCOMES
from edgechaos.hil.campaign.reading import read_campaign
from edgechaos.hil.campaign.source import to_toml
from edgechaos.hil.energy.model import board_energy
from edgechaos.hil.energy.profile import document as profile_document
from edgechaos.hil.execute.evaluate import Setup
from edgechaos.hil.report.inputs import Inputs, find_inputs, load_inputs
from edgechaos.hil.report.page import compose
from edgechaos.hil.report.terminal import results_table
from edgechaos.hil.runner import run_campaign
from edgechaos.support.errors import ArtifactError, EdgeChaosError
from edgechaos.support.statistics import Estimate
from tests.helpers.campaigns import GRAPH, InProcess, campaign, items
from tests.helpers.hil_devices import PER_INFERENCE, open_device
from tests.helpers.places import ROOT

VERIFICATION: dict[str, Any] = {
    "passed": True,
    "integers": 1520,
    "model": "tiny",
    "model_hash": content_hash(GRAPH),
    "head": "main",
    "seed": 1,
    "comparisons": [
        {"backend": b, "plan": "clean", "plan_id": "0", "items": 10, "integers": 760, "mismatches": 0, "first": None}
        for b in ("host", "unicorn")
    ],
}
BUILD: dict[str, Any] = {"board": "mps2-an386", "flash_bytes": 61_952, "ram_bytes": 7066, "stack_bytes": 4096, "firmware_hash": "b" * 64}
BUILD["sections"] = {".text": 9000, ".rodata": 52_952, ".bss": 2970, ".empty": 0}

WORK = {"alu": 60, "load": 20, "branch_taken": 10, "pipelined": 5}
PARTS = (Part("cortex0", "ec_add_rows", WORK, 80, 4), Part("cortex0", "run_any", WORK, 0, 0), Part("readout", "ec_add_rows", WORK, 80, 4))
PROFILE = profile_document(
    Profile(2, PARTS, (HotLine("ec_rows.c:9", "ec_add_rows", 90),)),
    board_energy("stm32l4r5"),
    {"device": "unicorn", "model": "tiny", "model_hash": content_hash(GRAPH), "head": "main"},
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    sweeps = (Sweep("omission", (0.0, 0.5, 0.9)), Sweep("dead", (0.0, 0.5)), Sweep("weight_bit_flip", (0.01,)))
    spec = campaign(sweep=sweeps, devices=("plain", "counting"), energy=EnergySettings("stm32l4r5"), images=Images(24))
    executor = InProcess(Setup(to_bytes(GRAPH), items(), open_device))
    folder = tmp_path_factory.mktemp("campaign")
    return run_campaign(spec, GRAPH, items(), folder / "ledger.sqlite", executor=executor, opener=open_device)


@pytest.fixture(scope="module")
def document(results: Results) -> dict[str, Any]:
    return dict(json.loads(json.dumps(results.to_json())))


@pytest.fixture(scope="module")
def html(document: dict[str, Any]) -> str:
    return compose(Inputs(document, VERIFICATION, BUILD)).html


@pytest.fixture(scope="module")
def small(document: dict[str, Any]) -> dict[str, Any]:
    """One curve without energy: one figure to draw."""
    return {**document, "curves": [next(c for c in document["curves"] if c["fault"] == "dead" and not c["points"][0]["energy"])]}


class Page(HTMLParser):
    """Collects text, ids, and every attribute that could fetch or run something."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.ids: list[str] = []
        self.outside: list[str] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "data", "action", "srcset", "poster") and not (value or "").startswith("#"):
                self.outside.append(f"{tag} {name}={value}")
            if name.startswith("on"):
                self.outside.append(f"{tag} {name}")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def words(html: str) -> str:
    return " ".join(" ".join(Page(html).text).split())


@pytest.mark.slow
def test_the_page_is_self_contained_and_deterministic(document: dict[str, Any], html: str) -> None:
    assert html == compose(Inputs(document, VERIFICATION, BUILD)).html
    page = Page(html)
    assert page.outside == []
    assert len(page.ids) == len(set(page.ids))
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(page.ids)
    assert "url(http" not in html
    assert "@import" not in html
    assert "Content-Security-Policy" in html


def test_what_the_page_says(html: str, results: Results) -> None:
    text = words(html)
    half = next(p for p in results.curves[2].points if p.rate == 0.5)
    assert results.curves[2].fault == "dead"
    assert f"{half.accuracy.value * 100:.1f}" in text
    for sentence in (
        "Intermittent omission",
        "Permanent death",
        "modelled from emulated counts",
        "607 pJ/MAC",
        "Landauer's bound for the",
        "0 mismatches",
        "all equal",
        "60.5 KiB of 4.00 MiB",
        "RAM, static 2.9 KiB",
        ".rodata 51.7 KiB",
        "identical bit for bit",
        results.about["model"]["hash"],
        results.about["data"]["hash"]["24"],
        "The clean model itself loses spikes",
        "Fewer than 30 masks",
    ):
        assert sentence in text, sentence
    assert html.count("<figure") == 3 + 3 + 3  # accuracy, outcomes and energy, a panel each for omission, death and flips
    assert f"{sum(PER_INFERENCE.values()):,}".replace(",", " ") + " instructions per inference" in text


def test_the_page_says_what_the_model_is_and_takes(document: dict[str, Any]) -> None:
    whole = json.loads(json.dumps(document))
    whole["about"]["model"]["accuracy"] = {"float_model": 0.9876, "integer_model": 0.9812, "items": 1000}
    whole["about"]["campaign"]["artifact"] = "/home/somebody/tiny.ecm"
    text = words(compose(Inputs(whole, None, {**BUILD, "board": "stm32l4r5"})).html)
    for sentence in (
        "12 → MatMul 16 → ChaosLayer 16, 4 ticks → Readout 4",
        "weights 8 bits, 308 parameters, 256 MACs",
        "float 98.8 %, integers 98.1 % on 1 000 test items",
        "memory of stm32l4r5 flash 60.5 KiB, RAM 6.9 KiB, 4.0 KiB of it for the stack",
        "whose clock of 120 MHz makes that",
        "edgechaos campaign campaign.toml --artifact tiny.ecm -o results",
    ):
        assert sentence in text, sentence


def test_joules_of_one_board_do_not_stand_beside_the_memory_of_another(document: dict[str, Any]) -> None:
    other = words(compose(Inputs(document, None, BUILD)).html)
    assert "memory of stm32l4r5 not built: edgechaos build MODEL.ecm --board stm32l4r5" in other
    assert "The joules above are of another board, stm32l4r5" in other
    assert "accuracy when it was quantized the artifact does not say" in other
    same = words(compose(Inputs(document, None, {**BUILD, "board": "stm32l4r5"})).html)
    assert "another board" not in same


def test_of_several_builds_the_one_of_the_joules_is_shown(tmp_path: Path, results: Results) -> None:
    results.write(tmp_path)
    (tmp_path / "a.json").write_text(json.dumps(BUILD))
    (tmp_path / "b.json").write_text(json.dumps({**BUILD, "board": "stm32l4r5"}))
    found = find_inputs(tmp_path).build
    assert found is not None
    assert found["board"] == "stm32l4r5"
    (tmp_path / "b.json").unlink()
    assert find_inputs(tmp_path).build == BUILD


def test_where_instructions_go(tmp_path: Path, document: dict[str, Any]) -> None:
    (tmp_path / "profile.json").write_text(json.dumps(PROFILE))
    inputs = find_inputs(tmp_path)
    assert inputs.profile == PROFILE
    report = compose(replace(inputs, campaign=document))
    text = words(report.html)
    assert "135 instructions per inference on unicorn without fault hooks" in text
    assert "cortex0 90 66.7 %" in text
    assert "| cortex0 | 90 | 66.7 |" in report.markdown
    assert report.document["profile"] == PROFILE
    assert "Where instructions go" not in words(compose(Inputs(document)).html)
    with pytest.raises(ArtifactError, match="layers: their instructions are not those of the whole"):
        compose(Inputs(profile={**PROFILE, "layers": PROFILE["layers"][:1]}))
    with pytest.raises(ArtifactError, match="different models"):
        compose(Inputs(document, profile={**PROFILE, "model_hash": "0" * 64}))


def test_two_documents_of_a_kind_are_refused(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps(BUILD))
    with pytest.raises(ArtifactError, match=r"b\.json is a second build, and a page shows one"):
        load_inputs([tmp_path / "a.json", tmp_path / "b.json"])


def test_accuracies_carry_both_intervals_with_their_names(document: dict[str, Any]) -> None:
    certain = json.loads(json.dumps(document))
    for curve in certain["curves"]:
        for p in curve["points"]:
            p["clean"] |= {"low": p["clean"]["value"], "high": p["clean"]["value"]}
    clean = certain["curves"][0]["points"][0]
    assert clean["clean_over_images"]["low"] < clean["clean"]["value"] < clean["clean_over_images"]["high"]
    assert clean["clean_over_images"]["n"] == 24
    assert clean["clean_over_images"]["method"] == "Wilson"
    note = compose(Inputs(certain)).figures[0].note
    share = f"{clean['clean']['value'] * 100:.1f}"
    low, high = (f"{clean['clean_over_images'][edge] * 100:.1f}" for edge in ("low", "high"))
    assert note == f"[{share}, {share}] over 4 masks; [{low}, {high}] over 24 images"


def test_latency_is_cycles_over_clock(document: dict[str, Any]) -> None:
    report = compose(Inputs(document))
    figure = next(f for f in report.figures if f.label == "Time per inference")
    energy = next(c for c in document["curves"] if c["fault"] == "dead" and c["points"][0]["energy"])["points"][0]["energy"]
    assert energy["clock_hz"] == 120_000_000
    assert (figure.value, figure.unit) == (quantities.milliseconds(energy["cycles"]["usual"] / 120e6), "ms")
    assert "at 120 MHz, modelled" in figure.note


def test_the_page_embeds_the_campaign_that_reproduces_it(tmp_path: Path, document: dict[str, Any], html: str, results: Results) -> None:
    from markupsafe import Markup

    embedded = re.search(r'<pre id="campaign-file">(.*?)</pre>', html, re.DOTALL)
    assert embedded is not None
    (tmp_path / "campaign.toml").write_text(Markup(embedded[1]).unescape())
    spec = read_campaign(tmp_path / "campaign.toml")
    assert json.loads(json.dumps({**asdict(spec), "warnings": warnings(spec)})) == document["about"]["campaign"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seed": 7, "masks": 9, "alpha": 0.1, "margin": 0.025, "attempts": 5, "timeout": 12.5, "head": "main", "temperature": 0.5},
        {"images": Images(7, 'a "quoted" \x7f\t手\U0001f600 name')},
        {"energy": EnergySettings("stm32l4r5", Kelvin(77.5)), "devices": ("host", "unicorn:mps2-an386")},
        {
            "sweep": (
                Sweep("dead", (0.0, 1e-7), layer="c0", masks=3, images=5, devices=("fake",)),
                Sweep("weight_bit_flip", (1.0,), node="n"),
            )
        },
    ],
)
def test_a_campaign_written_as_a_file_is_read_as_the_same(tmp_path: Path, changes: dict[str, Any]) -> None:
    spec = replace(campaign(), **changes)
    (tmp_path / "c.toml").write_text(to_toml(spec), "utf-8")
    assert read_campaign(tmp_path / "c.toml") == spec


def test_absent_sections_are_named(small: dict[str, Any]) -> None:
    text = words(compose(Inputs(small)).html)
    assert "No verification: run edgechaos verify" in text
    assert "No build: run edgechaos build" in text
    assert "No device of this campaign counts instructions" in text
    text = words(compose(Inputs(None, VERIFICATION, None)).html)
    assert "No campaign results: run edgechaos campaign" in text
    assert "0 mismatches" in text


def test_mismatches_and_lost_trials_are_not_hidden(small: dict[str, Any]) -> None:
    bad = json.loads(json.dumps(VERIFICATION))
    bad["passed"] = False
    bad["comparisons"][1] |= {"mismatches": 3, "first": {"item": 7, "tensor": "logits", "index": [2], "expected": 5, "got": -5}}
    lost = json.loads(json.dumps(small))
    lost["about"]["trials"]["without_result"] = {"infrastructure": 4}
    lost["curves"][0]["empty_rates"] = [0.7]
    text = words(compose(Inputs(lost, bad)).html)
    assert "not equal" in text
    assert "first: item 7, logits[2]: -5 instead of 5" in text
    assert "4 trials without a result (infrastructure)" in text


def test_hostile_strings_stay_text(small: dict[str, Any]) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    hostile = json.loads(json.dumps(small))
    hostile["about"]["model"]["name"] = hostile["about"]["data"]["name"] = hostile["about"]["campaign"]["name"] = evil
    for curve in hostile["curves"]:
        curve["device"] = curve["site"] = evil
    for device in hostile["about"]["devices"].values():
        device["name"] = evil
    verification = json.loads(json.dumps(VERIFICATION).replace("unicorn", "<b>unicorn"))
    html = compose(Inputs(hostile, verification, {**BUILD, "board": evil})).html
    page = Page(html)
    assert page.tags.count("script") == 2  # the data, and what sorts tables
    assert "img" not in page.tags
    assert "b" not in page.tags
    assert page.outside == []
    embedded = json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', html, re.DOTALL)[1])  # type: ignore[index]
    assert embedded["campaign"]["about"]["model"]["name"] == evil


def test_inputs_are_found_by_content(tmp_path: Path, document: dict[str, Any], html: str, results: Results) -> None:
    results.write(tmp_path / "campaign")
    (tmp_path / "firmware").mkdir()
    (tmp_path / "firmware/build.json").write_text(json.dumps(BUILD))
    (tmp_path / "anything.json").write_text(json.dumps(VERIFICATION))
    (tmp_path / "else.json").write_text("[1, 2]")
    found = find_inputs(tmp_path)
    assert found == Inputs(document, VERIFICATION, BUILD)
    assert load_inputs([tmp_path]) == found
    assert load_inputs([tmp_path / "anything.json"]) == Inputs(None, VERIFICATION, None)
    report = compose(found)
    assert report.figures[0].label == "Accuracy, clean"
    report.write(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == html
    assert (tmp_path / "report.md").read_text() == report.markdown
    assert json.loads((tmp_path / "report.json").read_text())["figures"][0]["label"] == "Accuracy, clean"
    assert find_inputs(tmp_path) == found  # a twin is no input


def test_inputs_are_refused(tmp_path: Path, document: dict[str, Any]) -> None:
    with pytest.raises(EdgeChaosError, match="holds no results; write them with `edgechaos campaign"):
        find_inputs(tmp_path)
    (tmp_path / "cut.json").write_text('{"kind": "edgechaos.camp')
    with pytest.raises(ArtifactError, match="is not JSON, or truncated"):
        find_inputs(tmp_path)
    (tmp_path / "cut.json").write_text('{"name": "other"}')
    with pytest.raises(ArtifactError, match="was written by none of campaign, verify, build"):
        load_inputs([tmp_path / "cut.json"])
    with pytest.raises(ArtifactError, match=r"have format 99, this release reads 2"):
        compose(Inputs({**document, "format": 99}))
    with pytest.raises(ArtifactError, match=r"the campaign is no campaign document that can be reported: missing key @ curves"):
        compose(Inputs({k: v for k, v in document.items() if k != "curves"}))


def test_csv_and_statements(results: Results) -> None:
    rows = list(csv.DictReader(io.StringIO(results.to_csv())))
    assert len(rows) == sum(len(c.points) for c in results.curves)
    for row in rows:
        assert sum(int(row[name]) for name in OUTCOMES) == int(row["masks"]) * int(row["images"])
        assert (row["energy_origin"] == "modelled from emulated counts") == (row["device"] == "counting")
    sentence = next(s for s in results.statements() if "dead" in s and "50 %" in s)
    assert re.fullmatch(
        r"accuracy at 50 % permanently dead neurons, all layers, on plain \(M = 4 masks, 24 images\): "
        r"\d+\.\d % \[\d+\.\d, \d+\.\d\] over masks, \[\d+\.\d, \d+\.\d\] over images, worst mask \d+\.\d %, clean \d+\.\d %; "
        r"no loss beyond 1\.0 points is( not)? shown for these images \(one-sided at 95 % over masks, lower bound [−+]\d+\.\d points\)",
        sentence,
    ), sentence


def test_terminal_table(results: Results) -> None:
    out = io.StringIO()
    print_table(results_table(results), terminal(file=out, width=80, force_terminal=True, no_color=True))
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert max(map(len, text.splitlines())) <= 80
    assert "over images" in text.splitlines()[2]  # a table, not blocks of lines
    assert "4 masks × 24" in text
    assert "permanent dead" in text
    assert "omission" in text
    assert len(re.findall(r"\[ *\d+\.\d, \d+\.\d\]", text)) >= 2 * 8
    assert "nJ" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (quantities.joules(1.604e-5), "16.0 µJ"),
        (quantities.joules(9.9996e-7), "1.00 µJ"),
        (quantities.joules(9.9994e-7), "1000 nJ"),
        (quantities.joules(1.25), "1.25 J"),
        (quantities.joules(0.00125, 2), "1.2 mJ"),
        (quantities.joules(7.76e-18), "7.76 aJ"),
        (quantities.joules(2.87e-24), "0.00287 zJ"),
        (quantities.joules(0.0), "0 J"),
        (quantities.joules(-1.0), "0 J"),
        (quantities.milliseconds(0.000236), "0.236"),
        (quantities.milliseconds(0.0), "0"),
        (quantities.milliseconds(12.3456), "12300"),
        (quantities.percent(0.98765), "98.8"),
        (quantities.percent(-0.0004), "0.0"),
        (quantities.percent(-0.1), "−10.0"),
        (quantities.fine(0.000123456), "0.0123"),
        (quantities.fine(-0.5), "−50"),
        (quantities.fine_interval({"low": -0.1, "high": 0.0123456}), "[0, 1.23]"),
        (quantities.fine_interval(Estimate(0.5, 0.25, 0.75, 9, "", 0.95)), "[25, 75]"),
        (quantities.interval({"low": -0.1, "high": 0.9}), "[−10.0, 90.0]"),
        (quantities.interval(Estimate(0.5, 0.25, 0.75, 9, "", 0.95)), "[25.0, 75.0]"),
        (quantities.points(-0.1234), "−12.3"),
        (quantities.points(0.02), "+2.0"),
        (quantities.points(-0.0001), "0.0"),
        (quantities.rate(0.95), "95"),
        (quantities.rate(0.001), "0.1"),
        (quantities.rate(1 / 3), "33.33333333"),
        (quantities.swept(0.25), "25"),
        (quantities.swept(0.25, "factor"), "0.25"),
        (quantities.swept(1 / 3, "factor"), "0.3333333333"),
        (quantities.setting(1 / 3), "33.3 %"),
        (quantities.setting(1 / 3, "factor"), "factor 0.3333333333"),
        (quantities.head("rate"), "rate (%)"),
        (quantities.head("factor"), "factor"),
        (quantities.integer(1234567), "1\u202f234\u202f567"),
        (quantities.times(7.5e10), "7.5 × 10¹⁰"),
        (quantities.times(1e4), "1.0 × 10⁴"),
        (quantities.times(9876.0), "9900"),
        (quantities.times(1e-3), "0.0010"),
        (quantities.times(2.5e-4), "2.5 × 10⁻⁴"),
        (quantities.times(12.0), "12"),
        (quantities.times(0.0), "0"),
        (quantities.size(900), "900 B"),
        (quantities.size(1023), "1023 B"),
        (quantities.size(1024), "1.0 KiB"),
        (quantities.size(61_952), "60.5 KiB"),
        (quantities.size((1 << 20) - 1), "1024.0 KiB"),
        (quantities.size(1 << 20), "1.00 MiB"),
        (quantities.size(4 << 20), "4.00 MiB"),
    ],
)
def test_numbers(text: str, expected: str) -> None:
    assert text == expected


def test_the_example_is_a_campaign() -> None:
    spec = read_campaign(ROOT / "examples/demo.toml")
    assert spec.energy is not None
    assert {s.fault for s in spec.sweep} == {"omission", "dead"}
    assert warnings(replace(spec, sweep=spec.sweep[:2])) == ()


def test_figures_of_different_models_never_share_a_page(document: dict[str, Any]) -> None:
    for other in (Inputs(document, {**VERIFICATION, "model_hash": "c" * 64}), Inputs(document, None, {**BUILD, "model_hash": "c" * 64})):
        with pytest.raises(ArtifactError, match="different models"):
            compose(other)
