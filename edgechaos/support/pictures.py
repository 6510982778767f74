"""Pictures of what quantization was measured to cost: PNG or SVG files, equal for equal figures."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgechaos.support.errors import UnsupportedError
from edgechaos.support.extras import need
from edgechaos.support.files import write_atomic

PICTURES = (".png", ".svg")
STYLE = {"svg.hashsalt": "edgechaos", "svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False}
GRID = "#e3e5e8"


def picture_format(path: Path) -> str:
    """ "png" or "svg", by the file's ending. Raises UnsupportedError for any other."""
    if path.suffix.lower() not in PICTURES:
        raise UnsupportedError(f"{path}: a picture ends in {' or '.join(PICTURES)}, not '{path.suffix}'")
    return path.suffix.lower()[1:]


def save_figure(path: Path, size: tuple[float, float], draw: Callable[[Any], None]) -> Path:
    """A figure of `size` inches on which draw(figure) was called; PNG or SVG by the ending.

    Raises UnsupportedError for another ending, MissingExtra without matplotlib.
    """
    kind = picture_format(path)
    matplotlib = need("matplotlib", "report")
    figures = need("matplotlib.figure", "report")
    out = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure = figures.Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(out, format=kind, dpi=160, metadata={"Date": None, "Creator": None} if kind == "svg" else {"Software": None})
    return write_atomic(path, out.getvalue())


def grid(axes: Any) -> None:
    """Light lines behind what is drawn."""
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
