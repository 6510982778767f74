"""A sweep of weight formats: what each costs in accuracy and saves in flash, and which of them no other beats.

Accuracy is that of the integers on the test items, with its interval over them. Flash and synaptic operations are
`edgechaos.graph.inspect`'s.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgechaos.data import Dataset
from edgechaos.graph.inspect import inspect
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import Sampling
from edgechaos.prune.criteria import DEFAULT, Criterion
from edgechaos.quantize.pipeline import Method, quantize
from edgechaos.support.errors import AccumulatorOverflow, UnsupportedError
from edgechaos.support.pictures import grid, save_figure

if TYPE_CHECKING:
    from rich.table import Table

    from edgechaos.models.base import Model
from edgechaos.support.statistics import accuracy_interval

WEIGHT_BITS = (8, 4, 2)
MARKERS = {False: "o", True: "s"}
FRONT, INSIDE = "#0b6e99", "#8a8f98"


@dataclass(frozen=True, slots=True)
class Measured:
    """accuracy, low, high: share of `items` test items that are right, and its 95 % interval. flash_bytes: of all constants.

    synaptic_operations: MACs per item at measured activity. front: no other setting is as accurate in less flash, or more
    accurate in as little.
    """

    accuracy: float
    low: float
    high: float
    items: int
    flash_bytes: int
    synaptic_operations: float | None
    front: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """One setting: what was measured, or why the model refuses it."""

    weight_bits: int
    per_channel: bool
    measured: Measured | None = None
    refused: str | None = None

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.weight_bits} bits per {'channel' if self.per_channel else 'tensor'}"


@dataclass(frozen=True, slots=True)
class Sweep:
    """All settings of one model, quantized by one method; `epochs` of fine-tuning, 0 where there is none."""

    family: str
    dataset: str
    method: Method
    epochs: int
    sampling: Sampling
    seed: int
    prune_neurons: float | None
    prune_weights: float | None
    prune_by: Criterion
    outcomes: tuple[Outcome, ...]

    def front(self) -> tuple[Outcome, ...]:
        """The settings that no other beats, by flash."""
        best = [(o.measured.flash_bytes, o) for o in self.outcomes if o.measured and o.measured.front]
        return tuple(o for _, o in sorted(best, key=lambda pair: pair[0]))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON objects, the fields by name."""
        return asdict(self)


def sweep(
    model: Model,
    data: Dataset,
    *,
    method: Method = "qat",
    epochs: int = 5,
    sampling: Sampling = "ticks",
    seed: int = 0,
    prune_neurons: float | None = None,
    prune_weights: float | None = None,
    prune_by: Criterion = DEFAULT,
    progress: Callable[[int, int], None] | None = None,
) -> Sweep:
    """Quantize at 8, 4 and 2 bits, per tensor and per channel, and mark the front of accuracy against flash.

    The other options are those of `quantize`. progress: called with (settings done, settings). A setting that the model refuses is
    an outcome with the reason; raises that refusal where all settings share the fate, and whatever else `quantize` raises.
    """
    settings = list(itertools.product(WEIGHT_BITS, (False, True)))
    outcomes, refusal = [], None
    for done, (bits, per_channel) in enumerate(settings):
        if progress:
            progress(done, len(settings))
        outcome = Outcome(bits, per_channel)
        try:
            graph = quantize(
                model,
                data,
                method=method,
                per_channel=per_channel,
                epochs=epochs,
                sampling=sampling,
                seed=seed,
                weight_bits=bits,
                prune_neurons=prune_neurons,
                prune_weights=prune_weights,
                prune_by=prune_by,
            )
            outcomes.append(replace(outcome, measured=_measured(graph)))
        except (UnsupportedError, AccumulatorOverflow) as error:
            refusal = error
            outcomes.append(replace(outcome, refused=str(error)))
    if refusal is not None and not any(o.measured for o in outcomes):
        raise refusal
    if progress:
        progress(len(settings), len(settings))
    tuned = epochs if method == "qat" else 0
    return Sweep(model.family, data.name, method, tuned, sampling, seed, prune_neurons, prune_weights, prune_by, pareto(outcomes))


