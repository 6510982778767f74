"""Several campaigns on one page, single faults, the twins in Markdown and JSON, and the one script that a page may run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from edgechaos.hil.campaign.config import Images, Sample, Sweep
from edgechaos.hil.report.inputs import Inputs
from edgechaos.hil.report.page import compose, fenced, markdown
from edgechaos.hil.report.several import LABELS, compose_several, load_several
from edgechaos.support.errors import ArtifactError
from tests.helpers.campaigns import campaign, run
from tests.hil.test_report import BUILD, VERIFICATION, Page, words

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>|`*[x](javascript:alert(1))\n# heading"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two campaigns on one model: other masks; one has a sample, one has another fault."""
    samples = (Sample("weight_bit_flip", 60, ("layer", "bit"), pilot=2), Sample("dead", 16))
    made = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    run(made[0], campaign(sweep=(Sweep("dead", (0.0, 0.5)),), sample=samples, masks=5, images=Images(12))).write(made[0])
    sweeps = (Sweep("dead", (0.5,)), Sweep("omission", (0.25,)))
    run(made[1], campaign(sweep=sweeps, masks=4, images=Images(12))).write(made[1])
    return made


def document(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "results.json").read_text()))


def test_campaigns_side_by_side(folders: tuple[Path, Path]) -> None:
    report = compose_several(load_several(folders))
    text = words(report.html)
    for sentence in ("2 campaigns side by side", "Permanent death", "Intermittent omission", "B against A", "Changes against A"):
        assert sentence in text, sentence
    assert "12 images: only in the second" in text
    row = next(p for c in report.document["changes"][0]["curves"] for p in c["points"])
    assert (row["rate"], row["masks"], row["alone"]) == (0.5, 4, 1)
    assert [f.label for f in report.figures][:2] == ["A: Accuracy, clean", "A: At 50 % dead neurons"]
    assert report.html.count("<figure") == 2
    assert set(report.document["campaigns"]) == {"A", "B"}
    assert "## Changes against A" in report.markdown
    assert report.html == compose_several(load_several(folders)).html


def test_campaigns_that_cannot_be_compared_share_a_page_and_it_says_why(folders: tuple[Path, Path]) -> None:
    first, second = (document(folder) for folder in folders)
    second["about"]["campaign"]["seed"] = 9
    report = compose_several((Inputs(first), Inputs(second)))
    assert "seeds 1 and 9: mask m draws other random words" in words(report.html)
    assert "seeds 1 and 9" in report.markdown
    assert report.document["changes"][0]["curves"] == []


def test_what_is_put_on_one_page(folders: tuple[Path, Path], tmp_path: Path) -> None:
    assert len(load_several(folders)) == 2
    assert load_several(folders[:1]) == (Inputs(document(folders[0])),)
    (tmp_path / "build.json").write_text(json.dumps(BUILD))
    files = [folders[0] / "results.json", tmp_path / "build.json"]
    assert load_several(files) == (Inputs(document(folders[0]), None, BUILD),)
    with pytest.raises(ArtifactError, match="holds no campaign, and several are compared; leave it out"):
        load_several([*folders, tmp_path / "build.json"])
    with pytest.raises(ArtifactError, match="9 campaigns are more than one page compares, 8"):
        compose_several([Inputs(document(folders[0]))] * (len(LABELS) + 1))


