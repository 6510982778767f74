"""From fake-quantized weights to the IntegerGraph: thresholds, multipliers and biases in code units.

Every constant is rounded once, here, by `edgechaos.arithmetic.rounding`. Source: docs/semantics.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic import rounding
from edgechaos.arithmetic.random_bits import fail_q
from edgechaos.floatgraph.float_model import FloatModel
from edgechaos.floatgraph.float_nodes import (
    Add,
    ChaosLayer,
    Conv,
    EmbeddingMean,
    FloatNode,
    Gelu,
    Identity,
    Lut,
    MatMul,
    Pool,
    Readout,
    Relu,
    Thermal,
    TopK,
)
from edgechaos.graph.heads import Head
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.argmax import ArgMax
from edgechaos.graph.kinds.chaos_layer import ChaosLayer as ChaosLayerNode
from edgechaos.graph.kinds.chaos_layer import Sampling, expected_gain
from edgechaos.graph.kinds.conv import Conv as ConvNode
from edgechaos.graph.kinds.embedding_bag import EmbeddingBag
from edgechaos.graph.kinds.matmul import MatMul as MatMulNode
from edgechaos.graph.kinds.readout import Readout as ReadoutNode
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.rules import FINER_BITS, MAX_TICKS
from edgechaos.graph.tensors import Tensor
from edgechaos.quantize.activations import HEADROOM
from edgechaos.quantize.fake_quant import FakeQuantModel
from edgechaos.quantize.lower_activations import ActivationLowering
from edgechaos.support.errors import UnsupportedError

INT16_MAX = 32767
EXPECTED_SCALE = 256
"""Logits of "expected" sampling are times this."""


def refuse_unsupported(model: FloatModel, sampling: Sampling) -> None:
    """Raise UnsupportedError, naming node and remedy, for what no integer graph can carry; before anything is trained."""
    for node in model.nodes:
        if isinstance(node, ChaosLayer) and node.ticks > MAX_TICKS:
            raise UnsupportedError(
                f"layer '{node.name}': {node.ticks} ticks are more than the {MAX_TICKS} that an int8 spike count holds; train with fewer",
                node.name,
            )
        for tensor in node.inputs():
            _refuse_misplaced(model, node, model.node(tensor))
    if sampling not in ("ticks", "binomial", "expected"):
        raise UnsupportedError(f"unknown sampling {sampling!r}; use 'ticks', 'binomial' or 'expected'")
    for node in model.spiking_layers():
        last = any(isinstance(reader, Readout) for reader in model.readers(node.name))
        if sampling != "ticks" and last and (node.mode != "parallel" or model.ticks(node.input)):
            raise UnsupportedError(
                f"layer '{node.name}': sampling '{sampling}' needs parallel ticks with one drive (one spiking layer); use 'ticks'",
                node.name,
            )


_ACCUMULATORS = (MatMul, Conv, Thermal, Add)
_VALUES = (Lut, Relu, Gelu, Identity, Pool, EmbeddingMean)
_CODES = (*_VALUES, ChaosLayer)
_READS: Mapping[type[FloatNode], tuple[type[FloatNode], ...]] = {
    MatMul: _CODES,
    Readout: _CODES,
    Conv: _CODES,
    Pool: _CODES,
    Relu: _ACCUMULATORS,
    Identity: _ACCUMULATORS,
    Add: _VALUES,
    Gelu: (*_ACCUMULATORS, TopK),
    TopK: _ACCUMULATORS,
    Thermal: (MatMul, Readout),
    ChaosLayer: (MatMul,),
    Lut: (),
    EmbeddingMean: (),
}
"""What each kind may read besides the input of a head: matrices and Add read int8 codes, activations read int32 sums."""


def _refuse_misplaced(model: FloatModel, node: FloatNode, before: FloatNode | None) -> None:
    if type(node) not in _READS:
        raise UnsupportedError(f"node '{node.name}': {type(node).__name__} has no integer form here; fold it first", node.name)
    at_entry = before is None and type(node) in (MatMul, Readout, Conv, Lut, EmbeddingMean)
    if not at_entry and not isinstance(before, _READS[type(node)]):
        what = "the input" if before is None else f"{type(before).__name__} '{before.name}'"
        raise UnsupportedError(f"node '{node.name}': {type(node).__name__} has no integer form after {what}", node.name)


def lower(model: FakeQuantModel, peaks: Mapping[str, float], sampling: Sampling, metadata: Mapping[str, Any]) -> IntegerGraph:
    """The integer graph of a fake-quantized model, validated.

    peaks: largest |membrane| of every stateful layer, from calibration. Raises UnsupportedError for what cannot be
    carried, AccumulatorOverflow where a bound cannot be proved.
    """
    refuse_unsupported(model.described, sampling)
    builder = _Lowering(model, peaks, sampling)
    for node in model.described.nodes:
        builder.add(node)
    return builder.finish(metadata)


@dataclass
class _Lowering(ActivationLowering):
    """Adds matrices, embeddings, spiking layers and readouts, and closes the graph."""

    def add(self, node: FloatNode) -> None:
        getattr(self, f"add_{type(node).__name__.lower()}")(node)

    def bias(self, node: MatMul | Conv, codes: NDArray[np.float64]) -> str | None:
        rounded = rounding.bias_codes(codes, node.name)
        if not rounded.any():
            return None
        return self.constant(f"{node.name}_bias", rounded.astype(np.int32), 32)

    def add_matmul(self, node: MatMul) -> None:
        quantized, weight, scale = self.weights(node)
        source = self.values[node.input]
        acc = self.tensor(f"{node.name}_acc", "int32", quantized.bias.shape, scale, self.tensors[source].ticks)
        self.nodes.append(MatMulNode(node.name, source, acc, weight=weight, bias=self.bias(node, quantized.bias / scale)))
        self.values[node.name] = acc

    def add_conv(self, node: Conv) -> None:
        quantized, weight, scale = self.weights(node)
        source = self.values[node.input]
        acc = self.tensor(f"{node.name}_acc", "int32", node.shape_of(self.tensors[source].shape), scale)
        bias = self.bias(node, quantized.bias / scale)
        self.nodes.append(ConvNode(node.name, source, acc, weight=weight, bias=bias, stride=node.stride, pad=node.pad))
        self.values[node.name] = acc

    def add_embeddingmean(self, node: EmbeddingMean) -> None:
        quantized, weight, _ = self.weights(node)
        source, quantizer = self.values[node.input], self.quantizer(node.name)
        counts = np.maximum(1, np.arange(self.tensors[source].size + 1))
        multiplier, shift = rounding.multiplier_shift(quantized.scale / (counts * quantizer.scale), node.name, 1 << FINER_BITS)
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

    def add_chaoslayer(self, node: ChaosLayer) -> None:
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
            ChaosLayerNode(
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

    def requantize(self, node: ChaosLayer, acc: str) -> str:
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
        if isinstance(layer, ChaosLayer):
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