def _measured(graph: IntegerGraph) -> Measured:
    accuracy, costs = accuracy_interval(graph.metadata["accuracy"]["integer"], graph.metadata["accuracy"]["items"]), inspect(graph)
    return Measured(accuracy.value, accuracy.low, accuracy.high, accuracy.n, costs.flash_bytes, costs.synaptic_operations)


def pareto(outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """The outcomes, `front` set where no other is at least as good in both accuracy and flash and better in one."""
    measured = [o.measured for o in outcomes if o.measured]

    def beaten(m: Measured) -> bool:
        return any(
            o.accuracy >= m.accuracy and o.flash_bytes <= m.flash_bytes and (o.accuracy, o.flash_bytes) != (m.accuracy, m.flash_bytes)
            for o in measured
        )

    return tuple(replace(o, measured=replace(o.measured, front=not beaten(o.measured))) if o.measured else o for o in outcomes)


def rich_table(result: Sweep) -> Table:
    """One row per setting, those of the front marked; refusals say why."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    tuned = f"qat, {result.epochs} epochs" if result.method == "qat" else result.method
    table = Table(
        title=f"{result.family} on {result.dataset}, {tuned}",
        caption="*: on the Pareto front, no other is as accurate in less flash, or more accurate in as little",
        box=SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
    )
    for header in ("bits", "scales", "accuracy", "95 %", "items", "flash B", "synaptic ops"):
        table.add_column(header, justify="left" if header == "scales" else "right", no_wrap=True)
    table.add_column("front")
    for o in result.outcomes:
        setting, m = (str(o.weight_bits), f"per {'channel' if o.per_channel else 'tensor'}"), o.measured
        if m is None:
            table.add_row(*setting, *[""] * 5, f"refused: {o.refused}")
            continue
        operations = "" if m.synaptic_operations is None else f"{m.synaptic_operations:,.0f}"
        cells = (f"{m.accuracy:.2%}", f"{m.low:.2%} .. {m.high:.2%}", f"{m.items:,}", f"{m.flash_bytes:,}", operations)
        table.add_row(*setting, *cells, "*" if m.front else "")
    return table


def save_picture(result: Sweep, path: Path) -> Path:
    """Accuracy with its interval against flash, the front drawn as a line; PNG or SVG by the ending. Equal sweeps give equal files.

    Raises UnsupportedError for another ending, MissingExtra without matplotlib.
    """
    return save_figure(path, (6.4, 4.2), lambda figure: _draw(figure.add_subplot(), result))


def _draw(axes: Any, result: Sweep) -> None:
    front = [o.measured for o in result.front() if o.measured]
    kib, percent = [m.flash_bytes / 1024 for m in front], [m.accuracy * 100 for m in front]
    axes.plot(
        kib, percent, color=FRONT, alpha=0.5, drawstyle="steps-post", label="Pareto front"
    )  # nothing between two settings was measured
    for o in result.outcomes:
        if o.measured is None:
            continue
        m = o.measured
        color = FRONT if m.front else INSIDE
        reach = [[(m.accuracy - m.low) * 100], [(m.high - m.accuracy) * 100]]
        axes.errorbar(
            m.flash_bytes / 1024,
            m.accuracy * 100,
            reach,
            color=color,
            marker=MARKERS[o.per_channel],
            markersize=6,
            elinewidth=0.9,
            capsize=2.5,
        )
    for per_channel, marker in MARKERS.items():
        name = f"per {'channel' if per_channel else 'tensor'}"
        axes.plot([], [], color=INSIDE, marker=marker, linestyle="none", label=name)
    for bits in WEIGHT_BITS:
        group = [o.measured for o in result.outcomes if o.measured and o.weight_bits == bits]
        if group:
            x = sum(m.flash_bytes for m in group) / len(group) / 1024
            axes.annotate(
                f"{bits} bits", (x, max(m.high for m in group) * 100), (0, 5), textcoords="offset points", ha="center", fontsize=9
            )
    items = front[0].items
    axes.margins(x=0.12, y=0.12)
    axes.set_xlabel("flash of all constants (KiB)")
    axes.set_ylabel(f"accuracy on {items:,} test items (%), 95 % interval")
    axes.set_title(f"{result.family} on {result.dataset}, weights by {result.method}", loc="left", fontsize=10)
    grid(axes)
    axes.legend(frameon=False, loc="lower right", fontsize=9)
