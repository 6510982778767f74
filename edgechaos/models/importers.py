"""Published checkpoints: which family a state_dict is, by its keys and shapes, and a model of it.

Nothing is guessed: an option that is missing is an error that lists the choices and what each means. Keys and programs: ChaosNet,
DLM and TNN, as published.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from edgechaos.graph.tokenizer import FIRST_WORD, Text
from edgechaos.models import architecture
from edgechaos.models.base import Model
from edgechaos.models.chaosnet import ChaosNet
from edgechaos.models.chaosnet_config import ChaosNetConfig
from edgechaos.models.checkpoint import MAX_LAYERS, assemble
from edgechaos.models.dlm import Dlm, DlmConfig
from edgechaos.models.plain import PlainConfig, PlainNet
from edgechaos.models.sequential import SequentialConfig, SequentialNet
from edgechaos.models.state_dict import read_state_dict
from edgechaos.models.tnn import Tnn, TnnConfig
from edgechaos.support.errors import ArtifactError, ConfigError
from edgechaos.support.files import read_file

State = Mapping[str, Tensor]
CORTEX = "cortex.layers.{}.input_weights.weight"
NORMALIZATIONS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = MappingProxyType(
    {
        "mnist": ((0.1307,), (0.3081,)),
        "fashion": ((0.2860,), (0.3530,)),
        "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        "none": ((0.0,), (1.0,)),
    }
)
"""(mean, std) of the pixels / 255 per channel; EMNIST is normalized as MNIST."""
QUESTIONS: Mapping[str, str] = MappingProxyType(
    {
        "mode": "tick mode: 'parallel' (every tick starts from zero state; the published MNIST, language, 1K and 21K programs) or "
        "'stateful' (membranes carry over from tick to tick; the published 5K program); the keys are the same and the wrong one "
        "costs accuracy without an error",
        "ticks": "ticks per inference, 1..127 (published: 5 for MNIST 784-512-10, 10 or 15 else): the readout divides by it",
        "fail_prob": "the spike loss that the program keeps at evaluation, 0..1: 0 measures the clean network, the published "
        "evaluations name the one they use",
        "architecture": f"the layers in order, such as 'conv(stride=2, pad=1) relu conv(pad=1) relu maxpool(2) linear relu linear' (words: "
        f"{', '.join(architecture.WORDS)}; sizes are in the weights), or '{architecture.PLAIN}' (relu after every layer but the last; "
        "every convolution padded by 1, maxpool(2) after its relu): keys and shapes are the same, and the wrong one costs accuracy "
        "without an error; or an expected accuracy, against which the plain form is measured",
        "normalization": f"normalization of the pixels: {', '.join(NORMALIZATIONS)} (EMNIST: mnist), or mean and std: weights fit one only",
        "image": "height and width of the image, such as 28 28: pooled features of 28x28, 30x30 and 56x14 images have the same size",
        "vocabulary": "the vocabulary, a JSON file {word: id} or [word, ...] with ids 0 for padding and 1 for unknown: without it "
        "ids have no meaning",
        "length": "tokens per text (published: 128 for AG News, 256 for IMDB): what is beyond is cut",
        "sparsity": "the share of winners of each TNN layer (published: 0.05, 0.01): weights fit one only",
        "current_strength": "the share of the DLM's velocity that acts (published: 0.1)",
        "temperature": "the DLM's temperature at inference (0: no noise; published: 0.1)",
    }
)
"""What weights do not say, and what an answer means."""
NEURON = ("threshold", "noise_std", "decay", "refractory_decay")
"""Constants of a ChaosNet's neurons that weights do not say either, but that all published programs share."""


def load_published(path: str | os.PathLike[str], *, assume_plain: bool = False, **options: Any) -> Model:
    """The model of a published checkpoint, ready to evaluate; `edgechaos.quantize.published` goes on to integers.

    options: what the weights do not say (QUESTIONS), `classes` (names; by default 0, 1, ...), and the fields of the family's
    configuration that have a default. assume_plain: take an `architecture` that is not given for 'plain', for who measures the accuracy
    afterwards and knows what it must be. Raises ArtifactError for a file that is damaged, foreign or hostile, ConfigError with every
    question that is open or an option that the family does not have.
    """
    place = os.fspath(path)
    state = read_state_dict(path)
    importer = recognize(state, place)
    assumed = {"architecture": architecture.PLAIN} if assume_plain and importer is _plain else {}
    return importer(state, place, {**assumed, **options})


def recognize(state: State, place: str) -> Callable[[State, str, dict[str, Any]], Model]:
    """The importer of a state_dict. Raises ArtifactError that names the families there are."""
    for keys, importer in _FAMILIES:
        if all(key in state for key in keys):
            return importer
    found = ", ".join(sorted(state)[:4])
    raise ArtifactError(
        f"{place}: keys {found}, ... belong to no family that is known: ChaosNet has {CORTEX.format(0)}, DLM layers.0.weight_velocity, "
        "TNN layers.0.gain, a plain network fc1.weight or conv1.weight",
        place,
    )


