"""A pruning curve for people: a table, and a picture with one panel per condition."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgechaos.prune.criteria import CRITERIA
from edgechaos.support.pictures import grid, save_figure
from edgechaos.sweeps.pruning import CLEAN, Curve, Point, Settings, label

if TYPE_CHECKING:
    from rich.table import Table

COLORS = {"reconstruction": "#3a7d44", "current": "#0b6e99", "magnitude": "#c2571a", "random": "#8a8f98"}
MARKERS = {"reconstruction": "D", "current": "o", "magnitude": "s", "random": "^"}
APART = 0.012
"""By how much of a share neighbouring criteria are drawn beside each other, so that no interval hides another."""


def rich_table(curve: Curve) -> Table:
    """One row per point; per condition the accuracy and its interval."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    settings = curve.settings
    look: dict[str, Any] = {
        "box": SIMPLE_HEAD,
        "title_justify": "left",
        "caption_justify": "left",
        "collapse_padding": True,
        "pad_edge": False,
    }
    table = Table(title=_title(settings), caption=_caption(settings), **look)
    for header in ("share", "left", "criterion"):
        table.add_column(header, justify="left" if header == "criterion" else "right", no_wrap=True)
    for condition in _conditions(settings):
        table.add_column(f"{condition} (%)", justify="right", no_wrap=True)
    for header in ("flash B", "RAM B", "syn. ops"):
        table.add_column(header, justify="right", no_wrap=True)
    for p in curve.points:
        accuracy = (p.accuracy[c] for c in _conditions(settings))
        operations = "" if p.synaptic_operations is None else f"{p.synaptic_operations:,.0f}"
        cells = (f"{100 * a.value:.2f} [{100 * a.low:.1f}, {100 * a.high:.1f}]" for a in accuracy)
        table.add_row(f"{p.share:.2f}", f"{p.left:,}", p.criterion or "", *cells, f"{p.flash_bytes:,}", f"{p.ram_bytes:,}", operations)
    return table


def _title(settings: Settings) -> str:
    tuned = f"qat, {settings.epochs} epochs" if settings.method == "qat" else settings.method
    removed = "removed" if settings.what == "neurons" else "set to 0"
    made = f"int{settings.weight_bits}{'' if settings.per_channel else ' per tensor'}, {tuned}"
    return f"{settings.family} on {settings.dataset}, {settings.what} {removed}, {made}"


def _caption(settings: Settings) -> str:
    over = f"clean: 95 % Wilson intervals over {settings.items:,} test items"
    return f"{over}; under faults: 95 % t intervals over {settings.masks} masks; random: another draw for each mask, clean too"


def _conditions(settings: Settings) -> tuple[str, ...]:
    return (CLEAN, *(label(f) for f in settings.faults))


def save_picture(curve: Curve, path: Path) -> Path:
    """Accuracy with its interval against the share removed, one panel per condition. Equal curves give equal files.

    Raises UnsupportedError for another ending than .png or .svg, MissingExtra without matplotlib.
    """
    panels = _conditions(curve.settings)
    return save_figure(path, (1.2 + 3.4 * len(panels), 4.0), lambda figure: _draw(figure, curve, panels))


def _draw(figure: Any, curve: Curve, panels: tuple[str, ...]) -> None:
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, condition in zip(all_axes, panels, strict=True):
        for place, criterion in enumerate(CRITERIA):
            points = [p for p in curve.points if p.criterion in (None, criterion)]
            if any(p.criterion for p in points):
                _line(axes, points, criterion, condition, APART * (place - (len(CRITERIA) - 1) / 2))
        axes.set_title(condition, loc="left", fontsize=10)
        axes.set_xlabel(f"share of {'hidden neurons' if curve.settings.what == 'neurons' else 'weights'} removed")
        axes.set_ylim(0, 102)
        grid(axes)
    all_axes[0].set_ylabel(f"accuracy on {curve.settings.items:,} test items (%), 95 % interval", fontsize=9)
    all_axes[0].legend(frameon=False, loc="lower left", fontsize=9)
    figure.suptitle(_title(curve.settings), x=0.01, ha="left", fontsize=10)


def _line(axes: Any, points: list[Point], criterion: str, condition: str, beside: float) -> None:
    accuracy = [p.accuracy[condition] for p in points]
    reach = [[100 * (a.value - a.low) for a in accuracy], [100 * (a.high - a.value) for a in accuracy]]
    style = {"color": COLORS[criterion], "marker": MARKERS[criterion], "markersize": 4, "linewidth": 1.2, "elinewidth": 0.9, "capsize": 2}
    axes.errorbar([p.share + beside for p in points], [100 * a.value for a in accuracy], reach, label=criterion, **style)
