"""`edgechaos import`: from a published file to a verified artifact, and the questions that it asks instead of guessing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from edgechaos import artifact
from edgechaos.cli import main
from edgechaos.data import load
from edgechaos.graph import Conv, EmbeddingBag
from edgechaos.models.chaosnet import ChaosNet, config_for
from edgechaos.models.tnn import Tnn, TnnConfig

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