def read_vocabulary(path: str | os.PathLike[str]) -> Text:
    r"""The vocabulary of a published language model, tokens `\w+` in lower case. Raises ConfigError where it is malformed."""
    data = read_file(path, "vocabulary", limit=1 << 26)
    try:
        stored = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"vocabulary {os.fspath(path)} is not JSON: {error}", "vocabulary") from error
    if isinstance(stored, dict) and all(type(i) is int for i in stored.values()):
        words = sorted(stored, key=lambda word: stored[word])
        good = [stored[word] for word in words] == list(range(len(words)))
    else:
        words, good = stored, isinstance(stored, list) and all(isinstance(word, str) for word in stored)
    if not good or len(words) <= FIRST_WORD:
        raise ConfigError(f"vocabulary {os.fspath(path)}: expected {{word: id}} with ids 0, 1, 2, ... or a list of words", "vocabulary")
    return Text(tuple(words[FIRST_WORD:]))


def _chaosnet(state: State, place: str, options: dict[str, Any]) -> Model:
    layers = _chain(state, CORTEX, place)
    facts: dict[str, Any] = {"hidden": tuple(len(w) for w in layers), "inputs": layers[0].shape[1]}
    asked = ["mode", "ticks", "fail_prob"]
    if "embedding.weight" in state:
        facts |= {"front": "language", "embed": layers[0].shape[1]}
        _ask(place, options, [*asked, "vocabulary", "length"])
        facts |= {"text": _text(options, len(state["embedding.weight"]), place), "inputs": options.pop("length")}
        options.pop("vocabulary", None)
    elif "feature_extractor.0.weight" in state:
        convolutions = [f"feature_extractor.{4 * k}.weight" for k in range(MAX_LAYERS)]
        weights = [_matrix(state, name, 4, place) for name in convolutions if name in state]
        projected = _matrix(state, "projection.1.weight", 2, place)
        channels = tuple(len(w) for w in weights)
        average = projected.shape[1] == channels[-1]
        _ask(place, options, [*asked, "normalization", "image"])
        image = (weights[0].shape[1], *_image(options, None if average else projected.shape[1], channels, place))
        facts |= {"front": "vision", "image": image, "channels": channels, "average": average}
        facts |= {"embed": len(projected), "inputs": math.prod(image)}
    else:
        _ask(place, options, [*asked, "normalization"])
    return _built(ChaosNet, ChaosNetConfig, facts, state, place, options, "readout.weight")


def _dlm(state: State, place: str, options: dict[str, Any]) -> Model:
    layers = _chain(state, "layers.{}.weight", place)
    _ask(place, options, ["normalization", "current_strength", "temperature"])
    facts = {"inputs": layers[0].shape[1], "hidden": tuple(len(w) for w in layers[:-1])}
    return _built(Dlm, DlmConfig, facts, state, place, options, f"layers.{len(layers) - 1}.weight")


def _tnn(state: State, place: str, options: dict[str, Any]) -> Model:
    layers = _chain(state, "layers.{}.weight", place)
    _ask(place, options, ["normalization", "sparsity"])
    facts = {"inputs": layers[0].shape[1], "hidden": tuple(len(w) for w in layers[:-1])}
    return _built(Tnn, TnnConfig, facts, state, place, options, f"layers.{len(layers) - 1}.weight")


def _plain(state: State, place: str, options: dict[str, Any]) -> Model:
    convolutions = {name: _matrix(state, name, 4, place) for name in _numbered(state, "conv")}
    last = ["fc.weight"] if "fc.weight" in state else _numbered(state, "fc")
    matrices = {name: _matrix(state, name, 2, place) for name in last}
    _ask(place, options, ["architecture", "normalization", *(["image"] if convolutions else [])])
    plain = architecture.plain(len(convolutions), len(matrices))
    written = str(options.pop("architecture"))
    layers = plain if written == architecture.PLAIN else architecture.parse(written)
    for kind, weights in (("conv", convolutions), ("linear", matrices)):
        count = sum(layer.kind == kind for layer in layers)
        if count != len(weights):
            raise ConfigError(f"{place}: the architecture has {count} times '{kind}', the weights have {len(weights)}", "architecture")
    layers = architecture.with_kernels(layers, [(w.shape[2], w.shape[3]) for w in convolutions.values()])
    first = next(iter(matrices.values()))
    facts: dict[str, Any] = {"inputs": first.shape[1], "channels": tuple(len(w) for w in convolutions.values())}
    if convolutions:
        image = (next(iter(convolutions.values())).shape[1], *map(int, options.pop("image")))
        facts |= {"inputs": math.prod(image), "image": image}
    hidden = tuple(len(w) for w in list(matrices.values())[:-1])
    # Neither classes nor normalization are known yet, and shapes do not depend on them.
    shapes = SequentialConfig(classes=("",) * len(matrices[last[-1]]), layers=layers, hidden=hidden, **facts).check().steps()
    features = next(step.before for step in shapes if step.layer.kind == "linear")
    if features != first.shape[1]:
        raise ConfigError(
            f"{place}: {written} leaves {features} features of an image of {image[1]} x {image[2]}, the weights take {first.shape[1]}: "
            "the image or the architecture is another",
            "architecture",
        )
    if layers == architecture.with_kernels(plain, [(3, 3)] * len(convolutions)) and (not convolutions or not hidden):
        return _built(PlainNet, PlainConfig, facts | ({} if convolutions else {"hidden": hidden}), state, place, options, last[-1])
    without_bias = {name.replace("weight", "bias"): len(weight) for name, weight in (convolutions | matrices).items()}
    zeros = {name: torch.zeros(count) for name, count in without_bias.items() if name not in state}
    facts |= {"layers": layers, "hidden": hidden}
    return _built(SequentialNet, SequentialConfig, facts, {**zeros, **state}, place, options, last[-1])


