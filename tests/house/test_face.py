"""`import edgechaos`: the names it offers, what it loads, and how its objects show themselves."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edgechaos
from edgechaos.data import Dataset
from edgechaos.export.verify import Comparison, Verification
from edgechaos.hil.analysis.results import Results
from tests.helpers.campaigns import run
from tests.helpers.graphs import chaos_graph

HOSTILE = "<script>alert('x')</script>"


@pytest.mark.parametrize("name", edgechaos.__all__)
def test_every_name_is_that_of_its_module(name: str) -> None:
    module, _, original = edgechaos._FACE.get(name, "edgechaos").partition(":")
    assert getattr(edgechaos, name) is getattr(importlib.import_module(module), original or name)
    assert name in dir(edgechaos)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(edgechaos.__file__).read_text())
    (block,) = (n for n in tree.body if isinstance(n, ast.If))
    typed = {}
    for line in block.body:
        assert isinstance(line, ast.ImportFrom)
        for alias in line.names:
            typed[alias.asname or alias.name] = f"{line.module}:{alias.name}" if alias.asname else line.module
    assert typed == edgechaos._FACE
    assert {*typed, "__version__"} == set(edgechaos.__all__)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'edgechaos' has no attribute 'lode'"):
        _ = edgechaos.lode


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import edgechaos", {"numpy", "torch", "scipy", "click", "cattrs"}),
        ("from edgechaos import FaultPlan, load, open_device, run, encode", {"torch", "scipy", "onnx", "unicorn", "click"}),
        ("from edgechaos import run_campaign, read_campaign, load_dataset, verify", {"torch", "sklearn", "unicorn", "matplotlib"}),
    ],
)
def test_a_name_loads_what_it_needs_and_no_more(code: str, absent: set[str]) -> None:
    script = f"{code}\nimport sys\nprint(*sorted(sys.modules.keys() & {absent!r}))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split() == []


def test_a_graph_is_shown() -> None:
    graph = chaos_graph()
    assert repr(graph) == "<IntegerGraph 'tiny': main: int8 12 -> 4 classes; 4 nodes, 128 weights>"
    table = graph._repr_html_()
    assert "<td>cortex0</td><td>ChaosLayer</td><td>int32 8</td><td>int8 8</td>" in table
    assert "alert" not in repr(graph)
    assert_escaped(replace(graph, name=HOSTILE)._repr_html_())


def test_a_data_set_is_shown() -> None:
    items, labels = np.zeros((3, 4, 5), np.uint8), np.array([0, 1, 1])
    data = Dataset("dots", items, labels, items[:1], labels[:1], ("a", HOSTILE), (0.5,), (0.5,), "made here", "none")
    assert repr(data) == "<Dataset 'dots': 3 training and 1 test items, uint8 4x5, 2 classes>"
    assert "<td>a</td><td>1</td><td>1</td>" in data._repr_html_()
    assert_escaped(data._repr_html_())


def test_results_are_shown(tmp_path: Path) -> None:
    results = run(tmp_path)
    assert repr(results).startswith(f"<Results of campaign {results.about['campaign']['name']!r} on ")
    assert repr(results).endswith(f"{len(results.curves)} curves, {len(results.statements())} points>")
    assert results._repr_html_().count("<tr>") == len(results.statements())
    assert repr(Results({"campaign": {"name": "n"}}, (), ())) == "<Results of campaign 'n' on no device: 0 curves, 0 points>"
    assert_escaped(replace(results, about={"campaign": {"name": HOSTILE}})._repr_html_())


def test_a_verification_is_shown() -> None:
    found = Verification("m", "0" * 64, "main", 0, (Comparison(HOSTILE, "clean", "0", 10, 1200, 3),))
    assert repr(found) == "<Verification of 'm': 3 of 1,200 integers differ, 1 comparisons>"
    assert "<td>3 of 1,200</td>" in found._repr_html_()
    assert_escaped(found._repr_html_())


def assert_escaped(table: str) -> None:
    assert "&lt;script&gt;" in table
    assert "<script>" not in table
