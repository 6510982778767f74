"""A residual network: the float model's sum of two nodes, trained, quantized, and exact wherever its integers run."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgechaos import data, open_device, reference
from edgechaos.export.verify import device_backend, engine_backend, verify
from edgechaos.faults.injections import ResolvedPlan
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan
from edgechaos.floatgraph import passes
from edgechaos.floatgraph.float_model import FloatModel
from edgechaos.floatgraph.float_nodes import Add, ChaosLayer, Identity, MatMul
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.add import MAX_GAIN, gains
from edgechaos.models import architecture
from edgechaos.models.build import build
from edgechaos.models.evaluate import evaluate_under
from edgechaos.models.plain import PlainConfig, PlainNet
from edgechaos.models.sequential import SequentialConfig, SequentialNet
from edgechaos.models.spiking import Conditions
from edgechaos.quantize.lower import refuse_unsupported
from edgechaos.quantize.pipeline import quantize
from edgechaos.support.errors import ConfigError, GraphError, UnsupportedError
from edgechaos.train.fit import Recipe, train

DIGITS = data.load("digits8x8")
WIDTH = 12


def net(**options: Any) -> PlainNet:
    model = build("mlp", DIGITS, seed=3, hidden=(WIDTH,) * 3, residual=True, **options)
    assert isinstance(model, PlainNet)
    return model


@cache
def trained() -> PlainNet:
    model = train(net(), DIGITS, Recipe(epochs=2, learning_rate=1e-2, seed=1))
    assert isinstance(model, PlainNet)
    return model


@cache
def graph_of(method: Any, bits: int) -> IntegerGraph:
    return quantize(trained(), DIGITS, method=method, epochs=1, weight_bits=bits, per_channel=method == "ptq")


@given(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3))
def test_gains_are_the_scales_in_units_of_the_sum(scale: float, other: float) -> None:
    found, swapped = gains(scale, other), gains(other, scale)
    assert found == (swapped[1], swapped[0], swapped[2])
    *both, unit = found
    assert max(both) == MAX_GAIN
    for gain, real in zip(both, (scale, other), strict=True):
        assert gain == 1 or abs(gain * unit - real) <= 0.5000001 * unit
        assert gain >= 1


def test_the_float_network_is_what_its_name_says_units_that_are_dead_among_it() -> None:
    model, rng = net().eval(), np.random.default_rng(0)
    dead = {layer.name: rng.random(layer.units) < 0.3 for layer in model.failing_layers()}
    assert list(dead) == ["fc1_relu", "fc2_relu", "fc2_sum", "fc3_relu", "fc3_sum"]
    items = DIGITS.test_items[:50]
    x = model.preprocess(items).numpy().astype(np.float64)
    weights = {name: value.detach().double().numpy() for name, value in model.state_dict().items()}
    for k in (1, 2, 3):
        made = np.maximum(x @ weights[f"fc{k}.weight"].T + weights[f"fc{k}.bias"], 0.0) * ~dead[f"fc{k}_relu"]
        x = made if k == 1 else (x + made) * ~dead[f"fc{k}_sum"]
    expected = x @ weights["fc4.weight"].T + weights["fc4.bias"]
    np.testing.assert_allclose(evaluate_under(model, items, ResolvedPlan.of(dead=dead)), expected, atol=1e-4)


def changed(model: FloatModel, name: str, node: Any) -> FloatModel:
    return replace(model, nodes=tuple(node if n.name == name else n for n in model.nodes))


def test_what_cannot_be_added_is_refused() -> None:
    model = net().describe()
    for other, message in (("fc1_relu", "does not take"), ("input", "does not take"), ("nothing", "reads 'nothing' before")):
        with pytest.raises(GraphError, match=message):
            changed(model, "fc2_add", Add("fc2_add", "fc1_relu", other)).validate()
    with pytest.raises(GraphError, match="'nothing' is never written"):
        passes.order(changed(model, "fc2_add", Add("fc2_add", "fc1_relu", "nothing")))
    with pytest.raises(UnsupportedError, match="'fc2_add': Add has no integer form after MatMul 'fc2'"):
        refuse_unsupported(passes.fold(changed(model, "fc2_add", Add("fc2_add", "fc1_relu", "fc2"))), "ticks")
    bare = next(n for n in model.nodes if n.name == "fc3")
    with pytest.raises(UnsupportedError, match="'fc3': MatMul has no integer form after Add"):
        refuse_unsupported(passes.fold(changed(model, "fc3", replace(bare, input="fc2_add"))), "ticks")
    spikes = build("pixels", DIGITS, hidden=(WIDTH,), ticks=3).describe()
    layer = next(n for n in spikes.nodes if isinstance(n, ChaosLayer))
    square = MatMul("square", layer.name, np.eye(WIDTH))
    nodes = (*spikes.nodes[:-1], square, Add("both", layer.name, "square"), spikes.nodes[-1])
    with pytest.raises(GraphError, match="'both': adds values, not spikes"):
        replace(spikes, nodes=nodes).validate()
    with pytest.raises(ConfigError, match="residual = True, but must be false, or hidden"):
        PlainConfig(inputs=4, classes=("a",), hidden=(3, 4), residual=True).check()


def test_nodes_stand_after_all_that_they_read_and_unread_ones_go() -> None:
    model = net().describe()
    shuffled = passes.order(replace(model, nodes=tuple(reversed(model.nodes))))
    written = {"input"}
    for node in shuffled.nodes:
        assert written.issuperset(node.inputs())
        written.add(node.name)
    assert {n.name for n in passes.prune_unread(shuffled).nodes} == {n.name for n in model.nodes}
    assert [n.name for n in model.readers("fc1_relu")] == ["fc2", "fc2_add"]
    renamed = next(n for n in model.nodes if isinstance(n, Add)).prefixed("a_")
    assert (renamed.name, renamed.inputs()) == ("a_fc2_add", ("a_fc1_relu", "a_fc2_relu"))
    assert sum(isinstance(n, Identity) for n in passes.fold(model).nodes) == 2


@pytest.mark.trains
def test_what_never_acts_in_the_whole_chain_leaves_it() -> None:
    model, silent = net(), [2, 7]
    model.load_state_dict(trained().state_dict())
    for name in ("fc1", "fc2", "fc3"):
        layer: Any = model.get_submodule(name)
        layer.weight.data[silent], layer.bias.data[silent] = 0.0, -1.0
    whole, less = (quantize(model, DIGITS, method="ptq", prune_neurons=p) for p in (None, 0.0))
    kept = less.metadata["pruning"]["kept"]
    assert list(kept) == ["fc1", "fc2", "fc3"]
    assert all(not set(silent) & set(units) for units in kept.values())
    codes = reference.encode(whole, DIGITS.train_items[:1024])
    np.testing.assert_array_equal(reference.run(less, codes).logits, reference.run(whole, codes).logits)
    with pytest.raises(UnsupportedError, match="no hidden neurons to remove: residual connections"):
        quantize(model, DIGITS, method="ptq", prune_neurons=0.3)


RESIDUAL = "conv(3, pad=1) relu conv(1) relu conv(3, pad=1) add(3) relu maxpool(2) linear relu add(1) gelu linear add(1) linear"
"""A basic block of convolutions, a sum of a matrix and its activation, and a sum that a matrix reads."""


def basic_block() -> SequentialNet:
    torch.manual_seed(5)
    sizes: dict[str, Any] = {"inputs": 64, "image": (1, 8, 8), "channels": (3, 3, 3), "hidden": (7, 7)}
    return SequentialNet(SequentialConfig(classes=DIGITS.classes, layers=architecture.parse(RESIDUAL), **sizes)).eval()


def test_an_architecture_adds_what_went_into_so_many_layers() -> None:
    model = basic_block()
    assert [layer.name for layer in model.failing_layers()] == [
        "conv1_relu", "conv2_relu", "conv3_codes", "conv3_add_relu", "fc1_relu", "fc1_codes", "fc1_relu_add_gelu_in", "fc2_codes",
        "fc2_add_codes",
    ]  # fmt: skip
    assert model.failing_layers() == passes.fold(model.describe()).failing_layers()
    assert model.summary()["architecture"].endswith("linear relu add(1) gelu linear add(1) linear")
    x = torch.randn(9, 64)
    conv = torch.nn.functional.conv2d
    p: Any = dict(model.named_parameters())
    block = conv(x.reshape(9, 1, 8, 8), p["conv1.weight"], p["conv1.bias"], padding=1).relu()
    made = conv(conv(block, p["conv2.weight"], p["conv2.bias"]).relu(), p["conv3.weight"], p["conv3.bias"], padding=1)
    flat = torch.nn.functional.max_pool2d((block + made).relu(), 2).flatten(1)
    one = flat @ p["fc1.weight"].T + p["fc1.bias"]
    two = torch.nn.functional.gelu(one + one.relu())
    three = two + two @ p["fc2.weight"].T + p["fc2.bias"]
    torch.testing.assert_close(model(x, Conditions(0, torch.arange(9))), three @ p["fc3.weight"].T + p["fc3.bias"])


@pytest.mark.slow
@pytest.mark.trains
@pytest.mark.parametrize(("method", "bits"), [("ptq", 8), ("qat", 8), ("ptq", 2), ("architecture", 4)])
def test_integers_are_the_same_everywhere(method: str, bits: int) -> None:
    graph = quantize(basic_block(), DIGITS, method="ptq", weight_bits=bits) if method == "architecture" else graph_of(method, bits)
    assert sum(type(n).__name__ == "Add" for n in graph.nodes) == (3 if method == "architecture" else 2)
    codes = reference.encode(graph, DIGITS.test_items[:12])
    plans = (("clean", FaultPlan()), ("faults", FaultPlan((DeadNeurons(rate=0.3, seed=1), WeightBitFlip(rate=0.01, seed=2)))))
    with open_device("host", graph) as host, open_device("fake", graph) as fake, open_device("unicorn:mps2-an386", graph) as m4:
        devices = {"host": host, "fake": fake, "m4": m4}
        backends = {name: device_backend(device) for name, device in devices.items()}
        backends |= {name: engine_backend(name) for name in ("onnxruntime-off", "onnxruntime-on", "onnx-reference")}
        verify(graph, codes, backends, plans).require()
