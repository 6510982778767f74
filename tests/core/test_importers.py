"""Import of published checkpoints: goldens, freshly made ones of other sizes, open questions, damaged and hostile files."""

from __future__ import annotations

import json
import math
import os
import pickle
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgechaos.graph.tokenizer import Text
from edgechaos.models import architecture, checkpoint, importers
from edgechaos.models.base import Model
from edgechaos.models.chaosnet import ChaosNet
from edgechaos.models.chaosnet_config import ChaosNetConfig
from edgechaos.models.dlm import Dlm, DlmConfig
from edgechaos.models.importers import load_published, read_vocabulary
from edgechaos.models.plain import PlainConfig, PlainNet
from edgechaos.models.sequential import SequentialConfig, SequentialNet
from edgechaos.models.spiking import Conditions
from edgechaos.models.tnn import Tnn, TnnConfig
from edgechaos.support.errors import ArtifactError, ConfigError, EdgeChaosError
from tests.helpers.published import CHECKPOINTS, PUBLISHED

if CHECKPOINTS.is_dir():  # the published weights are not part of the project: $EDGECHAOS_CHECKPOINTS says where they are

    @pytest.mark.parametrize("name", PUBLISHED)
    def test_published_checkpoints_give_their_published_spikes_and_logits(name: str) -> None:
        model = load_published(CHECKPOINTS / f"{name}.pt", **PUBLISHED[name])
        golden_file = next((CHECKPOINTS / "golden").glob(f"{name}*.npz"))
        with np.load(golden_file, allow_pickle=False) as golden, torch.inference_mode():
            x = torch.from_numpy(golden["input"]).flatten(1)
            conditions = Conditions(0, torch.arange(len(x)))
            np.testing.assert_allclose(model(x, conditions).numpy(), golden["logits"], atol=1e-4)
            if isinstance(model, ChaosNet):
                np.testing.assert_array_equal(model.spikes(x, conditions)[-1].numpy(), golden["spikes"].transpose(1, 0, 2))