def _numbered(state: State, prefix: str) -> list[str]:
    names = [f"{prefix}{k}.weight" for k in range(1, MAX_LAYERS)]
    return [name for name in names if name in state]


_FAMILIES: tuple[tuple[tuple[str, ...], Callable[[State, str, dict[str, Any]], Model]], ...] = (
    ((CORTEX.format(0), "readout.weight"), _chaosnet),
    (("layers.0.weight", "layers.0.weight_velocity"), _dlm),
    (("layers.0.weight", "layers.0.gain"), _tnn),
    (("conv1.weight", "fc.weight"), _plain),
    (("conv1.weight", "fc1.weight"), _plain),
    (("fc1.weight", "fc2.weight"), _plain),
)


def _built(
    kind: type[Model], config_kind: type, facts: dict[str, Any], state: State, place: str, options: dict[str, Any], last: str
) -> Model:
    """The model; `last` names the matrix whose rows are the classes."""
    if "normalization" in options:
        name = options.pop("normalization")
        if name not in NORMALIZATIONS:
            raise ConfigError(f"{place}: unknown normalization {name!r}; use {', '.join(NORMALIZATIONS)}, or mean and std", "normalization")
        options["mean"], options["std"] = NORMALIZATIONS[name]
    count = len(_matrix(state, last, 2, place))
    classes = tuple(options.pop("classes", None) or (str(c) for c in range(count)))
    if len(classes) != count:
        raise ConfigError(f"{place}: {len(classes)} class names for {count} classes", "classes")
    unknown = options.keys() - set(config_kind.__dataclass_fields__)  # type: ignore[attr-defined]
    clash = sorted(unknown | (options.keys() & facts.keys()))
    if clash:
        raise ConfigError(f"{place}: {kind.family} takes no option '{clash[0]}' here; weights or family say it already", clash[0])
    return assemble(kind, config_kind(classes=classes, **facts, **options), state, place)


def _neuron_defaults() -> str:
    values = ", ".join(f"{name} = {ChaosNetConfig.__dataclass_fields__[name].default}" for name in NEURON)
    return f"and where the program was run with others than the published {values}: these too (both decays act in stateful mode alone)"


def _ask(place: str, options: Mapping[str, Any], names: list[str]) -> None:
    given = (
        set(options)
        | ({"normalization"} if {"mean", "std"} <= options.keys() else set())
        | ({"vocabulary"} if "text" in options else set())
    )
    missing = [name for name in names if name not in given]
    if missing:
        questions = [f"{name}: {QUESTIONS[name]}" for name in missing]
        also = [_neuron_defaults()] if "mode" in names and not options.keys() & set(NEURON) else []
        raise ConfigError(f"{place}: the weights do not say {', '.join(missing)}; give:", missing[0], *questions, *also)


def _matrix(state: State, name: str, rank: int, place: str) -> Tensor:
    weight = state.get(name)
    if weight is None or weight.dim() != rank or 0 in weight.shape:
        shape = "absent" if weight is None else f"of shape {tuple(weight.shape)}"
        raise ArtifactError(f"{place}: {name} is {shape}, expected {rank} dimensions of at least 1", place)
    return weight


def _chain(state: State, pattern: str, place: str) -> list[Tensor]:
    names = [pattern.format(k) for k in range(MAX_LAYERS)]
    return [_matrix(state, name, 2, place) for name in names if name in state]


def _image(options: dict[str, Any], features: int | None, channels: tuple[int, ...], place: str) -> tuple[int, int]:
    """The (height, width) that was given, which every halving must leave with these features."""
    height, width = (int(n) for n in options.pop("image"))
    left = channels[-1] * (height >> len(channels)) * (width >> len(channels))
    if features not in (None, left):
        raise ConfigError(f"{place}: an image of {height} x {width} leaves {left} features, the weights take {features}", "image")
    return height, width


def _text(options: dict[str, Any], rows: int, place: str) -> Text:
    text = options.pop("text", None) or read_vocabulary(Path(options["vocabulary"]))
    assert isinstance(text, Text)
    if len(text.vocabulary) + FIRST_WORD != rows:
        raise ConfigError(f"{place}: {rows} embeddings, but the vocabulary has {len(text.vocabulary) + FIRST_WORD} ids", "vocabulary")
    return text
