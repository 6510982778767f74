"""A comparison of continual strategies for people: a table, and the accuracy matrix of every strategy as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgechaos.support.pictures import save_figure

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = {
    "average_accuracy": "average %",
    "learned": "learned %",
    "forgetting": "forgetting",
    "backward_transfer": "backward transfer",
    "integer_average_accuracy": "int8 average %",
}
DARK = 0.55
"""Above this accuracy the ink of a cell is white."""


def rich_table(result: Mapping[str, Any]) -> Table:
    """One row per strategy: mean over seeds, and the 95 % t interval where there are several."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    seeds = max(s["average_accuracy"]["n"] for s in result["summary"].values())
    over = f"mean of {seeds} seeds [95 % t interval over seeds]" if seeds > 1 else "one seed"
    table = Table(
        title=f"{_what(result)}, {len(result['tasks'])} tasks, {sum(result['test_items']):,} test items; {over}",
        caption="learned: of each task right after it was learned; forgetting: what was lost since (Chaudhry et al., 2018)",
        box=SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("strategy", no_wrap=True)
    for header in COLUMNS.values():
        table.add_column(header, justify="right", no_wrap=True)
    for strategy, measures in result["summary"].items():
        table.add_row(strategy, *(_cell(measures[key], percent="%" in header) for key, header in COLUMNS.items()))
    return table


def _cell(measure: Mapping[str, Any], percent: bool) -> str:
    scale, digits = (100, 1) if percent else (1, 3)
    value, low, high = (None if measure[k] is None else f"{measure[k] * scale:.{digits}f}" for k in ("value", "low", "high"))
    return f"{value}" if low is None else f"{value} [{low}, {high}]"


def _what(result: Mapping[str, Any]) -> str:
    return f"{result['stream']} {result['dataset']['name']}"


def save_picture(result: Mapping[str, Any], path: Path) -> Path:
    """R[i][j] in percent, mean over seeds, a square per strategy. Raises UnsupportedError for another ending, MissingExtra."""
    matrices = mean_matrices(result)
    columns = min(3, len(matrices))
    rows = -(-len(matrices) // columns)

    def draw(figure: Any) -> None:
        figure.suptitle(f"{_what(result)}: accuracy (%) on every task after each was learned", fontsize=10, x=0.01, ha="left")
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(matrices) :]:
            axes.set_axis_off()
        for axes, (strategy, matrix) in zip(grid.flat, matrices.items(), strict=False):
            _draw(axes, strategy, matrix, result["tasks"])

    return save_figure(path, (0.6 + 2.9 * columns, 0.8 + 2.9 * rows), draw)


def mean_matrices(result: Mapping[str, Any]) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """R by strategy, mean over its seeds."""
    return {
        strategy: np.mean([run["accuracy"] for key, run in result["runs"].items() if key.rsplit(" ", 1)[0] == strategy], axis=0)
        for strategy in result["summary"]
    }


def _draw(axes: Any, strategy: str, matrix: np.ndarray[Any, np.dtype[np.float64]], tasks: list[str]) -> None:
    axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
    for (i, j), value in np.ndenumerate(matrix):
        axes.text(j, i, f"{100 * value:.0f}", ha="center", va="center", fontsize=8, color="white" if value > DARK else "#30343a")
    axes.set_title(f"{strategy}: {100 * matrix[-1].mean():.1f} % at the end", fontsize=9, loc="left")
    names = [name if len(name) <= 8 else f"{k}" for k, name in enumerate(tasks)]
    axes.set_xticks(range(len(tasks)), names, fontsize=7.5)
    axes.set_yticks(range(len(tasks)), names, fontsize=7.5)
    axes.set_xlabel("tested on", fontsize=8)
    axes.set_ylabel("learned up to", fontsize=8)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
