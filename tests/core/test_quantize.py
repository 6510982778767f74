"""Quantization: the integers say what the fake-quantized floats say, to the stated rounding; refusals by name.

The rounding that remains between the two is stated in `tests.helpers.exactness`; noise is rounded to half an accumulator code besides, and
its multiplier to 15 bits.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgechaos import data, reference
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.graph import artifact
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import ChaosLayer
from edgechaos.graph.kinds.matmul import MatMul
from edgechaos.graph.kinds.readout import Readout
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.models.chaosnet import ChaosNet
from edgechaos.models.chaosnet_config import ChaosNetConfig
from edgechaos.models.evaluate import evaluate_under
from edgechaos.quantize.fake_quant import FakeQuantModel
from edgechaos.quantize.heads import calibration
from edgechaos.quantize.pipeline import fake_quantized, quantize, to_graph
from edgechaos.support.errors import AccumulatorOverflow, DataError, UnsupportedError
from edgechaos.train.fit import Recipe, new_model, train
from tests.helpers.exactness import assert_integers_equal, assert_training_computes_the_same
from tests.helpers.paired import assert_loses_at_most

pytestmark = pytest.mark.trains

DIGITS = data.load("digits8x8")
HALF_A_POINT = 0.005
NETS: dict[str, dict[str, Any]] = {
    "parallel": {"hidden": (48,)},
    "stateful": {"hidden": (48,), "mode": "stateful"},
    "parallel, two layers": {"hidden": (48, 32), "threshold": 0.2},
    "stateful, two layers": {"hidden": (48, 32), "threshold": 0.2, "mode": "stateful"},
}


@cache
def trained(net: str, noise_std: float = 0.01) -> ChaosNet:
    model = new_model(DIGITS, ticks=6, noise_std=noise_std, seed=1, **NETS[net])
    return train(model, DIGITS, Recipe(epochs=15, omission=0.3, seed=1))


def accuracy(graph: IntegerGraph) -> float:
    return float((reference.run(graph, reference.encode(graph, DIGITS.test_items)).labels == DIGITS.test_labels).mean())


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("per_channel", [False, True])
def test_integers_equal_the_fake_quantized_floats(net: str, per_channel: bool) -> None:
    model = trained(net, noise_std=0.0)
    fake = fake_quantized(model.describe(), DIGITS, method="qat", per_channel=per_channel, epochs=1)
    graph = to_graph(fake, DIGITS, "ticks", {})
    plan = resolve(graph, FaultPlan((Omission(rate=0.3), DeadNeurons(rate=0.1))))
    codes = reference.encode(graph, DIGITS.test_items)
    assert_integers_equal(graph, fake, codes, plan, seed=3)
    assert_training_computes_the_same(fake, codes)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("method", ["qat", "ptq"])
def test_int8_stays_within_half_a_point_of_float(net: str, method: Any) -> None:
    model = trained(net)
    graph = quantize(model, DIGITS, method=method, epochs=2)
    floats = evaluate_under(model, DIGITS.test_items).argmax(axis=1) == DIGITS.test_labels
    assert floats.mean() > 0.5
    integers = reference.run(graph, reference.encode(graph, DIGITS.test_items)).labels == DIGITS.test_labels
    assert_loses_at_most(floats, integers, HALF_A_POINT, net)
    assert artifact.from_bytes(artifact.to_bytes(graph)).metadata == graph.metadata


def test_the_graph_is_what_the_rules_ask_for() -> None:
    graph = quantize(trained("stateful, two layers"), DIGITS, method="ptq", per_channel=True)
    kinds = [type(n) for n in graph.nodes]
    assert kinds[:6] == [MatMul, Requantize, ChaosLayer] * 2
    assert kinds[6] is Readout, "the last recurrent matrix is pruned, the first is folded"
    first, second = graph.chaos_layers()
    assert (first.emit, second.emit) == ("spikes", "count")
    assert [(n.fail_stream, n.noise_stream) for n in (first, second)] == [(0, 1), (2, 3)]
    assert (first.decay_q15, first.refractory_decay_q15, first.fail_q) == (655, 31130, 0)
    assert [len(graph.constants[n.weight].scale) for n in graph.nodes if isinstance(n, MatMul)] == [48, 32, 1]
    assert graph.head().encoding.kind == "pixels"
    assert set(graph.metadata["activity"]) == {"input", "cortex0_spikes", "cortex1_count"}
    codes = reference.encode(graph, DIGITS.train_items[:1024])
    assert graph.metadata["activity"]["input"] == pytest.approx(np.count_nonzero(codes) / codes.size, abs=1e-6)
    assert graph.metadata["accuracy"]["integer"] == accuracy(graph)
    assert graph.metadata["training"]["omission"] == 0.3
    assert graph.metadata["tick_mode"] == "stateful"


def test_quantization_is_reproducible() -> None:
    one, two = (quantize(trained("parallel"), DIGITS, epochs=1) for _ in range(2))
    assert artifact.content_hash(one) == artifact.content_hash(two)


def test_noise_has_the_deviation_of_the_float_model() -> None:
    graph = quantize(trained("parallel", noise_std=0.3), DIGITS, method="ptq")
    layer, matmul = graph.chaos_layers()[0], graph.nodes[0]
    assert isinstance(matmul, MatMul)
    scale = np.array(graph.constants[matmul.weight].scale) * graph.tensors["input"].scale
    sigma = graph.value(layer.sigma) * 2.0**13 / 2.0**layer.sigma_shift
    np.testing.assert_allclose(sigma * scale, 0.3, atol=scale.max() * 2.0**13 / 2.0**layer.sigma_shift)


def test_a_threshold_is_floored_per_channel() -> None:
    graph = quantize(trained("parallel"), DIGITS, method="ptq", per_channel=True)
    layer, matmul = graph.chaos_layers()[0], graph.nodes[0]
    assert isinstance(matmul, MatMul)
    scale = np.array(graph.constants[matmul.weight].scale) * graph.tensors["input"].scale
    np.testing.assert_array_equal(graph.value(layer.threshold), np.floor(0.5 / scale))


def mean_logits(graph: IntegerGraph, seeds: int) -> NDArray[np.float64]:
    codes = reference.encode(graph, DIGITS.test_items[:40])
    return np.mean([reference.run(graph, codes, seed=s).logits * float(graph.tensors["logits"].scale or 0) for s in range(seeds)], axis=0)


def test_sampled_counts_have_the_mean_of_the_ticks() -> None:
    plan = FaultPlan((Omission(rate=0.4),))
    model = trained("parallel", noise_std=0.0)
    ticks, binomial, expected = (
        apply(quantize(model, DIGITS, method="ptq", sampling=s), plan)
        for s in ("ticks", "binomial", "expected")  # type: ignore[arg-type]
    )
    exact = mean_logits(expected, 1)
    for drawn in (ticks, binomial):
        assert float(np.abs(mean_logits(drawn, 100) - exact).mean()) < 0.05 * float(np.abs(exact).mean())
    assert quantize(trained("parallel"), DIGITS, method="ptq", sampling="binomial").metadata["noise"] == "dropped"


def test_a_channel_of_zeros_keeps_its_bias() -> None:
    model = trained("parallel")
    described = model.describe()
    described.nodes[1].weight[3] = 0.0  # type: ignore[attr-defined]
    fake = fake_quantized(described, DIGITS, method="ptq", per_channel=True, epochs=0)
    with torch.no_grad():
        fake.layers["cortex0_matmul"].bias[3] = 0.7  # type: ignore[operator, index]
    graph = to_graph(fake, DIGITS, "ticks", {})
    layer = graph.chaos_layers()[0]
    counts = reference.run(graph, reference.encode(graph, DIGITS.test_items[:20]), keep=(layer.output,)).tensors[layer.output]
    assert (counts[:, 3] == layer.ticks).all(), "0.7 is above the threshold of 0.5 whatever the pixels are"


def test_the_torch_peer_takes_the_same_resolved_plan() -> None:
    model = trained("parallel")
    graph = quantize(model, DIGITS, method="ptq")
    plan = resolve(graph, FaultPlan((Omission(rate=0.5), DeadNeurons(rate=0.25, seed=4))))
    torch_labels = evaluate_under(model, DIGITS.test_items, plan, seed=9).argmax(axis=1)
    labels = reference.run(apply(graph, plan), reference.encode(graph, DIGITS.test_items), seed=9).labels
    clean = reference.run(graph, reference.encode(graph, DIGITS.test_items), seed=9).labels
    assert (labels == torch_labels).mean() > 0.95
    assert (labels != clean).any()


def wide(**options: Any) -> FakeQuantModel:
    from edgechaos.floatgraph import passes

    config = ChaosNetConfig(**{"inputs": 70_000, "classes": ("a", "b"), "hidden": (1,), "mode": "stateful", **options})
    return FakeQuantModel(passes.fold(ChaosNet(config).describe()), per_channel=False)


def test_overflow_is_refused_by_node() -> None:
    from edgechaos.quantize.lower import lower

    with pytest.raises(AccumulatorOverflow, match=r"'cortex0_requantize': .* needs 32 bits") as caught:
        lower(wide(), {"cortex0": 1.0}, "ticks", {})
    assert caught.value.node == "cortex0_requantize"
    with pytest.raises(AccumulatorOverflow, match="'cortex0_matmul'"):
        lower(wide(inputs=140_000, mode="parallel"), {}, "ticks", {})


@pytest.mark.parametrize(
    ("net", "config", "arguments", "message"),
    [
        ("parallel", {"ticks": 200}, {}, "layer 'cortex0': 200 ticks are more than the 127"),
        ("parallel", {}, {"method": "magic"}, "unknown method 'magic'; use 'qat' or 'ptq'"),
        ("parallel", {}, {"sampling": "guess"}, "unknown sampling 'guess'"),
        ("stateful", {}, {"sampling": "binomial"}, "layer 'cortex0': sampling 'binomial' needs parallel ticks"),
        ("parallel, two layers", {}, {"sampling": "expected"}, "layer 'cortex1': sampling 'expected' needs parallel ticks"),
    ],
)
def test_what_cannot_be_carried_is_refused_before_training(
    net: str, config: dict[str, Any], arguments: dict[str, Any], message: str
) -> None:
    model = new_model(DIGITS, **{**NETS[net], **config})
    with pytest.raises(UnsupportedError, match=message):
        quantize(model, DIGITS, **arguments, progress=lambda p: pytest.fail("was trained first"))


def test_items_of_another_size_are_refused() -> None:
    model = ChaosNet(ChaosNetConfig(inputs=50, classes=DIGITS.classes))
    with pytest.raises(DataError, match=r"takes items of 50 elements, the data set has \(8, 8\)"):
        quantize(model, DIGITS)


def test_calibration_sees_training_items_only() -> None:
    fake = fake_quantized(trained("parallel").describe(), DIGITS, method="ptq", per_channel=False, epochs=0)
    codes, conditions = calibration(fake, DIGITS)
    assert (len(codes), conditions.faults) == (1024, {})
    np.testing.assert_array_equal(codes.numpy(), (DIGITS.train_items[:1024] >> 1).reshape(1024, 64))
