"""Samples of single faults: the share of an outcome over all of them, by layer and bit, and the sites that do the most harm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.analysis.points import OverMasks, Positive
from edgechaos.hil.analysis.quantities import fine, fine_interval
from edgechaos.hil.campaign.config import Campaign
from edgechaos.hil.campaign.plan import CampaignPlan, SampleCell, SampledStratum, Trial
from edgechaos.hil.campaign.sampling import sample_cells
from edgechaos.hil.execute.evaluate import TrialResult
from edgechaos.support.limits import Count
from edgechaos.support.statistics import proportion
from edgechaos.support.stratified import neyman, smoothed_deviations, stratified

MOST_CRITICAL = 20
"""Sites that results list."""
ResultOf = Callable[[Trial], TrialResult | None]


@dataclass(frozen=True, slots=True)
class StratumResult:
    """Of `size` single faults `faults` have a result (`lost`: those that the infrastructure cost). share: of images with the outcome."""

    layer: str
    bit: int | None
    size: Count
    faults: Count
    lost: Count
    share: OverMasks


@dataclass(frozen=True, slots=True)
class CriticalSite:
    """A single fault: its layer, what fails there (`neuron 3`, `synapse 40`, `word 40 bit 7`), and its share, Wilson over the images."""

    layer: str
    what: str
    share: OverMasks


@dataclass(frozen=True, slots=True)
class SampleResult:
    """One sample on one device. share: over all single faults there are.

    layers, bits: the same by layer and by bit, the most critical first. critical: the sites with the largest shares, of those that were
    drawn. whole: whether every site was. inferred: faults whose outcome was inferred, not run.
    """

    fault: str
    persistence: str
    device: str
    images: Positive
    outcome: str
    population: Count
    faults: Count
    share: OverMasks
    strata: tuple[StratumResult, ...]
    layers: tuple[StratumResult, ...]
    bits: tuple[StratumResult, ...]
    critical: tuple[CriticalSite, ...]
    whole: bool
    inferred: int = 0


def next_samples(campaign: Campaign, graph: IntegerGraph, plan: CampaignPlan, result_of: ResultOf) -> tuple[SampleCell, ...]:
    """The samples of the next plan: after the pilot, faults by Neyman's rule; the same ones where nothing is left to draw."""
    counts = []
    for cell in plan.samples:
        sizes, now = [s.size for s in cell.strata], [len(s.sites) for s in cell.strata]
        if sum(now) >= min(cell.sample.faults, sum(sizes)):
            counts.append(now)
            continue
        shares = [list(_shares(cell, s, result_of).values()) for s in cell.strata]
        counts.append(list(neyman(sizes, smoothed_deviations(shares), cell.sample.faults, now)) if any(shares) else now)
    return sample_cells(campaign, graph, counts)


def sample_results(campaign: Campaign, plan: CampaignPlan, result_of: ResultOf) -> tuple[SampleResult, ...]:
    """What the samples gave; those of which a stratum has no two results are left out, and their trials are counted as without result."""
    found = []
    for cell in plan.samples:
        shares = [_shares(cell, s, result_of) for s in cell.strata]
        if all(len(values) >= min(2, s.size) for s, values in zip(cell.strata, shares, strict=True)):
            inferred = sum(result.inferred for s in cell.strata for t in s.trials if (result := result_of(t)) is not None)
            found.append(replace(_result(campaign, cell, shares), inferred=inferred))
    return tuple(found)


def sample_statement(s: SampleResult) -> str:
    """The share of an outcome over all single faults, with all that qualifies it."""
    drawn = "every one" if s.whole else f"{s.faults:,} of {s.population:,}, {len(s.strata)} strata"
    drawn += f", {s.inferred:,} of them inferred" if s.inferred else ""
    worst = f"; most in {s.layers[0].layer} ({fine(s.layers[0].share.value)} %)" if s.layers else ""
    return (
        f"{s.outcome.replace('_', ' ')} of images under a single {s.fault.replace('_', ' ')}, {s.persistence}, on {s.device} "
        f"(faults: {drawn}; {s.images:,} images): {fine(s.share.value)} % {fine_interval(s.share)}{worst}"
    )


def _shares(cell: SampleCell, stratum: SampledStratum, result_of: ResultOf) -> dict[Trial, float]:
    """Of every fault with a result: images with the outcome / images."""
    results = {trial: result_of(trial) for trial in stratum.trials}
    return {t: r.outcomes.get(cell.sample.outcome, 0) / t.images for t, r in results.items() if r is not None}


def _result(campaign: Campaign, cell: SampleCell, shares: Sequence[dict[Trial, float]]) -> SampleResult:
    confidence = 1 - campaign.alpha

    def combined(layer: str, bit: int | None, chosen: Sequence[int]) -> StratumResult:
        parts = [cell.strata[k] for k in chosen]
        values = [list(shares[k].values()) for k in chosen]
        estimate = stratified([p.size for p in parts], values, confidence)
        count = sum(map(len, values))
        return StratumResult(layer, bit, sum(p.size for p in parts), count, sum(len(p.sites) for p in parts) - count, estimate)

    def by(names: Sequence[tuple[str, int | None]], of: Sequence[tuple[str, int | None]]) -> tuple[StratumResult, ...]:
        rows = [combined(*name, [k for k, n in enumerate(of) if n == name]) for name in names]
        return tuple(sorted(rows, key=lambda r: (-r.share.value, r.layer, -1 if r.bit is None else r.bit)))

    layers = [(s.layer, None) for s in cell.strata]
    bits = [("*", s.bit) for s in cell.strata]
    strata = tuple(combined(s.layer, s.bit, [k]) for k, s in enumerate(cell.strata))
    images = campaign.images_of(cell.sample)
    population, faults = sum(s.size for s in cell.strata), sum(map(len, shares))
    return SampleResult(
        fault=cell.sample.pattern.kind,
        persistence=cell.sample.pattern.persistence,
        device=cell.device,
        images=images,
        outcome=cell.sample.outcome,
        population=population,
        faults=faults,
        share=combined("*", None, range(len(cell.strata))).share,
        strata=strata,
        layers=by(list(dict.fromkeys(layers)), layers) if len({*layers}) > 1 else (),
        bits=by(list(dict.fromkeys(bits)), bits) if len({*bits}) > 1 else (),
        critical=_critical(shares, images, confidence),
        whole=faults == population,
    )


def _critical(shares: Sequence[dict[Trial, float]], images: int, confidence: float) -> tuple[CriticalSite, ...]:
    """The most harmful first; equal ones in the order of their sites."""
    every = [(value, *_named(trial)) for values in shares for trial, value in values.items() if value > 0]
    order = sorted(range(len(every)), key=lambda k: (-every[k][0], every[k][1], every[k][3]))[:MOST_CRITICAL]
    return tuple(CriticalSite(every[k][1], every[k][2], proportion(int(np.rint(every[k][0] * images)), images, confidence)) for k in order)


def _named(trial: Trial) -> tuple[str, str, tuple[int, ...]]:
    """(layer, site in words, site for order) of a trial's one fault."""
    (fault,) = trial.plan.faults
    layer = str(getattr(fault, "layer", None) or getattr(fault, "node", None) or fault.place)
    for field, word in (("neurons", "neuron"), ("synapses", "synapse")):
        if sites := getattr(fault, field, ()):
            return layer, f"{word} {sites[0]}", (int(sites[0]),)
    word_index, bit = getattr(fault, "bits")[0]  # noqa: B009  # one of the three fields of edgechaos.faults.strata
    return layer, f"word {word_index} bit {bit}", (int(word_index), int(bit))
