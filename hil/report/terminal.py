"""Results as a table for the terminal: the curves apart, three points of each unless all are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from edgechaos.hil.analysis.compare import Comparison
from edgechaos.hil.analysis.points import Point
from edgechaos.hil.analysis.quantities import interval, joules, percent, setting
from edgechaos.hil.analysis.quantities import points as points_of
from edgechaos.hil.analysis.results import Results

if TYPE_CHECKING:
    from rich.table import Table


def results_table(results: Results, *, brief: bool = True) -> Table:
    """Accuracy with its interval, paired loss, worst mask and joules; brief: at the lowest, middle and highest point only."""
    from rich.table import Table

    confidence = f"{(1 - results.about['campaign']['alpha']) * 100:g} %"
    title = f"{results.about['model']['name']}: accuracy (%) under faults, {confidence} intervals; worst: of the masks; energy: modelled"
    table = Table(box=None, title=title, title_justify="left", pad_edge=False, collapse_padding=True)
    table.add_column("curve")
    for name in ("at", "mean", "over masks", "over images", "vs clean", "worst", "energy"):
        table.add_column(name, justify="right", no_wrap=True)
    for curve in results.curves:
        about = [f"{curve.persistence} {curve.fault.replace('_', ' ')}", curve.device]
        about.append(f"{max((p.masks for p in curve.points), default=0)} masks × {curve.images:,} images")
        rows = [_row(p, curve.swept) for p in (_selected(curve.points, curve.swept) if brief else curve.points)]
        rows += [(setting(lost, curve.swept), "no result", "", "", "", "", "") for lost in curve.empty_rates]
        blank = ("",) * 7
        for text, row in zip_longest(about, rows):
            table.add_row(text or "", *(row or blank))
        table.add_row()
    return table


def _selected(points: Sequence[Point], field: str) -> Sequence[Point]:
    """First, nearest to 50 % or in the middle, last; each once."""
    if len(points) < 4:
        return points
    middle = min(points, key=lambda p: (abs(p.rate - 0.5), p.rate)) if field == "rate" else points[len(points) // 2]
    return [p for p in points if p in (points[0], middle, points[-1])]


def _row(p: Point, field: str) -> tuple[str, ...]:
    energy = joules(p.energy.energy_j) if p.energy else ""
    intervals = interval(p.accuracy), interval(p.accuracy_over_images)
    return setting(p.rate, field), percent(p.accuracy.value), *intervals, points_of(p.difference.value), percent(p.worst_accuracy), energy


def comparison_table(comparison: Comparison) -> Table:
    """Both accuracies, the paired change with its interval, the change of the loss, and whether no loss beyond the margin is shown."""
    from rich.table import Table

    first, second = comparison.first, comparison.second
    names = " and ".join(f"{side['model']} {side['model_hash'][:8]}" for side in (first, second))
    title = f"{names}: accuracy (%), second − first (points), {comparison.confidence * 100:g} % intervals over masks"
    table = Table(box=None, title=title, title_justify="left", pad_edge=False, collapse_padding=True)
    table.add_column("curve")
    for name in ("at", "masks", "first", "second", "change", "interval", "loss", "interval", f"no loss > {percent(comparison.margin)}"):
        table.add_column(name, justify="right", no_wrap=True)
    for curve in comparison.curves:
        about = (curve.fault.replace("_", " "), " and ".join(dict.fromkeys(curve.devices)), f"{curve.images:,} images")
        rows = [
            (
                *(setting(p.rate, curve.swept), str(p.masks), percent(p.first.value), percent(p.second.value)),
                *(points_of(p.change.value), interval(p.change), points_of(p.loss_change.value), interval(p.loss_change)),
                "shown" if p.no_worse.holds else "not shown",
            )
            for p in curve.points
        ]
        for text, row in zip_longest(about, rows):
            table.add_row(text or "", *(row or ("",) * 9))
        table.add_row()
    return table
