"""From a ledger to curves: accuracy, paired loss, worst mask, outcomes and joules at every rate, with their intervals.

A curve never mixes fault kinds, persistences or devices. The unit of every interval is the mask; lost trials leave the denominator
and are counted.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgechaos.arithmetic.random_bits import FAIL_ONE
from edgechaos.faults.base import label_of
from edgechaos.graph.artifact import content_hash
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import ChaosLayer
from edgechaos.hil.analysis.model_facts import model_facts
from edgechaos.hil.analysis.points import Curve, Point
from edgechaos.hil.analysis.quantities import interval, percent, setting
from edgechaos.hil.analysis.quantities import points as points_of
from edgechaos.hil.analysis.sampled import SampleResult, sample_results, sample_statement
from edgechaos.hil.analysis.tables import csv_of, mask_rows, parquet_of, point_rows
from edgechaos.hil.campaign.config import Campaign, warnings
from edgechaos.hil.campaign.outcomes import OUTCOMES
from edgechaos.hil.campaign.plan import CampaignPlan, Cell, Trial
from edgechaos.hil.campaign.source import to_toml
from edgechaos.hil.energy.model import EnergyEstimate, bits_overwritten, board_energy, energy_per_inference, landauer_bound
from edgechaos.hil.execute.evaluate import EvaluationSet, TrialResult
from edgechaos.hil.execute.ledger import Ledger
from edgechaos.support.files import write_atomic
from edgechaos.support.limits import Count, Share
from edgechaos.support.sequences import FIXED, SEQUENTIAL
from edgechaos.support.shown import html_table
from edgechaos.support.statistics import Estimate, mcnemar, proportion
from edgechaos.support.version import __version__

FORMAT = 2


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two devices on the same trials. identical: trials whose logits and classes agree bit for bit.

    only_reference, only_device: images x trials recognised by just one of them; p_value: McNemar's, exact.
    """

    reference: str
    device: str
    trials: Count
    identical: Count
    images: Count
    only_reference: Count
    only_device: Count
    p_value: Share


@dataclass(frozen=True, slots=True, repr=False)
class Results:
    """All that a report says of a campaign. `about`: provenance, plain JSON."""

    about: dict[str, Any]
    curves: tuple[Curve, ...]
    agreements: tuple[Agreement, ...]
    samples: tuple[SampleResult, ...] = ()

    def __repr__(self) -> str:
        devices = ", ".join(dict.fromkeys(curve.device for curve in self.curves)) or "no device"
        points = sum(len(curve.points) for curve in self.curves)
        return f"<Results of campaign {self.about['campaign']['name']!r} on {devices}: {len(self.curves)} curves, {points} points>"

    def _repr_html_(self) -> str:
        return html_table(repr(self)[1:-1], ((text,) for text in self.statements()))

    def to_json(self) -> dict[str, Any]:
        """The document that `report` reads; equal results give equal documents."""
        return {"kind": "edgechaos.campaign", "format": FORMAT, **asdict(self)}

    def to_csv(self) -> str:
        """One row per point."""
        return csv_of(point_rows(self.curves))

    def statements(self) -> tuple[str, ...]:
        """One sentence per point, complete in itself."""
        curves = tuple(statement(curve, point) for curve in self.curves for point in curve.points)
        return (*curves, *map(sample_statement, self.samples))

    def write(self, folder: Path, *, parquet: bool = False) -> tuple[Path, ...]:
        """results.json, results.csv and masks.csv in a folder, each atomically; with `parquet` the two tables in that form too."""
        document = json.dumps(self.to_json(), indent=1) + "\n"
        tables = {"results": point_rows(self.curves), "masks": mask_rows(self.curves)}
        written = [write_atomic(folder / "results.json", document)]
        written += [write_atomic(folder / f"{name}.csv", csv_of(rows)) for name, rows in tables.items()]
        if parquet:
            written += [write_atomic(folder / f"{name}.parquet", parquet_of(rows)) for name, rows in tables.items()]
        return tuple(written)