WORDS = Text(tuple(f"w{i}" for i in range(30)))
NAMES = ("a", "b", "c")
NEURON: dict[str, Any] = {"mode": "stateful", "ticks": 4, "fail_prob": 0.25}
FRESH: dict[str, tuple[Model, dict[str, Any]]] = {
    "pixels, two layers": (
        ChaosNet(ChaosNetConfig(inputs=20, classes=NAMES, hidden=(7, 5), **NEURON)),
        {"normalization": "none", **NEURON},
    ),
    "vision": (
        ChaosNet(
            ChaosNetConfig(
                inputs=432, classes=NAMES, hidden=(9,), front="vision", image=(3, 12, 12), channels=(4, 6), embed=5,
                mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), **NEURON,
            )
        ),
        {"image": (12, 12), "mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7), **NEURON},
    ),
    "vision, average": (
        ChaosNet(
            ChaosNetConfig(inputs=120, classes=NAMES, front="vision", image=(1, 10, 12), channels=(4, 6), average=True, embed=5, **NEURON)
        ),
        {"image": (10, 12), "normalization": "none", **NEURON},
    ),
    "language": (
        ChaosNet(ChaosNetConfig(inputs=6, classes=NAMES, hidden=(9,), front="language", text=WORDS, embed=5, **NEURON)),
        {"text": WORDS, "length": 6, **NEURON},
    ),
    "pixels, parallel": (
        ChaosNet(ChaosNetConfig(inputs=49, classes=("no", "yes"), hidden=(40,), ticks=15, mode="parallel")),
        {"mode": "parallel", "ticks": 15, "fail_prob": 0.0, "normalization": "none"},
    ),
    "pixels, neurons of another kind": (
        ChaosNet(
            ChaosNetConfig(
                inputs=20, classes=NAMES, hidden=(9, 8, 7), threshold=0.3, noise_std=0.2, decay=0.1, refractory_decay=0.6, **NEURON
            )
        ),
        {"normalization": "none", "threshold": 0.3, "noise_std": 0.2, "decay": 0.1, "refractory_decay": 0.6, **NEURON},
    ),
    "vision, one convolution": (
        ChaosNet(
            ChaosNetConfig(
                inputs=70, classes=NAMES, hidden=(6, 5), front="vision", image=(1, 7, 10), channels=(3,), embed=4,
                ticks=1, mode="parallel", mean=(0.1307,), std=(0.3081,),
            )
        ),
        {"image": (7, 10), "normalization": "mnist", "mode": "parallel", "ticks": 1, "fail_prob": 0.0},
    ),
    "vision, three convolutions": (
        ChaosNet(
            ChaosNetConfig(
                inputs=768, classes=tuple("abcdefg"), front="vision", image=(3, 16, 16), channels=(2, 3, 4), embed=5,
                mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616), **NEURON,
            )
        ),
        {"image": (16, 16), "normalization": "cifar10", **NEURON},
    ),
    "language, two layers": (
        ChaosNet(ChaosNetConfig(inputs=9, classes=NAMES, hidden=(9, 4), ticks=2, front="language", text=WORDS, embed=7)),
        {"text": WORDS, "length": 9, "mode": "parallel", "ticks": 2, "fail_prob": 0.0},
    ),
    "tnn, one winner": (Tnn(TnnConfig(inputs=12, classes=("a", "b"), hidden=(40,), sparsity=0.01)), {
        "normalization": "none", "sparsity": 0.01,
    }),
    "dlm, one hidden layer": (
        Dlm(DlmConfig(inputs=12, classes=("a", "b"), hidden=(6,), temperature=0.0, current_strength=0.5)),
        {"normalization": "none", "current_strength": 0.5, "temperature": 0.0},
    ),
    "mlp, one hidden layer": (
        PlainNet(PlainConfig(inputs=12, classes=("a", "b"), hidden=(6,))),
        {"architecture": "linear, relu, linear", "normalization": "none"},
    ),
    "cnn, colors": (
        PlainNet(PlainConfig(inputs=432, classes=("a", "b"), channels=(2, 3), image=(3, 12, 12))),
        {"architecture": "plain", "mean": (0.0,), "std": (1.0,), "image": (12, 12)},
    ),
    "tnn": (Tnn(TnnConfig(inputs=20, classes=NAMES, hidden=(9, 8), sparsity=0.3)), {"normalization": "none", "sparsity": 0.3}),
    "dlm": (
        Dlm(DlmConfig(inputs=20, classes=NAMES, hidden=(9, 8), temperature=2.0)),
        {"normalization": "none", "current_strength": 0.1, "temperature": 2.0},
    ),
    "mlp": (PlainNet(PlainConfig(inputs=20, classes=NAMES, hidden=(9, 8))), {"architecture": "plain", "normalization": "none"}),
    "cnn": (
        PlainNet(PlainConfig(inputs=130, classes=NAMES, channels=(4,), image=(1, 10, 13))),
        {"architecture": "Conv2d(3, padding=1) ReLU MaxPool2d(2) Flatten Linear", "normalization": "none", "image": (10, 13)},
    ),
}  # fmt: skip


SEQUENTIAL: dict[str, tuple[dict[str, Any], str]] = {
    "strides": (
        {"channels": (3, 4), "image": (1, 9, 12), "hidden": (5,)},
        "conv(kernel=3x2, stride=2x1, pad=1x0) relu conv(2, stride=2) relu linear gelu linear",
    ),
    "pools": (
        {"channels": (3,), "image": (2, 9, 12)},
        "conv(kernel=3x3, stride=1x1, pad=0x0) relu maxpool(3, stride=2) avgpool(kernel=2) linear",
    ),
    "gelu": ({"hidden": (6, 5)}, "linear gelu linear relu linear"),
    "residual": (
        {"channels": (3, 3, 3), "image": (3, 5, 4), "hidden": (5, 5)},
        "conv(kernel=3x3, pad=1) add(1) relu conv(kernel=1x1) relu conv(kernel=3x3, pad=1) add(3) maxpool(2, stride=1) "
        "linear gelu add(1) linear add(1) relu linear",
    ),
}  # fmt: skip


def sequential(name: str) -> tuple[SequentialNet, dict[str, Any]]:
    """A network of another form than `plain`, and the answers that import it."""
    about, written = SEQUENTIAL[name]
    layers = architecture.parse(written)
    inputs = math.prod(about.get("image", (12,)))
    model = SequentialNet(SequentialConfig(inputs=inputs, classes=NAMES, layers=layers, **about))
    return model, {"architecture": written, "normalization": "none"} | ({"image": about["image"][1:]} if "image" in about else {})


