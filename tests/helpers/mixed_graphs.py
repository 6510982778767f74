"""Graphs of every kind of node: a builder, the model families, and a hypothesis strategy that mixes them at random."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgechaos.arithmetic.rounding import multiplier_shift
from edgechaos.arithmetic.windows import output_size
from edgechaos.graph.heads import Encoding, Head
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.add import Add
from edgechaos.graph.kinds.argmax import ArgMax
from edgechaos.graph.kinds.average_pool import AveragePool
from edgechaos.graph.kinds.chaos_layer import ChaosLayer
from edgechaos.graph.kinds.conv import Conv
from edgechaos.graph.kinds.embedding_bag import EmbeddingBag
from edgechaos.graph.kinds.lut import Lut
from edgechaos.graph.kinds.matmul import MatMul
from edgechaos.graph.kinds.max_pool import MaxPool
from edgechaos.graph.kinds.readout import Readout
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from edgechaos.graph.kinds.topk import TopK
from edgechaos.graph.node import Node
from edgechaos.graph.rules import FINER_BITS
from edgechaos.graph.tensors import Constant, Tensor
from edgechaos.graph.thermal import thermal_codes
from edgechaos.graph.tokenizer import Text

WORDS = tuple(f"word{i}" for i in range(28))
REACH = {8: 127, 4: 7, 2: 1}
"""The largest weight code that the quantizer writes."""


@dataclass
class Builder:
    """Adds nodes one after another; each method returns the name of the tensor that it wrote. Weights come from `rng`."""

    rng: np.random.Generator
    bits: int = 8
    tensors: dict[str, Tensor] = field(default_factory=dict)
    constants: dict[str, Constant] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)
    prefix: str = ""

    def tensor(self, name: str, dtype: Any, shape: tuple[int, ...], ticks: int = 0) -> str:
        self.tensors[self.prefix + name] = Tensor(self.prefix + name, dtype, shape, None, ticks)
        return self.prefix + name

    def constant(self, name: str, value: NDArray[Any], bits: int, scale: tuple[float, ...] = ()) -> str:
        """The first writer of a name decides: later ones share its integers."""
        self.constants.setdefault(name, Constant(value, bits, scale))
        return name

    def add(self, kind: type[Node], x: str, dtype: Any, shape: tuple[int, ...], per_tick: int = 0, **fields: Any) -> str:
        name = f"{self.prefix}{kind.__name__.lower()}{len(self.nodes)}"
        out = self.tensor(f"t{len(self.nodes)}", dtype, shape, per_tick)
        self.nodes.append(kind(name, x, out, **fields))
        return out

    def weight(self, name: str, *shape: int) -> str:
        reach = REACH[self.bits]
        scale = (0.02 / reach,)
        return self.constant(name, self.rng.integers(-reach, reach + 1, shape).astype(np.int8), self.bits, scale)

    def bias(self, name: str, size: int) -> str:
        return self.constant(name, self.rng.integers(-80, 81, size).astype(np.int32), 32)

    def rescaling(self, name: str, factors: NDArray[np.float64], most: int = 1) -> dict[str, str]:
        multiplier, shift = multiplier_shift(factors, name, most)
        return {"multiplier": self.constant(f"{name}_m", multiplier, 32), "shift": self.constant(f"{name}_s", shift, 32)}

    def conv(self, x: str, name: str, outputs: int, kernel: tuple[int, int], stride: tuple[int, int], pad: tuple[int, int]) -> str:
        shape = self.tensors[x].shape
        weight, bias = self.weight(f"{name}_w", outputs, shape[0], *kernel), self.bias(f"{name}_b", outputs)
        size = output_size(shape, kernel, stride, pad)
        return self.add(Conv, x, "int32", (outputs, *size), weight=weight, bias=bias, stride=stride, pad=pad)

    def pool(self, x: str, kind: type[MaxPool] | type[AveragePool], kernel: tuple[int, int], stride: tuple[int, int]) -> str:
        shape = self.tensors[x].shape
        dtype = "int8" if kind is MaxPool else "int32"
        return self.add(kind, x, dtype, (shape[0], *output_size(shape, kernel, stride)), kernel=kernel, stride=stride)

    def requantize(self, x: str, name: str, dtype: str, spread: float, per_channel: bool = False, relu: bool = False) -> str:
        """spread: the accumulator value that becomes about half of the output's range."""
        high = 127 if dtype == "int8" else 32767
        channels = self.tensors[x].shape[0] if per_channel else 1
        factors = np.minimum(1.0, 0.5 * high / spread * self.rng.uniform(0.5, 1.5, channels))
        low = 0 if relu else -high - 1
        tensor = self.tensors[x]
        return self.add(Requantize, x, dtype, tensor.shape, tensor.ticks, low=low, high=high, **self.rescaling(name, factors))

    def residual(self, x: str, name: str, per_channel: bool, branch_first: bool = False) -> str:
        """x and what a branch makes of it, added; the branch is a convolution that keeps the shape, or a square matrix."""
        shape = self.tensors[x].shape
        branch = self.conv(x, name, shape[0], (1, 1), (1, 1), (0, 0)) if len(shape) == 3 else self.matmul(x, name, shape[0])
        other = self.requantize(branch, f"{name}_branch", "int8", REACH[self.bits] * 60.0 * shape[0] ** 0.5)
        gains = (int(g) for g in self.rng.integers(1, 32768, 2))
        x, other = (other, x) if branch_first else (x, other)
        acc = self.add(Add, x, "int32", shape, other=other, **dict(zip(("gain", "other_gain"), gains, strict=True)))
        return self.requantize(acc, f"{name}_sum", "int8", 32768 * 60.0, per_channel, relu=True)

    def matmul(self, x: str, name: str, outputs: int, kind: type[MatMul] = MatMul) -> str:
        tensor = self.tensors[x]
        weight = self.weight(f"{name}_w", outputs, tensor.size // max(tensor.ticks, 1))
        return self.add(kind, x, "int32", (outputs,), tensor.ticks, weight=weight, bias=self.bias(f"{name}_b", outputs))

    def lut(self, x: str, name: str, per_channel: bool = False, silent: bool = False) -> str:
        """silent: 0 stays 0, as GELU keeps it, so that what sends 0 may be dead."""
        shape = self.tensors[x].shape
        table = self.rng.integers(-128, 128, (shape[0], 256) if per_channel else 256).astype(np.int8)
        table[..., 128] = 0 if silent else table[..., 128]
        return self.add(Lut, x, "int8", shape, table=self.constant(f"{name}_table", table, 8))

    def thermal(self, x: str, codes: str, stream: int) -> str:
        matrix = next(n for n in self.nodes if n.output == x)
        assert isinstance(matrix, MatMul)
        scale, size = self.constants[matrix.weight].scale[0], self.tensors[codes].size
        integers = thermal_codes(float(self.rng.uniform(0, 4)), 4.0, scale, int(128 * size**0.5), matrix.name)
        fields = {name: getattr(integers, name) for name in ("k", "k_max", "shift_a", "shift_b")}
        return self.add(ThermalNoise, x, "int32", self.tensors[x].shape, codes=codes, stream=stream, **fields)

    def chaos(self, x: str, name: str, ticks: int, mode: str, stream: int, spread: float, last: bool = True) -> str:
        if mode == "stateful":
            x, spread = self.requantize(x, f"{name}_drive", "int16", 3 * spread), 8000
        n = self.tensors[x].shape[0]
        threshold = self.constant(f"{name}_threshold", self.rng.integers(-int(spread / 4), int(spread), n).astype(np.int32), 32)
        return self.add(
            ChaosLayer, x, "int8", (n,), 0 if last else ticks, mode=mode, ticks=ticks, threshold=threshold, fail_q=20000,
            fail_stream=stream, noise_stream=stream + 1, emit="count" if last else "spikes", decay_q15=655, refractory_decay_q15=31130,
        )  # fmt: skip

    def head(self, name: str, x: str, logits: str, encoding: Encoding) -> None:
        label = self.add(ArgMax, logits, "uint16", (1,))
        classes = tuple(f"c{i}" for i in range(self.tensors[logits].shape[0]))
        self.heads.append(Head(name, x, logits, label, classes, encoding))

    def graph(self) -> IntegerGraph:
        return IntegerGraph("mixed", self.tensors, self.constants, tuple(self.nodes), tuple(self.heads)).validate()


Family = Literal["vision", "text", "kwta", "thermal", "shared"]
FAMILIES: tuple[Family, ...] = ("vision", "text", "kwta", "thermal", "shared")


@dataclass(frozen=True)
class Mixed:
    """One model family with its options; weights come from `seed`."""

    family: Family = "vision"
    bits: int = 8
    shape: tuple[int, int, int] = (1, 7, 6)
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (1, 1)
    pool: str = "max"
    depth: int = 1
    hidden: int = 9
    classes: int = 4
    k: int = 3
    ticks: int = 3
    mode: str = "parallel"
    spiking: bool = True
    table: str = "tensor"
    per_channel: bool = True
    length: int = 6
    size: int = 5
    silent: bool = True
    residual: bool = False
    seed: int = 0


def mixed_graph(spec: Mixed = Mixed(), **changes: Any) -> IntegerGraph:
    """A valid graph of that spec."""
    spec = replace(spec, **changes)
    b = Builder(np.random.default_rng(spec.seed), spec.bits)
    if spec.family in ("vision", "shared"):
        image = b.tensor("image", "int8", spec.shape)
        _tail(b, spec, _vision(b, spec, image), image, "images", Encoding("pixels"))
    if spec.family in ("text", "shared"):
        b.prefix = "text_" if spec.family == "shared" else ""
        ids = b.tensor("ids", "uint16", (spec.length,))
        _tail(b, spec, embedded(b, spec, ids), ids, "texts", Encoding("tokens", Text(WORDS)))
    if spec.family in ("kwta", "thermal"):
        x = b.tensor("codes", "int8", (spec.hidden + 3,))
        body, logits_noise = _kwta(b, spec, x) if spec.family == "kwta" else _thermal(b, spec, x), spec.family == "thermal"
        logits = b.matmul(body, "readout", spec.classes, Readout)
        b.head("main", x, b.thermal(logits, body, 100) if logits_noise else logits, Encoding("codes"))
    return b.graph()


def _spread(b: Builder, fan_in: int, codes: float = 60.0) -> float:
    return REACH[b.bits] * codes * fan_in**0.5


def _vision(b: Builder, spec: Mixed, x: str) -> str:
    if spec.table != "none":
        x = b.lut(x, "pixels", per_channel=spec.table == "channel")
    for i in range(spec.depth):
        channels, *size = b.tensors[x].shape
        kernel = min(spec.kernel[0], size[0]), min(spec.kernel[1], size[1])
        pad = min(spec.pad[0], kernel[0] - 1), min(spec.pad[1], kernel[1] - 1)
        fan_in = channels * kernel[0] * kernel[1]
        x = b.conv(x, f"conv{i}", 3, kernel, spec.stride, pad)
        x = b.requantize(x, f"conv{i}", "int8", _spread(b, fan_in), spec.per_channel, relu=True)
        x = b.residual(x, f"res{i}", spec.per_channel) if spec.residual else x
        if spec.pool != "none" and min(b.tensors[x].shape[1:]) >= 2:
            x = b.pool(x, MaxPool if spec.pool == "max" else AveragePool, (2, 2), (2, 1))
            x = x if spec.pool == "max" else b.requantize(x, f"pool{i}", "int8", 300.0)
    x = b.matmul(x, "embed", 5)
    return b.requantize(x, "embed", "int8", _spread(b, 40, 30), relu=True)


def embedded(b: Builder, spec: Mixed, x: str, name: str = "embedding") -> str:
    """The mean vector of a text's words."""
    weight = b.weight(name, len(WORDS) + 2, spec.size)
    means = np.minimum(1 << FINER_BITS, 100.0 / (REACH[b.bits] * np.maximum(1, np.arange(spec.length + 1))))
    return b.add(EmbeddingBag, x, "int8", (spec.size,), 0, weight=weight, **b.rescaling(name, means, 1 << FINER_BITS))


def _tail(b: Builder, spec: Mixed, x: str, entry: str, head: str, encoding: Encoding) -> None:
    """The shared core: the same constants whichever head is built."""
    acc = b.matmul(x, "cortex", spec.hidden)
    if spec.spiking:
        body = b.chaos(acc, "cortex", spec.ticks, spec.mode, 0, _spread(b, 5))
    else:
        body = b.lut(b.requantize(acc, "cortex", "int8", _spread(b, 5)), "gelu", silent=spec.silent)
        body = b.residual(body, "tail", False) if spec.residual else body
    b.head(head, entry, b.matmul(body, f"readout_{head}", spec.classes, Readout), encoding)


def _kwta(b: Builder, spec: Mixed, x: str) -> str:
    for i in range(spec.depth):
        fan_in = b.tensors[x].shape[0]
        x = b.requantize(b.matmul(x, f"layer{i}", spec.hidden), f"rank{i}", "int16", _spread(b, fan_in), spec.per_channel)
        x = b.add(TopK, x, "int16", (spec.hidden,), k=min(spec.k, spec.hidden))
        x = b.lut(b.requantize(x, f"winners{i}", "int8", 12000.0), f"gelu{i}", silent=spec.silent)
        x = b.residual(x, f"res{i}", spec.per_channel, branch_first=True) if spec.residual else x
    return x


def _thermal(b: Builder, spec: Mixed, x: str) -> str:
    for i in range(spec.depth):
        acc = b.thermal(b.matmul(x, f"layer{i}", spec.hidden), x, i)
        x = b.lut(b.requantize(acc, f"layer{i}", "int8", _spread(b, b.tensors[x].size)), f"gelu{i}", silent=spec.silent)
        x = b.residual(x, f"res{i}", spec.per_channel, branch_first=True) if spec.residual else x
    return x


def normalized_graph(inputs: int = 300, hidden: int = 21, bits: int = 8, *, lowest: bool = False) -> IntegerGraph:
    """A plain network behind a table that makes its least code of 0, of more inputs than a list of events holds.

    lowest: with a weight of -128, which shares no half word.
    """
    b = Builder(np.random.default_rng(5), bits)
    x = b.tensor("codes", "int8", (inputs,))
    table = b.rng.integers(-70, 128, 256).astype(np.int8)
    table[128] = -70
    y = b.add(Lut, x, "int8", (inputs,), table=b.constant("normalized", table, 8))
    if lowest:
        b.constant("layer_w", np.where(np.arange(hidden * inputs).reshape(hidden, inputs) % 9, 31, -128).astype(np.int8), bits, (0.02,))
    z = b.requantize(b.matmul(y, "layer", hidden), "layer", "int8", _spread(b, inputs), relu=True)
    b.head("main", x, b.matmul(z, "readout", 5, Readout), Encoding("codes"))
    return replace(b.graph(), metadata={"activity": {x: 0.2, y: 0.99, z: 0.4}})


def items_for(graph: IntegerGraph, count: int, seed: int = 0, head: str | None = None) -> NDArray[Any]:
    """Random input codes of a head, extremes included: int8 (count, *shape), or token ids with padding, unknown and wild ones."""
    rng = np.random.default_rng(seed)
    spec = graph.head(head)
    tensor = graph.tensors[spec.input]
    shape = (count, *tensor.shape)
    if tensor.dtype == "uint16":
        ids = rng.integers(0, len(WORDS) + 2, shape)
        ids[rng.random(shape) < 0.1] = 65535
        ids[rng.random(shape) < 0.3] = 0
        ids[: count // 4] = 0
        return ids.astype(np.uint16)
    low = 0 if spec.encoding.kind == "pixels" else -128
    codes = rng.integers(low, 128, shape)
    codes[rng.random(shape) < 0.3] = 0
    codes[rng.random(shape) < 0.05] = low
    return codes.astype(np.int8)


@st.composite
def mixed_specs(draw: st.DrawFn) -> Mixed:
    """Any family with any options that fit together."""
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel = draw(pair)
    hidden = draw(st.integers(1, 12))
    return Mixed(
        family=draw(st.sampled_from(FAMILIES)),
        bits=draw(st.sampled_from([8, 4, 2])),
        shape=(draw(st.integers(1, 3)), draw(st.integers(3, 8)), draw(st.integers(3, 8))),
        kernel=kernel,
        stride=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        pad=(draw(st.integers(0, kernel[0] - 1)), draw(st.integers(0, kernel[1] - 1))),
        pool=draw(st.sampled_from(["max", "average", "none"])),
        depth=draw(st.integers(1, 2)),
        hidden=hidden,
        classes=draw(st.integers(1, 6)),
        k=draw(st.integers(1, hidden)),
        ticks=draw(st.integers(1, 5)),
        mode=draw(st.sampled_from(["parallel", "stateful"])),
        spiking=draw(st.booleans()),
        table=draw(st.sampled_from(["tensor", "channel", "none"])),
        per_channel=draw(st.booleans()),
        length=draw(st.integers(1, 9)),
        silent=draw(st.booleans()),
        residual=draw(st.booleans()),
        seed=draw(st.integers(0, 2**31)),
    )