def statement(curve: Curve, point: Point) -> str:
    """Accuracy at one rate with all that qualifies it: persistence, site, masks, images, interval, worst mask, clean."""
    over_masks, over_images = interval(point.accuracy), interval(point.accuracy_over_images)
    lost = f", {point.lost} masks lost to the infrastructure" if point.lost else ""
    lost += f", {point.inferred:,} masks inferred, not run" if point.inferred else ""
    harm = point.no_harm
    shown = "is shown" if harm.holds else "is not shown"
    return (
        f"accuracy at {setting(point.rate, curve.swept)} {label_of(curve.fault, 'phrase')} {curve.site}, on {curve.device} "
        f"(M = {point.masks} masks, {curve.images:,} images{lost}): "
        f"{percent(point.accuracy.value)} % {over_masks} over masks, {over_images} over images, "
        f"worst mask {percent(point.worst_accuracy)} %, clean {percent(point.clean.value)} %; "
        f"no loss beyond {percent(harm.margin)} points {shown} for these images (one-sided at {harm.confidence * 100:g} % over masks, "
        f"lower bound {points_of(harm.lower)} points)"
    )


def summarize(campaign: Campaign, graph: IntegerGraph, items: EvaluationSet, plan: CampaignPlan, ledger: Ledger) -> Results:
    """What the ledger holds of a plan. Deterministic: clocks and order of execution leave no trace."""
    results: dict[Trial, TrialResult] = {}
    failures: dict[str, int] = {}
    retried = 0
    for trial in plan.trials:
        entry = ledger.entry(trial)
        if entry is None or entry.result is None:
            outcome = entry.outcome if entry and entry.outcome else "pending"
            failures[outcome] = failures.get(outcome, 0) + 1
        else:
            results[trial] = entry.result
        retried += entry.attempts > 1 if entry else 0
    about = {
        "campaign": {**asdict(campaign), "warnings": warnings(campaign)},
        "model": {
            "name": graph.name,
            "hash": content_hash(graph),
            "head": graph.head(items.head).name,
            "deployed_omission": _deployed_omission(graph, items.head),
            **model_facts(graph, items.head),
        },
        "campaign_file": to_toml(campaign),
        "data": {
            "name": items.name,
            "hash": {str(n): items.hash(n) for n in sorted({t.images for t in plan.trials})},
            "source": items.source,
        },
        "devices": ledger.devices(),
        "trials": {"planned": len(plan.trials), "with_result": len(results), "retried": retried, "without_result": failures}
        | ({"inferred": inferred} if (inferred := sum(r.inferred for r in results.values())) else {}),
        "landauer": _landauer(campaign, graph, items.head),
        "versions": {"edgechaos": __version__, "python": platform.python_version(), "numpy": np.__version__},
    }
    samples = sample_results(campaign, plan, results.get)
    return Results(about, tuple(_curves(campaign, plan, results)), tuple(_agreements(plan, results)), samples)


def _deployed_omission(graph: IntegerGraph, head: str | None) -> dict[str, float]:
    """The loss probability that each layer of the clean model carries already."""
    return {node.name: node.fail_q / FAIL_ONE for node in graph.path(head) if isinstance(node, ChaosLayer)}


def _landauer(campaign: Campaign, graph: IntegerGraph, head: str | None) -> dict[str, float]:
    temperature_k = campaign.energy.temperature if campaign.energy else 300.0
    bits = bits_overwritten(graph, head)
    return {"bits": bits, "temperature_k": temperature_k, "energy_j": landauer_bound(bits, temperature_k)}


def _curves(campaign: Campaign, plan: CampaignPlan, results: dict[Trial, TrialResult]) -> Iterator[Curve]:
    curves: dict[tuple[int, str], list[Cell]] = {}
    for cell in plan.cells:
        curves.setdefault((campaign.sweep.index(cell.sweep), cell.device), []).append(cell)
    for (_, device), cells in curves.items():
        sweep = cells[0].sweep
        points = {cell.rate: point_of(campaign, cell, results) for cell in sorted(cells, key=lambda c: c.rate)}
        yield Curve(
            sweep.fault,
            sweep.pattern.persistence,
            sweep.site,
            device,
            campaign.images_of(sweep),
            tuple(p for p in points.values() if p is not None),
            tuple(rate for rate, p in points.items() if p is None),
            sweep.pattern.swept,
            sweep.options,
        )


