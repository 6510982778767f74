"""The page "Add an exporter", followed to the letter by an outsider: one file is all it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.extend import install, own, page, run
from tests.helpers.places import ROOT

FILES = 1
"""Without the packaging: what docs/design.md says that an exporter takes."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    install(page("exporter"), tmp_path)
    return tmp_path


def test_the_page_is_enough(folder: Path) -> None:
    found = run(folder)
    assert found.returncode == 0, found.stderr
    assert "a listing has no words for random draws" in found.stdout
    assert len(own(page("exporter"))) == FILES


def test_the_command_line_knows_it(folder: Path) -> None:
    model = str(ROOT / "benchmarks" / "pixels.ecm")
    found = run(folder, "-m", "edgechaos", "export", model, "--target", "listing", "-o", "pixels.txt")
    assert found.returncode == 1
    assert "a listing has no words for random draws" in found.stderr
    assert not (folder / "pixels.txt").exists(), "whole or not at all"
    unknown = run(folder, "-m", "edgechaos", "export", model, "--target", "listin")
    assert "did you mean 'listing'" in unknown.stderr
