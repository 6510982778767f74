"""Pruning of what heads share: one mask and one set of weights for all, measured on every head's data, the same integers everywhere."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.registry import open_device
from edgechaos.export import engines
from edgechaos.floatgraph import passes
from edgechaos.floatgraph.float_model import FloatModel
from edgechaos.floatgraph.float_nodes import MatMul, stored_name
from edgechaos.graph import artifact
from edgechaos.graph.inspect import inspect
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.weighted import Weighted
from edgechaos.prune.criteria import CRITERIA, Criterion, NeuronActivity, neuron_layers, neuron_scores, over_heads
from edgechaos.prune.removal import least_neurons, remove_neurons
from edgechaos.quantize.importance import activity
from edgechaos.quantize.pipeline import quantize
from tests.core.test_shared import DATA, trained

pytestmark = pytest.mark.trains

SHARED = {"cortex0_matmul": (32, 24), "cortex1_matmul": (24, 18)}
"""Neurons before and after a share of 0.25."""


@cache
def folded() -> FloatModel:
    return passes.fold(trained().describe())


@cache
def measured() -> dict[str, NeuronActivity]:
    return activity(folded(), DATA)


@cache
def pruned(method: Any = "ptq") -> IntegerGraph:
    return quantize(trained(), DATA, method=method, epochs=1, prune_neurons=0.25)


def test_layers_of_every_head_are_found_and_what_only_feeds_a_shared_matrix_stays() -> None:
    names = [layer.matrix for layer in neuron_layers(folded())]
    assert [n for n in names if "cortex" in n] == [f"{head}_{matrix}" for head in DATA for matrix in SHARED]
    assert not any("projection" in n or "embed" in n for n in names)
    assert [n for n in names if "conv" in n] == ["mirrored_conv0"], "a head's own convolutions can be made smaller"


@pytest.mark.parametrize("criterion", CRITERIA)
def test_heads_agree_on_who_goes(criterion: Criterion) -> None:
    scores = neuron_scores(folded(), criterion, measured())
    for matrix in SHARED:
        np.testing.assert_array_equal(scores[f"digits_{matrix}"], scores[f"mirrored_{matrix}"])


def test_no_head_outweighs_the_other() -> None:
    def stronger(head: str, by: float) -> dict[str, NeuronActivity]:
        return {
            name: NeuronActivity(a.current_in, a.current_out * by, a.mean, a.moment) if name.startswith(head) else a
            for name, a in measured().items()
        }

    plain = neuron_scores(folded(), "current", measured())["digits_cortex0_matmul"]
    for head in DATA:
        np.testing.assert_allclose(neuron_scores(folded(), "current", stronger(head, 1000.0))["digits_cortex0_matmul"], plain)
    one = measured()["digits_cortex0_matmul"].importance
    other = measured()["mirrored_cortex0_matmul"].importance
    np.testing.assert_allclose(plain, one / one.sum() + other / other.sum())
    assert (np.argsort(plain) != np.argsort(one)).any(), "the other head has a say"


def test_a_shared_matrix_stays_one_when_others_take_over() -> None:
    scores = neuron_scores(folded(), "reconstruction", measured())
    smaller = remove_neurons(folded(), least_neurons(folded(), scores, 0.25), measured())  # which validates that copies are equal
    biases = [n.bias for n in smaller.nodes if isinstance(n, MatMul) and stored_name(n) == "cortex1_matmul"]
    assert len(biases) == 2
    assert not np.array_equal(*biases), "what is missing on average differs by head"  # type: ignore[arg-type]


def test_dead_for_one_head_is_not_dead() -> None:
    one = {"digits_cortex0_matmul": np.array([True, True, False]), "mirrored_cortex0_matmul": np.array([True, False, False])}
    joined = over_heads(folded(), one, np.logical_and.reduce)
    for mask in joined.values():
        np.testing.assert_array_equal(mask, [True, False, False])


@pytest.mark.parametrize("method", ["ptq", "qat"])
def test_a_pruned_shared_cortex_is_stored_once_smaller_and_still_knows_both_tasks(method: Any) -> None:
    graph, whole = pruned(method), quantize(trained(), DATA, method="ptq")
    for matrix, (_, after) in SHARED.items():
        nodes = [n for n in graph.nodes if isinstance(n, Weighted) and n.weight == f"{matrix}_weight"]
        assert [n.name for n in nodes] == [f"digits_{matrix}", f"mirrored_{matrix}"]
        assert len(graph.constants[f"{matrix}_weight"].value) <= after
    assert inspect(graph).flash_bytes < inspect(whole).flash_bytes
    for head, accuracy in graph.metadata["accuracy"]["heads"].items():
        assert accuracy["integer"] > 0.2, f"{head}: guessing gets a tenth"
    assert artifact.from_bytes(artifact.to_bytes(graph)).metadata["pruning"] == graph.metadata["pruning"]


@pytest.mark.backends
def test_every_backend_gives_the_same_integers_for_every_head() -> None:
    graph = pruned()
    with open_device("host", graph) as host, open_device("unicorn", graph) as unicorn:
        for head, of_head in DATA.items():
            codes = reference.encode(graph, of_head.test_items[:6], head)
            expected = reference.run(graph, codes, seed=7, head=head).logits
            for engine in ("onnxruntime-off", "onnxruntime-on"):
                np.testing.assert_array_equal(engines.run(graph, codes, engine=engine, seed=7, head=head).logits, expected)
            for device in (host, unicorn):
                np.testing.assert_array_equal(device.infer(codes, seed=7, head=head).logits, expected)
