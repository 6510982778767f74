"""Gates: what an interval's bound must be for a pipeline to go on, from the command line or from a policy file.

A gate holds where the interval itself clears the limit: `accuracy >= 90 %` needs a lower bound of 90 %. So a run with too few masks fails,
and never passes by luck. A gate that no point answers is an error, as is a run in which nothing has a result.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import is_
from typing import Any, NewType

from edgechaos.faults.base import fault_kinds, label_of
from edgechaos.hil.analysis.compare import ComparedCurve, ComparedPoint
from edgechaos.hil.analysis.points import Curve, Point
from edgechaos.hil.analysis.quantities import interval, joules, setting
from edgechaos.hil.analysis.sampled import SampleResult
from edgechaos.hil.campaign.config import Campaign
from edgechaos.hil.campaign.outcomes import OUTCOMES
from edgechaos.support.errors import ConfigError
from edgechaos.support.sequences import intervals_like
from edgechaos.support.settings import quantity, read_toml, strict_converter, structure
from edgechaos.support.statistics import Estimate, proportion
from edgechaos.support.suggest import suggestion

POLICY = 1
"""Version of the policy file."""
Limit = NewType("Limit", float)
OF_CAMPAIGN = ("accuracy", "difference", "worst_accuracy", "harmed", "energy_j", *(name for name in OUTCOMES if name != "infrastructure"))
OF_SAMPLE = ("sampled",)
OF_COMPARISON = ("change", "clean_change", "loss_change", "sdc_change")
OPTION = re.compile(r"(?P<quantity>\w+)\s*(?P<sign>>=|<=)\s*(?P<limit>[^,]+)(?P<more>(?:,\w+=[^,]+)*)")
EXAMPLE = "accuracy>=90%,fault=dead,at=0.5"


@dataclass(frozen=True, slots=True)
class Gate:
    """quantity: of OF_CAMPAIGN, OF_SAMPLE or OF_COMPARISON. at_least, at_most: of the interval's lower and upper bound, a share or joules.

    fault, site, device, at: the points that it is asked of, by default all; at: the value of the swept field.
    """

    quantity: str
    at_least: Limit | None = None
    at_most: Limit | None = None
    fault: str = ""
    site: str = ""
    device: str = ""
    at: Limit | None = None

    def __str__(self) -> str:
        signs = ((">=", self.at_least), ("<=", self.at_most))
        return " and ".join(f"{self.quantity} {sign} {shown(self.quantity, limit)}" for sign, limit in signs if limit is not None)

    @property
    def compares(self) -> bool:
        """Whether it is asked of two campaigns."""
        return self.quantity in OF_COMPARISON


@dataclass(frozen=True, slots=True)
class Policy:
    """What a pipeline demands: gates, and of the whole run at least so many `masks` per point and at most this share of them `lost`."""

    policy: int
    gate: tuple[Gate, ...] = ()
    masks: int = 2
    lost: Limit = Limit(0.0)
    margin: Limit | None = None
    same: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """One gate at one point. estimate: None where the point has no result."""

    gate: Gate
    curve: str
    point: str
    estimate: Estimate | None
    passed: bool
    reason: str


def read_policy(path: str | os.PathLike[str]) -> Policy:
    """The policy in a TOML file. Raises ConfigError with every defect and its path."""
    where, converter = os.fspath(path), strict_converter()
    converter.register_structure_hook_func(partial(is_, Limit), _limit)
    document = read_toml(path, "policy")
    if document.get("policy") != POLICY:
        raise ConfigError(f"{where}: policy = {document.get('policy')!r:.20}, this release reads policy = {POLICY}", "policy")
    policy = structure(document, Policy, where, converter)
    for gate in policy.gate:
        _check(gate, f"{where}: ")
    for name in policy.same:
        if name not in ("model", "firmware", "versions"):
            raise ConfigError(f"{where}: same = {name!r} is not model, firmware or versions", "same")
    return policy


def parse_gate(text: str) -> Gate:
    """A gate as words of a command line. Raises ConfigError."""
    match = OPTION.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"--gate {text!r:.200}: expected QUANTITY>=LIMIT or QUANTITY<=LIMIT, then ,FIELD=VALUE: {EXAMPLE}", "gate")
    more = dict(part.split("=", 1) for part in match["more"].split(",")[1:])
    wrong = [name for name in more if name not in ("fault", "site", "device", "at")]
    if wrong:
        raise ConfigError(f"--gate {text!r:.200}: no field '{wrong[0]}'; there are fault, site, device, at", "gate")
    try:
        at = _limit(more.pop("at")) if "at" in more else None
        limit = _limit(match["limit"])
    except ValueError as error:
        raise ConfigError(f"--gate {text!r:.200}: {error}", "gate") from error
    side = {"at_least" if match["sign"] == ">=" else "at_most": limit}
    gate = Gate(match["quantity"], at=at, **side, **more)  # type: ignore[arg-type]  # texts and limits, each in its own place
    _check(gate, f"--gate {text!r:.200}: ")
    return gate


def _limit(value: object, _: object = None) -> Limit:
    """A number, or text with a unit: "90 %", "1.5 uJ". Raises ValueError."""
    if isinstance(value, str):
        unit = "J" if value.rstrip().endswith("J") else "1"
        value = quantity(value, unit)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f'expected a number, "90 %" or "1.5 uJ", got {value!r}')
    return Limit(float(value))


def _check(gate: Gate, where: str) -> None:
    known = (*OF_CAMPAIGN, *OF_SAMPLE, *OF_COMPARISON)
    if gate.quantity not in known:
        meant = suggestion(gate.quantity, known)
        raise ConfigError(f"{where}no quantity '{gate.quantity}'{meant}; there are {', '.join(known)}", "gate")
    if gate.at_least is None and gate.at_most is None:
        raise ConfigError(f"{where}gate of {gate.quantity} has neither at_least nor at_most", "gate")
    if gate.fault and gate.fault not in fault_kinds():
        raise ConfigError(f"{where}no fault '{gate.fault}'{suggestion(gate.fault, fault_kinds())}", "gate")


Sampled = tuple[str, str, str, "Estimate | None"]
"""Fault, device, outcome and share of a sample; no share where it has no result."""


def judge(gates: Iterable[Gate], curves: Sequence[Curve] | Sequence[ComparedCurve]) -> tuple[Verdict, ...]:
    """Every gate at every point that it is asked of. Raises ConfigError for one that no point answers."""
    verdicts: list[Verdict] = []
    for gate in gates:
        answers = [v for curve in curves if _asked(gate, curve) for v in _at_points(gate, curve)]
        if not answers:
            there = "; ".join(f"{curve_label(c)} at {', '.join(f'{rate:g}' for rate in _rates(c))}" for c in curves) or "no curve"
            raise ConfigError(f"gate '{gate}' is asked of {_selection(gate)}, and no point is that; there are {there:.400}", "gate")
        verdicts += answers
    return tuple(verdicts)


def refuse_unanswerable(gates: Iterable[Gate], campaign: Campaign) -> None:
    """Raises ConfigError for a gate that no point of a campaign will answer, before hours of trials."""
    planned = [
        Curve(s.fault, s.pattern.persistence, s.site, device, campaign.images_of(s), (), s.points, s.pattern.swept)
        for s in campaign.sweep
        for device in campaign.devices_of(s)
    ]
    judge([gate for gate in gates if gate.quantity not in OF_SAMPLE], planned)
    judge_samples(gates, [(s.pattern.kind, device, s.outcome, None) for s in campaign.sample for device in campaign.devices_of(s)])


def shares_of(samples: Iterable[SampleResult]) -> list[Sampled]:
    """What `judge_samples` asks of."""
    return [(s.fault, s.device, s.outcome, s.share) for s in samples]


def judge_samples(gates: Iterable[Gate], samples: Sequence[Sampled]) -> tuple[Verdict, ...]:
    """Every gate of `sampled` at every sample that it is asked of. Raises ConfigError for one that none answers."""
    verdicts: list[Verdict] = []
    for gate in (gate for gate in gates if gate.quantity in OF_SAMPLE):
        asked = [s for s in samples if gate.fault in ("", s[0]) and gate.device in ("", s[1]) and not gate.site and gate.at is None]
        if not asked:
            there = "; ".join(f"{fault} on {device}" for fault, device, _, _ in samples) or "no sample"
            raise ConfigError(f"gate '{gate}' is asked of {_selection(gate)}, and no sample is that; there are {there:.400}", "gate")
        for fault, device, outcome, share in asked:
            reason = _violation(gate, share) if share else "too few of its faults have a result"
            verdicts.append(Verdict(gate, f"a single {fault} on {device}", outcome.replace("_", " "), share, not reason, reason))
    return tuple(verdicts)


def _asked(gate: Gate, curve: Curve | ComparedCurve) -> bool:
    device = curve.device if isinstance(curve, Curve) else curve.devices[1]
    return gate.fault in ("", curve.fault) and gate.site in ("", curve.site) and gate.device in ("", device)


def _rates(curve: Curve | ComparedCurve) -> list[float]:
    return sorted([*(p.rate for p in curve.points), *(curve.empty_rates if isinstance(curve, Curve) else ())])


def _selection(gate: Gate) -> str:
    named = [f"{name} {getattr(gate, name)}" for name in ("fault", "site", "device") if getattr(gate, name)]
    return ", ".join([*named, *([f"at {gate.at:g}"] if gate.at is not None else [])]) or "all points"


def _at_points(gate: Gate, curve: Curve | ComparedCurve) -> Iterator[Verdict]:
    for point in curve.points:
        if gate.at is None or math.isclose(point.rate, gate.at, rel_tol=1e-9, abs_tol=1e-12):
            estimate = _estimate(gate.quantity, point, curve.images)
            if estimate is None:
                yield _verdict(gate, curve, point.rate, None, "not measured here: no device counts instructions, or no board is named")
            else:
                yield _verdict(gate, curve, point.rate, estimate, _violation(gate, estimate))
    for rate in curve.empty_rates if isinstance(curve, Curve) else ():
        if gate.at is None or math.isclose(rate, gate.at, rel_tol=1e-9, abs_tol=1e-12):
            yield _verdict(gate, curve, rate, None, "fewer than two masks have a result")


def _verdict(gate: Gate, curve: Curve | ComparedCurve, rate: float, estimate: Estimate | None, reason: str) -> Verdict:
    return Verdict(gate, curve_label(curve), setting(rate, curve.swept), estimate, not reason, reason)


def curve_label(curve: Curve | ComparedCurve) -> str:
    """Fault, site and device."""
    device = curve.device if isinstance(curve, Curve) else " and ".join(dict.fromkeys(curve.devices))
    return f"{label_of(curve.fault, 'phrase')} {curve.site} on {device}"


def _estimate(name: str, point: Point | ComparedPoint, images: int) -> Estimate | None:
    if isinstance(point, ComparedPoint):
        estimate: Estimate = getattr(point, name)
        return estimate
    if name == "energy_j":
        e = point.energy
        return Estimate(e.energy_j, e.low_j, e.high_j, point.masks, e.origin, point.accuracy.confidence) if e else None
    if name == "worst_accuracy":
        worst = point.worst_accuracy
        return Estimate(worst, worst, worst, point.masks, "worst of the masks", point.accuracy.confidence)
    return outcome_share(point, name, images) if name in OUTCOMES else getattr(point, name)


def outcome_share(point: Point, outcome: str, images: int) -> Estimate:
    """Images of an outcome as a share, t over masks; where all masks agree on none or all of them, Clopper-Pearson over the images.

    Every mask has seen the same images, so that these count once however many masks there were.
    """
    counts = point.per_mask.get(outcome, (0,) * point.masks)
    confidence = point.accuracy.confidence
    if {*counts} in ({0}, {images}):
        return proportion(counts[0], images, confidence)
    return intervals_like(point.accuracy).mean([count / images for count in counts], confidence)


def _violation(gate: Gate, estimate: Estimate) -> str:
    """Why an estimate does not pass; empty where it does."""
    name = gate.quantity
    for bound, limit, sign, beyond in (
        (estimate.low, gate.at_least, "lower", estimate.high),
        (estimate.high, gate.at_most, "upper", estimate.low),
    ):
        if limit is not None and ((bound < limit) if sign == "lower" else (bound > limit)):
            surely = beyond < limit if sign == "lower" else beyond > limit
            more = "" if surely else "; the interval holds the limit, so that more masks may decide"
            return f"{sign} bound {shown(name, bound)} is {'below' if sign == 'lower' else 'above'} {shown(name, limit)}{more}"
    return ""


def shown(name: str, value: float) -> str:
    """A value of a quantity with its unit."""
    unit = "points" if name.endswith(("change", "difference")) else "%"
    return joules(value) if name == "energy_j" else f"{value * 100:.2f} {unit}".replace("-", "\u2212")


def sentence(verdict: Verdict) -> str:
    """A verdict in one line."""
    gate, e = verdict.gate, verdict.estimate
    value = "no result" if e is None else f"{shown(gate.quantity, e.value)} {_bounds(gate, e)}"
    return f"{verdict.gate}: {value} at {verdict.point} {verdict.curve}: {verdict.reason or 'holds'}"


def _bounds(gate: Gate, e: Estimate) -> str:
    return f"[{joules(e.low)}, {joules(e.high)}]" if gate.quantity == "energy_j" else interval(e)


def check_run(policy: Policy, curves: Sequence[Curve], samples: Sequence[object] = ()) -> Iterator[str]:
    """What is wrong with a run as a whole, before any gate: no result at all, too few masks, too many lost."""
    if not samples and not any(curve.points for curve in curves):
        yield "no point has a result: nothing was tested"
    for curve in curves:
        for point in curve.points:
            planned, where = point.masks + point.lost, f"{curve_label(curve)} at {setting(point.rate, curve.swept)}"
            if point.masks < policy.masks:
                yield f"{where}: {point.masks} masks, fewer than {policy.masks}"
            if point.lost > policy.lost * planned:
                yield f"{where}: {point.lost} of {planned} masks lost to the infrastructure"


def merged(policy: Policy | None, gates: Sequence[Gate]) -> Policy:
    """The policy with gates of the command line added; without a policy file, one that tolerates lost masks."""
    base = policy or Policy(POLICY, lost=Limit(1.0))
    return replace(base, gate=(*base.gate, *gates))


def unlike(policy: Policy, first: dict[str, Any], second: dict[str, Any]) -> Iterator[str]:
    """What a policy demands to be the same in two campaigns and is not."""
    for name in policy.same:
        key = "model_hash" if name == "model" else name
        if first[key] != second[key]:
            yield f"the policy wants the same {name}, and they differ"
