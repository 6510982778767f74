"""Curves of the report as inline SVG: text stays text, colors are the page's own variables, equal data give equal bytes.

Matplotlib draws with placeholder colors, which become CSS variables, so that one drawing serves light, dark and paper.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from edgechaos.support.extras import need

Point = Mapping[str, Any]

SERIES = {f"#0a0c0{k}": f"var(--s{k})" for k in range(8)}
"""Colors of curves side by side."""
MARKERS = "osD^vPX*"
PLACEHOLDERS = {"#0a0b01": "var(--ink)", "#0a0b02": "var(--muted)", "#0a0b03": "var(--rule)", "#0a0b04": "var(--curve)", **SERIES}
INK, MUTED, RULE, CURVE = [*PLACEHOLDERS][:4]
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "edgechaos",
    "font.size": 9.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
}
SIZE_IN = (5.2, 3.3)
FRAME = (0.105, 0.15, 0.885, 0.82)
"""Left, bottom, width, height of the axes: fixed, so that panels side by side align."""


def accuracy_limits(curves: Sequence[Sequence[Point]]) -> tuple[float, float]:
    """One scale, in percent, for all panels of a page: a fault that hurts more must look so. Whole tens around every mark."""
    points = [p for curve in curves for p in curve]
    lowest = min(min(p["worst_accuracy"], p["accuracy"]["low"]) for p in points) * 100
    highest = max(max(p["accuracy"]["high"], p["clean"]["value"]) for p in points) * 100
    return max(0.0, 10 * math.floor((lowest - 2) / 10)), min(102.0, 10 * math.ceil((highest + 2) / 10))


def accuracy_figure(points: Sequence[Point], field: str, axis: str, prefix: str, limits: tuple[float, float]) -> str:
    """Accuracy in percent against the swept field, a rate in percent: mean over masks, interval, worst mask, clean level."""
    figure, axes = _axes()
    rates = _swept(points, field)
    mean, low, high = ([p["accuracy"][key] * 100 for p in points] for key in ("value", "low", "high"))
    clean = sum(p["clean"]["value"] for p in points) / len(points) * 100
    worst = [p["worst_accuracy"] * 100 for p in points]
    axes.axhline(clean, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.text(1.0, clean, f"clean {clean:.1f} %", transform=axes.get_yaxis_transform(), ha="right", va="bottom", fontsize=9, color=MUTED)
    axes.fill_between(rates, low, high, color=CURVE, alpha=0.22, linewidth=0)
    caps = [[max(m - lo, 0) for m, lo in zip(mean, low, strict=True)], [max(hi - m, 0) for m, hi in zip(mean, high, strict=True)]]
    axes.errorbar(rates, mean, caps, color=CURVE, linewidth=1.8, marker="o", markersize=4, capsize=2.5)
    axes.plot(rates, worst, color=CURVE, linestyle="none", marker="v", markersize=4.5, markerfacecolor="none")
    axes.set_ylim(*limits)
    axes.set_ylabel("accuracy (%)")
    _finish_rates(axes, rates, axis)
    return _svg(figure, prefix)


def overlay_figure(curves: Mapping[str, Sequence[Point]], field: str, axis: str, prefix: str, limits: tuple[float, float]) -> str:
    """Accuracy in percent of several campaigns by their letters: mean and interval of each, at the points that it has."""
    figure, axes = _axes()
    for k, (label, points) in enumerate(curves.items()):
        color, rates = [*SERIES][ord(label) - ord("A")], _swept(points, field)
        mean, low, high = ([p["accuracy"][key] * 100 for p in points] for key in ("value", "low", "high"))
        axes.fill_between(rates, low, high, color=color, alpha=0.14, linewidth=0)
        axes.plot(rates, mean, color=color, linewidth=1.8, marker=MARKERS[ord(label) - ord("A")], markersize=4.5)
        axes.text(rates[-1], mean[-1], f" {label}", color=color, va=("bottom", "top")[k % 2], fontsize=10)
    axes.set_ylim(*limits)
    axes.set_ylabel("accuracy (%)")
    _finish_rates(axes, [rate for points in curves.values() for rate in _swept(points, field)], axis)
    return _svg(figure, prefix)


def energy_figure(points: Sequence[Point], field: str, axis: str, prefix: str) -> str:
    """Microjoules per inference against the swept field, with the band of the cycle model."""
    figure, axes = _axes()
    rates = _swept(points, field)
    value, low, high = ([p["energy"][key] * 1e6 for p in points] for key in ("energy_j", "low_j", "high_j"))
    axes.fill_between(rates, low, high, color=CURVE, alpha=0.18, linewidth=0)
    axes.plot(rates, value, color=CURVE, linewidth=1.8, marker="o", markersize=4)
    axes.set_ylim(0, max(high) * 1.12)
    axes.set_ylabel("energy per inference (µJ)")
    _finish_rates(axes, rates, axis)
    return _svg(figure, prefix)


def _swept(points: Sequence[Point], field: str) -> list[float]:
    return [p["rate"] * (100 if field == "rate" else 1) for p in points]


def _axes() -> tuple[Any, Any]:
    matplotlib = need("matplotlib", "report")
    need("matplotlib.figure", "report")
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=SIZE_IN)
        axes = figure.add_axes(FRAME)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def _finish_rates(axes: Any, rates: Sequence[float], label: str) -> None:
    span = (max(rates) - min(rates)) or 1.0
    axes.set_xlim(min(rates) - 0.03 * span, max(rates) + 0.03 * span)
    axes.set_xlabel(label)


def _svg(figure: Any, prefix: str) -> str:
    """Markup to stand in a page: no XML head, ids unique by `prefix`, size left to the page."""
    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    markup = out.getvalue()
    markup = markup[markup.index("<svg") :]
    markup = re.sub(r"<metadata>.*?</metadata>", "", markup, flags=re.DOTALL)
    for placeholder, variable in PLACEHOLDERS.items():
        markup = markup.replace(placeholder, variable)
    markup = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", markup, count=1)
    markup = re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1 role="img"', markup, count=1)
    markup = re.sub(r"(\d+(?:\.\d+)?px) '[^;\"]*sans-serif", r"\1 var(--sans)", markup)
    markup = re.sub(r'\bid="', f'id="{prefix}', markup)
    return re.sub(r'(xlink:href="#|url\(#)', rf"\1{prefix}", markup)
