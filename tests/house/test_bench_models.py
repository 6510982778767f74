"""The models that `make bench` counts are those of its manifest, and its baseline has every one of them."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import bench

    yield bench
    del sys.modules["bench"]


def test_every_model_is_the_one_of_the_manifest_and_has_a_baseline(bench: Any) -> None:
    manifest, baseline = bench.manifest(), json.loads(bench.BASELINE.read_text())
    for name, entry in manifest.items():
        graph, codes = entry.load(name)
        assert codes.shape == (bench.COUNTED_ITEMS, *graph.tensors[graph.head().input].shape)
    assert set(manifest) == set(baseline["models"]) == set(baseline["first"])
    assert {p.name for p in bench.MANIFEST.parent.glob("*.ecm")} == {Path(e.artifact).name for e in manifest.values()} - {"pixels.ecm"}


def test_growth_beyond_the_tolerance_is_worse(bench: Any) -> None:
    def table(instructions: float) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
        return {"models": {"m": {hooks: {"instructions": instructions, "flash_bytes": 5.0} for hooks in bench.HOOKS}}}

    assert bench.compare(table(102.0), table(100.0)) == []
    assert len(bench.compare(table(102.1), table(100.0))) == 2
