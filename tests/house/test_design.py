"""docs/design.md says what is so: the order of packages, the drawing of them, and how many files an addition takes."""

from __future__ import annotations

import re

from tests.helpers.extend import own, page
from tests.helpers.places import ROOT
from tests.house.drawing import FILE, drawing, edges, parts
from tests.house.test_circles import PACKAGES

TEXT = (ROOT / "docs" / "design.md").read_text()


def test_the_drawing_is_of_this_code() -> None:
    assert FILE.read_text() == drawing(), "python -m tests.house.drawing draws it anew; then look at it"


def test_arrows_point_left() -> None:
    assert ("hil", "devices") in edges()
    assert all(PACKAGES.index(a) > PACKAGES.index(b) for a, b in edges())


def test_the_order_on_the_page_is_the_one_that_is_asserted() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\w, ]+) \|$", TEXT, re.M))
    assert rows == {package: ", ".join(parts(package)) for package in PACKAGES}


def test_the_files_of_every_addition_are_those_of_its_page() -> None:
    rows = {name: int(files) for name, files in re.findall(r"^\| \[[^]]+\]\(extend/(\w+)\.md\) \| \d+ \| (\d+) \|", TEXT, re.M)}
    assert rows == {path.stem: len(own(page(path.stem))) for path in sorted((ROOT / "docs" / "extend").glob("*.md"))}