for key in SEQUENTIAL:
    FRESH[key] = sequential(key)


def items(model: Model, count: int = 5) -> np.ndarray:
    rng = np.random.default_rng(0)
    if getattr(model.config, "text", None) is not None:
        return rng.integers(0, 40, (count, model.config.inputs)).astype(np.uint16)
    return rng.integers(0, 256, (count, model.config.inputs), dtype=np.uint8)


def logits(model: Model) -> np.ndarray:
    with torch.inference_mode():
        result: np.ndarray = model.eval()(model.preprocess(items(model)), Conditions(3, torch.arange(5))).numpy()
    return result


@pytest.mark.slow
@pytest.mark.parametrize("name", FRESH)
def test_other_sizes_import_too_and_our_own_checkpoints_keep_them(name: str, tmp_path: Path) -> None:
    model, options = FRESH[name]
    for buffer in model.buffers():  # as training leaves them: velocities, gains, running statistics
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(0))
    torch.save(model.state_dict(), tmp_path / "p.pt")
    imported = load_published(tmp_path / "p.pt", classes=model.config.classes, **options)
    assert imported.config == model.config
    np.testing.assert_array_equal(logits(imported), logits(model))
    checkpoint.save(imported, tmp_path / "own.safetensors")
    loaded = checkpoint.load(tmp_path / "own.safetensors")
    assert (type(loaded), loaded.config) == (type(model), model.config)
    np.testing.assert_array_equal(logits(loaded), logits(model))


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_what_can_fail_in_a_network_of_another_form_is_what_fails_in_its_description(name: str) -> None:
    model = FRESH[name][0]
    assert model.failing_layers() == model.describe().failing_layers()


@pytest.mark.parametrize("name", FRESH)
def test_every_open_question_is_asked_with_its_consequence(name: str, tmp_path: Path) -> None:
    model, options = FRESH[name]
    torch.save(model.state_dict(), tmp_path / "p.pt")
    defaults = {"mean", "std", "text"}
    for key in options.keys() - {"std", *importers.NEURON}:
        left = {k: v for k, v in options.items() if k != key and not (key == "mean" and k == "std")}
        asked = {"mean": "normalization", "text": "vocabulary"}[key] if key in defaults else key
        with pytest.raises(ConfigError, match=rf"do not say {asked}; give:\n  {asked}: \w+") as caught:
            load_published(tmp_path / "p.pt", **left)
        assert caught.value.key == asked


