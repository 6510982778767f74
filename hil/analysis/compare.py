"""Two campaigns side by side: the second minus the first, paired by mask, or why the two cannot be compared.

Mask m of two campaigns of one seed draws the same random words, and the images are the same: what differs is what was changed between the
runs (a model, a firmware, a device, a release). A pair is never made of runs of which that does not hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from edgechaos.faults.base import label_of
from edgechaos.hil.analysis.documents import CampaignDocument
from edgechaos.hil.analysis.points import Curve, Point
from edgechaos.hil.analysis.quantities import interval, percent, setting
from edgechaos.hil.analysis.quantities import points as points_of
from edgechaos.support.errors import ConfigError
from edgechaos.support.sequences import FIXED, SEQUENTIAL, intervals_like
from edgechaos.support.statistics import Estimate, NonInferiority

MIN_PAIRS = 2


@dataclass(frozen=True, slots=True)
class ComparedPoint:
    """One rate of one curve, over the masks that have a result in both campaigns.

    first, second: accuracies; change: second - first; clean_change: the same of the clean models; loss_change: the same of the paired
    losses, accuracy - clean, so that it says whether the fault hurts less; sdc_change: of the share of images whose right answer became
    wrong silently. All are shares with t intervals over masks. no_worse: whether `second` loses no more than the margin against `first`.
    alone: masks with a result in one campaign only.
    """

    rate: float
    masks: int
    alone: int
    first: Estimate
    second: Estimate
    change: Estimate
    clean_change: Estimate
    loss_change: Estimate
    sdc_change: Estimate
    no_worse: NonInferiority


@dataclass(frozen=True, slots=True)
class ComparedCurve:
    """All rates that two curves share. devices: where the first and the second ran."""

    fault: str
    site: str
    devices: tuple[str, str]
    images: int
    swept: str
    points: tuple[ComparedPoint, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """first, second: name, model hash and versions of each campaign. unmatched: curves and rates that only one of them has."""

    first: dict[str, Any]
    second: dict[str, Any]
    confidence: float
    margin: float
    curves: tuple[ComparedCurve, ...]
    unmatched: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; equal inputs give equal documents."""
        return {"kind": "edgechaos.comparison", "format": 1, **asdict(self)}

    def statements(self) -> tuple[str, ...]:
        """One sentence per point, complete in itself."""
        return tuple(_statement(curve, point, self.margin) for curve in self.curves for point in curve.points)


def compare(first: CampaignDocument, second: CampaignDocument, *, margin: float | None = None, across_devices: bool = False) -> Comparison:
    """The second campaign against the first. margin: of `no_worse`, by default the first's.

    across_devices: curves of one fault are matched although their devices differ, where each campaign has one device for it.
    Raises ConfigError, with every reason as a detail, where the two cannot be compared.
    """
    reasons = list(_unlike(first, second))
    if reasons:
        raise ConfigError("the two campaigns cannot be compared", "results", *reasons)
    confidence = 1 - first.about.campaign.alpha
    margin = first.about.campaign.margin if margin is None else margin
    theirs = {_key(c, across_devices): c for c in second.curves}
    mine = {_key(c, across_devices): c for c in first.curves}
    if across_devices and (len(theirs) < len(second.curves) or len(mine) < len(first.curves)):
        raise ConfigError("a campaign has one fault on several devices, so that curves of other devices cannot be matched by it", "devices")
    curves, unmatched = [], [f"{_label(c)}: only in the second" for k, c in theirs.items() if k not in mine]
    for key, curve in mine.items():
        if (other := theirs.get(key)) is None:
            unmatched.append(f"{_label(curve)}: only in the first")
            continue
        points, left = [], {p.rate: p for p in other.points}
        for point in curve.points:
            partner = left.pop(point.rate, None)
            made = _point(point, partner, curve.images, confidence, margin) if partner else None
            if made is None:
                why = "only in the first" if partner is None else "fewer than two masks have a result in both"
                unmatched.append(f"{_label(curve)} at {setting(point.rate, curve.swept)}: {why}")
            else:
                points.append(made)
        unmatched += [f"{_label(curve)} at {setting(rate, curve.swept)}: only in the second" for rate in left]
        curves.append(ComparedCurve(curve.fault, curve.site, (curve.device, other.device), curve.images, curve.swept, tuple(points)))
    if not any(c.points for c in curves):
        raise ConfigError("the two campaigns cannot be compared: no fault, site, device and rate is in both", "sweep", *unmatched[:8])
    return Comparison(_about(first), _about(second), confidence, margin, tuple(curves), tuple(unmatched))


