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

ANSWERS = ("--mode", "parallel", "--ticks", "3", "--fail-prob", "0")


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result.output


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
    output = run("import", vision, "--data", "digits8x8", code=1)
    for question in ("mode: tick mode: 'parallel'", "ticks: ", "fail_prob: ", "normalization: ", "image: "):
        assert f"\n  {question}" in output
    assert not vision.with_suffix(".ecm").exists()


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