def test_answers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.pt"
    model, options = FRESH["vision"]
    torch.save(model.state_dict(), path)
    for change, message in (
        ({"image": (20, 20)}, "an image of 20 x 20 leaves 150 features, the weights take 54"),
        ({"normalization": "imagenet"}, "unknown normalization 'imagenet'; use mnist"),
        ({"classes": ("a",)}, "1 class names for 3 classes"),
        ({"sparsity": 0.1}, "chaosnet takes no option 'sparsity' here"),
        ({"hidden": (3,)}, "takes no option 'hidden' here"),
        ({"mode": "serial"}, "mode = 'serial', but must be"),
    ):
        with pytest.raises(EdgeChaosError, match=message):
            load_published(path, **{**options, **change})
    model, options = FRESH["language"]
    torch.save(model.state_dict(), path)
    with pytest.raises(ConfigError, match="32 embeddings, but the vocabulary has 4 ids"):
        load_published(path, **{**options, "text": Text(("a", "b"))})


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("linear tanh linear", "'tanh' has no integer form here: train the network with relu or gelu; use conv, linear"),
        ("linear Sigmoid linear", "'Sigmoid' has no integer form here"),
        ("linear relu linear softmax", "'softmax' has no integer form here: leave it out at the end"),
        ("linear rleu linear", "'rleu' is not a layer; use conv, linear, relu, gelu, maxpool, avgpool, add, flatten, dropout, such as"),
        ("linear relu linear relu residual linear", "'residual' has no integer form here: write add\\(n\\) after the n layers"),
        ("linear relu add linear", "'add' needs how many layers before it"),
        ("linear relu add(2x3) linear", "needs how many layers before it"),
        ("linear relu add(0) linear", "has a size that is not in 1..255"),
        ("linear relu linear relu add(5) linear", "'add\\(5\\)' has not so many layers"),
        ("linear relu linear add(2) relu linear", "'add\\(2\\)' has not one shape: \\(9,\\) went in, \\(8,\\) came out"),
        ("linear relu", "has not 1 to 200 layers of which the last is linear"),
        ("", "has not 1 to 200 layers"),
        ("linear; relu", "'; relu' is not a layer"),
        ("linear(3) relu linear", "'linear\\(3\\)' takes no settings"),
        ("linear relu maxpool linear", "'maxpool' needs its window"),
        ("linear relu maxpool(0) linear", "has a size that is not in 1..255"),
        ("linear relu maxpool(2, 2, 2) linear", "takes kernel, stride, each a size such as 3 or 3x5, once"),
        ("linear relu maxpool(2) linear relu linear", "image = .*, but must be"),
        ("linear", "the architecture has 1 times 'linear', the weights have 3"),
        ("relu " * 300, "has not 1 to 200 layers"),
        ("relu" * 100_000, "is too long"),
    ],
)
def test_architectures_that_no_integer_graph_carries_are_refused_by_name(written: str, message: str, tmp_path: Path) -> None:
    torch.save(FRESH["mlp"][0].state_dict(), tmp_path / "p.pt")
    with pytest.raises(ConfigError, match=message):
        load_published(tmp_path / "p.pt", normalization="none", architecture=written)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("plain", "plain leaves 24 features of an image of 9 x 12, the weights take 40: the image or the architecture is another"),
        ("conv(3, stride=2) relu conv relu linear gelu linear", "has weights of 3x2"),
        ("conv(stride=9) relu conv relu linear gelu linear", "finds no window in"),
        ("conv relu linear relu conv relu linear", "takes an image, but a matrix stands before it"),
    ],
)
def test_architectures_that_do_not_fit_the_weights_are_refused(written: str, message: str, tmp_path: Path) -> None:
    model, options = FRESH["strides"]
    torch.save(model.state_dict(), tmp_path / "p.pt")
    with pytest.raises(ConfigError, match=message):
        load_published(tmp_path / "p.pt", **{**options, "architecture": written})


def test_relu_after_a_maxpool_is_relu_before_it_and_a_missing_bias_is_zero(tmp_path: Path) -> None:
    state = {"conv1.weight": torch.randn(2, 1, 3, 3), "fc.weight": torch.randn(3, 8)}
    torch.save(state, tmp_path / "p.pt")
    options: dict[str, Any] = {"normalization": "none", "image": (6, 6)}
    model = load_published(tmp_path / "p.pt", architecture="conv maxpool(2) relu linear", **options)
    x = torch.randn(5, 36)
    expected = torch.nn.functional.conv2d(x.reshape(5, 1, 6, 6), state["conv1.weight"])
    expected = torch.nn.functional.max_pool2d(expected, 2).relu().flatten(1) @ state["fc.weight"].T
    torch.testing.assert_close(model(x, Conditions(0, torch.arange(5))), expected)


