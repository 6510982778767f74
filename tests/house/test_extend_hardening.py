"""The page "Add a measure against faults", followed to the letter by an outsider: one file is all it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.extend import install, own, page, run

FILES = 1


def test_the_page_is_enough(tmp_path: Path) -> None:
    install(page("hardening"), tmp_path)
    found = run(tmp_path)
    assert found.returncode == 0, found.stderr
    assert "trim=main: " in found.stdout
    assert "words fewer" in found.stdout
    assert len(own(page("hardening"))) == FILES


@pytest.mark.parametrize(
    ("said", "instead", "message"),
    [
        ("without_silent(graph, codes)", "graph.without", "has no attribute 'without'"),
        ('kind = "trim"', 'kind = "secded"', "two kinds of hardening are called secded"),
        ('"main": codes}', '"other": codes}', "who is silent must be observed"),
        ("trim=main", "trim=mane", "has no such place, did you mean 'main'"),
    ],
)
def test_an_author_is_told_what_is_wrong(said: str, instead: str, message: str, tmp_path: Path) -> None:
    files = page("hardening")
    assert any(said in text for text in files.values())
    install({name: text.replace(said, instead) for name, text in files.items()}, tmp_path)
    found = run(tmp_path)
    assert found.returncode == 1
    assert message in found.stderr, found.stderr
