"""Results as tables for other programs: one row per point, or one per point and mask, as CSV or Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgechaos.devices.contract import EXTRAS
from edgechaos.hil.analysis.points import Curve, Point
from edgechaos.hil.campaign.outcomes import OUTCOMES
from edgechaos.support.extras import need

Row = Mapping[str, Any]


def point_rows(curves: Sequence[Curve]) -> list[Row]:
    """Every point with its intervals; what was not measured is None."""
    return [row for curve in curves for row in _points(curve)]


def mask_rows(curves: Sequence[Curve]) -> list[Row]:
    """Every mask of every point: right answers under the fault and clean, and images per outcome."""
    return [row for curve in curves for point in curve.points for row in _masks(curve, point)]


def csv_of(rows: Sequence[Row]) -> str:
    """A header and the rows; empty where there are none. None is an empty cell."""
    out = io.StringIO()
    table = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    if rows:
        table.writeheader()
    table.writerows(rows)
    return out.getvalue()


def parquet_of(rows: Sequence[Row]) -> bytes:
    """The same as a Parquet file. Raises MissingExtra without pyarrow."""
    arrow, parquet = need("pyarrow", "parquet"), need("pyarrow.parquet", "parquet")
    out = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist([dict(row) for row in rows]), out)
    return out.getvalue()


def executed(instructions: Mapping[str, float]) -> float:
    """Instructions in all, without what is counted beside the classes."""
    return sum(count for name, count in instructions.items() if name not in EXTRAS)


def _place(curve: Curve) -> Row:
    place = {"fault": curve.fault, "persistence": curve.persistence, "site": curve.site, "device": curve.device}
    return {**place, "images": curve.images}


def _points(curve: Curve) -> Iterator[Row]:
    for p in curve.points:
        a, o, d, e = p.accuracy, p.accuracy_over_images, p.difference, p.energy
        yield {
            **_place(curve),
            "rate": p.rate,
            "masks": p.masks,
            "lost": p.lost,
            "accuracy": a.value,
            "low": a.low,
            "high": a.high,
            "low_over_images": o.low,
            "high_over_images": o.high,
            "confidence": a.confidence,
            "clean": p.clean.value,
            "difference": d.value,
            "difference_low": d.low,
            "difference_high": d.high,
            "worst_mask": p.worst_mask,
            "worst_accuracy": p.worst_accuracy,
            "no_harm": p.no_harm.holds,
            "instructions": executed(p.instructions) if p.instructions else None,
            "energy_j": e.energy_j if e else None,
            "energy_low_j": e.low_j if e else None,
            "energy_high_j": e.high_j if e else None,
            "energy_origin": e.origin if e else None,
            **{name: p.outcomes.get(name, 0) for name in OUTCOMES},
        }


def _masks(curve: Curve, point: Point) -> Iterator[Row]:
    columns = point.per_mask
    for k, mask in enumerate(columns.get("mask", ())):
        counts = {name: columns[name][k] if name in columns else 0 for name in ("correct", "clean", *OUTCOMES)}
        yield {**_place(curve), "rate": point.rate, "mask": mask, **counts}