class Hostile:
    """Would make a folder when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = str(victim)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.victim,)


def test_damaged_foreign_and_hostile_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.pt"
    model, options = FRESH["vision"]
    state = model.state_dict()
    torch.save(state, path)
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"no archive", pickle.dumps(Hostile(tmp_path / "victim"))):
        path.write_bytes(data)
        with pytest.raises(ArtifactError, match="nothing was executed"):
            load_published(path, **options)
    torch.save({"weights": Hostile(tmp_path / "victim")}, path)
    with pytest.raises(ArtifactError, match="nothing was executed"):
        load_published(path, **options)
    assert not (tmp_path / "victim").exists()
    for changed, message in (
        ({"a": torch.zeros(2), "b": torch.zeros(2)}, "keys a, b, ... belong to no family that is known: ChaosNet has"),
        ({**state, "projection.1.weight": torch.zeros(4)}, r"projection.1.weight is of shape \(4,\), expected 2 dimensions"),
        ({**state, "readout.bias": torch.zeros(9)}, "weights and configuration disagree: .*readout.bias"),
        ({**state, "more": torch.zeros(9)}, "weights and configuration disagree: .*more"),
        ({**state, "readout.bias": torch.full((3,), float("nan"))}, "a weight is not a finite float"),
        ({**state, "readout.bias": torch.full((3,), float("inf"))}, "a weight is not a finite float"),
        ({**state, "readout.bias": torch.zeros(3, dtype=torch.int32)}, "weights and configuration disagree: .*readout.bias"),
        ({k: v for k, v in state.items() if k != "projection.1.bias"}, "weights and configuration disagree: .*projection.1.bias"),
        ({**state, "feature_extractor.4.weight": torch.zeros(6, 5, 3, 3)}, "weights and configuration disagree: .*feature_extractor.4"),
        ({**state, "readout.weight": torch.zeros(0, 9)}, r"readout.weight is of shape \(0, 9\)"),
        ({**state, "cortex.layers.0.input_weights.weight": torch.zeros(9, 7)}, "weights and configuration disagree"),
        ([1, 2], "its pickle holds EMPTY_LIST, which no state_dict needs"),
        ({**state, "epoch": 3}, r"not a state_dict of tensors; save it with torch.save\(model.state_dict"),
    ):
        torch.save(changed, path)
        with pytest.raises(ArtifactError, match=message):
            load_published(path, **options)


def repacked(source: Path, target: Path, change: Callable[[str, bytes], bytes], method: int = zipfile.ZIP_STORED) -> Path:
    """A copy of a saved file, its members changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", method) as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name), change(name, old.read(name)), compress_type=method)
    return target


def test_what_a_file_claims_beyond_what_it_holds_is_never_allocated(tmp_path: Path) -> None:
    """Each claims 4 GB or more in a file of a few kilobytes, and is refused while memory hardly grows."""
    state = dict(FRESH["mlp"][0].state_dict())
    torch.save(state, tmp_path / "p.pt")
    size = state["fc1.bias"].numel()

    def declare(name: str, data: bytes) -> bytes:
        """The pickle says 10^9 where it said how many elements fc1.bias has."""
        if not name.endswith("data.pkl"):
            return data
        assert b"K" + bytes([size]) in data
        return data.replace(b"K" + bytes([size]), b"J" + struct.pack("<i", 10**9))

    torch.save({**state, "fc1.weight": torch.zeros(1).expand(9, 10**9)}, tmp_path / "view.pt")
    torch.save({**state, "fc1.weight": torch.zeros(9, 20).to_sparse()}, tmp_path / "sparse.pt")
    torch.save({**state, "fc1.weight": torch.zeros(9, 10**9, device="meta")}, tmp_path / "meta.pt")
    torch.save({**state, "fc1.weight": torch.zeros(9, 10**6)}, tmp_path / "zeros.pt")
    packed = repacked(tmp_path / "zeros.pt", tmp_path / "packed.pt", lambda name, data: data, zipfile.ZIP_DEFLATED)
    declared = repacked(tmp_path / "p.pt", tmp_path / "declared.pt", declare)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path, message in (
        (tmp_path / "view.pt", r"fc1.weight is no plain tensor: the file does not hold all 9,000,000,000 values"),
        (tmp_path / "sparse.pt", r"it holds torch._utils._rebuild_sparse_tensor, beyond plain tensors"),
        (tmp_path / "meta.pt", r"it holds torch._utils._rebuild_meta_tensor_no_storage, beyond plain tensors"),
        (packed, "not a plain state_dict, or corrupt"),
        (declared, "not a plain state_dict, or corrupt"),
    ):
        with pytest.raises(ArtifactError, match=message):
            load_published(path, normalization="none", architecture="plain")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000, "kilobytes"


def test_vocabularies_are_read_as_published(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    for stored in ({"<unk>": 1, "<pad>": 0, "b": 3, "a": 2}, ["<pad>", "<unk>", "a", "b"]):
        path.write_text(json.dumps(stored))
        assert read_vocabulary(path) == Text(("a", "b"))
    for broken in ("{", "[1, 2, 3]", '{"a": 0, "b": 2, "c": 5}', '["<pad>", "<unk>"]', "3", "[" * 100_000):
        path.write_text(broken)
        with pytest.raises(ConfigError, match="vocabulary"):
            read_vocabulary(path)
