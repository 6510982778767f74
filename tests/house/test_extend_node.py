"""The page "Add a node kind", followed to the letter by an outsider: its files make a package, and the package is all it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.extend import install, own, page, run

FILES = 5
"""Of the kind, without the packaging: what docs/design.md says that a node kind takes (ONNX and C included)."""


@pytest.mark.slow
def test_the_page_is_enough(tmp_path: Path) -> None:
    install(page("node"), tmp_path)
    found = run(tmp_path)
    assert found.returncode == 0, found.stderr
    assert len(own(page("node"))) == FILES


@pytest.mark.parametrize(("group", "target"), [("edgechaos.export.onnx.kinds", "ONNX"), ("edgechaos.firmware_gen.compilers.c.kinds", "C")])
def test_a_target_that_was_left_out_says_so(group: str, target: str, tmp_path: Path) -> None:
    install(page("node"), tmp_path, leave_out=group)
    found = run(tmp_path)
    assert found.returncode == 1
    assert f"kind Absolute is not written in {target}" in found.stderr
