"""Samples of single faults in a campaign: pilot, allocation, the same trials after an interruption, rankings; and grids of sweeps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.faults.plan import apply
from edgechaos.graph.heads import Encoding
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.readout import Readout
from edgechaos.hil.analysis.documents import check_document
from edgechaos.hil.analysis.gates import judge_samples, parse_gate, refuse_unanswerable, shares_of
from edgechaos.hil.analysis.stopping import first_plan, whole_plan
from edgechaos.hil.campaign.config import Campaign, Images, Sample, Sweep
from edgechaos.hil.campaign.plan import Trial, check_plan, seeds
from edgechaos.hil.campaign.reading import expand_grids, read_campaign, refuse
from edgechaos.hil.campaign.source import to_toml
from edgechaos.support.errors import ConfigError, FaultError
from tests.helpers.campaigns import GRAPH, campaign, items, rows, run
from tests.helpers.mixed_graphs import Builder

FLIPS = Sample("weight_bit_flip", 200, ("layer", "bit"), pilot=4)


def sampling(*samples: Sample, **changes: Any) -> Campaign:
    return campaign(sweep=(), sample=samples, images=Images(12), **changes)


def test_a_stratified_sample_of_flipped_bits(tmp_path: Path) -> None:
    results = run(tmp_path, sampling(FLIPS))
    (sample,) = results.samples
    assert (sample.faults, sample.population) == (200, (12 * 16 + 16 * 4) * 8)
    assert len(sample.strata) == 16
    assert all(s.faults >= 4 for s in sample.strata)
    assert len({s.faults for s in sample.strata}) > 1  # by Neyman's rule, not alike
    weights = [s.size / sample.population for s in sample.strata]
    assert sample.share.value == pytest.approx(sum(w * s.share.value for w, s in zip(weights, sample.strata, strict=True)))
    assert sample.share.low <= sample.share.value <= sample.share.high
    assert {r.layer for r in sample.layers} == {s.layer for s in sample.strata}
    assert [r.share.value for r in sample.bits] == sorted((r.share.value for r in sample.bits), reverse=True)
    assert {r.bit for r in sample.bits} == set(range(8))
    assert not sample.whole
    assert "200 of 2,048, 16 strata; 12 images" in results.statements()[0]
    check_document("campaign", json.loads(json.dumps(results.to_json())), "results")
    assert len(results.about["campaign"]["sample"]) == 1


def test_every_neuron_once_is_a_ranking(tmp_path: Path) -> None:
    """Where there are as many faults as sites, each is tried once, and the ranking is that of the reference."""
    (sample,) = run(tmp_path, sampling(Sample("dead", 16))).samples
    assert sample.whole
    assert sample.share.low == sample.share.value == sample.share.high
    data, plan = items(), first_plan(sampling(Sample("dead", 16)), GRAPH)
    harm = {}
    for trial, clean in zip(plan.samples[0].strata[0].trials, plan.samples[0].strata[0].clean, strict=True):
        before = reference.run(GRAPH, data.codes[:12], seed=clean.seed).labels == data.labels[:12]
        after = reference.run(apply(GRAPH, trial.plan), data.codes[:12], seed=trial.seed).labels == data.labels[:12]
        harm[trial.plan.faults[0].neurons[0]] = (before & ~after).sum() / 12  # type: ignore[attr-defined]
    assert [(c.what, c.share.value) for c in sample.critical] == [
        (f"neuron {n}", share) for n, share in sorted(harm.items(), key=lambda item: (-item[1], item[0])) if share
    ]
    assert sample.share.value == pytest.approx(sum(harm.values()) / 16)


def test_an_interrupted_sample_draws_the_same_faults(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", sampling(FLIPS))
    for stop_after in (3, 60, 110):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut", sampling(FLIPS), stop_after=stop_after, resume=(tmp_path / "cut").exists())
    assert run(tmp_path / "cut", sampling(FLIPS), resume=True).to_json() == whole.to_json()
    assert rows(tmp_path / "cut" / "ledger.sqlite") == rows(tmp_path / "whole" / "ledger.sqlite")


def test_a_larger_sample_holds_the_smaller_one() -> None:
    few, more = (first_plan(sampling(replace(FLIPS, pilot=n)), GRAPH).samples[0] for n in (3, 9))
    for a, b in zip(few.strata, more.strata, strict=True):
        assert b.sites[:3] == a.sites
        assert len(set(b.sites)) == 9
    assert {len(s.sites) for s in few.strata} == {3}
    assert sum(len(s.sites) for s in whole_plan(sampling(FLIPS), GRAPH).samples[0].strata) == 200
    alike = first_plan(sampling(replace(FLIPS, strata=())), GRAPH).samples[0]
    assert [(s.layer, s.bit, len(s.sites)) for s in alike.strata] == [("*", None, 200)]
    layers = {t.plan.faults[0].node for t in alike.strata[0].trials}  # type: ignore[attr-defined]
    assert len(layers) == 2


def test_a_sample_of_everything_holds_every_single_fault_once() -> None:
    sample = Sample("synapse_dead", 1000, ())
    (stratum,) = first_plan(sampling(sample), GRAPH).samples[0].strata
    found = [(t.plan.faults[0].node, t.plan.faults[0].synapses) for t in stratum.trials]  # type: ignore[attr-defined]
    words = {n.name: GRAPH.value(n.weight).size for n in GRAPH.weighted()}
    assert sorted(found) == sorted((name, (k,)) for name, size in words.items() for k in range(size))
    assert [t.mask for t in stratum.trials] == [k % 8 for k in range(stratum.size)]
    assert {(t.seed, t.mask) for t in stratum.trials} == {(seed, k) for k, (seed, _) in enumerate(seeds(1, 8))}
    assert [(t.seed, t.mask, t.clean) for t in stratum.clean] == [(t.seed, t.mask, True) for t in stratum.trials]


@pytest.mark.parametrize(
    ("sample", "says"),
    [
        (Sample("omission", 50), "has no field that names single sites"),
        (Sample("death", 50), "'death' is not one of "),
        (Sample("dead", 50, ("colour",)), 'is not made of "layer" and "bit"'),
        (Sample("dead", 50, outcome="infrastructure"), "is no outcome of an image"),
        (Sample("dead", 1), "faults = 1 is outside 2"),
        (Sample("weight_bit_flip", 100, ("layer", "bit")), "100 faults are fewer than the pilot of 30 in each of 16 strata"),
        (Sample("dead", 50, layer="nowhere"), "layer 'nowhere'; it has cortex0"),
        (Sample("dead", 50, options={"colour": 3}), "unknown key 'colour'"),
    ],
)
def test_samples_that_cannot_be_are_refused(sample: Sample, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        run(tmp_path, sampling(sample))


def carried(graph: IntegerGraph, trial: Trial) -> bool:
    try:
        apply(graph, trial.plan)
    except FaultError:
        return False
    return True


def test_one_fault_of_a_sample_stands_for_all_except_where_biases_flip() -> None:
    builder = replace(Builder(np.random.default_rng(1)), bits=4)
    x = builder.tensor("codes", "int8", (6,))
    builder.head("main", x, builder.matmul(x, "readout", 3, Readout), Encoding("codes"))
    graph = builder.graph()
    sample = Sample("weight_bit_flip", 96, node=graph.nodes[0].name, options={"target": "bias"})
    for seed in range(20):
        plan = first_plan(sampling(sample, seed=seed), graph)
        trials = plan.samples[0].strata[0].trials
        assert len(trials) == 96
        if carried(graph, trials[0]):
            break
    assert not all(carried(graph, t) for t in trials)
    with pytest.raises(ConfigError, match="sample weight_bit_flip: "):
        check_plan(plan, graph)
    check_plan(first_plan(sampling(FLIPS), GRAPH), GRAPH)


def test_a_sample_is_read_and_written(tmp_path: Path) -> None:
    text = 'name = "c"\n[[sample]]\nfault = "weight_bit_flip"\nfaults = 500\nstrata = ["bit"]\npilot = 9\nnode = "readout"\nimages = 7\n'
    (tmp_path / "c.toml").write_text(text)
    spec = read_campaign(tmp_path / "c.toml")
    assert spec.sample == (Sample("weight_bit_flip", 500, ("bit",), 9, node="readout", images=7),)
    assert spec.image_count == 7
    (tmp_path / "again.toml").write_text(to_toml(spec))
    assert read_campaign(tmp_path / "again.toml") == spec
    with pytest.raises(ConfigError, match=r"at least one \[\[sweep\]\] or \[\[sample\]\]"):
        refuse(replace(spec, sample=()))


def test_a_grid_is_one_sweep_for_each_combination(tmp_path: Path) -> None:
    text = 'name = "g"\n[[sweep]]\nfault = "threshold_scale"\nvalues = [0.9, 1.1]\ngrid = { layer = ["a", "b"], rate = [0.5, 1.0] }\n'
    (tmp_path / "g.toml").write_text(text)
    spec = read_campaign(tmp_path / "g.toml")
    assert [(s.layer, s.options["rate"]) for s in spec.sweep] == [("a", 0.5), ("a", 1.0), ("b", 0.5), ("b", 1.0)]
    assert [s.site for s in spec.sweep][:2] == ["neurons of a, rate 0.5", "neurons of a, rate 1.0"]
    (tmp_path / "again.toml").write_text(to_toml(spec))
    assert read_campaign(tmp_path / "again.toml") == spec
    for grid, says in (
        ("3", "is no table of lists"),
        ("{}", "is no table"),
        ("{ layer = 'a' }", "is no table"),
        ("{ colour = [1] }", "colour"),
    ):
        (tmp_path / "g.toml").write_text(text.partition("grid")[0] + f"grid = {grid}\n")
        with pytest.raises(ConfigError, match=says):
            read_campaign(tmp_path / "g.toml")
    many = {"sweep": [{"fault": "dead", "grid": {"a": list(range(50)), "b": list(range(50))}}]}
    with pytest.raises(ConfigError, match="the grids make 2,500 sweeps"):
        expand_grids(many)


def test_a_site_says_the_options_that_its_place_does_not() -> None:
    assert Sweep("ram_bit_flip", (0.1,), options={"address": 0x20000040, "words": 4}).site == "memory bits at 0x20000040, 4 words"
    assert Sweep("threshold_scale", values=(0.9,), options={"rate": 0.25}).site == "neurons, all layers, rate 0.25"


def test_a_sample_is_held_to_a_gate(tmp_path: Path) -> None:
    spec = sampling(Sample("dead", 16))
    samples = run(tmp_path, spec).samples
    share = samples[0].share.value
    assert share > 0
    (holds,) = judge_samples([parse_gate(f"sampled<={share + 0.001}")], shares_of(samples))
    (fails,) = judge_samples([parse_gate(f"sampled<={share - 0.001},fault=dead,device=plain")], shares_of(samples))
    assert (holds.passed, fails.passed, fails.point) == (True, False, "sdc critical")
    refuse_unanswerable([parse_gate("sampled<=1%")], spec)
    for gate in ("sampled<=1%,fault=omission", "sampled<=1%,at=0.5", "sampled<=1%,site=x"):
        with pytest.raises(ConfigError, match="and no sample is that; there are dead on plain"):
            refuse_unanswerable([parse_gate(gate)], spec)
    (nothing,) = judge_samples([parse_gate("sampled<=1%")], [("dead", "plain", "sdc_critical", None)])
    assert not nothing.passed
