"""From fake-quantized weights to the IntegerGraph: thresholds, multipliers and biases in code units.

Enters: a FakeQuantModel and the largest membranes of its stateful layers. Leaves: a validated graph. Every constant is
rounded once, here, by `edgechaos.quantize.rounding`. Source: docs/semantics.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edgechaos.errors import AccumulatorOverflow, UnsupportedError
from edgechaos.graph import (
    MAX_TICKS,
    ArgMax,
    AveragePool,
    ChaosLayer,
    Constant,
    Dtype,
    EmbeddingBag,
    Head,
    IntegerGraph,
    Lut,
    MatMul,
    MaxPool,
    Node,
    Requantize,
    Sampling,
    Tensor,
    ThermalNoise,
    TopK,
    expected_gain,
)
from edgechaos.graph import Conv as ConvNode
from edgechaos.graph import Readout as ReadoutNode
from edgechaos.quantize import rounding
from edgechaos.quantize.activations import HEADROOM, Quantizer
from edgechaos.quantize.fake_quant import FakeQuantModel, QuantizedWeight
from edgechaos.quantize.float_model import (
    Conv,
    EmbeddingMean,
    FloatModel,
    FloatNode,
    Gelu,
    Linear,
    Pool,
    Readout,
    Relu,
    Shape,
    Spiking,
    Table,
    Thermal,
    Winners,
)
from edgechaos.random_bits import fail_q
from edgechaos.thermal import thermal_codes

INT16_MAX = 32767
EXPECTED_SCALE = 256
"""Logits of "expected" sampling are times this."""


def refuse_unsupported(model: FloatModel, sampling: Sampling) -> None:
    """Raise UnsupportedError, naming node and remedy, for what no integer graph can carry; before anything is trained."""
    for node in model.nodes:
        if isinstance(node, Spiking) and node.ticks > MAX_TICKS:
            raise UnsupportedError(
                f"layer '{node.name}': {node.ticks} ticks are more than the {MAX_TICKS} that an int8 spike count holds; train with fewer",
                node.name,
            )
        _refuse_misplaced(model, node)
    if sampling not in ("ticks", "binomial", "expected"):
        raise UnsupportedError(f"unknown sampling {sampling!r}; use 'ticks', 'binomial' or 'expected'")
    for node in model.spiking_layers():
        last = any(isinstance(reader, Readout) for reader in model.readers(node.name))
        if sampling != "ticks" and last and (node.mode != "parallel" or model.ticks(node.input)):
            raise UnsupportedError(
                f"layer '{node.name}': sampling '{sampling}' needs parallel ticks with one drive (one spiking layer); use 'ticks'",
                node.name,
            )


_ACCUMULATORS = (Linear, Conv, Thermal)
_CODES = (Table, Relu, Gelu, Pool, EmbeddingMean, Spiking)
_READS: Mapping[type[FloatNode], tuple[type[FloatNode], ...]] = {
    Linear: _CODES,
    Readout: _CODES,
    Conv: _CODES,
    Pool: _CODES,
    Relu: _ACCUMULATORS,
    Gelu: (*_ACCUMULATORS, Winners),
    Winners: _ACCUMULATORS,
    Thermal: (Linear, Readout),
    Spiking: (Linear,),
    Table: (),
    EmbeddingMean: (),
}
"""What each kind may read besides the input of a head: matrices read int8 codes, activations read int32 sums."""


def _refuse_misplaced(model: FloatModel, node: FloatNode) -> None:
    if type(node) not in _READS:
        raise UnsupportedError(f"node '{node.name}': {type(node).__name__} has no integer form here; fold it first", node.name)
    before = model.node(node.input)
    at_entry = before is None and type(node) in (Linear, Readout, Conv, Table, EmbeddingMean)
    if not at_entry and not isinstance(before, _READS[type(node)]):
        what = "the input" if before is None else f"{type(before).__name__} '{before.name}'"
        raise UnsupportedError(f"node '{node.name}': {type(node).__name__} has no integer form after {what}", node.name)


def lower(model: FakeQuantModel, peaks: Mapping[str, float], sampling: Sampling, metadata: Mapping[str, Any]) -> IntegerGraph:
    """The integer graph of a fake-quantized model, validated.

    peaks: largest |membrane| of every stateful layer, from calibration. Raises UnsupportedError for what cannot be
    carried, AccumulatorOverflow where a bound cannot be proved.
    """
    refuse_unsupported(model.described, sampling)
    builder = _Builder(model, peaks, sampling)
    for node in model.described.nodes:
        builder.add(node)
    return builder.finish(metadata)


@dataclass
class _Builder:
    """Collects tensors, constants and nodes; `scales` is what one code of each tensor is worth, (1,) or (channels,)."""

    model: FakeQuantModel
    peaks: Mapping[str, float]
    sampling: Sampling
    tensors: dict[str, Tensor] = field(default_factory=dict)
    constants: dict[str, Constant] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    scales: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for head in self.model.described.heads:
            dtype: Dtype = "uint16" if head.encoding.kind == "tokens" else "int8"
            self.values[head.input] = self.tensor(head.input, dtype, head.shape, np.array([head.step]))

    def tensor(self, name: str, dtype: Dtype, shape: Shape, scale: NDArray[np.float64], ticks: int = 0) -> str:
        self.tensors[name] = Tensor(name, dtype, shape, float(scale[0]) if len(scale) == 1 else None, ticks)
        self.scales[name] = scale
        return name

    def constant(self, name: str, value: NDArray[Any], bits: int, scale: NDArray[np.float64] | None = None) -> str:
        self.constants[name] = Constant(np.ascontiguousarray(value), bits, () if scale is None else tuple(scale.tolist()))
        return name

    def add(self, node: FloatNode) -> None:
        getattr(self, f"add_{type(node).__name__.lower()}")(node)

    def weights(self, node: Linear | Conv | EmbeddingMean) -> tuple[QuantizedWeight, str, NDArray[np.float64]]:
        """The integers, the name of their constant, and what one unit of the accumulator is worth."""
        quantized = self.model.quantized(node.name)
        name = self.constant(f"{node.name}_weight", quantized.weight, self.model.bits[node.name], quantized.scale)
        return quantized, name, quantized.scale * self.scales[self.values[node.input]]

    def bias(self, node: Linear | Conv, codes: NDArray[np.float64]) -> str | None:
        rounded = rounding.round_half_up(codes)
        if not rounded.any():
            return None
        if np.abs(rounded).max() > rounding.INT32_MAX:
            raise AccumulatorOverflow(
                f"node '{node.name}': bias of {int(np.abs(rounded).max()):,} code units exceeds int32; train with more weight decay",
                node.name,
            )
        return self.constant(f"{node.name}_bias", rounded.astype(np.int32), 32)

    def add_linear(self, node: Linear) -> None:
        quantized, weight, scale = self.weights(node)
        source = self.values[node.input]
        acc = self.tensor(f"{node.name}_acc", "int32", quantized.bias.shape, scale, self.tensors[source].ticks)
        self.nodes.append(MatMul(node.name, source, acc, weight=weight, bias=self.bias(node, quantized.bias / scale)))
        self.values[node.name] = acc

    def add_conv(self, node: Conv) -> None:
        quantized, weight, scale = self.weights(node)
        source = self.values[node.input]
        acc = self.tensor(f"{node.name}_acc", "int32", node.shape_of(self.tensors[source].shape), scale)
        bias = self.bias(node, quantized.bias / scale)
        self.nodes.append(ConvNode(node.name, source, acc, weight=weight, bias=bias, stride=node.stride, pad=node.pad))
        self.values[node.name] = acc

    def rescaled(self, name: str, source: str, dtype: Dtype, scale: float, low: int, high: int, terms: int = 1) -> str:
        """A Requantize of `source` to codes of `scale`; what is rescaled is a sum of `terms`, of which the mean is meant."""
        out = self.tensor(f"{name}_codes", dtype, self.tensors[source].shape, np.array([scale]), self.tensors[source].ticks)
        multiplier, shift = rounding.multiplier_shift(self.scales[source] / terms / scale, name)
        self.nodes.append(
            Requantize(
                name,
                source,
                out,
                multiplier=self.constant(f"{name}_multiplier", multiplier, 32),
                shift=self.constant(f"{name}_shift", shift, 32),
                low=low,
                high=high,
            )
        )
        return out

    def quantizer(self, name: str) -> Quantizer:
        return cast(Quantizer, self.model.quantizers[name])

    def add_relu(self, node: Relu) -> None:
        self.values[node.name] = self.rescaled(node.name, self.values[node.input], "int8", self.quantizer(node.name).scale, 0, 127)

    def add_gelu(self, node: Gelu) -> None:
        before, after = self.quantizer(f"{node.name}_in"), self.quantizer(node.name)
        source = self.rescaled(f"{node.name}_in", self.values[node.input], "int8", before.scale, before.low, before.high)
        x = np.arange(-128, 128) * before.scale
        gelu = np.array([0.5 * v * (1.0 + math.erf(v / math.sqrt(2.0))) for v in x])
        self.lut(node.name, source, gelu, after)

    def add_table(self, node: Table) -> None:
        self.lut(node.name, self.values[node.input], node.values, self.quantizer(node.name))

    def lut(self, name: str, source: str, values: NDArray[np.float64], quantizer: Quantizer) -> None:
        codes = np.clip(rounding.round_half_up(values / quantizer.scale), quantizer.low, quantizer.high)
        table = self.constant(f"{name}_table", codes.astype(np.int8), 8)
        out = self.tensor(f"{name}_codes", "int8", self.tensors[source].shape, np.array([quantizer.scale]))
        self.nodes.append(Lut(name, source, out, table=table))
        self.values[name] = out

    def add_pool(self, node: Pool) -> None:
        source = self.values[node.input]
        shape = node.shape_of(self.tensors[source].shape)
        kind, dtype = (AveragePool, "int32") if node.average else (MaxPool, "int8")
        name = f"{node.name}_sum" if node.average else node.name
        out = self.tensor(f"{node.name}_{'acc' if node.average else 'max'}", cast(Dtype, dtype), shape, self.scales[source])
        self.nodes.append(kind(name, source, out, kernel=node.kernel, stride=node.stride))
        if node.average:
            quantizer = self.quantizer(node.name)
            out = self.rescaled(node.name, out, "int8", quantizer.scale, quantizer.low, quantizer.high, node.kernel[0] * node.kernel[1])
        self.values[node.name] = out

    def add_embeddingmean(self, node: EmbeddingMean) -> None:
        quantized, weight, _ = self.weights(node)
        source, quantizer = self.values[node.input], self.quantizer(node.name)
        counts = np.maximum(1, np.arange(self.tensors[source].size + 1))
        multiplier, shift = rounding.multiplier_shift(quantized.scale / (counts * quantizer.scale), node.name)
        out = self.tensor(f"{node.name}_codes", "int8", quantized.weight.shape[1:], np.array([quantizer.scale]))
        self.nodes.append(
            EmbeddingBag(
                node.name,
                source,
                out,
                weight=weight,
                multiplier=self.constant(f"{node.name}_multiplier", multiplier, 32),
                shift=self.constant(f"{node.name}_shift", shift, 32),
                low=quantizer.low,
                high=quantizer.high,
            )
        )
        self.values[node.name] = out

    def add_winners(self, node: Winners) -> None:
        quantizer = self.quantizer(node.name)
        ranks = self.rescaled(f"{node.name}_rank", self.values[node.input], "int16", quantizer.scale, quantizer.low, quantizer.high)
        out = self.tensor(f"{node.name}_kept", "int16", self.tensors[ranks].shape, self.scales[ranks])
        self.nodes.append(TopK(node.name, ranks, out, k=node.k))
        self.values[node.name] = out

    def add_thermal(self, node: Thermal) -> None:
        acc = self.values[node.input]
        matrix = next(n for n in self.nodes if n.output == acc)
        codes, weight_scale = matrix.input, float(self.model.quantized(node.input).scale[0])
        norm_max = math.isqrt(self.tensors[codes].size * 128**2)
        integers = thermal_codes(node.temperature, node.temperature_max, weight_scale, norm_max, node.name)
        out = self.tensor(f"{node.name}_acc", "int32", self.tensors[acc].shape, self.scales[acc])
        self.nodes.append(ThermalNoise(node.name, acc, out, codes=codes, stream=node.stream, **asdict(integers)))
        self.values[node.name] = out

    def add_spiking(self, node: Spiking) -> None:
        drive = self.values[node.input]
        if node.mode == "stateful":
            drive = self.requantize(node, drive)
        scale = np.broadcast_to(self.scales[drive], (node.neurons,))
        last = all(isinstance(r, Readout) for r in self.model.described.readers(node.name))
        sampling: Sampling = self.sampling if last else "ticks"
        sigma, shift = rounding.sigma_multipliers(node.noise_std / scale, node.name)
        noisy = sampling == "ticks" and bool(sigma.any())
        out = self.tensor(f"{node.name}_{'count' if last else 'spikes'}", "int8", (node.neurons,), np.ones(1), 0 if last else node.ticks)
        self.nodes.append(
            ChaosLayer(
                node.name,
                drive,
                out,
                mode=node.mode,
                ticks=node.ticks,
                threshold=self.constant(f"{node.name}_threshold", rounding.threshold_codes(node.threshold, scale), 32),
                sigma=self.constant(f"{node.name}_sigma", sigma, 32) if noisy else None,
                sigma_shift=shift if noisy else 0,
                decay_q15=rounding.q15(node.decay),
                refractory_decay_q15=rounding.q15(node.refractory_decay),
                fail_q=fail_q(node.fail_prob),
                fail_stream=node.fail_stream,
                noise_stream=node.noise_stream,
                sampling=sampling,
                emit="count" if last else "spikes",
            )
        )
        self.values[node.name] = out

    def requantize(self, node: Spiking, acc: str) -> str:
        """Drive in the layer's one int16 membrane scale, never finer than the accumulator itself."""
        fine = self.scales[acc]
        scale = max(HEADROOM * self.peaks[node.name] / INT16_MAX, float(fine.max()))
        name = f"{node.name}_requantize"
        multiplier, shift = rounding.multiplier_shift(fine / scale, name)
        drive = self.tensor(f"{node.name}_drive", "int16", (node.neurons,), np.array([scale]), self.tensors[acc].ticks)
        self.nodes.append(
            Requantize(
                name,
                acc,
                drive,
                multiplier=self.constant(f"{node.name}_multiplier", multiplier, 32),
                shift=self.constant(f"{node.name}_shift", shift, 32),
                low=-INT16_MAX - 1,
                high=INT16_MAX,
            )
        )
        return drive

    def add_readout(self, node: Readout) -> None:
        quantized, weight, scale = self.weights(node)
        layer = self.model.described.node(node.input)
        gain = 1
        if isinstance(layer, Spiking):
            expected = self.sampling == "expected"
            # logits = W mean + b = (scale / T) (W_int count + T b / scale)
            scale = quantized.scale / (layer.ticks * (EXPECTED_SCALE if expected else 1))
            gain = expected_gain(layer.ticks, fail_q(layer.fail_prob)) if expected else 1
        bias = self.bias(node, quantized.bias / scale)
        final = any(head.logits == node.name for head in self.model.described.heads)
        logits = self.tensor(node.name if final else f"{node.name}_acc", "int32", quantized.bias.shape, scale)
        name = "readout" if len(self.model.described.heads) == 1 else f"{node.name}_readout"
        self.nodes.append(ReadoutNode(name, self.values[node.input], logits, weight=weight, bias=bias, gain=gain))
        self.values[node.name] = logits

    def finish(self, metadata: Mapping[str, Any]) -> IntegerGraph:
        heads = []
        for head in self.model.described.heads:
            single = len(self.model.described.heads) == 1
            label = "label" if single else f"{head.name}_label"
            self.tensors[label] = Tensor(label, "uint16", (1,))
            self.nodes.append(ArgMax("argmax" if single else f"{head.name}_argmax", self.values[head.logits], label))
            heads.append(Head(head.name, head.input, self.values[head.logits], label, head.classes, head.encoding))
        name = self.model.described.name
        return IntegerGraph(name, self.tensors, self.constants, tuple(self.nodes), tuple(heads), metadata).validate()
