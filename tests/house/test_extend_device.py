"""The page "Add a device", followed to the letter by an outsider; and the conformance suite notices devices that are none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.extend import install, own, page, run

FILES = 1
"""Of the device, without packaging and test: what docs/design.md says that a device takes."""
SUITE = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error::pytest.PytestUnknownMarkWarning", "test_bench.py")


def failed(output: str) -> set[str]:
    """Names of the tests that failed, without their parameters."""
    return set(re.findall(r"^(?:FAILED|ERROR) \S+::(\w+)", output, re.M))


@pytest.mark.slow
def test_the_page_is_enough(tmp_path: Path) -> None:
    install(page("device"), tmp_path)
    found = run(tmp_path, *SUITE)
    assert found.returncode == 0, found.stdout
    assert int(re.findall(r"(\d+) passed", found.stdout)[0]) > 80
    assert len(own(page("device"))) == FILES


BROKEN = {
    "logits one too high": ("Inference(seen.logits,", "Inference(seen.logits + 1,", "test_integers_are_the_references"),
    "wrong type": ("Inference(seen.logits,", "Inference(seen.logits.astype('i8'),", "test_heads_and_parameters"),
    "class off by one": ("seen.labels)", "(seen.labels + 1) % seen.logits.shape[1])", "test_integers_are_the_references"),
    "ignores the seed": ("codes, seed=seed", "codes, seed=0 * seed", "test_seeds_are_uint32"),
    "takes any seed": ("codes, seed=seed", "codes, seed=(seed or 0) % 2**32", "test_seeds_are_uint32"),
    "ignores sample ids": ("samples=samples", "samples=None", "test_integers_are_the_references"),
    "ignores the head": ("head=head", "head=None", "test_heads_and_parameters"),
    "ignores parameters": ("parameters=parameters", "parameters=None", "test_heads_and_parameters"),
    "ignores plans": ("= apply(self.graph, plan)", "= self.graph", "test_drawn_plans"),
    "plans add up": ("self._chip().runs = self.graph  #", "self._chip()  #", "test_a_plan_of_another_graph_is_refused"),
    "keeps faults after a reset": (
        "self.runs, self.count, self.boots = self.flashed, 0,",
        "self.count, self.boots = 0,",
        "test_reset_clears_faults_and_moves_the_boot_counter",
    ),
    "keeps faults of the last user": (
        "            self.chip.start()",
        "            pass",
        "test_what_the_last_user_left_is_gone_when_it_is_opened",
    ),
    "does not restart": ("self._chip().start()", "self._chip().runs = self.graph", "test_reset_clears_faults_and_moves_the_boot_counter"),
    "counts calls": ("+= len(codes)", "+= 1", "test_counters_count"),
    "counts what it refused": (
        "        # A device that",
        "        self.chip.count += self.on\n        # A device that",
        "test_wrong_shapes_are_refused_before_anything_runs",
    ),
    "works while closed": ("if not self.on:\n            raise", "if False:\n            raise", "test_life_cycle"),
    "takes any model": ("if held != content_hash(self.graph)", "if False", "test_another_model_is_refused"),
    "states another model": ("model_hash=content_hash(self.chip.flashed)", "model_hash='0' * 64", "test_info_is_true"),
    "states less than it refuses": ('frozenset({"model"})', "frozenset()", "test_integers_are_the_references"),
    "states memory that it has not": ('frozenset({"model"})', 'frozenset({"model", "memory"})', "test_pokes_end_with_the_plan"),
    "holds more than it states": ("patch_capacity=1 << 20", "patch_capacity=100", "test_plans_as_large_as_it_holds"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", BROKEN)
def test_a_device_that_is_none_is_noticed(what: str, tmp_path: Path) -> None:
    files = page("device")
    right, wrong, test = BROKEN[what]
    assert files["edgechaos_bench/device.py"].count(right) == 1, f"the page's device has another way of '{right}'"
    files["edgechaos_bench/device.py"] = files["edgechaos_bench/device.py"].replace(right, wrong)
    install(files, tmp_path)
    found = run(tmp_path, *SUITE)
    assert found.returncode == 1, found.stdout
    assert test in failed(found.stdout), found.stdout[-3000:]


@pytest.mark.slow
def test_a_model_that_is_said_to_be_refused_must_be(tmp_path: Path) -> None:
    files = page("device")
    files["test_bench.py"] = files["test_bench.py"].replace("    def make", '    refuses = frozenset({"wide"})\n\n    def make')
    install(files, tmp_path)
    assert "test_integers_are_the_references" in failed(run(tmp_path, *SUITE).stdout)
    start = "        if not self.on:\n            held"
    able = "        if self.graph.tensors[self.graph.head().input].size > 1000:\n            raise UnsupportedError('too wide')\n"
    device = files["edgechaos_bench/device.py"].replace(start, able + start)
    device = device.replace("import DeviceRefused", "import UnsupportedError, DeviceRefused")
    (tmp_path / "edgechaos_bench" / "device.py").write_text(device)
    found = run(tmp_path, *SUITE)
    assert found.returncode == 0, found.stdout