def _unlike(first: CampaignDocument, second: CampaignDocument) -> Iterator[str]:
    """Why no mask of the one is a mask of the other."""
    a, b = first.about, second.about
    if a.campaign.seed != b.campaign.seed:
        yield f"seeds {a.campaign.seed} and {b.campaign.seed}: mask m draws other random words; run one of them with the other's seed"
    if a.campaign.alpha != b.campaign.alpha:
        yield f"alpha {a.campaign.alpha:g} and {b.campaign.alpha:g}: their intervals have another confidence"
    if a.campaign.head != b.campaign.head:
        yield f"heads '{a.campaign.head}' and '{b.campaign.head}': another task"
    same_source = a.data.source and a.data.source == b.data.source
    for images in sorted({c.images for c in first.curves} & {c.images for c in second.curves}):
        if not same_source and a.data.hash.get(str(images)) != b.data.hash.get(str(images)):
            yield f"data '{a.data.name}' and '{b.data.name}': their first {images:,} items differ; evaluate both on the same data set"
    for name, document in (("first", first), ("second", second)):
        if any(not p.per_mask for c in document.curves for p in c.points):
            yield f"the {name} has no results per mask, as earlier releases wrote them: run its campaign again with --resume"
        if not any(c.points for c in document.curves):
            lost = ", ".join(f"{count} {why}" for why, count in document.about.trials.without_result.items()) or "none ran"
            yield f"the {name} has no result ({lost})"


def _key(curve: Curve, across_devices: bool) -> tuple[Any, ...]:
    options = tuple(sorted((name, repr(value)) for name, value in curve.options.items()))
    return curve.fault, curve.persistence, curve.site, curve.swept, options, curve.images, "" if across_devices else curve.device


def _point(a: Point, b: Point, images: int, confidence: float, margin: float) -> ComparedPoint | None:
    rows_a, rows_b = _rows(a, images), _rows(b, images)
    shared = sorted(rows_a.keys() & rows_b.keys())
    if len(shared) < MIN_PAIRS:
        return None
    # Where one of the two chose its number of masks by looking, so does the pair.
    made = SEQUENTIAL if SEQUENTIAL in (intervals_like(a.accuracy), intervals_like(b.accuracy)) else FIXED
    one, two = [rows_a[m] for m in shared], [rows_b[m] for m in shared]

    def change(column: int) -> Estimate:
        return made.difference([r[column] for r in two], [r[column] for r in one], confidence)

    accuracy = [r[0] for r in one], [r[0] for r in two]
    return ComparedPoint(
        rate=a.rate,
        masks=len(shared),
        alone=len(rows_a.keys() ^ rows_b.keys()),
        first=made.mean(accuracy[0], confidence),
        second=made.mean(accuracy[1], confidence),
        change=change(0),
        clean_change=change(1),
        loss_change=change(2),
        sdc_change=change(3),
        no_worse=made.no_harm(accuracy[1], accuracy[0], margin, confidence),
    )


def _rows(point: Point, images: int) -> dict[int, tuple[float, float, float, float]]:
    """Mask -> shares: accuracy, clean accuracy, their difference, right answers lost silently."""
    columns = point.per_mask
    lost = columns.get("sdc_critical", (0,) * point.masks)
    rows = zip(columns["mask"], columns["correct"], columns["clean"], lost, strict=True)
    return {mask: (right / images, clean / images, (right - clean) / images, sdc / images) for mask, right, clean, sdc in rows}


def _about(document: CampaignDocument) -> dict[str, Any]:
    about = document.about
    firmware = {spec: device.firmware_hash for spec, device in about.devices.items()}
    facts = {"campaign": about.campaign.name, "model": about.model.name, "model_hash": about.model.hash, "firmware": firmware}
    return {**facts, "data": about.data.name, "versions": about.versions}


def _label(curve: Curve) -> str:
    return f"{label_of(curve.fault, 'phrase')} {curve.site} on {curve.device}, {curve.images:,} images"


def _statement(curve: ComparedCurve, point: ComparedPoint, margin: float) -> str:
    where = curve.devices[0] if curve.devices[0] == curve.devices[1] else " against ".join(curve.devices)
    verdict = "" if point.no_worse.holds else "not "
    return (
        f"accuracy at {setting(point.rate, curve.swept)} {label_of(curve.fault, 'phrase')} {curve.site}, on {where} "
        f"(M = {point.masks} masks in both, {curve.images:,} images): {percent(point.first.value)} % and {percent(point.second.value)} %, "
        f"change {points_of(point.change.value)} points {interval(point.change)}; "
        f"no loss beyond {percent(margin)} points is {verdict}shown (lower bound {points_of(point.no_worse.lower)})"
    )
