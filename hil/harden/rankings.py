"""What a campaign's samples of single faults say of tables and units, for advice: rankings in place of an analysis on the host."""

from __future__ import annotations

from collections.abc import Iterable

from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.harden.sensitivity import TableHarm
from edgechaos.hil.analysis.sampled import SampleResult

OUTCOME = "sdc_critical"


def table_harms(graph: IntegerGraph, samples: Iterable[SampleResult]) -> dict[str, TableHarm]:
    """Of the tables whose every bit was in a sample of flipped stored bits; a result is of the table of its node that has its size."""
    found: dict[str, TableHarm] = {}
    for sample in samples:
        if sample.fault != "weight_bit_flip" or sample.outcome != OUTCOME:
            continue
        layers = sample.layers or [s for s in sample.strata if s.bit is None]
        for result in layers:
            node = next((n for n in graph.weighted() if n.name == result.layer), None)
            for constant in (c for c in (getattr(node, "weight", None), getattr(node, "bias", None)) if c is not None):
                stored = graph.constants[constant]
                if result.size == stored.value.size * stored.bits:
                    found[constant] = TableHarm(result.size, result.share)
    return found


def unit_harms(graph: IntegerGraph, samples: Iterable[SampleResult]) -> dict[str, dict[int, float]]:
    """Of the layers of which every unit was in a sample of dead units: those that are listed have their share, all others none."""
    found: dict[str, dict[int, float]] = {}
    layers = {n.name: graph.tensors[n.output].shape[0] for n in graph.analysis.unit_nodes}
    for sample in samples:
        if sample.fault != "dead" or sample.outcome != OUTCOME or not sample.whole:
            continue
        for stratum in sample.strata:
            if layers.get(stratum.layer) == stratum.size:
                listed = {int(s.what.rpartition(" ")[2]): s.share.value for s in sample.critical if s.layer == stratum.layer}
                found[stratum.layer] = dict.fromkeys(range(stratum.size), 0.0) | listed
    return found