def point_of(campaign: Campaign, cell: Cell, results: Mapping[Trial, TrialResult]) -> Point | None:
    """A cell's point; None where fewer than two pairs have both results."""
    pairs = [(t.mask, results[t], results[c]) for t, c in zip(cell.trials, cell.clean, strict=True) if t in results and c in results]
    if len(pairs) < 2:
        return None
    images, confidence = cell.trials[0].images, 1 - campaign.alpha
    tolerated = math.floor(campaign.margin * images + 1e-9)  # in images, because shares do not compare exactly
    made = SEQUENTIAL if campaign.stop else FIXED
    faulty, clean = [r.correct / images for _, r, _ in pairs], [c.correct / images for _, _, c in pairs]
    difference = made.difference(faulty, clean, confidence)
    worst = min(range(len(pairs)), key=lambda k: (faulty[k], k))
    # At rate 0 the trial is its own clean run: nothing was injected.
    of_masks = [result.outcomes or {"not_activated": images} for _, result, _ in pairs]
    counts = {name: tuple(of.get(name, 0) for of in of_masks) for name in OUTCOMES if any(name in of for of in of_masks)}
    about = {"mask": tuple(m for m, _, _ in pairs), "correct": tuple(r.correct for _, r, _ in pairs)}
    if any(r.inferred for _, r, _ in pairs):
        counts["inferred"] = tuple(images * r.inferred for _, r, _ in pairs)
    instructions = _mean_instructions([r for _, r, _ in pairs])
    return Point(
        rate=cell.rate,
        masks=len(pairs),
        lost=len(cell.trials) - len(pairs),
        accuracy=made.mean(faulty, confidence),
        accuracy_over_images=_over_images(faulty, images, confidence),
        clean=made.mean(clean, confidence),
        clean_over_images=_over_images(clean, images, confidence),
        difference=difference,
        no_harm=made.no_harm(faulty, clean, campaign.margin, confidence),
        harmed=made.share(sum(c.correct - r.correct > tolerated for _, r, c in pairs), len(pairs), confidence),
        worst_mask=pairs[worst][0],
        worst_accuracy=faulty[worst],
        outcomes={name: sum(counts[name]) for name in OUTCOMES if name in counts},
        instructions=instructions,
        energy=_energy(campaign, instructions),
        per_mask={**about, "clean": tuple(c.correct for _, _, c in pairs), **counts},
    )


def _over_images(shares: Sequence[float], images: int, confidence: float) -> Estimate:
    """The mean over masks, with the interval of so many right answers, rounded, of `images`: other images, the same masks."""
    mean = sum(shares) / len(shares)
    return replace(proportion(round(mean * images), images, confidence), value=mean)


def _mean_instructions(results: Sequence[TrialResult]) -> dict[str, float]:
    """Per inference and class, every mask with equal weight; empty where any mask was not counted."""
    if not results or not all(r.counted for r in results):
        return {}
    names = sorted({name for r in results for name in r.instructions})
    return {name: float(np.mean([r.instructions.get(name, 0) / r.counted for r in results])) for name in names}


def _energy(campaign: Campaign, instructions: dict[str, float]) -> EnergyEstimate | None:
    if campaign.energy is None or not instructions:
        return None
    return energy_per_inference(instructions, board_energy(campaign.energy.board))


def _agreements(plan: CampaignPlan, results: dict[Trial, TrialResult]) -> Iterator[Agreement]:
    """The first device against each other one, over the trials that both ran (same plan, seed and images)."""
    devices = list(dict.fromkeys(t.device for t in plan.trials))
    by_device = {d: {(t.plan.id, t.seed, t.images): r for t, r in results.items() if t.device == d} for d in devices}
    for device in devices[1:]:
        shared = [key for key in by_device[device] if key in by_device[devices[0]]]
        if not shared:
            continue
        pairs = [(by_device[devices[0]][key], by_device[device][key]) for key in shared]
        only = [sum(_bits(a) & ~_bits(b)) for a, b in pairs], [sum(_bits(b) & ~_bits(a)) for a, b in pairs]
        first, second = (int(sum(o)) for o in only)
        identical = sum(a.digest == b.digest for a, b in pairs)
        yield Agreement(devices[0], device, len(shared), identical, sum(k[2] for k in shared), first, second, mcnemar(first, second))


def _bits(result: TrialResult) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.unpackbits(np.frombuffer(result.correct_bits, np.uint8)).astype(bool)
