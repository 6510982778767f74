"""The import order edgechaos < export < firmware_gen < devices < hil, the bare names, and a light start-up."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.places import ROOT

ORDER = ("edgechaos", "export", "firmware_gen", "devices", "hil")
FACE = ROOT / "edgechaos" / "__init__.py"
HEAVY = ("torch", "onnx", "onnxruntime", "tvm", "brevitas", "unicorn", "matplotlib", "scipy", "sklearn", "rich")


def rank(module: str) -> int | None:
    """Place of a module in the order; None for the outside world."""
    parts = module.split(".")
    if parts[0] != "edgechaos":
        return None
    return ORDER.index(parts[1]) if len(parts) > 1 and parts[1] in ORDER else 0


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def sources() -> list[Path]:
    return [
        p
        for folder in ORDER
        for p in sorted((ROOT / folder).rglob("*.py"))
        # The command line and the package's face reach everything, lazily.
        if not (folder == "edgechaos" and {*ORDER[1:], "cli"} & set(p.relative_to(ROOT / folder).parts)) and p != FACE
    ]


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_left(path: Path) -> None:
    own = ORDER.index(path.relative_to(ROOT).parts[0])
    for name in imports(path):
        theirs = rank(name)
        assert theirs is None or theirs <= own, f"{path.relative_to(ROOT)} imports {name}"
        assert name.split(".")[0] not in ORDER[1:], f"{path.relative_to(ROOT)} imports the bare name {name}"


@pytest.mark.parametrize("name", ORDER[1:])
def test_bare_names_are_refused(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"import {name}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert f"import edgechaos.{name} instead" in done.stderr


@pytest.mark.parametrize("command", ["import edgechaos", "from edgechaos.cli import main; main(['--help'], standalone_mode=False)"])
def test_start_up_loads_nothing_heavy(command: str) -> None:
    script = f"{command}\nimport sys\nprint('loaded:', *sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == ["loaded:"]
