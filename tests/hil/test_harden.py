"""A campaign before and after a hardening: paired, with its cost, and one refusal for each way to ask in vain."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgechaos import reference
from edgechaos.cli import main
from edgechaos.graph import artifact
from edgechaos.harden.base import parse_hardening
from edgechaos.hil.execute.evaluate import EvaluationSet
from edgechaos.hil.harden.before_after import before_after, usual_campaign
from tests.helpers.graphs import chaos_graph, codes_for

pytestmark = pytest.mark.slow

GRAPH = chaos_graph(sizes=(30, 12, 5), seed=6)


def evaluation(count: int = 4) -> EvaluationSet:
    """Items whose labels are what the clean model says."""
    codes = codes_for(GRAPH, count)
    return EvaluationSet("own", codes, reference.run(GRAPH, codes).labels.astype(np.int64))


def test_secded_of_a_bias_before_and_after(tmp_path: Path) -> None:
    measure = parse_hardening("secded=readout_bias")
    campaign = usual_campaign(GRAPH, [measure], masks=6, images=4)
    assert [(s.points, s.options) for s in campaign.sweep] == [((1, 2, 4), {"region": "readout_bias"})]
    campaign = replace(campaign, sweep=(replace(campaign.sweep[0], values=(1,)),))
    found = before_after(campaign, (GRAPH, measure.apply(GRAPH)), [measure], evaluation(), tmp_path, workers=1)
    ((point,),) = (curve.points for curve in found.comparison.curves)
    (((before, after),),) = found.outcomes
    assert before.silent > 0
    assert (after.silent, after.tolerable, after.detected) == (0, 0, 0)
    assert point.change.value > 0
    assert found.costs[1].flash_bytes - found.costs[0].flash_bytes >= 32
    assert found.costs[1].instructions > found.costs[0].instructions > 1000
    document = json.loads(found.write(tmp_path)[0].read_text())
    assert document["kind"] == "edgechaos.hardening"
    assert document["measures"] == ["secded=readout_bias"]
    assert "| memory bits | memory in readout_bias | flips 1 |" in (tmp_path / "hardening.md").read_text()


def test_the_command_lists_places_and_writes_an_artifact(tmp_path: Path) -> None:
    model = tmp_path / "m.ecm"
    artifact.save(GRAPH, model)
    listed = CliRunner().invoke(main, ["harden", str(model), "--list", "--json"])
    own = [f"cortex0_{what}" for what in ("weight", "bias", "threshold", "sigma")]
    assert json.loads(listed.output)["places"]["parity"] == [*own, "readout_weight", "readout_bias"]
    done = CliRunner().invoke(main, ["harden", str(model), "--with", "parity=readout_bias", "--spread", "3"])
    assert done.exit_code == 0, done.output
    assert artifact.load(tmp_path / "m.hardened.ecm").metadata["guards"] == {"tables": {"readout_bias": "parity"}, "spread": 3}
    assert CliRunner().invoke(main, ["harden", str(model), "--resume"]).exit_code == 2
    for vain in (["--list", "--apply"], ["--try", "x"], ["--apply", "--with", "parity=readout_bias"]):
        assert CliRunner().invoke(main, ["harden", str(model), *vain]).exit_code == 2


def test_the_command_advises_and_applies(tmp_path: Path) -> None:
    model, data = tmp_path / "m.ecm", tmp_path / "own.npz"
    artifact.save(GRAPH, model)
    items = np.random.default_rng(0).integers(0, 256, (60, 30), np.uint8)
    np.savez(data, items=items, labels=reference.run(GRAPH, reference.encode(GRAPH, items)).labels.astype(np.int64))
    shown = CliRunner().invoke(main, ["harden", str(model), "--data", str(data)])
    assert shown.exit_code == 0, shown.output
    assert "* secded=readout_bias" in shown.output
    applied = CliRunner().invoke(main, ["harden", str(model), "--data", str(data), "--apply", "--goal", "1", "--json"])
    assert applied.exit_code == 0, applied.output
    document = json.loads(applied.output)
    chosen = [a["measure"] for a in document["advice"] if a["chosen"]]
    assert document["measures"] == chosen
    assert artifact.load(tmp_path / "m.hardened.ecm").metadata["guards"]["tables"]["readout_bias"] == "secded"
    assert CliRunner().invoke(main, ["harden", str(model), "--data", str(data), "--apply", "--goal", "0"]).exit_code == 2
