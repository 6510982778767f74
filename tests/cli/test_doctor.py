"""What `edgechaos doctor` looks at, and compilers by name: built in, and added by an installed package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgechaos.cli import doctor_command
from edgechaos.cli.doctor_command import Finding, examine
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.firmware_gen.projects.elf import build
from edgechaos.support.errors import ConfigError
from tests.helpers.extend import install, run
from tests.helpers.graphs import chaos_graph

PLUG_IN = {
    "lab/check.py": """
from edgechaos.cli.doctor_command import Finding


def probes():
    yield Finding("probe", False, "nothing", "plug one in")
""",
    "lab/cc.py": """
from edgechaos.firmware_gen.toolchain import Toolchain
from edgechaos.firmware_gen.toolchains.zig import zig_cc

TOOLCHAIN = Toolchain("a lab's clang", zig_cc, lambda firmware: (*firmware.flags, "-DLAB=1"), lambda: "1.0", "ask the lab")
""",
    "pyproject.toml": """
[project]
name = "lab"
version = "0.1"

[project.entry-points."edgechaos.checks"]
probes = "lab.check:probes"

[project.entry-points."edgechaos.toolchains"]
lab = "lab.cc:TOOLCHAIN"
""",
    "built.py": """
from edgechaos.devices.conformance import GRAPHS
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.firmware_gen.projects.elf import build

firmware = generate(GRAPHS["parallel"], load_board("mps2-an386"))
assert build(firmware, "lab", "lab").elf.read_bytes() == build(firmware, "zig").elf.read_bytes()
""",
}


def test_what_is_missing_has_a_remedy_and_what_is_there_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    findings = {finding.name: finding for finding in examine()}
    assert {"python", "extra 'onnx'", "compiler 'zig'", "compiler 'gcc'", "cache", "EDGECHAOS_DATA"} <= findings.keys()
    assert all(finding.good == (finding.remedy == "") for finding in findings.values())
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("EDGECHAOS_DATA", str(tmp_path / "gone"))
    monkeypatch.setattr(doctor_command, "EXTRAS", {"onnx": ("absent-package",)})
    findings = {finding.name: finding for finding in examine()}
    assert findings["extra 'onnx'"] == Finding("extra 'onnx'", False, "nothing", "pip install 'edgechaos[onnx]'")
    assert findings["compiler 'gcc'"].remedy.startswith("apt-get install gcc-arm-none-eabi")
    assert findings["compiler 'riscv-gcc'"].remedy == "apt-get install gcc-riscv64-unknown-elf"
    assert findings["emulator 'qemu-system-riscv32'"].remedy == "apt-get install qemu-system-misc"
    assert not findings["EDGECHAOS_DATA"].good


def test_a_package_adds_checks_and_compilers(tmp_path: Path) -> None:
    install(PLUG_IN, tmp_path)
    found = run(tmp_path, "-m", "edgechaos", "doctor", "--json")
    rows = {row["name"]: row for row in json.loads(found.stdout)}
    assert rows["probe"] == {"name": "probe", "good": False, "found": "nothing", "remedy": "plug one in"}
    assert rows["compiler 'lab'"]["found"] == "a lab's clang 1.0"
    built = run(tmp_path, "built.py")
    assert built.returncode == 0, built.stderr


def test_a_compiler_that_there_is_not_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no compiler 'gc', did you mean 'gcc'\\?; there are gcc, riscv-gcc, zig"):
        build(generate(chaos_graph(), load_board("mps2-an386")), tmp_path, "gc")
