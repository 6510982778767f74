"""Results as tables: one row per point, one per mask; the same as Parquet where its package is installed, and said where it is not."""

from __future__ import annotations

import csv
import io
from importlib.util import find_spec
from pathlib import Path

import pytest

from edgechaos.hil.analysis.results import Results
from edgechaos.hil.analysis.tables import csv_of, mask_rows, parquet_of, point_rows
from edgechaos.hil.campaign.config import Images, Sweep
from edgechaos.hil.campaign.outcomes import OUTCOMES
from edgechaos.support.errors import MissingExtra
from edgechaos.support.extras import need
from tests.helpers.campaigns import campaign, run


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    spec = campaign(sweep=(Sweep("dead", (0.0, 0.5)),), masks=5, images=Images(12), devices=("plain", "counting"))
    return run(tmp_path_factory.mktemp("tables"), spec)


def test_one_row_for_each_mask_of_each_point(results: Results) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_of(mask_rows(results.curves)))))
    assert len(rows) == 2 * 2 * 5
    for row in rows:
        assert sum(int(row[name]) for name in OUTCOMES) == 12
    point = results.curves[0].points[1]
    mine = [r for r in rows if (r["device"], float(r["rate"])) == ("plain", 0.5)]
    assert [int(r["mask"]) for r in mine] == list(range(5))
    assert sum(int(r["correct"]) for r in mine) / 60 == pytest.approx(point.accuracy.value)
    assert sum(int(r["clean"]) for r in mine) / 60 == pytest.approx(point.clean.value)
    assert sum(int(r["sdc_critical"]) for r in mine) == point.outcomes.get("sdc_critical", 0)


def test_what_was_not_measured_is_an_empty_cell(results: Results) -> None:
    plain, counting = (next(r for r in point_rows(results.curves) if r["device"] == device) for device in ("plain", "counting"))
    assert plain["instructions"] is None
    assert counting["instructions"] == 1500
    assert csv_of([{"a": None, "b": 1}]) == "a,b\n,1\n"
    assert csv_of([]) == ""


def test_the_tables_are_written_with_the_results(results: Results, tmp_path: Path) -> None:
    assert [path.name for path in results.write(tmp_path)] == ["results.json", "results.csv", "masks.csv"]
    assert (tmp_path / "masks.csv").read_text() == csv_of(mask_rows(results.curves))


def test_parquet_holds_the_same_or_says_what_to_install(results: Results, tmp_path: Path) -> None:
    if find_spec("pyarrow") is None:
        with pytest.raises(MissingExtra, match=r"pip install 'edgechaos\[parquet\]'"):
            parquet_of(mask_rows(results.curves))
        return
    results.write(tmp_path, parquet=True)
    parquet = need("pyarrow.parquet", "parquet")
    assert parquet.read_table(tmp_path / "masks.parquet").to_pylist() == [dict(row) for row in mask_rows(results.curves)]
    assert parquet.read_table(tmp_path / "results.parquet").to_pylist() == [dict(row) for row in point_rows(results.curves)]
