"""Activations, sums, tables, pools, k-WTA and thermal noise as nodes of an integer graph.

Source: docs/semantics.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic import rounding
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
from edgechaos.graph.kinds.add import Add as AddNode
from edgechaos.graph.kinds.add import gains
from edgechaos.graph.kinds.average_pool import AveragePool
from edgechaos.graph.kinds.lut import Lut as LutNode
from edgechaos.graph.kinds.max_pool import MaxPool
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from edgechaos.graph.kinds.topk import TopK as TopKNode
from edgechaos.graph.tensors import Dtype
from edgechaos.graph.thermal import thermal_codes
from edgechaos.quantize.activations import Quantizer, gelu_table
from edgechaos.quantize.graph_builder import GraphBuilder, Lowering


def codes_of_sum(builder: GraphBuilder, node: Identity | Relu) -> None:
    """Codes of a sum; after a ReLU from 0 on."""
    quantizer = builder.quantizer(node.name)
    source = builder.values[node.input]
    builder.values[node.name] = builder.rescaled(node.name, source, "int8", quantizer.scale, quantizer.low, quantizer.high)


def weighted_sum(builder: GraphBuilder, node: Add) -> None:
    """The sum of two codes, each by the gain that its scale asks for."""
    x, other = (builder.values[tensor] for tensor in node.inputs())
    gain, other_gain, unit = gains(float(builder.scales[x][0]), float(builder.scales[other][0]))
    acc = builder.tensor(f"{node.name}_acc", "int32", builder.tensors[x].shape, np.array([unit]))
    builder.nodes.append(AddNode(node.name, x, acc, other=other, gain=gain, other_gain=other_gain))
    builder.values[node.name] = acc


def gelu(builder: GraphBuilder, node: Gelu) -> None:
    """Codes through a table of the exact form."""
    before, after = builder.quantizer(f"{node.name}_in"), builder.quantizer(node.name)
    source = builder.rescaled(f"{node.name}_in", builder.values[node.input], "int8", before.scale, before.low, before.high)
    lut(builder, node.name, source, gelu_table(before.scale), after)


def given_table(builder: GraphBuilder, node: Lut) -> None:
    """A table of real values, as codes."""
    lut(builder, node.name, builder.values[node.input], node.values, builder.quantizer(node.name))


def lut(builder: GraphBuilder, name: str, source: str, values: NDArray[np.float64], quantizer: Quantizer) -> None:
    """A Lut of 256 real values, or of one row per channel, in codes of `quantizer`."""
    codes = np.clip(rounding.round_half_up(values / quantizer.scale), quantizer.low, quantizer.high)
    table = builder.constant(f"{name}_table", codes.astype(np.int8), 8)
    out = builder.tensor(f"{name}_codes", "int8", builder.tensors[source].shape, np.array([quantizer.scale]))
    builder.nodes.append(LutNode(name, source, out, table=table))
    builder.values[name] = out


def pool(builder: GraphBuilder, node: Pool) -> None:
    """The largest code of each window, or their sum and its mean."""
    source = builder.values[node.input]
    shape = node.shape_of(builder.tensors[source].shape)
    kind, dtype = (AveragePool, "int32") if node.average else (MaxPool, "int8")
    name = f"{node.name}_sum" if node.average else node.name
    out = builder.tensor(f"{node.name}_{'acc' if node.average else 'max'}", cast(Dtype, dtype), shape, builder.scales[source])
    builder.nodes.append(kind(name, source, out, kernel=node.kernel, stride=node.stride))
    if node.average:
        quantizer = builder.quantizer(node.name)
        out = builder.rescaled(node.name, out, "int8", quantizer.scale, quantizer.low, quantizer.high, node.kernel[0] * node.kernel[1])
    builder.values[node.name] = out


def top_k(builder: GraphBuilder, node: TopK) -> None:
    """Ranks in one int16 scale, of which the k largest stay."""
    quantizer = builder.quantizer(node.name)
    ranks = builder.rescaled(f"{node.name}_rank", builder.values[node.input], "int16", quantizer.scale, quantizer.low, quantizer.high)
    out = builder.tensor(f"{node.name}_kept", "int16", builder.tensors[ranks].shape, builder.scales[ranks])
    builder.nodes.append(TopKNode(node.name, ranks, out, k=node.k))
    builder.values[node.name] = out


def thermal_noise(builder: GraphBuilder, node: Thermal) -> None:
    """Noise on the accumulators, by the norm of the codes that the matrix read."""
    acc = builder.values[node.input]
    matrix = next(n for n in builder.nodes if n.output == acc)
    codes, weight_scale = matrix.input, float(builder.model.quantized(node.input).scale[0])
    norm_max = math.isqrt(builder.tensors[codes].size * 128**2)
    integers = thermal_codes(node.temperature, node.temperature_max, weight_scale, norm_max, node.name)
    out = builder.tensor(f"{node.name}_acc", "int32", builder.tensors[acc].shape, builder.scales[acc])
    builder.nodes.append(ThermalNoise(node.name, acc, out, codes=codes, stream=node.stream, **asdict(integers)))
    builder.values[node.name] = out


ACCUMULATORS = (MatMul, Conv, Thermal, Add)
"""Float kinds whose tensors are int32 sums."""
VALUES = (Lut, Relu, Gelu, Identity, Pool, EmbeddingMean)
"""Those whose tensors are int8 codes of real values."""
LOWERINGS: Mapping[type[FloatNode], Lowering[Any]] = MappingProxyType(
    {
        Relu: Lowering(codes_of_sum, reads=ACCUMULATORS),
        Identity: Lowering(codes_of_sum, reads=ACCUMULATORS),
        Add: Lowering(weighted_sum, reads=VALUES),
        Gelu: Lowering(gelu, reads=(*ACCUMULATORS, TopK)),
        Lut: Lowering(given_table, at_input=True),
        Pool: Lowering(pool, reads=(*VALUES, ChaosLayer)),
        TopK: Lowering(top_k, reads=ACCUMULATORS),
        Thermal: Lowering(thermal_noise, reads=(MatMul, Readout)),
    }
)
