"""The report page: what it says, what it refuses, what it never does. Also the numbers and the terminal's table."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from edgechaos.artifact import content_hash, to_bytes
from edgechaos.errors import ArtifactError, EdgeChaosError
from edgechaos.hil import numbers
from edgechaos.hil.config import EnergySettings, Images, Sweep, read_campaign, warnings
from edgechaos.hil.evaluate import Setup
from edgechaos.hil.outcomes import OUTCOMES
from edgechaos.hil.report import Inputs, compose, find_inputs, load_inputs, write_report
from edgechaos.hil.results import Results
from edgechaos.hil.runner import run_campaign
from edgechaos.hil.terminal import results_table
from tests.campaigns import GRAPH, InProcess, campaign, items
from tests.hil_devices import PER_INFERENCE, open_device

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
    assert page.tags.count("script") == 1
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
    assert write_report(found, tmp_path / "report.html")[0].label == "Accuracy, clean"
    assert (tmp_path / "report.html").read_text() == html


def test_inputs_are_refused(tmp_path: Path, document: dict[str, Any]) -> None:
    with pytest.raises(EdgeChaosError, match="holds no results; write them with `edgechaos campaign"):
        find_inputs(tmp_path)
    (tmp_path / "cut.json").write_text('{"kind": "edgechaos.camp')
    with pytest.raises(ArtifactError, match="is not JSON, or truncated"):
        find_inputs(tmp_path)
    (tmp_path / "cut.json").write_text('{"name": "other"}')
    with pytest.raises(ArtifactError, match="was written by none of campaign, verify, build"):
        load_inputs([tmp_path / "cut.json"])
    with pytest.raises(ArtifactError, match=r"have format 99, this release reads 1"):
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
        r"\d+\.\d % \[\d+\.\d, \d+\.\d\], worst mask \d+\.\d %, clean \d+\.\d %",
        sentence,
    ), sentence


def test_terminal_table(results: Results) -> None:
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=100).print(results_table(results))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 100
    assert "4 masks × 24 images" in text
    assert "permanent dead" in text
    assert "intermittent omission" in text
    assert re.search(r"\[\d+\.\d, \d+\.\d\]", text)
    assert "nJ" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (numbers.joules(1.604e-5), "16.0 µJ"),
        (numbers.joules(9.9996e-7), "1.00 µJ"),
        (numbers.joules(7.76e-18), "7.76 aJ"),
        (numbers.joules(0.0), "0 J"),
        (numbers.points(-0.1234), "−12.3"),
        (numbers.points(0.02), "+2.0"),
        (numbers.points(-0.0001), "0.0"),
        (numbers.rate(0.95), "95"),
        (numbers.rate(0.001), "0.1"),
        (numbers.integer(1234567), "1\u202f234\u202f567"),
        (numbers.times(7.5e10), "7.5 × 10¹⁰"),
        (numbers.times(12.0), "12"),
        (numbers.size(900), "900 B"),
        (numbers.size(61_952), "60.5 KiB"),
        (numbers.size(4 << 20), "4.00 MiB"),
    ],
)
def test_numbers(text: str, expected: str) -> None:
    assert text == expected


def test_the_example_is_a_campaign() -> None:
    spec = read_campaign(Path(__file__).parent.parent / "examples/demo.toml")
    assert spec.energy is not None
    assert {s.fault for s in spec.sweep} == {"omission", "dead"}
    assert warnings(replace(spec, sweep=spec.sweep[:2])) == ()


def test_figures_of_different_models_never_share_a_page(document: dict[str, Any]) -> None:
    for other in (Inputs(document, {**VERIFICATION, "model_hash": "c" * 64}), Inputs(document, None, {**BUILD, "model_hash": "c" * 64})):
        with pytest.raises(ArtifactError, match="different models"):
            compose(other)