def test_a_folder_of_a_hardening_is_its_two_campaigns_with_what_they_cost(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for side, folder in zip(("before", "after"), folders, strict=True):
        (tmp_path / side).mkdir()
        (tmp_path / side / "results.json").write_bytes((folder / "results.json").read_bytes())
    tables = {"costs": {"head": ["", "before"], "rows": [["flash (bytes)", "59 784"]]}}
    record = {"kind": "edgechaos.hardening", "format": 1, "measures": ["secded=logits_bias"], "tables": tables}
    (tmp_path / "hardening.json").write_text(json.dumps(record))
    report = compose_several(load_several([tmp_path]))
    for sentence in ("Hardening", "B is A with secded=logits_bias", "59 784", "B against A"):
        assert sentence in words(report.html), sentence
    assert "| flash (bytes) | 59 784 |" in report.markdown
    assert report.document["hardening"] == record
    assert "Hardening" not in words(compose_several(load_several(folders)).html)
    (tmp_path / "hardening.json").write_text(json.dumps({**record, "tables": {"costs": 3}}))
    with pytest.raises(ArtifactError, match=r"hardening\.json is no hardening document"):
        load_several([tmp_path])


def test_single_faults_are_ranked_with_pictures(folders: tuple[Path, Path]) -> None:
    campaign_document = document(folders[0])
    report = compose(Inputs(campaign_document))
    text, (flips, dead) = words(report.html), campaign_document["samples"]
    assert "Single faults" in text
    assert "60 of 2 048 faults" in text
    assert "every one of 16 faults" in text
    assert {"A single weight bit flip", "A single dead"} <= {figure.label for figure in report.figures}
    assert "Layer by bit" in text
    assert report.html.count('class="bars ranking"') == 3  # flips by layer and by bit, death by layer
    assert report.html.count("--heat:") == 16
    assert dead["critical"][0]["what"] in text
    assert flips["strata"][0]["layer"] in report.markdown
    widths = [float(w) for w in re.findall(r"width:(-?[\d.]+)%", report.html)]
    assert min(widths) >= 0
    assert max(widths) <= 100.001


def test_a_campaign_of_samples_alone_has_a_page(folders: tuple[Path, Path]) -> None:
    alone = {**document(folders[0]), "curves": []}
    assert "This campaign sweeps nothing" in words(compose(Inputs(alone)).html)
    assert "None of these campaigns sweeps anything" in words(
        compose_several((Inputs(alone), Inputs(document(folders[1]) | {"curves": []}))).html
    )


def hostile(folder: Path) -> dict[str, Any]:
    made = document(folder)
    made["about"]["model"]["name"] = made["about"]["data"]["name"] = made["about"]["campaign"]["name"] = EVIL
    made["about"]["model"]["architecture"] = made["about"]["campaign_file"] = EVIL + "\n```\n````\nafter"
    for curve in made["curves"]:
        curve["device"] = curve["site"] = EVIL
    for sample in made.get("samples", []):
        sample["device"] = EVIL
        for row in (*sample["strata"], *sample["layers"], *sample["critical"]):
            row["layer"] = EVIL
    return made


def test_hostile_strings_stay_text_on_every_page(folders: tuple[Path, Path]) -> None:
    one = compose(Inputs(hostile(folders[0]), VERIFICATION | {"model_hash": document(folders[0])["about"]["model"]["hash"]}))
    hardening = {"measures": [EVIL], "tables": {EVIL: {"head": [EVIL], "rows": [[EVIL]]}}}
    for report in (one, compose_several((Inputs(hostile(folders[0])), Inputs(hostile(folders[1]), hardening=hardening)))):
        page = Page(report.html)
        assert page.tags.count("script") == 2
        assert "img" not in page.tags
        assert page.outside == []
        outside_code = re.sub(r"(?ms)^(`{3,})\n.*?^\1$", "", report.markdown)
        assert "<" not in outside_code.replace("<b>", "")
        assert "\n# heading" not in outside_code
        assert "[x](" not in outside_code
        assert report.markdown.count("\nafter\n") >= 1  # inside a fence that its own content cannot end
        assert "after" not in outside_code
        json.dumps(report.document)


def test_the_policy_lets_one_script_run(folders: tuple[Path, Path]) -> None:
    for html in (compose(Inputs(document(folders[0]))).html, compose_several(load_several(folders)).html):
        (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
        allowed = re.search(r"script-src '(sha256-[^']+)'", unescape(html))
        assert allowed is not None
        assert allowed[1] == "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert "{{" not in script
        assert html.count('class="sortable"') >= 2


def test_text_in_markdown() -> None:
    assert markdown("a|b <i> `c` *d* [e](f)\n\n# g") == ("a&#124;b &#60;i&#62; &#96;c&#96; &#42;d&#42; &#91;e&#93;(f) &#35; g")
    assert fenced("a\n```\nb\n") == "````\na\n```\nb\n````"
    assert fenced("a") == "```\na\n```"
