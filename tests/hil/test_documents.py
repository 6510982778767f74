"""The report of every kind of model, and malformed documents: one line that names the place, whatever was cut, replaced or retyped."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgechaos.graph.heads import Encoding
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.readout import Readout
from edgechaos.hil.campaign.config import EnergySettings, Sweep
from edgechaos.hil.report import figures
from edgechaos.hil.report.inputs import Inputs, load_inputs
from edgechaos.hil.report.page import compose
from edgechaos.support.errors import ArtifactError
from tests.helpers.campaigns import GRAPH, campaign, run
from tests.helpers.mixed_graphs import Builder, mixed_graph
from tests.hil.test_report import BUILD, PROFILE, VERIFICATION, words

REPLACEMENTS: tuple[Any, ...] = (
    None,
    "",
    "x",
    "\ud800",
    -1,
    0,
    0.5,
    7,
    True,
    1e308,
    math.nan,
    -math.inf,
    10**400,
    [],
    [[]],
    {},
    {"x": None},
)
DELETED = object()


def plain_mlp() -> IntegerGraph:
    """Two matrices and a ReLU: no spike, no winner, no table."""
    b = Builder(np.random.default_rng(0))
    x = b.tensor("codes", "int8", (12,))
    hidden = b.requantize(b.matmul(x, "hidden", 9), "hidden", "int8", 3000.0, relu=True)
    b.head("main", x, b.matmul(hidden, "readout", 4, Readout), Encoding("codes"))
    return b.graph()


KINDS = {
    "ChaosNet": GRAPH,
    "MLP": plain_mlp(),
    "CNN": mixed_graph(family="vision", spiking=False),
    "TNN": mixed_graph(family="kwta"),
    "DLM": mixed_graph(family="thermal"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_has_a_report(tmp_path: Path, kind: str) -> None:
    graph = KINDS[kind]
    results = run(tmp_path, campaign(sweep=(Sweep("weight_bit_flip", (0.0, 0.01)),), masks=2), graph=graph)
    results.write(tmp_path)
    text = words(compose(load_inputs([tmp_path])).html)
    assert "Flipped weight bits" in text
    assert ("The clean model itself loses spikes" in text) == (kind == "ChaosNet")


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """Small, but every field is filled: energy, outcomes, an agreement, a mismatch, an empty rate."""
    spec = campaign(sweep=(Sweep("dead", (0.0, 0.5)),), devices=("plain", "counting"), masks=2, energy=EnergySettings("stm32l4r5"))
    document = json.loads(json.dumps(run(tmp_path_factory.mktemp("results"), spec).to_json()))
    document["curves"] = [c for c in document["curves"] if c["device"] == "counting"]
    document["curves"][0]["empty_rates"] = [0.7]
    document["about"]["trials"]["without_result"] = {"infrastructure": 1}
    first = {"item": 7, "tensor": "logits", "index": [2], "expected": 5, "got": -5}
    verification = {**VERIFICATION, "comparisons": [{**VERIFICATION["comparisons"][0], "first": first, "mismatches": 1}]}
    return Inputs(document, verification, BUILD, profile=PROFILE)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything inside a document."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(item, (*path, key))


def changed(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """A copy with one place replaced, or deleted."""
    document = copy.deepcopy(document)
    at: Any = document
    for key in path[:-1]:
        at = at[key]
    if value is DELETED:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return document


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["campaign", "verification", "build", "profile"])
def test_a_malformed_document_is_one_line(documents: Inputs, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Everything deleted once, and 300 seeded replacements: a page, or an ArtifactError in one line; nothing else, ever."""
    monkeypatch.setattr(figures, "_svg", lambda figure, prefix: "<svg></svg>")  # drawing is the same work for every page
    document = getattr(documents, kind)
    everywhere = list(places(document))
    chance = random.Random(20)
    trials = [(path, DELETED) for path in everywhere]
    trials += [(path, value) for path in everywhere for value in REPLACEMENTS] if len(everywhere) < 60 else []
    trials += [(chance.choice(everywhere), chance.choice(REPLACEMENTS)) for _ in range(300)]
    refusals: list[ArtifactError] = []
    for path, value in trials:
        try:
            compose(Inputs(**{kind: changed(document, path, value)})).html.encode()
        except ArtifactError as error:
            refusals.append(error)
    assert len(refusals) > len(trials) // 4
    assert all(error.path and len(str(error)) < 400 and "\n" not in str(error) for error in refusals)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("curves", 0, "points", 1, "accuracy", "value"), "0.9", "expected a number, got '0.9' @ curves[0].points[1].accuracy.value"),
        (("curves", 0, "points", 1, "accuracy", "value"), 1.5, "1.5 is outside 0..1"),
        (("curves", 0, "points", 1, "accuracy", "low"), math.nan, "curves[0].points[1].accuracy.low = nan is no number"),
        (("curves", 0, "fault"), "Dead!", "curves[0].fault = 'Dead!' is not the name of a kind of fault"),
        (("curves", 0, "points", 0, "outcomes"), {}, "curves[0].points[0].outcomes: their sum: 0 is outside 1.."),
        (("curves", 0, "points", 0, "outcomes"), {"lost": 3}, "outcomes has 'lost', which is no outcome"),
        (("curves", 0, "points", 0, "energy", "energy_j"), 0.0, "points[0].energy: 0 is outside 1e-30.."),
        (("about", "landauer", "energy_j"), 0.0, "about.landauer.energy_j = 0 is outside"),
        (("about", "data", "hash"), {"many": "0"}, "about.data.hash has a key that is no number of items"),
        (("about", "model", "deployed_omission"), {"cortex0": 2.0}, "about.model.deployed_omission.cortex0 = 2 is outside 0..1"),
        (("about", "trials", "retried"), DELETED, "missing key @ about.trials.retried"),
        (("agreements", 0, "p_value"), 1.5, "agreements[0].p_value = 1.5 is outside 0..1"),
        (("format",), 99, "have format 99, this release reads 2"),
    ],
)
def test_the_message_names_the_place(documents: Inputs, path: tuple[Any, ...], value: Any, message: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        compose(Inputs(campaign=changed(documents.campaign, path, value)))  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_a_file_nested_without_end_and_a_huge_number(tmp_path: Path, documents: Inputs) -> None:
    deep = json.loads("[" * 60 + "]" * 60)
    with pytest.raises(ArtifactError, match="is nested more than 24 deep"):
        compose(Inputs(campaign={**documents.campaign, "extra": deep}))  # type: ignore[dict-item]
    for text in ('{"kind": "edgechaos.campaign", "a": ' + "[" * 200_000, '{"a": ' + "9" * 5000 + "}"):
        (tmp_path / "results.json").write_text(text)
        with pytest.raises(ArtifactError, match=r"is not JSON, or truncated|was written by none"):
            load_inputs([tmp_path / "results.json"])
