"""What the weights of a feed-forward network do not say, in one line: its layers in order, with strides, padding, pools, activations.

    conv(stride=2, pad=1) relu conv(pad=1) relu maxpool(2) linear relu linear
    conv(pad=1) relu conv(pad=1) relu conv(pad=1) add(3) relu linear

A ConfigError names the word and lists those there are. Sizes are not written: the weights have them. A size is `3`, or `3x5` for
height and width. `flatten` and `dropout` may stand where they stood in the program: they change nothing at inference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from edgechaos.support.errors import ConfigError

Pair = tuple[int, int]
Kind = Literal["conv", "linear", "relu", "gelu", "maxpool", "avgpool", "add", "identity"]

MAX_LAYERS = 200
MAX_SIZE = 255
PLAIN = "plain"
"""The form of this project's own MLP and CNN: relu after every layer but the last, every convolution padded by 1, maxpool(2) after it."""
WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "conv": ("kernel", "stride", "pad"),
        "linear": (),
        "relu": (),
        "gelu": (),
        "maxpool": ("kernel", "stride"),
        "avgpool": ("kernel", "stride"),
        "add": ("layers",),
    }
)
"""Every layer and its settings in order; the first may be written without its name."""
IGNORED = ("flatten", "dropout")
UNSUPPORTED: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("tanh", "sigmoid", "leakyrelu", "elu", "selu", "silu", "swish", "softplus", "hardtanh", "relu6", "mish", "prelu"),
                        "train the network with relu or gelu"),
        **dict.fromkeys(("softmax", "logsoftmax"), "leave it out at the end: the class is that of the largest logit"),
        **dict.fromkeys(("batchnorm", "batchnorm2d", "batchnorm1d"), "fold it into the layer before it"),
        "residual": "write add(n) after the n layers whose input is added to what they make of it",
        **dict.fromkeys(("lstm", "gru", "attention"), "no integer graph of this release has it"),
    }
)  # fmt: skip
"""Layers that people's networks have and the integer graph has not, and what to do."""
_TOKEN = re.compile(r"\s*([a-zA-Z][a-zA-Z0-9]*)\s*(?:\(([^()]*)\))?\s*(?:,|->|>)?\s*")
_SIZE = re.compile(r"([0-9]{1,3})(?:x([0-9]{1,3}))?")


@dataclass(frozen=True, slots=True)
class Layer:
    """One step. kernel: of a pool or a convolution; stride: of the same; pad: zeros around a convolution's input, on both sides.

    layers: of an add, how many before it make what is added to their input. An identity stands where a network reads a sum, and is not
    written.
    """

    kind: Kind
    kernel: Pair | None = None
    stride: Pair = (1, 1)
    pad: Pair = (0, 0)
    layers: int = 0

    def __str__(self) -> str:
        """As it is written."""
        if self.kind in ("conv", "maxpool", "avgpool"):
            settings = {"kernel": self.kernel, "stride": self.stride} | ({"pad": self.pad} if self.kind == "conv" else {})
            return f"{self.kind}({', '.join(f'{name}={v[0]}x{v[1]}' for name, v in settings.items() if v is not None)})"
        return f"add({self.layers})" if self.kind == "add" else self.kind


def parse(text: str) -> tuple[Layer, ...]:
    """The layers of a line. Raises ConfigError, naming the word, for what it does not know or no integer graph can carry."""
    layers, at = [], 0
    if len(text) > 100 * MAX_LAYERS:
        raise _refusal(text[:50], "is too long")
    text = text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _refusal(text[at : at + 20], "is not a layer")
        at = match.end()
        word = match[1].lower().removesuffix("2d") if match[1].lower() in ("conv2d", "maxpool2d", "avgpool2d") else match[1].lower()
        if word in UNSUPPORTED:
            raise _refusal(match[1], f"has no integer form here: {UNSUPPORTED[word]}")
        if word not in (*WORDS, *IGNORED):
            raise _refusal(match[1], "is not a layer")
        if word not in IGNORED:
            layers.append(_layer(word, match[0].strip(), match[2]))
    if not layers or len(layers) > MAX_LAYERS or layers[-1].kind != "linear":
        raise _refusal(text[:50], f"has not 1 to {MAX_LAYERS} layers of which the last is linear")
    return _ordered(tuple(layers))


def plain(convolutions: int, matrices: int) -> tuple[Layer, ...]:
    """The form PLAIN of as many convolutions and matrices."""
    conv = (Layer("conv", None, pad=(1, 1)), Layer("relu"), Layer("maxpool", (2, 2), (2, 2)))
    return conv * convolutions + (Layer("linear"), Layer("relu")) * (matrices - 1) + (Layer("linear"),)


def _layer(word: str, written: str, settings: str | None) -> Layer:
    names, given = WORDS[word], dict[str, Pair]()
    for position, part in enumerate((settings or "").split(",") if settings and settings.strip() else ()):
        name, equals, value = (p.strip() for p in part.partition("="))
        name, value = (name, value) if equals else (names[position] if position < len(names) else "", name)
        name = {"kernel_size": "kernel", "padding": "pad"}.get(name, name)
        size = _SIZE.fullmatch(value)
        if name not in names or name in given or size is None:
            raise _refusal(written, f"takes {', '.join(names) if names else 'no settings'}, each a size such as 3 or 3x5, once")
        given[name] = (int(size[1]), int(size[2] or size[1]))
    if any(not (0 if name == "pad" else 1) <= n <= MAX_SIZE for name, pair in given.items() for n in pair):
        raise _refusal(written, f"has a size that is not in 1..{MAX_SIZE}")
    if word in ("maxpool", "avgpool"):
        if "kernel" not in given:
            raise _refusal(written, "needs its window, such as maxpool(2)")
        given.setdefault("stride", given["kernel"])
    if word == "add":
        if len(set(given.get("layers", (0, 1)))) != 1:
            raise _refusal(written, "needs how many layers before it are added to what they read, such as add(2)")
        return Layer("add", layers=given["layers"][0])
    return Layer(word, **given)  # type: ignore[arg-type]  # a key of WORDS is a Kind


def _ordered(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """relu before the maxpool that it follows: the same values, in the order that the integer graph has. An add may begin between them."""
    done, begins = list(layers), {i - layer.layers for i, layer in enumerate(layers) if layer.kind == "add"}
    for i in range(1, len(done)):
        if done[i].kind == "relu" and done[i - 1].kind == "maxpool" and i not in begins:
            done[i - 1], done[i] = done[i], done[i - 1]
    return tuple(done)


def with_kernels(layers: tuple[Layer, ...], kernels: list[Pair]) -> tuple[Layer, ...]:
    """The layers, every convolution with the kernel of its weights. Raises ConfigError where one was written that is another."""
    left = iter(kernels)
    done = []
    for layer in layers:
        if layer.kind == "conv":
            kernel = next(left)
            if layer.kernel not in (None, kernel):
                raise _refusal(str(layer), f"has weights of {kernel[0]}x{kernel[1]}")
            layer = replace(layer, kernel=kernel)
        done.append(layer)
    return tuple(done)


def _refusal(word: str, why: str) -> ConfigError:
    example = "conv(stride=2, pad=1) relu maxpool(2) linear relu linear"
    return ConfigError(
        f"architecture: '{word}' {why}; use {', '.join((*WORDS, *IGNORED))}, such as '{example}', or '{PLAIN}'", "architecture"
    )
