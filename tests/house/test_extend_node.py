"""The page "Add a node kind", followed to the letter by an outsider: its files make a package, and the package is all it takes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib

from tests.helpers.places import ROOT

BLOCK = re.compile(r"```\w+ file=(\S+)\n(.*?)```", re.S)
PAGE = (ROOT / "docs" / "extend" / "node.md").read_text()
FILES = 5
"""Of the kind, without the packaging: what docs/design.md says that a node kind takes (ONNX and C included)."""


def install(folder: Path, leave_out: str = "") -> None:
    """The page's files, and the metadata that pip would make of its pyproject.toml."""
    for name, text in BLOCK.findall(PAGE):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = {group: entries for group, entries in project["entry-points"].items() if group != leave_out}
    lines = [line for group, entries in groups.items() for line in (f"[{group}]", *(f"{k} = {v}" for k, v in entries.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def prove(folder: Path) -> subprocess.CompletedProcess[str]:
    """Another process: a kind, once registered, would stay for the other tests."""
    env = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    return subprocess.run([sys.executable, str(folder / "proof.py")], env=env, capture_output=True, text=True, timeout=300)


def test_the_page_is_enough(tmp_path: Path) -> None:
    install(tmp_path)
    found = prove(tmp_path)
    assert found.returncode == 0, found.stderr
    assert len([name for name, _ in BLOCK.findall(PAGE) if "/" in name]) == FILES


@pytest.mark.parametrize(("group", "target"), [("edgechaos.export.onnx.kinds", "ONNX"), ("edgechaos.firmware_gen.compilers.c.kinds", "C")])
def test_a_target_that_was_left_out_says_so(group: str, target: str, tmp_path: Path) -> None:
    install(tmp_path, leave_out=group)
    found = prove(tmp_path)
    assert found.returncode == 1
    assert f"kind Absolute is not written in {target}" in found.stderr
