"""Graphs for tests: a builder for spiking models of any size, and a hypothesis strategy that draws them at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgechaos.graph.integer_graph import (
    ArgMax,
    ChaosLayer,
    Constant,
    Encoding,
    Head,
    IntegerGraph,
    MatMul,
    Node,
    Readout,
    Requantize,
    Tensor,
    expected_gain,
)


@dataclass(frozen=True)
class Spec:
    """Sizes and options of a random spiking model; weights come from `seed`."""

    sizes: tuple[int, ...] = (12, 8, 4)  # inputs, neurons of each spiking layer, classes
    mode: str = "parallel"
    ticks: int = 4
    fail_q: int = 20000
    noise: bool = True
    sampling: str = "ticks"
    per_channel: bool = False
    pixels: bool = True
    seed: int = 0


def chaos_graph(spec: Spec = Spec(), **changes: Any) -> IntegerGraph:
    """A valid graph of that spec: MatMul -> [Requantize] -> ChaosLayer, chained, then Readout -> ArgMax."""
    spec = Spec(**{**spec.__dict__, **changes})
    rng = np.random.default_rng(spec.seed)
    tensors: dict[str, Tensor] = {}
    constants: dict[str, Constant] = {}
    nodes: list[Node] = []

    def tensor(name: str, dtype: Any, size: int, ticks: int = 0) -> str:
        tensors[name] = Tensor(name, dtype, (size,), None, ticks)
        return name

    def constant(name: str, value: NDArray[Any], bits: int, scale: tuple[float, ...] = ()) -> str:
        constants[name] = Constant(value, bits, scale)
        return name

    value = tensor("input", "int8", spec.sizes[0])
    layers = len(spec.sizes) - 2
    for k in range(layers):
        fan_in, n = spec.sizes[k], spec.sizes[k + 1]
        last, ticked = k == layers - 1, k > 0
        weight = constant(f"cortex{k}_weight", rng.integers(-127, 128, (n, fan_in)).astype(np.int8), 8)
        bias = constant(f"cortex{k}_bias", rng.integers(-2000, 2001, n).astype(np.int32), 32)
        acc = tensor(f"cortex{k}_acc", "int32", n, spec.ticks if ticked else 0)
        nodes.append(MatMul(f"cortex{k}_matmul", value, acc, weight=weight, bias=bias))
        drive, spread = acc, int(60 * 64 * np.sqrt(fan_in)) if not ticked else int(64 * np.sqrt(fan_in))
        if spec.mode == "stateful":
            channels = n if spec.per_channel else 1
            multiplier = constant(f"cortex{k}_multiplier", rng.integers(2**30, 2**31 - 1, channels).astype(np.int32), 32)
            shift = constant(f"cortex{k}_shift", np.full(channels, 31 + max(0, spread.bit_length() - 12), np.int32), 32)
            drive = tensor(f"cortex{k}_drive", "int16", n, spec.ticks if ticked else 0)
            nodes.append(Requantize(f"cortex{k}_requantize", acc, drive, multiplier=multiplier, shift=shift, low=-32768, high=32767))
            spread = 2000
        threshold = constant(f"cortex{k}_threshold", rng.integers(-spread // 4, spread, n).astype(np.int32), 32)
        sigma = constant(f"cortex{k}_sigma", rng.integers(0, 2**15, n).astype(np.int32), 32) if spec.noise else None
        emit = "count" if last else "spikes"
        out = tensor(f"cortex{k}_{emit}", "int8", n, 0 if last else spec.ticks)
        nodes.append(
            ChaosLayer(
                f"cortex{k}",
                drive,
                out,
                mode=spec.mode,  # type: ignore[arg-type]
                ticks=spec.ticks,
                threshold=threshold,
                sigma=sigma,
                sigma_shift=max(1, 30 - spread.bit_length()) if spec.noise else 0,
                decay_q15=655,
                refractory_decay_q15=31130,
                fail_q=spec.fail_q,
                fail_stream=2 * k,
                noise_stream=2 * k + 1,
                sampling=spec.sampling if last else "ticks",  # type: ignore[arg-type]
                emit=emit,  # type: ignore[arg-type]
            )
        )
        value = out
    classes = spec.sizes[-1]
    weight = constant("readout_weight", rng.integers(-127, 128, (classes, spec.sizes[-2])).astype(np.int8), 8, (0.01,))
    bias = constant("readout_bias", rng.integers(-500, 501, classes).astype(np.int32), 32)
    gain = expected_gain(spec.ticks, spec.fail_q) if spec.sampling == "expected" else 1
    nodes.append(Readout("readout", value, tensor("logits", "int32", classes), weight=weight, bias=bias, gain=gain))
    nodes.append(ArgMax("argmax", "logits", tensor("label", "uint16", 1)))
    head = Head("main", "input", "logits", "label", tuple(str(c) for c in range(classes)), Encoding("pixels" if spec.pixels else "codes"))
    return IntegerGraph("tiny", tensors, constants, tuple(nodes), (head,)).validate()


def codes_for(graph: IntegerGraph, count: int, seed: int = 0, sparsity: float = 0.5) -> NDArray[np.int8]:
    """Random input codes (count, *input shape) int8, extremes included, a share of them exactly 0."""
    rng = np.random.default_rng(seed)
    shape = graph.tensors[graph.head().input].shape
    low = 0 if graph.head().encoding.kind == "pixels" else -128
    codes = rng.integers(low, 128, (count, *shape))
    codes[rng.random(codes.shape) < sparsity] = 0
    codes[rng.random(codes.shape) < 0.02] = 127
    return codes.astype(np.int8)


@st.composite
def specs(draw: st.DrawFn, max_layers: int = 3, max_size: int = 40) -> Spec:
    """Any shape of spiking model that the rules allow."""
    size = st.integers(1, max_size)
    layers = draw(st.integers(1, max_layers))
    mode = draw(st.sampled_from(["parallel", "stateful"]))
    sampling = draw(st.sampled_from(["ticks", "ticks", "binomial", "expected"])) if mode == "parallel" and layers == 1 else "ticks"
    return Spec(
        sizes=(draw(size), *(draw(size) for _ in range(layers)), draw(st.integers(1, 12))),
        mode=mode,
        ticks=draw(st.integers(1, 12)),
        fail_q=draw(st.sampled_from([0, 1, 655, 32768, 65535, 65536])),
        noise=sampling == "ticks" and draw(st.booleans()),
        sampling=sampling,
        per_channel=draw(st.booleans()),
        pixels=draw(st.booleans()),
        seed=draw(st.integers(0, 2**31)),
    )
