"""The pytest plug-in, in runs of pytest of its own: fixtures, hardware maps, and runs that test nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgechaos.graph import artifact
from edgechaos.support.registry import load
from edgechaos.support.settings import read_toml
from tests.helpers.graphs import chaos_graph
from tests.helpers.places import ROOT

TESTS = """
import numpy as np
import pytest
from edgechaos import FaultPlan, DeadNeurons, resolve

SEEN = []

def test_clean(edgechaos_device, edgechaos_model):
    clean = edgechaos_device.infer(np.ones((3, 12), np.int8))
    SEEN.append(clean.logits.tolist())
    edgechaos_device.inject(resolve(edgechaos_model, FaultPlan((DeadNeurons(rate=1.0),))))
    assert (edgechaos_device.infer(np.ones((3, 12), np.int8)).logits != clean.logits).any()

def test_clean_again(edgechaos_device):
    assert edgechaos_device.infer(np.ones((3, 12), np.int8)).logits.tolist() in SEEN

def test_without_a_device():
    pass
"""
BOARD_TEST = """
import pytest

@pytest.mark.edgechaos(platform="stm32l4r5", fixtures=("meter",))
def test_of_a_board(edgechaos_device):
    pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    artifact.save(chaos_graph(), tmp_path / "m.ecm")
    (tmp_path / "pytest.ini").write_text("[pytest]\nedgechaos_model = m.ecm\n")
    return tmp_path


def run(folder: Path, text: str, *options: str) -> tuple[int, str]:
    (folder / "test_it.py").write_text(text)
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    plugin = ("-p", "edgechaos.devices.pytest_plugin", "-p", "no:cacheprovider", "--strict-markers", "-ra", "-q")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugin, *options], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


def test_the_plug_in_is_installed_as_one() -> None:
    entry = read_toml(ROOT / "pyproject.toml", "project")["project"]["entry-points"]["pytest11"]
    assert hasattr(load(entry["edgechaos"]), "edgechaos_device")


def test_tests_run_on_every_device_that_is_named_and_start_clean(folder: Path) -> None:
    code, out = run(folder, TESTS, "--edgechaos-device", "fake", "--junitxml", "j.xml")
    assert code == 0, out
    assert "3 passed" in out
    assert '<property name="edgechaos_device" value="fake"' in (folder / "j.xml").read_text()
    (folder / "pytest.ini").write_text("[pytest]\nedgechaos_model = m.ecm\nedgechaos_devices =\n    fake\n    absent\n")
    code, out = run(folder, TESTS)
    assert code == 1
    assert "3 passed, 2 errors" in out
    assert "absent: no device 'absent'" in out


def test_without_device_or_model_each_test_says_what_to_give(folder: Path) -> None:
    code, out = run(folder, TESTS)
    assert code == 1
    assert "1 passed, 2 errors" in out
    assert "give --edgechaos-device SPEC or --edgechaos-hardware-map FILE" in out
    (folder / "pytest.ini").write_text("[pytest]\n")
    code, out = run(folder, TESTS, "--edgechaos-device", "fake")
    assert code == 1
    assert "give --edgechaos-model FILE.ecm" in out


@pytest.mark.parametrize(("skip", "code"), [(True, 1), (False, 0)])
def test_a_run_in_which_every_test_on_a_device_is_skipped_fails(skip: bool, code: int, folder: Path) -> None:
    mark = "@pytest.mark.skip\n" if skip else ""
    text = f"import pytest\n{mark}def test_a(edgechaos_device):\n    pass\n@pytest.mark.skip\ndef test_b(edgechaos_device):\n    pass\n"
    found, out = run(folder, text + "def test_c():\n    pass\n", "--edgechaos-device", "fake")
    assert found == code, out
    assert ("edgechaos: every test on a device was skipped: nothing was tested" in out) == skip


def test_boards_of_a_hardware_map(folder: Path) -> None:
    lines = ["- connected: true", "  id: a", "  platform: stm32l4r5", "  product: p", "  runner: r", "  serial: /dev/nowhere"]
    (folder / "map.yaml").write_text("\n".join(lines))
    code, out = run(folder, BOARD_TEST, "--edgechaos-hardware-map", "map.yaml", "--edgechaos-device", "fake")
    assert code == 1  # no board has the fixture, so that nothing was tested
    assert "nothing was tested" in out
    (folder / "map.yaml").write_text("\n".join([*lines, "  fixtures: [meter]"]))
    code, out = run(folder, BOARD_TEST, "--edgechaos-hardware-map", "map.yaml", "--edgechaos-platform", "stm32l4r5")
    assert code == 1
    assert "serial:/dev/nowhere@115200: no port '/dev/nowhere'" in out  # a board that is not there is a failure, never a skip
    (folder / "map.yaml").write_text("x: y")
    code, out = run(folder, BOARD_TEST, "--edgechaos-hardware-map", "map.yaml")
    assert code == 2
    assert "is no list of boards" in out
    assert "Traceback" not in out


def test_a_device_that_a_test_broke_works_in_the_next(folder: Path) -> None:
    text = TESTS + "\ndef test_a(edgechaos_device):\n    edgechaos_device.close()\n\ndef test_z(edgechaos_device):\n    pass\n"
    code, out = run(folder, text, "--edgechaos-device", "fake")
    assert code == 0, out
    assert "5 passed" in out
