"""Matrices, embeddings, spiking layers and readouts as nodes of an integer graph.

Source: docs/semantics.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from edgechaos.arithmetic import rounding
from edgechaos.arithmetic.random_bits import fail_q
from edgechaos.floatgraph.float_nodes import ChaosLayer, Conv, EmbeddingMean, FloatNode, MatMul, Readout
from edgechaos.graph.kinds.chaos_layer import ChaosLayer as ChaosLayerNode
from edgechaos.graph.kinds.chaos_layer import Sampling, expected_gain
from edgechaos.graph.kinds.conv import Conv as ConvNode
from edgechaos.graph.kinds.embedding_bag import EmbeddingBag
from edgechaos.graph.kinds.matmul import MatMul as MatMulNode
from edgechaos.graph.kinds.readout import Readout as ReadoutNode
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.rules import FINER_BITS
from edgechaos.quantize.activations import HEADROOM
from edgechaos.quantize.graph_builder import GraphBuilder, Lowering
from edgechaos.quantize.lower_activations import VALUES

INT16_MAX = 32767
EXPECTED_SCALE = 256
"""Logits of "expected" sampling are times this."""


def matmul(builder: GraphBuilder, node: MatMul) -> None:
    """Sums of codes times weights."""
    quantized, weight, scale = builder.weights(node)
    source = builder.values[node.input]
    acc = builder.tensor(f"{node.name}_acc", "int32", quantized.bias.shape, scale, builder.tensors[source].ticks)
    builder.nodes.append(MatMulNode(node.name, source, acc, weight=weight, bias=builder.bias(node, quantized.bias / scale)))
    builder.values[node.name] = acc


def conv(builder: GraphBuilder, node: Conv) -> None:
    """The same over windows."""
    quantized, weight, scale = builder.weights(node)
    source = builder.values[node.input]
    acc = builder.tensor(f"{node.name}_acc", "int32", node.shape_of(builder.tensors[source].shape), scale)
    bias = builder.bias(node, quantized.bias / scale)
    builder.nodes.append(ConvNode(node.name, source, acc, weight=weight, bias=bias, stride=node.stride, pad=node.pad))
    builder.values[node.name] = acc


def embedding_mean(builder: GraphBuilder, node: EmbeddingMean) -> None:
    """Rows of a table, summed, and their mean by a multiplier for every number of them."""
    quantized, weight, _ = builder.weights(node)
    source, quantizer = builder.values[node.input], builder.quantizer(node.name)
    counts = np.maximum(1, np.arange(builder.tensors[source].size + 1))
    multiplier, shift = rounding.multiplier_shift(quantized.scale / (counts * quantizer.scale), node.name, 1 << FINER_BITS)
    out = builder.tensor(f"{node.name}_codes", "int8", quantized.weight.shape[1:], np.array([quantizer.scale]))
    builder.nodes.append(
        EmbeddingBag(
            node.name,
            source,
            out,
            weight=weight,
            multiplier=builder.constant(f"{node.name}_multiplier", multiplier, 32),
            shift=builder.constant(f"{node.name}_shift", shift, 32),
            low=quantizer.low,
            high=quantizer.high,
        )
    )
    builder.values[node.name] = out


def chaos_layer(builder: GraphBuilder, node: ChaosLayer) -> None:
    """Spikes, or the count that a readout takes the mean of."""
    drive = builder.values[node.input]
    if node.mode == "stateful":
        drive = membrane_drive(builder, node, drive)
    scale = np.broadcast_to(builder.scales[drive], (node.neurons,))
    last = all(isinstance(r, Readout) for r in builder.model.described.readers(node.name))
    sampling: Sampling = builder.sampling if last else "ticks"
    sigma, shift = rounding.sigma_multipliers(node.noise_std / scale, node.name)
    noisy = sampling == "ticks" and bool(sigma.any())
    out = builder.tensor(f"{node.name}_{'count' if last else 'spikes'}", "int8", (node.neurons,), np.ones(1), 0 if last else node.ticks)
    builder.nodes.append(
        ChaosLayerNode(
            node.name,
            drive,
            out,
            mode=node.mode,
            ticks=node.ticks,
            threshold=builder.constant(f"{node.name}_threshold", rounding.threshold_codes(node.threshold, scale), 32),
            sigma=builder.constant(f"{node.name}_sigma", sigma, 32) if noisy else None,
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
    builder.values[node.name] = out


def membrane_drive(builder: GraphBuilder, node: ChaosLayer, acc: str) -> str:
    """Drive in the layer's one int16 membrane scale, never finer than the accumulator itself."""
    fine = builder.scales[acc]
    scale = max(HEADROOM * builder.peaks[node.name] / INT16_MAX, float(fine.max()))
    name = f"{node.name}_requantize"
    multiplier, shift = rounding.multiplier_shift(fine / scale, name)
    drive = builder.tensor(f"{node.name}_drive", "int16", (node.neurons,), np.array([scale]), builder.tensors[acc].ticks)
    builder.nodes.append(
        Requantize(
            name,
            acc,
            drive,
            multiplier=builder.constant(f"{node.name}_multiplier", multiplier, 32),
            shift=builder.constant(f"{node.name}_shift", shift, 32),
            low=-INT16_MAX - 1,
            high=INT16_MAX,
        )
    )
    return drive


def readout(builder: GraphBuilder, node: Readout) -> None:
    """The logits, in one scale; the mean over ticks lies in the scale."""
    quantized, weight, scale = builder.weights(node)
    layer = builder.model.described.node(node.input)
    gain = 1
    if isinstance(layer, ChaosLayer):
        expected = builder.sampling == "expected"
        # logits = W mean + b = (scale / T) (W_int count + T b / scale)
        scale = quantized.scale / (layer.ticks * (EXPECTED_SCALE if expected else 1))
        gain = expected_gain(layer.ticks, fail_q(layer.fail_prob)) if expected else 1
    bias = builder.bias(node, quantized.bias / scale)
    final = any(head.logits == node.name for head in builder.model.described.heads)
    logits = builder.tensor(node.name if final else f"{node.name}_acc", "int32", quantized.bias.shape, scale)
    name = "readout" if len(builder.model.described.heads) == 1 else f"{node.name}_readout"
    builder.nodes.append(ReadoutNode(name, builder.values[node.input], logits, weight=weight, bias=bias, gain=gain))
    builder.values[node.name] = logits


CODES = (*VALUES, ChaosLayer)
LOWERINGS: Mapping[type[FloatNode], Lowering[Any]] = MappingProxyType(
    {
        MatMul: Lowering(matmul, reads=CODES, at_input=True),
        Conv: Lowering(conv, reads=CODES, at_input=True),
        EmbeddingMean: Lowering(embedding_mean, at_input=True),
        ChaosLayer: Lowering(chaos_layer, reads=(MatMul,)),
        Readout: Lowering(readout, reads=CODES, at_input=True),
    }
)
