"""Every family from torch to integers: the graph says what the fake-quantized floats say, at every weight width; refusals by name.

Between the two remain the multipliers' 2^-31, table noise to one code, and int16 membranes: few codes may differ, and by little.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgechaos import data, reference
from edgechaos.data import Dataset
from edgechaos.floatgraph import passes
from edgechaos.floatgraph.float_nodes import Gelu, Relu, Thermal
from edgechaos.graph import artifact
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import ChaosLayer
from edgechaos.graph.kinds.conv import Conv
from edgechaos.graph.kinds.lut import Lut
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from edgechaos.graph.kinds.topk import TopK
from edgechaos.graph.tokenizer import Text
from edgechaos.models.base import Model
from edgechaos.models.chaosnet import ChaosNet
from edgechaos.models.chaosnet_config import config_for
from edgechaos.models.dlm import Dlm, DlmConfig
from edgechaos.models.evaluate import evaluate_under
from edgechaos.models.plain import PlainConfig, PlainNet
from edgechaos.models.tnn import Tnn, TnnConfig
from edgechaos.quantize.fake_quant import FakeQuantModel
from edgechaos.quantize.lower import lower
from edgechaos.quantize.pipeline import fake_quantized, quantize, to_graph
from edgechaos.support.errors import DataError, GraphError, UnsupportedError
from edgechaos.train.fit import Recipe, train
from tests.helpers.exactness import assert_integers_equal, assert_training_computes_the_same
from tests.helpers.paired import assert_loses_at_most

pytestmark = pytest.mark.trains

DIGITS = data.load("digits8x8")
COMMON: dict[str, Any] = {"inputs": 64, "classes": DIGITS.classes, "mean": DIGITS.mean, "std": DIGITS.std}
CHANCE = 1.2
"""An accuracy of so many times that of guessing."""
SPORTS, TRADE = ("ball", "goal", "team", "match"), ("bank", "share", "price", "market")


@cache
def texts() -> Dataset:
    """Texts of two topics, some empty, with words that the vocabulary has not."""
    rng = np.random.default_rng(0)

    def text(label: int) -> str:
        words = (SPORTS, TRADE)[label] + ("the", "of", f"rare{rng.integers(1000)}")
        return " ".join(rng.choice(words, rng.integers(3, 12)))

    labels = rng.integers(0, 2, 400)
    said = tuple(text(label) if i % 50 else "" for i, label in enumerate(labels))
    vocabulary = Text((*SPORTS, *TRADE, "the", "of"))
    ids = vocabulary.ids(said, 8)
    split = (ids[:300], labels[:300], ids[300:], labels[300:])
    return Dataset("texts", *split, ("sports", "trade"), (0.0,), (1.0,), "test", "none", vocabulary, (said[:300], said[300:]))


def chaos(known: Dataset = DIGITS, **options: Any) -> ChaosNet:
    return ChaosNet(config_for(known, hidden=(32,), ticks=5, noise_std=0.0, threshold=0.2, **options))


FAMILIES: dict[str, Any] = {
    "vision": lambda: chaos(front="vision", channels=(4, 6)),
    "vision, average": lambda: chaos(front="vision", channels=(8, 12), average=True),
    "vision, stateful": lambda: chaos(front="vision", channels=(4, 6), mode="stateful"),
    "language": lambda: chaos(texts()),
    "dlm": lambda: Dlm(DlmConfig(hidden=(32, 24), temperature=1.0, **COMMON)),
    "tnn": lambda: Tnn(TnnConfig(hidden=(48, 32), sparsity=0.25, **COMMON)),
    "mlp": lambda: PlainNet(PlainConfig(hidden=(32,), dropout=0.2, noise_std=0.1, **COMMON)),
    "mlp, residual": lambda: PlainNet(PlainConfig(hidden=(24, 24, 24), residual=True, dropout=0.1, **COMMON)),
    "cnn, residual": lambda: PlainNet(PlainConfig(channels=(4, 4), residual=True, image=(1, 8, 8), **COMMON)),
    "cnn": lambda: PlainNet(PlainConfig(channels=(4, 6), image=(1, 8, 8), **COMMON)),
}


def data_of(family: str) -> Dataset:
    return texts() if family == "language" else DIGITS


@cache
def trained(family: str) -> Model:
    torch.manual_seed(1)
    model: Model = FAMILIES[family]()
    rate = 1e-2 if family in ("language", "mlp") else 5e-3
    return train(model, data_of(family), Recipe(epochs=8, learning_rate=rate, weight_decay=0.01, omission=0.2, seed=1))


def right(graph: IntegerGraph, known: Dataset) -> NDArray[np.bool_]:
    return reference.run(graph, reference.encode(graph, known.test_items)).labels == known.test_labels


@pytest.mark.parametrize("family", FAMILIES)
def test_int8_stays_near_float(family: str) -> None:
    model, known = trained(family), data_of(family)
    graph = quantize(model, known, method="ptq", per_channel=True)
    floats = evaluate_under(model, known.test_items).argmax(axis=1) == known.test_labels
    assert floats.mean() > CHANCE * len(known.classes) ** -1, "a network that guesses says nothing of rounding"
    assert_loses_at_most(floats, right(graph, known), 0.005, family)
    assert artifact.content_hash(artifact.from_bytes(artifact.to_bytes(graph))) == artifact.content_hash(graph)
    assert graph.metadata["family"] == model.family


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_integers_equal_the_fake_quantized_floats(family: str, bits: int) -> None:
    """A DLM at temperature 0: its noise has a test of its own."""
    described, known = trained(family).describe(), data_of(family)
    cold = replace(described, nodes=tuple(replace(n, temperature=0.0) if isinstance(n, Thermal) else n for n in described.nodes))
    fake = fake_quantized(cold, known, method="ptq", per_channel=bits == 4, epochs=0, weight_bits=bits)
    graph = to_graph(fake, known, "ticks", {})
    assert {c.bits for name, c in graph.constants.items() if name.endswith("_weight")} == {bits}
    codes = reference.encode(graph, known.test_items[:100])
    assert_integers_equal(graph, fake, codes)
    assert_training_computes_the_same(fake, codes)


def test_fine_tuning_recovers_what_ternary_weights_lose() -> None:
    model = trained("mlp")
    before, after = (quantize(model, DIGITS, method=method, epochs=4, weight_bits=2) for method in ("ptq", "qat"))  # type: ignore[arg-type]
    assert_loses_at_most(right(before, DIGITS), right(after, DIGITS), 0.0)
    assert (right(after, DIGITS) != right(before, DIGITS)).any()


def test_weight_widths_mix_by_node() -> None:
    graph = quantize(trained("mlp"), DIGITS, method="ptq", weight_bits={"fc1": 4})
    assert [graph.constants[f"{name}_weight"].bits for name in ("fc1", "logits")] == [4, 8]
    assert graph.metadata["quantization"]["weight_bits"] == {"fc1": 4}
    graph = quantize(trained("mlp"), DIGITS, method="ptq", weight_bits={"*": 2, "logits": 8})
    assert [graph.constants[f"{name}_weight"].bits for name in ("fc1", "logits")] == [2, 8]


def test_graphs_are_what_the_rules_ask_for() -> None:
    graphs = {family: quantize(trained(family), data_of(family), method="ptq") for family in ("vision", "language", "tnn", "dlm")}
    vision = graphs["vision"]
    assert [type(n) for n in vision.nodes[:2]] == [Lut, Conv], "a convolution pads normalized codes: the table comes first"
    assert (vision.nodes[0].input, vision.tensors["input"].shape) == ("input", (1, 8, 8))
    assert isinstance(vision.nodes[-3], ChaosLayer)
    assert graphs["language"].head().encoding.text == texts().text
    assert graphs["language"].tensors["input"].dtype == "uint16"
    assert [n.k for n in graphs["tnn"].nodes if isinstance(n, TopK)] == [12, 8]
    assert [n.stream for n in graphs["dlm"].nodes if isinstance(n, ThermalNoise)] == [0, 1, 2]


def test_thermal_noise_has_the_deviation_of_the_float_model() -> None:
    model = trained("dlm")
    graph = quantize(model, DIGITS, method="ptq")
    first = next(n for n in graph.nodes if isinstance(n, ThermalNoise))
    codes = np.repeat(reference.encode(graph, DIGITS.test_items[:1]), 4000, axis=0)
    run = reference.run(graph, codes, keep=(first.input, first.output))
    noise = (run.tensors[first.output] - run.tensors[first.input]) * float(graph.tensors[first.output].scale or 0.0)
    expected = 0.01 * np.linalg.norm(model.preprocess(DIGITS.test_items[:1]).numpy())
    np.testing.assert_allclose(noise.std(), expected, rtol=0.03)


def test_batch_normalization_folds_exactly() -> None:
    model = trained("vision")
    folded = passes.fold(model.describe())
    conv = next(n for n in folded.nodes if n.name == "conv0")
    assert isinstance(model, ChaosNet)
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = model.feature_extractor[:2](x)
        weight, bias = (torch.from_numpy(getattr(conv, f)).float() for f in ("weight", "bias"))
        np.testing.assert_allclose(torch.nn.functional.conv2d(x, weight, bias, padding=1).numpy(), wanted.numpy(), atol=1e-5)


def test_signs_of_recurrent_rows_are_kept_where_asked() -> None:
    torch.manual_seed(0)
    model = ChaosNet(config_for(DIGITS, hidden=(20, 16), ticks=3, threshold=0.2, signed=True))
    started = model.cortex.chain()[0].recurrent.weight.detach().clone()
    train(model, DIGITS, Recipe(epochs=2, learning_rate=1e-2, omission=0.2))
    weight = model.cortex.chain()[0].recurrent.weight.detach()
    assert not torch.equal(weight, started)
    assert bool((weight[:16] >= 0).all())
    assert bool((weight[16:] <= 0).all())


def test_training_has_the_dynamics_of_its_family() -> None:
    dlm, tnn = trained("dlm"), trained("tnn")
    assert isinstance(dlm, Dlm)
    assert isinstance(tnn, Tnn)
    layer, sparse = dlm.chain()[0], tnn.chain()[0]
    assert float(layer.weight_velocity.abs().max()) > 0
    assert float(layer.input_current.min()) > 0
    assert float(layer.local_entropy_production) > 0
    assert 0 < float(sparse.consolidation.max()) <= 1
    assert 0.1 <= float(sparse.gain.min()) < 1 < float(sparse.gain.max()) <= 10
    before = float(sparse.weight.detach().abs().sum())
    tnn_copy = Tnn(tnn.config)
    tnn_copy.load_state_dict(tnn.state_dict())
    tnn_copy.sleep()
    assert float(tnn_copy.chain()[0].weight.detach().abs().sum()) < before


@pytest.mark.parametrize(
    ("bits", "message"),
    [({"cortex9": 4}, "no node 'cortex9' has weights; use fc1, logits"), (3, "3 bits of 'fc1' cannot be stored; use 8, 4")],
)
def test_impossible_weight_widths_are_refused(bits: Any, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        quantize(trained("mlp"), DIGITS, weight_bits=bits)


def test_what_has_no_integer_form_is_refused_by_node() -> None:
    described = trained("mlp").describe()
    nodes = tuple(Gelu(n.name, n.input) if isinstance(n, Relu) else n for n in described.nodes)
    doubled = replace(described, nodes=(*nodes[:3], Relu("again", "fc1_relu"), replace(nodes[3], input="again")))
    with pytest.raises(UnsupportedError, match="'again': Relu has no integer form after Gelu 'fc1_relu'"):
        lower(FakeQuantModel(passes.fold(doubled), per_channel=False), {}, "ticks", {})
    bare = replace(described, nodes=(*described.nodes[:2], replace(described.nodes[3], input="fc1")))
    with pytest.raises(GraphError, match="'logits': a readout reads spikes or an activation, not 'fc1'"):
        bare.validate()


def test_texts_are_tokenized_anew_for_a_models_vocabulary() -> None:
    other = Text(("market", "goal"))
    again = texts().tokenized(other, 4)
    np.testing.assert_array_equal(again.train_items, other.ids(texts().texts[0], 4))
    assert again.content_hash != texts().content_hash
    with pytest.raises(DataError, match="'digits8x8' has no texts"):
        DIGITS.tokenized(other, 4)
