"""The figures that sum up a report, for the page's tiles and the terminal's table alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgechaos.hil.analysis.quantities import fine, fine_interval, integer, interval, joules, milliseconds, percent, setting

if TYPE_CHECKING:
    from rich.table import Table

LABELS = {"omission": "omission", "dead": "dead neurons"}
"""The two faults whose accuracy at half the rate sums up a campaign; a reader must never take one for the other."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure. kind: for its color, the fault it belongs to or empty."""

    label: str
    value: str
    unit: str
    note: str
    kind: str = ""


def summary(
    panels: Sequence[Mapping[str, Any]],
    energy: Mapping[str, Any] | None,
    verification: Mapping[str, Any] | None,
    samples: Sequence[Mapping[str, Any]] = (),
) -> tuple[Figure, ...]:
    """The figures that the inputs hold; what is absent is left out here and named on the page."""
    return tuple((*_accuracies(panels), *map(_sample, samples), *_energy(energy), *_exactness(verification)))


def _sample(s: Mapping[str, Any]) -> Figure:
    """The share of an outcome over all single faults of a kind."""
    faults = f"every one of {integer(s['population'])}" if s["whole"] else f"{integer(s['faults'])} of {integer(s['population'])}"
    note = f"{fine_interval(s['share'])} of images {s['outcome'].replace('_', ' ')}; {faults} faults, {integer(s['images'])} images"
    return Figure(f"A single {s['fault'].replace('_', ' ')}", fine(s["share"]["value"]), "%", note)


def _accuracies(panels: Sequence[Mapping[str, Any]]) -> Iterator[Figure]:
    if panels:
        curve = panels[0]["curve"]
        yield Figure(
            "Accuracy, clean",
            *_share(curve["points"][0]["clean"]),
            _over(curve["points"][0], "clean", curve["images"]),
        )
    for panel in panels:
        if panel["fault"] in LABELS:
            half = panel["half"]
            note = f"{_over(half, 'accuracy', panel['curve']['images'])}; worst mask {percent(half['worst_accuracy'])} %"
            yield Figure(f"At {setting(half['rate'])} {LABELS[panel['fault']]}", *_share(half["accuracy"]), note, panel["fault"])


def _energy(energy: Mapping[str, Any] | None) -> Iterator[Figure]:
    if energy is not None:
        value, unit = joules(energy["energy_j"]).split(" ")
        yield Figure("Energy per inference", value, unit, f"{joules(energy['low_j'])} to {joules(energy['high_j'])}, modelled")
        latency = energy["latency"]
        clock = f"at {energy['clock_hz'] / 1e6:g} MHz"
        note = f"{milliseconds(latency.low)} to {milliseconds(latency.high)} {clock}, modelled"
        yield Figure("Time per inference", milliseconds(latency.usual), "ms", note)


def _exactness(verification: Mapping[str, Any] | None) -> Iterator[Figure]:
    if verification is not None:
        wrong = sum(row["mismatches"] for row in verification["rows"].values())
        note = f"of {integer(verification['integers'])} integers, {len(verification['rows'])} backends"
        yield Figure("Exactness", integer(wrong), "mismatches", note)


def _share(estimate: Mapping[str, Any]) -> tuple[str, str]:
    return percent(estimate["value"]), "%"


def _over(point: Mapping[str, Any], what: str, images: int) -> str:
    """Both intervals, each with what it is over: one over masks alone would read as certainty where all masks agree."""
    over_masks = f"{interval(point[what])} over {integer(point['masks'])} masks"
    return f"{over_masks}; {interval(point[f'{what}_over_images'])} over {integer(images)} images"


def summary_table(figures: Sequence[Figure]) -> Table:
    """The same figures for the terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table("", "", "", box=None, show_header=False)
    table.columns[1].justify = "right"
    table.columns[2].style = "dim"
    for figure in figures:
        table.add_row(figure.label, Text.assemble((figure.value, "bold"), " ", figure.unit), figure.note)
    return table
