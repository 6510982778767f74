"""The documentation as a whole: every page is on the map, every link leads somewhere, pages about code name code that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.places import ROOT

DOCS = ROOT / "docs"
INDEX = DOCS / "index.md"
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "tests" / "vectors" / "README.md"]
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```", re.S)
MODULE = re.compile(r"`(edgechaos(?:\.[a-z_0-9]+)+)")
FILE = re.compile(r"`((?:edgechaos|export|firmware_gen|devices|hil|tests|docs|benchmarks|examples)/[\w./]+)`")


def links(page: Path) -> list[str]:
    return [link for link in LINK.findall(CODE.sub("", page.read_text())) if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings, and those that a page sets itself."""
    text = CODE.sub("", page.read_text())
    of_headings = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.M)}
    return of_headings | set(re.findall(r'<a id="([^"]+)">', text))


def test_the_map_lists_every_page_once() -> None:
    listed = [(DOCS / link.partition("#")[0]).resolve() for link in links(INDEX)]
    mine = [page for page in listed if page.is_relative_to(DOCS)]
    assert sorted(mine) == sorted(page for page in DOCS.rglob("*.md") if page != INDEX)


def test_the_map_says_one_line_of_each() -> None:
    rows = [line for line in INDEX.read_text().splitlines() if line.startswith("| [")]
    assert len(rows) == len(links(INDEX))
    assert all(len(row.split(" | ")) == 2 and len(row) < 200 for row in rows)


def test_the_readme_leads_to_the_map() -> None:
    assert "docs/index.md" in links(ROOT / "README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link} has no such heading"


def longest_module(parts: list[str]) -> tuple[Path, list[str]]:
    """The file of the module that a dotted name begins with, and what of the name is in it."""
    for k in range(len(parts), 0, -1):
        for path in (ROOT.joinpath(*parts[:k]) / "__init__.py", ROOT.joinpath(*parts[:k]).with_suffix(".py")):
            if path.is_file():
                return path, parts[k:]
    raise AssertionError(parts)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_and_files_that_a_page_names_exist(page: Path) -> None:
    text = CODE.sub("", page.read_text())
    for name in MODULE.findall(text):
        module, rest = longest_module(name.split("."))
        assert all(re.search(rf"\b{part}\b", module.read_text()) for part in rest), f"{page.name}: `{name}`"
    for name in FILE.findall(text):
        assert (ROOT / name).exists(), f"{page.name}: `{name}`"
