"""Models that a device is tried with: small, drawn from a seed, of every way in which a spiking layer is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.graph.heads import Encoding, Head
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.argmax import ArgMax
from edgechaos.graph.kinds.chaos_layer import ChaosLayer, expected_gain
from edgechaos.graph.kinds.matmul import MatMul
from edgechaos.graph.kinds.readout import Readout
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from edgechaos.graph.node import Node
from edgechaos.graph.tensors import Constant, Tensor
from edgechaos.graph.thermal import thermal_codes


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


def two_heads() -> IntegerGraph:
    """Two heads over shared weights, of plain layers with thermal noise: `head` and `parameters` matter."""
    rng = np.random.default_rng(6)
    tensors: dict[str, Tensor] = {}
    nodes: list[Node] = []
    heads: list[Head] = []
    integers = thermal_codes(1.0, 4.0, 0.01, 128 * 4, "layer")
    constants = {
        "weight": Constant(rng.integers(-127, 128, (10, 14)).astype(np.int8), 8, (0.01,)),
        "multiplier": Constant(np.array([2**30], np.int32), 32),
        "shift": Constant(np.array([40], np.int32), 32),
    }
    for name, classes in (("first", 3), ("second", 6)):
        constants[f"{name}_readout"] = Constant(rng.integers(-127, 128, (classes, 10)).astype(np.int8), 8, (0.01,))
        shapes = {"input": ("int8", 14), "acc": ("int32", 10), "noisy": ("int32", 10), "units": ("int8", 10)}
        for part, (dtype, size) in {**shapes, "logits": ("int32", classes), "label": ("uint16", 1)}.items():
            tensors[f"{name}_{part}"] = Tensor(f"{name}_{part}", dtype, (size,))  # type: ignore[arg-type]
        names = {part: f"{name}_{part}" for part in (*shapes, "logits", "label")}
        thermal = {key: getattr(integers, key) for key in ("k", "k_max", "shift_a", "shift_b")}
        nodes += [
            MatMul(f"{name}_matmul", names["input"], names["acc"], weight="weight"),
            ThermalNoise(f"{name}_thermal", names["acc"], names["noisy"], codes=names["input"], stream=len(nodes), **thermal),
            Requantize(f"{name}_layer", names["noisy"], names["units"], multiplier="multiplier", shift="shift", low=0, high=127),
            Readout(f"{name}_readout", names["units"], names["logits"], weight=f"{name}_readout"),
            ArgMax(f"{name}_argmax", names["logits"], names["label"]),
        ]
        heads.append(Head(name, names["input"], names["logits"], names["label"], tuple(map(str, range(classes))), Encoding("codes")))
    return IntegerGraph("heads", tensors, constants, tuple(nodes), tuple(heads)).validate()


def codes_for(graph: IntegerGraph, count: int, seed: int = 0, sparsity: float = 0.5, head: str | None = None) -> NDArray[np.int8]:
    """Random input codes (count, *input shape) int8, extremes included, a share of them exactly 0."""
    rng = np.random.default_rng(seed)
    shape = graph.tensors[graph.head(head).input].shape
    low = 0 if graph.head(head).encoding.kind == "pixels" else -128
    codes = rng.integers(low, 128, (count, *shape))
    codes[rng.random(codes.shape) < sparsity] = 0
    codes[rng.random(codes.shape) < 0.02] = 127
    return codes.astype(np.int8)


GRAPHS: Mapping[str, IntegerGraph] = {
    "parallel": chaos_graph(sizes=(70, 33, 9, 5), ticks=5, seed=1),
    "stateful": chaos_graph(sizes=(24, 17, 4), mode="stateful", per_channel=True, ticks=6, seed=2),
    "binomial": chaos_graph(sizes=(31, 21, 3), sampling="binomial", noise=False, ticks=9, seed=3),
    "expected": chaos_graph(sizes=(12, 40, 6), sampling="expected", noise=False, pixels=False, seed=4),
    "wide": chaos_graph(sizes=(1500, 6, 600), noise=False, seed=5),
    "heads": two_heads(),
}
