"""Results as a table for the terminal: one row per point, curves apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgechaos.hil.numbers import joules, percent, points, rate
from edgechaos.hil.results import Results

if TYPE_CHECKING:
    from rich.table import Table


def results_table(results: Results) -> Table:
    """Accuracy with its interval, paired loss, worst mask and joules at every rate of every curve."""
    from rich.table import Table

    confidence = f"{(1 - results.about['campaign']['alpha']) * 100:g} %"
    table = Table(
        box=None, title=f"{results.about['model']['name']} under faults; intervals {confidence}, over masks", title_justify="left"
    )
    for name in ("fault", "device"):
        table.add_column(name)
    for name in ("masks", "images", "rate %", "accuracy %", "interval", "vs clean", "worst mask", "energy, modelled"):
        table.add_column(name, justify="right", no_wrap=True)
    for curve in results.curves:
        name = f"{curve.persistence} {curve.fault.replace('_', ' ')}"
        for k, p in enumerate(curve.points):
            head = (name, curve.device) if k == 0 else ("", "")
            table.add_row(
                *head,
                str(p.masks),
                str(curve.images),
                rate(p.rate),
                percent(p.accuracy.value),
                f"\\[{percent(p.accuracy.low)}, {percent(p.accuracy.high)}]",
                points(p.difference.value),
                percent(p.worst_accuracy),
                joules(p.energy.energy_j) if p.energy else "",
                end_section=k == len(curve.points) - 1,
            )
        for lost in curve.empty_rates:
            table.add_row(
                f"{curve.persistence} {curve.fault.replace('_', ' ')}", curve.device, "0", str(curve.images), rate(lost), "no result"
            )
    return table
