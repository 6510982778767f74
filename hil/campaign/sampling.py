"""Samples of single faults: which sites are drawn from which strata, in an order that the seed alone decides.

The faults of a stratum are the first of one random order of its sites, so that a larger sample holds the smaller one. They share a few
seeds of the model's random words, and with them the clean runs that they are compared with.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.streams import fault_stream
from edgechaos.faults.plan import FaultPlan
from edgechaos.faults.strata import Stratum, strata
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.campaign.config import Campaign, Sample
from edgechaos.hil.campaign.plan import SampleCell, SampledStratum, Trial, seeds
from edgechaos.support.errors import ConfigError, FaultError
from edgechaos.support.stratified import neyman

SEEDS = 8
"""Of the model's random words; each has a clean run, and its faults are one group, for one worker at a time."""


def groups_of(graph: IntegerGraph, sample: Sample) -> list[tuple[str, int | None, list[Stratum]]]:
    """(layer, bit, strata) of each stratum that the sample asks for; "*" and None where it does not tell layers or bits apart.

    Raises ConfigError for a fault that has no single sites, or a place that the graph does not have.
    """
    try:
        single = strata(graph, sample.pattern)
    except FaultError as error:
        raise ConfigError(f"sample {sample.fault}: {error}") from error
    found: dict[tuple[str, int | None], list[Stratum]] = {}
    for s in single:
        found.setdefault((s.layer if "layer" in sample.strata else "*", s.bit if "bit" in sample.strata else None), []).append(s)
    return [(layer, bit, members) for (layer, bit), members in found.items()]


def pilot_counts(sample: Sample, sizes: Sequence[int]) -> list[int]:
    """Faults of each stratum before any result. Raises ConfigError where there are more than the sample has."""
    if len(sizes) == 1:
        return [min(sample.faults, sizes[0])]
    least = [min(size, sample.pilot) for size in sizes]
    if sum(least) > sample.faults:
        raise ConfigError(
            f"sample {sample.fault}: {sample.faults} faults are fewer than the pilot of {sample.pilot} in each of {len(sizes)} strata;"
            f" raise faults to {sum(least)} at least, or lower pilot"
        )
    return least


def sample_cells(campaign: Campaign, graph: IntegerGraph, counts: Sequence[Sequence[int]] | None = None) -> tuple[SampleCell, ...]:
    """Every sample on each of its devices; counts: faults per stratum of each cell, by default the pilot's."""
    cells: list[SampleCell] = []
    for index, sample in enumerate(campaign.sample):
        parts = groups_of(graph, sample)
        sizes = [sum(s.size for s in members) for _, _, members in parts]
        for device in campaign.devices_of(sample):
            given = pilot_counts(sample, sizes) if counts is None else counts[len(cells)]
            images = campaign.images_of(sample)
            made = [
                _drawn(campaign.seed, index, k, part, sizes[k], given[k], device, images, sample.pattern.kind)
                for k, part in enumerate(parts)
            ]
            cells.append(SampleCell(sample, index, device, tuple(made)))
    return tuple(cells)


def whole_counts(campaign: Campaign, graph: IntegerGraph) -> list[list[int]]:
    """All faults of each cell, for an estimate of cost: allocated as if every stratum varied alike."""
    found = []
    for sample in campaign.sample:
        sizes = [sum(s.size for s in members) for _, _, members in groups_of(graph, sample)]
        spread = list(neyman(sizes, [1.0] * len(sizes), sample.faults, pilot_counts(sample, sizes)))
        found += [spread] * len(campaign.devices_of(sample))
    return found


def _drawn(
    seed: int,
    index: int,
    number: int,
    part: tuple[str, int | None, list[Stratum]],
    size: int,
    count: int,
    device: str,
    images: int,
    kind: str,
) -> SampledStratum:
    layer, bit, members = part
    sites = tuple(_order(seed, f"sample {index} {kind}", number, size)[:count].tolist())
    ends = list(accumulate(s.size for s in members))
    words = seeds(seed, SEEDS)
    trials, clean = [], []
    for k, site in enumerate(sites):
        stratum = members[bisect_right(ends, site)]
        fault = stratum.at(site - (ends[bisect_right(ends, site)] - stratum.size))
        mask = k % SEEDS
        trials.append(Trial(device, FaultPlan((fault,)), mask, words[mask][0], images))
        clean.append(Trial(device, FaultPlan(), mask, words[mask][0], images))
    return SampledStratum(layer, bit, size, sites, tuple(trials), tuple(clean))


@cache
def _order(seed: int, what: str, number: int, size: int) -> NDArray[np.intp]:
    """All sites of a stratum in random order."""
    return np.argsort(random_bits.words(seed, fault_stream(what, number), [0], 1, size)[0, 0], kind="stable")
