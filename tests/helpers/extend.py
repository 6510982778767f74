"""A page of docs/extend/ followed to the letter: its files make a package, installed in a folder, and another process proves it.

A block whose first line is "```LANGUAGE file=NAME" is the file NAME. `pyproject.toml` is one of them; what pip would make of its
entry points is written beside it, so that nothing is installed in the environment of the tests.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.helpers.places import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BLOCK = re.compile(r"```\w+ file=(\S+)\n(.*?)```", re.S)


def page(name: str) -> dict[str, str]:
    """The files of docs/extend/NAME.md, by their paths."""
    return dict(BLOCK.findall((ROOT / "docs" / "extend" / f"{name}.md").read_text()))


def own(files: dict[str, str]) -> list[str]:
    """The files of the addition itself: those in a folder. pyproject.toml, the proof and the tests stand beside them."""
    return sorted(name for name in files if "/" in name)


def install(files: dict[str, str], folder: Path, leave_out: str = "") -> None:
    """The files, and the metadata that pip would make of pyproject.toml, but for the entry points of one group."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    project = tomllib.loads(files["pyproject.toml"])["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = {group: entries for group, entries in project.get("entry-points", {}).items() if group != leave_out}
    lines = [line for group, entries in groups.items() for line in (f"[{group}]", *(f"{k} = {v}" for k, v in entries.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python ARGUMENTS` in the folder, by default its proof.py. Another process: what is registered once would stay for other tests."""
    env = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    command = [sys.executable, *(arguments or ("proof.py",))]
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=280)
