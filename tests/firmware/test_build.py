"""Every kind of model from the command line: trained, quantized at every width, as small as can be; refusals by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from edgechaos import data
from edgechaos.cli import main
from edgechaos.graph import artifact
from edgechaos.models.build import KINDS, build
from edgechaos.support.errors import ConfigError, DataError

pytestmark = pytest.mark.trains

DIGITS = data.load("digits8x8")


def run(*arguments: object) -> str:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_trains_and_quantizes(kind: str, tmp_path: Path) -> None:
    texts = tmp_path / "mail.csv"
    texts.write_text("text,label\n" + "".join(f"{'buy now' if i % 2 else 'see you'} w{i},{'ab'[i % 2]}\n" for i in range(60)))
    known = texts if kind == "language" else "digits8x8"
    sizes = ("--channels", 3, "--channels", 4) if kind == "cnn" else ("--hidden", 12)
    checkpoint, model = tmp_path / "model.safetensors", tmp_path / "model.ecm"
    assert "float accuracy" in run("train", "--data", known, "--model", kind, *sizes, "--epochs", 1, "-o", checkpoint)
    assert "int4" in run("quantize", checkpoint, "--data", known, "--method", "ptq", "--weight-bits", 4, "-o", model)
    graph = artifact.load(model)
    assert {c.bits for name, c in graph.constants.items() if name.endswith("_weight")} == {4}
    assert graph.metadata["training"]["recipe"]["epochs"] == 1


def test_what_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"no model is called 'rnn', did you mean 'tnn'\?; there are pixels, vision"):
        build("rnn", DIGITS)
    with pytest.raises(ConfigError, match="model 'tnn' has no option 'ticks'"):
        build("tnn", DIGITS, ticks=3)
    with pytest.raises(DataError, match="'digits8x8' holds images, which model 'language' does not read"):
        build("language", DIGITS)
    with pytest.raises(ConfigError, match="sparsity = 2"):
        build("tnn", DIGITS, sparsity=2)
