"""Advice: harm of single wrong bits and dead units, and the measures that take most of it away for their cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.harden.advice import advise
from edgechaos.harden.sensitivity import Sensitivity, TableHarm, drawn_sites, measure, stored_tables, with_wrong_bit
from edgechaos.hil.analysis.sampled import CriticalSite, SampleResult, StratumResult
from edgechaos.hil.harden.rankings import table_harms, unit_harms
from edgechaos.support.statistics import Estimate
from tests.helpers.graphs import chaos_graph
from tests.helpers.mixed_graphs import items_for, mixed_graph

GRAPH = chaos_graph(sizes=(20, 14, 9, 5), fail_q=0, noise=False)


def about(graph: IntegerGraph = GRAPH, count: int = 40) -> Sensitivity:
    """Labels are what the clean model says."""
    codes = items_for(graph, count)
    return Sensitivity(graph, graph.heads[0].name, codes, reference.run(graph, codes).labels.astype(np.int64))


def estimate(share: float) -> Estimate:
    return Estimate(share, share, share, 9, "", 0.95)


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_a_wrong_bit_is_the_word_with_that_bit_toggled(bits: int) -> None:
    graph = mixed_graph(family="kwta", bits=bits)
    for constant in stored_tables(graph):
        stored = graph.constants[constant]
        for word, bit in drawn_sites(graph, constant, 1, per_bit=3):
            flipped = with_wrong_bit(graph, constant, word, bit).value(constant).reshape(-1)
            clean = stored.value.reshape(-1)
            assert [*np.flatnonzero(flipped != clean)] == [word]
            assert (int(flipped[word]) ^ int(clean[word])) & ((1 << stored.bits) - 1) == 1 << bit


def test_sites_are_every_bit_with_as_many_words() -> None:
    sites = drawn_sites(GRAPH, "cortex0_weight", 3)
    assert len(sites) == len(set(sites)) == 8 * 8
    assert {bit for _, bit in sites} == set(range(8))
    assert sites != drawn_sites(GRAPH, "cortex0_weight", 4)
    assert len(drawn_sites(GRAPH, "readout_bias", 3)) == 5 * 32


def test_harm_of_a_readouts_bias_is_counted_exactly() -> None:
    """All its 160 bits are looked at: the share is the mean over them."""
    known = measure(about())
    shares = []
    for word in range(5):
        for bit in range(32):
            labels = reference.run(with_wrong_bit(GRAPH, "readout_bias", word, bit), known.codes).labels
            shares.append(float((labels != known.labels).mean()))
    assert known.tables["readout_bias"].share.value == pytest.approx(np.mean(shares))
    assert known.tables["readout_bias"].share.value > 0.2
    assert known.bits == sum(c.value.size * c.bits for n, c in GRAPH.constants.items() if n in stored_tables(GRAPH))
    assert known.table_harm("readout_bias") == pytest.approx(np.mean(shares) * 160 / known.bits)


def test_advice_takes_the_most_harm_for_the_least_cost() -> None:
    found = {a.measure: a for a in advise(measure(about()))}
    assert {m.partition("=")[0] for m in found} == {"parity", "secded", "triplicate"}
    chosen = {m for m, a in found.items() if a.chosen}
    assert "secded=readout_bias" in chosen
    assert not any(m.startswith("parity") for m in chosen), "what only detects is the user's choice"
    guards = [a for a in found.values() if a.measure.startswith("secded")]
    gone = sum(a.gain for a in guards if a.chosen) / sum(a.gain for a in guards)
    assert 0.9 <= gone < 1
    assert len([a for a in advise(measure(about()), 1.0) if a.chosen and "secded" in a.measure]) == sum(a.gain > 0 for a in guards)
    bias = found["secded=readout_bias"]
    assert (bias.flash_bytes, bias.ram_bytes, bias.after) == (32, 20, 0)
    for a in found.values():
        if a.measure.startswith("triplicate"):
            assert 0 <= a.after < a.before
            assert a.flash_bytes > 0
            assert a.instructions > 0


def test_advice_on_bounds_tries_the_same_wrong_bits() -> None:
    graph = mixed_graph(family="kwta")
    found = [a for a in advise(measure(about(graph))) if a.measure.startswith("clamp")]
    assert found
    assert all("become" in a.note and a.flash_bytes == 0 < a.instructions for a in found)
    assert all(a.after >= 0 and a.before >= 0 for a in found)


def sample(fault: str, **changes: object) -> SampleResult:
    strata = (StratumResult("cortex0", None, 14, 14, 0, estimate(0.1)), StratumResult("cortex1", None, 9, 9, 0, estimate(0.2)))
    critical = (CriticalSite("cortex1", "neuron 3", estimate(0.4)), CriticalSite("cortex0", "neuron 7", estimate(0.3)))
    given = SampleResult(fault, "permanent", "host", 40, "sdc_critical", 23, 23, estimate(0.15), strata, strata, (), critical, True)
    return replace(given, **changes)  # type: ignore[arg-type]


def test_rankings_of_a_campaign_stand_for_what_the_host_would_look_at() -> None:
    assert unit_harms(GRAPH, [sample("dead")])["cortex1"] == {**dict.fromkeys(range(9), 0.0), 3: 0.4}
    assert unit_harms(GRAPH, [sample("dead", whole=False), sample("dead", outcome="crash"), sample("unit_stuck")]) == {}
    weights, biases = GRAPH.value("readout_weight").size, GRAPH.value("readout_bias").size
    of = {"weight": (8 * weights, 0.01), "bias": (32 * biases, 0.5)}
    layers = {name: (StratumResult("readout", None, size, 50, 0, estimate(share)),) for name, (size, share) in of.items()}
    found = table_harms(GRAPH, [sample("weight_bit_flip", layers=rows) for rows in layers.values()])
    assert {name: (t.bits, t.share.value) for name, t in found.items()} == {f"readout_{name}": pair for name, pair in of.items()}
    assert table_harms(GRAPH, [sample("weight_bit_flip", outcome="crash", layers=layers["bias"]), sample("dead")]) == {}
    known = measure(replace(about(), tables=found, units=unit_harms(GRAPH, [sample("dead")])))
    assert known.tables["readout_bias"].share.value == 0.5
    assert known.tables["readout_weight"] == TableHarm(8 * weights, estimate(0.01))
    assert known.units["cortex0"] == {**dict.fromkeys(range(14), 0.0), 7: 0.3}
    assert known.tables.keys() == set(stored_tables(GRAPH))
    assert advise(known)
