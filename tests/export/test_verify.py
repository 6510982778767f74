"""verify: agrees where targets agree, and finds every planted difference; the standard plans fit every graph."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from edgechaos import reference
from edgechaos.export.plans import PATCH_ROWS, standard_plans
from edgechaos.export.verify import Answer, Backend, Case, combine, engine_backend, verify
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.graph.artifact import content_hash
from edgechaos.graph.kinds.matmul import MatMul
from edgechaos.reference import Result
from edgechaos.support.errors import EdgeChaosError, FaultError, ShapeError, VerificationError
from tests.helpers.graphs import Spec, chaos_graph, codes_for, specs


def faithful(case: Case) -> Answer:
    return reference.run(case.faulty, case.codes, seed=case.seed, samples=case.samples, head=case.head, keep=case.keep)


def changed(**tensors: tuple[tuple[int, ...], int]) -> Backend:
    """A backend that is right but for one added integer per named tensor."""

    def run(case: Case) -> Answer:
        result = faithful(case)
        assert isinstance(result, Result)
        arrays: dict[str, Any] = {**result.tensors, "logits": result.logits.copy(), "labels": result.labels.copy()}
        for name, (site, delta) in tensors.items():
            arrays[name][site] += delta
        return Result(arrays.pop("logits"), arrays.pop("labels"), arrays)

    return run


def test_engines_agree_on_clean_and_standard_plans() -> None:
    graph = chaos_graph(sizes=(20, 12, 5), ticks=5)
    steps: list[tuple[int, int, str]] = []
    backends = {name: engine_backend(name) for name in ("onnxruntime-off", "onnxruntime-on", "onnx-reference")}
    plans = (("clean", FaultPlan()), *standard_plans(graph))
    found = verify(graph, codes_for(graph, 12), backends, plans, seed=9, progress=lambda *step: steps.append(step))
    assert found.require().passed
    assert len(found.comparisons) == 63
    assert found.integers == 63 * 12 * (5 + 1 + 12)
    assert steps[0] == (0, 63, "onnxruntime-off: clean")
    assert steps[-1] == (63, 63, "done")
    assert (found.model_hash, found.head, found.seed) == (content_hash(graph), "main", 9)


def test_the_first_difference_is_named() -> None:
    graph = chaos_graph()
    backends = {"good": faithful, "bad": changed(cortex0_count=((7, 2), 1), logits=((7, 1), -5), labels=((9,), 1))}
    found = verify(graph, codes_for(graph, 12), backends)
    good, bad = found.comparisons
    assert (good.mismatches, good.first) == (0, None)
    assert (bad.items, bad.integers, bad.mismatches) == (12, 12 * (4 + 1 + 8), 3)
    assert bad.first is not None
    assert (bad.first.item, bad.first.tensor, bad.first.index) == (7, "cortex0_count", (2,)), "the tensor nearest to the cause"
    assert bad.first.got == bad.first.expected + 1
    assert not found.passed
    with pytest.raises(
        VerificationError, match=r"'tiny' on bad under plan 'clean': 3 of 156 integers differ; the first is item 7, cortex0_count\[2\]"
    ):
        found.require()


def test_a_wrong_label_alone_fails() -> None:
    graph = chaos_graph()
    with pytest.raises(VerificationError, match=r"item 3, labels\[\]"):
        verify(graph, codes_for(graph, 5), {"bad": changed(labels=((3,), 1))}).require()


def test_a_backend_that_ignores_faults_is_caught_under_every_plan() -> None:
    graph = chaos_graph(sizes=(40, 30, 10), seed=2)

    def ignores_faults(case: Case) -> Answer:
        return faithful(replace(case, faulty=case.graph))

    found = verify(graph, codes_for(graph, 60), {"stubborn": ignores_faults}, standard_plans(graph))
    assert [c.plan for c in found.comparisons if not c.mismatches] == [], "each standard plan changes some integer"


def test_devices_may_return_logits_and_labels_only() -> None:
    class Inference:
        def __init__(self, result: Answer) -> None:
            self.logits, self.labels = result.logits, result.labels

    def device(case: Case) -> Answer:
        """As a device would: the clean graph and a resolved plan."""
        return Inference(faithful(replace(case, faulty=apply(case.graph, case.plan))))

    graph = chaos_graph()
    found = verify(graph, codes_for(graph, 6), {"device": device}, standard_plans(graph)).require()
    assert found.comparisons[0].integers == 6 * 5


def test_other_shapes_and_dtypes_are_refused() -> None:
    graph = chaos_graph()

    def wide(case: Case) -> Answer:
        result = faithful(case)
        return Result(result.logits.astype(np.int64), result.labels, {})  # type: ignore[arg-type]

    with pytest.raises(ShapeError, match=r"wide returned logits as int64 \(3, 4\), the reference int32"):
        verify(graph, codes_for(graph, 3), {"wide": wide})


def test_nothing_compared_is_no_pass() -> None:
    graph = chaos_graph()
    for codes, backends in ((codes_for(graph, 3), {}), (codes_for(graph, 0), {"good": faithful})):
        found = verify(graph, codes, backends)
        assert not found.passed
        with pytest.raises(VerificationError, match="nothing was compared"):
            found.require()


def test_json_and_combination() -> None:
    graph = chaos_graph()
    clean = verify(graph, codes_for(graph, 8), {"good": faithful})
    faulty = verify(graph, codes_for(graph, 4), {"good": faithful}, standard_plans(graph)[:2])
    both = combine(clean, faulty)
    written = json.loads(json.dumps(both.to_json()))
    assert written["passed"]
    assert written["integers"] == clean.integers + faulty.integers
    assert [c["items"] for c in written["comparisons"]] == [8, 4, 4]
    with pytest.raises(EdgeChaosError, match="different models or seeds"):
        combine(clean, verify(graph, codes_for(graph, 8), {"good": faithful}, seed=1))


def test_a_plan_that_does_not_fit_is_refused_before_any_backend_runs() -> None:
    graph = chaos_graph(sampling="binomial", noise=False)
    with pytest.raises(FaultError, match="stuck-at-1"):
        verify(graph, codes_for(graph, 2), {"good": faithful}, [("stuck", FaultPlan((StuckAtOne(rate=0.5),)))])


@given(specs())
@settings(max_examples=25, deadline=None)
def test_twenty_plans_fit_every_graph(spec: Spec) -> None:
    graph = chaos_graph(spec)
    plans = standard_plans(graph)
    assert len(plans) == len({name for name, _ in plans}) == 20
    for _, plan in plans:
        apply(graph, plan)
        assert sum(len(rows) for rows in resolve(graph, plan).patch.values()) <= PATCH_ROWS


def test_standard_plans_cover_every_kind_every_matrix_and_sign_bits() -> None:
    graph = chaos_graph(sizes=(12, 10, 8, 4))
    plans = dict(standard_plans(graph))
    assert {f.kind for plan in plans.values() for f in plan.faults} == {"omission", "dead", "stuck_at_1", "weight_bit_flip"}
    sign = resolve(graph, plans["weight sign bits, every matrix"]).patch
    assert set(sign) == {"cortex0_matmul", "cortex1_matmul", "readout"}
    assert all((np.abs(rows[:, 2]) == 128).all() for rows in sign.values())
    assert all((rows[:, 1] == -1).all() for rows in resolve(graph, plans["bias flips"]).patch.values())
    assert {f.kind for f in plans["every kind"].faults} == {"omission", "dead", "stuck_at_1", "weight_bit_flip"}


def test_without_a_bias_more_weights_flip() -> None:
    graph = chaos_graph()
    bare = replace(graph, nodes=tuple(replace(n, bias=None) if isinstance(n, MatMul) else n for n in graph.nodes)).validate()
    assert all((rows[:, 1] >= 0).all() for rows in resolve(bare, dict(standard_plans(bare))["bias flips"]).patch.values())
