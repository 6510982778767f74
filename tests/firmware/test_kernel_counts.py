"""benchmarks/kernels.py: its counts are exact and on record, and one that grows fails the run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.places import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import kernels

ONE = ("LUT", "--compiler", "zig")


def test_counts_are_those_on_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    recorded = json.loads(kernels.BASELINE.read_text())
    assert recorded.keys() == {row.name for row in kernels.rows()}
    copy = tmp_path / "kernels.json"
    monkeypatch.setattr(kernels, "BASELINE", copy)
    assert kernels.main([*ONE, "--update"]) == 0
    assert json.loads(copy.read_text())["LUT"]["zig"] == recorded["LUT"]["zig"]
    copy.write_text(json.dumps({"LUT": {"zig": recorded["LUT"]["zig"] / 1.03}}))
    assert kernels.main(ONE) == 1
    assert "(x 1.030)" in capsys.readouterr().err


def test_a_kernel_that_is_wrong_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = (row for row in kernels.rows() if row.name == "LUT")
    monkeypatch.setattr(kernels, "offset", lambda firmware, tensor: 0)
    with pytest.raises(SystemExit, match="LUT, zig: not the reference's integers"):
        kernels.count(row, "zig")


def test_what_is_worse_is_named() -> None:
    found = {"a": {"zig": 1.0, "gcc": 1.03}, "b": {"zig": float(np.float64(2))}}
    assert kernels.worse(found, {"a": {"zig": 1.0, "gcc": 1.0}, "b": {"zig": 1.99}}) == ["a, gcc: 1.030, the baseline has 1.000 (x 1.030)"]
    assert kernels.worse(found, {"a": found["a"]}) == ["b, zig: the baseline has no such row; write it with --update"]
