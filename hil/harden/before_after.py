"""One campaign on a model and on the hardened one: the same plans, masks and items, paired, with what the hardening costs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.harden.base import Hardening
from edgechaos.hil.analysis.compare import Comparison, compare
from edgechaos.hil.analysis.documents import CampaignDocument, check_document
from edgechaos.hil.analysis.quantities import fine, integer, interval, percent, setting
from edgechaos.hil.analysis.quantities import points as points_of
from edgechaos.hil.campaign.config import Campaign, Images, Sweep
from edgechaos.hil.execute.evaluate import EvaluationSet
from edgechaos.hil.harden.cost import Cost, cost_of
from edgechaos.hil.runner import run_campaign
from edgechaos.support.files import write_atomic
from edgechaos.support.settings import structure

BOARD = "mps2-an386"
SILENT = ("sdc_critical", "sdc_other")
Sides = Mapping[str, IntegerGraph]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Of a point on one side, shares of images x masks: another class without a word, detected, other logits of the same class."""

    silent: float
    detected: float
    tolerable: float


@dataclass(frozen=True, slots=True)
class BeforeAfter:
    """measures: KIND=PLACE. costs, outcomes: before and after; outcomes by (curve, point) of the comparison."""

    measures: tuple[str, ...]
    costs: tuple[Cost, Cost]
    comparison: Comparison
    outcomes: tuple[tuple[tuple[Outcomes, Outcomes], ...], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        rest = asdict(replace(self, comparison=None))  # type: ignore[arg-type]
        costs, outcomes = ({"head": head, "rows": rows} for head, rows in ((COST_HEADINGS, self.cost_rows()), (HEADINGS, self.rows())))
        shown = {"costs": costs, "under faults": outcomes}
        return {"kind": "edgechaos.hardening", "format": 1, **rest, "comparison": self.comparison.to_json(), "tables": shown}

    def rows(self) -> list[tuple[str, ...]]:
        """One row per point: fault, place, value, then accuracy, change with interval, wrong in silence and detected, before and after."""
        found = []
        for curve, outcomes in zip(self.comparison.curves, self.outcomes, strict=True):
            for p, (before, after) in zip(curve.points, outcomes, strict=True):
                shares = (f"{fine(getattr(o, name))}" for name in ("silent", "detected") for o in (before, after))
                accuracy = percent(p.first.value), percent(p.second.value), f"{points_of(p.change.value)} {interval(p.change)}"
                found.append((curve.fault.replace("_", " "), curve.site, setting(p.rate, curve.swept), *accuracy, *shares))
        return found

    def cost_rows(self) -> list[tuple[str, ...]]:
        """Flash, RAM, instructions: before, after, difference."""
        before, after = self.costs
        names = {"flash_bytes": "flash (bytes)", "ram_bytes": "RAM (bytes)", "instructions": "instructions per inference (emulated)"}
        pairs = ((title, getattr(before, name), getattr(after, name)) for name, title in names.items())
        return [(title, integer(a), integer(b), f"{b - a:+,.0f} ({100 * (b - a) / a:+.1f} %)") for title, a, b in pairs]

    def to_markdown(self) -> str:
        """The tables as text."""
        first, share = self.comparison.curves[0], 100 * self.comparison.confidence
        return "\n".join(
            (
                f"# Hardened: {self.comparison.second['model']}\n",
                *(f"- `{measure}`" for measure in self.measures),
                f"\nOn {self.costs[0].board}, built without fault hooks:\n",
                _markdown(COST_HEADINGS, self.cost_rows()),
                f"\n{first.points[0].masks} masks, {first.images:,} images, paired, {share:g} % intervals over masks:\n",
                _markdown(HEADINGS, self.rows()),
                "",
            )
        )

    def write(self, folder: Path) -> tuple[Path, Path]:
        """hardening.json and hardening.md, each atomically."""
        document = json.dumps(self.to_json(), indent=1) + "\n"
        return write_atomic(folder / "hardening.json", document), write_atomic(folder / "hardening.md", self.to_markdown())


COST_HEADINGS = ("", "before", "after", "difference")
HEADINGS = (
    *("fault", "place", "at", "accuracy before (%)", "after", "change (points)"),
    *("wrong in silence before (%)", "after", "detected before (%)", "after"),
)


def usual_campaign(graph: IntegerGraph, measures: Iterable[Hardening], *, masks: int, images: int, seed: int = 1) -> Campaign:
    """The faults that each measure is against, in a memory of the emulated Cortex-M4 where they strike one."""
    tables = generate(graph, load_board(BOARD)).tables
    sweeps = []
    for struck in (dict(s) for measure in measures for s in measure.struck(graph)):
        options = dict(struck.pop("options", {}))
        if "region" in options:
            struck |= {"devices": (f"unicorn:{BOARD}",), "options": options | {"region": tables.get(options["region"], options["region"])}}
        sweeps.append(structure(struck, Sweep, "harden"))
    return Campaign("hardening", tuple(dict.fromkeys(sweeps)), seed=seed, masks=masks, images=Images(images))


def before_after(
    campaign: Campaign,
    sides: tuple[IntegerGraph, IntegerGraph],
    measures: Sequence[Hardening],
    items: EvaluationSet,
    folder: Path,
    *,
    resume: bool = False,
    workers: int | None = None,
    progress: Callable[[str], Callable[[int, int], None]] | None = None,
) -> BeforeAfter:
    """Run the campaign on both models, into `folder`/before and `folder`/after, and compare. Raises as `run_campaign`."""
    documents, costs = [], []
    for name, graph in zip(("before", "after"), sides, strict=True):
        place = folder / name
        shown = progress(name) if progress else None
        ledger = place / "ledger.sqlite"
        results = run_campaign(campaign, graph, items, ledger, resume=resume and ledger.exists(), workers=workers, progress=shown)
        results.write(place)
        documents.append(check_document("campaign", json.loads(json.dumps(results.to_json())), name))
        costs.append(cost_of(graph, items.codes, place / "firmware", BOARD, items.head))
    comparison = compare(*documents)
    outcomes = tuple(
        tuple((_outcomes(documents[0], curve, p.rate), _outcomes(documents[1], curve, p.rate)) for p in curve.points)
        for curve in comparison.curves
    )
    return BeforeAfter(tuple(map(str, measures)), (costs[0], costs[1]), comparison, outcomes)


def _outcomes(document: CampaignDocument, of: Any, rate: float) -> Outcomes:
    curve = next(c for c in document.curves if (c.fault, c.site, c.swept) == (of.fault, of.site, of.swept))
    point = next(p for p in curve.points if p.rate == rate)
    total = point.masks * curve.images
    share = {name: count / total for name, count in point.outcomes.items()}
    return Outcomes(sum(share.get(name, 0.0) for name in SILENT), share.get("detected", 0.0), share.get("tolerable", 0.0))


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows))
