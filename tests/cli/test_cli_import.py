"""`edgechaos import`: from a published file to a verified artifact, and the questions that it asks instead of guessing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from edgechaos.cli import main
from edgechaos.data import load
from edgechaos.graph import artifact
from edgechaos.graph.kinds.conv import Conv
from edgechaos.graph.kinds.embedding_bag import EmbeddingBag
from edgechaos.models.chaosnet import ChaosNet
from edgechaos.models.chaosnet_config import config_for
from edgechaos.models.tnn import Tnn, TnnConfig
from edgechaos.quantize.published import import_published
from edgechaos.support.errors import ConfigError, VerificationError

pytestmark = pytest.mark.trains

ANSWERS = ("--mode", "parallel", "--ticks", "3", "--fail-prob", "0")


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(autouse=True)
def data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a user's own data lies is noted there, not in the home of who tests."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))


@pytest.fixture
def vision(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = ChaosNet(config_for(load("digits8x8"), hidden=(8,), front="vision", channels=(2, 3), embed=4))
    torch.save(model.state_dict(), tmp_path / "vision.pt")
    return tmp_path / "vision.pt"


def test_a_published_file_becomes_a_verified_artifact(vision: Path) -> None:
    output = run("import", vision, "--data", "digits8x8", *ANSWERS, "--normalization", "none", "--image", 8, 8, "--weight-bits", 4)
    assert "chaosnet, float" in output
    assert "integers of ONNX Runtime, optimizations off and on, equal the reference's" in output
    graph = artifact.load(vision.with_suffix(".ecm"))
    assert isinstance(graph.nodes[1], Conv)
    assert graph.metadata["training"]["imported"] == "vision.pt"


def test_open_questions_are_listed_with_their_consequence(vision: Path) -> None:
    output = run("import", vision, "--data", "digits8x8", code=2)
    for question in ("mode: tick mode: 'parallel'", "ticks: ", "fail_prob: ", "normalization: ", "image: "):
        assert f"\n  {question}" in output
    assert "threshold = 0.5, noise_std = 0.01, decay = 0.02, refractory_decay = 0.95: these too" in output
    assert not vision.with_suffix(".ecm").exists()


def test_the_neurons_constants_reach_the_artifact(vision: Path) -> None:
    constants = ("--threshold", 0.25, "--noise-std", 0, "--decay", 0.125, "--refractory-decay", 0.75)
    answers = ("--mode", "stateful", "--ticks", 3, "--fail-prob", 0, "--normalization", "none", "--image", 8, 8)
    run("import", vision, "--data", "digits8x8", *answers, *constants, "--no-verify")
    graph = artifact.load(vision.with_suffix(".ecm"))
    (layer,) = graph.chaos_layers()
    assert graph.metadata["float"] == {
        "threshold": 0.25, "noise_std": 0.0, "decay": 0.125, "refractory_decay": 0.75, "fail_prob": 0.0,
    }  # fmt: skip
    assert (layer.decay_q15, layer.refractory_decay_q15) == (2**15 // 8, 3 * 2**15 // 4)


def test_neuron_constants_belong_to_chaosnets(tmp_path: Path) -> None:
    tnn = Tnn(TnnConfig(inputs=64, classes=tuple("0123456789"), hidden=(8,)))
    torch.save(tnn.state_dict(), tmp_path / "tnn.pt")
    output = run("import", tmp_path / "tnn.pt", "--data", "digits8x8", "--normalization", "none", "--sparsity", 0.5, "--decay", 0.1, code=2)
    assert "tnn takes no option 'decay' here" in output
    assert "refractory_decay" not in run("import", tmp_path / "tnn.pt", "--data", "digits8x8", code=2)


def test_a_language_model_is_measured_under_its_own_vocabulary(tmp_path: Path) -> None:
    texts = tmp_path / "mail.csv"
    texts.write_text("text,label\n" + "".join(f"{'buy now' if i % 2 else 'see you'} w{i},{'ab'[i % 2]}\n" for i in range(60)))
    words = tmp_path / "words.json"
    words.write_text('["<pad>", "<unk>", "buy", "see"]')
    model = ChaosNet(config_for(load(str(texts)), hidden=(8,), embed=4))
    state = model.state_dict()
    state["embedding.weight"] = state["embedding.weight"][:4]
    torch.save(state, tmp_path / "mail.pt")
    run("import", tmp_path / "mail.pt", "--data", texts, *ANSWERS, "--length", 5, "--vocabulary", words, "-o", tmp_path / "mail.ecm")
    graph = artifact.load(tmp_path / "mail.ecm")
    text = graph.head().encoding.text
    assert isinstance(graph.nodes[0], EmbeddingBag)
    assert text is not None
    assert (text.vocabulary, graph.tensors["input"].shape) == (("buy", "see"), (5,))


@pytest.fixture
def strided(tmp_path: Path) -> Path:
    """A convolution of stride 2 whose keys and shapes are those of a plain CNN, and a data set that it knows by heart."""
    torch.manual_seed(0)
    convolution, matrix = torch.nn.Conv2d(1, 6, 3, stride=2, padding=1), torch.nn.Linear(96, 4)
    items = np.random.default_rng(0).integers(0, 256, (600, 8, 8), np.uint8)
    with torch.no_grad():
        matrix.bias.zero_()
        features = convolution(torch.from_numpy(items[:, None] / 255).float()).relu().flatten(1)
        matrix.weight -= matrix.weight @ features.mean(0)[:, None] * features.mean(0) / features.mean(0).square().sum()
        labels = matrix(features).argmax(1).numpy()
    state = {f"{name}.{k}": v for name, module in (("conv1", convolution), ("fc", matrix)) for k, v in module.state_dict().items()}
    torch.save(state, tmp_path / "strided.pt")
    np.savez(tmp_path / "known.npz", items=items, labels=labels)
    return tmp_path / "strided.pt"


def test_a_plain_network_of_another_form_is_not_guessed(strided: Path) -> None:
    about = ("--data", strided.with_name("known.npz"), "--normalization", "none", "--image", 8, 8)
    output = run("import", strided, *about, code=2)
    assert "\n  architecture: the layers in order, such as 'conv(stride=2, pad=1) relu" in output
    output = run("import", strided, *about, "--expect-accuracy", 100, "--tolerance", 20, code=1)
    assert re.search(r"float accuracy [0-9.]+% on 120 test items, expected 100.00%, less 20 points at most: the architecture", output)
    assert not strided.with_suffix(".ecm").exists()
    written = "conv(stride=2, pad=1) relu linear"
    output = run("import", strided, *about, "--architecture", written, "--expect-accuracy", 100, "--tolerance", 20)
    assert "sequential, float 100.00%" in output
    assert "equal the reference's" in output
    graph = artifact.load(strided.with_suffix(".ecm"))
    assert graph.metadata["architecture"] == "conv(kernel=3x3, stride=2x2, pad=1x1) relu linear"
    assert [node.stride for node in graph.nodes if isinstance(node, Conv)] == [(2, 2)]


def test_integers_that_lose_too_much_are_refused(strided: Path) -> None:
    about = ("--data", strided.with_name("known.npz"), "--normalization", "none", "--image", 8, 8, "--weight-bits", 2)
    output = run(
        "import", strided, *about, "--architecture", "conv(stride=2, pad=1) relu linear", "--expect-accuracy", 100, "--tolerance", 0, code=1
    )
    assert re.search(r"integer accuracy [0-9.]+% on 120 test items, expected 100.00%, less 0 points at most: quantization costs", output)
    assert not strided.with_suffix(".ecm").exists()


def test_an_activation_without_integer_form_is_refused_by_name(strided: Path) -> None:
    about = ("--data", strided.with_name("known.npz"), "--normalization", "none", "--image", 8, 8)
    assert "'tanh' has no integer form here" in run("import", strided, *about, "--architecture", "conv tanh linear", code=2)
    assert "--tolerance" in run("import", strided, *about, "--tolerance", 1, code=2)
    run("import", strided, *about, "--expect-accuracy", 0.975, code=2)  # percent, not a share


def test_import_from_python(strided: Path) -> None:
    data = load(str(strided.with_name("known.npz")))
    answers: dict[str, Any] = {"normalization": "none", "image": (8, 8)}
    with pytest.raises(VerificationError, match="float accuracy"):
        import_published(strided, data, expect_accuracy=1.0, tolerance=0.2, **answers)
    for wrong in ({"expect_accuracy": 97.5}, {"expect_accuracy": 0.9, "tolerance": -1}):
        with pytest.raises(ConfigError, match="both are shares"):
            import_published(strided, data, **{**answers, **wrong})
    answers["architecture"] = "conv(stride=2, pad=1) relu linear"
    graph, _ = import_published(strided, data, expect_accuracy=1.0, tolerance=0.2, **answers)
    assert graph.metadata["accuracy"]["float"] == 1.0
