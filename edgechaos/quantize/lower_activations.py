"""Activations, sums, tables, pools, k-WTA and thermal noise as nodes of an integer graph.

Source: docs/semantics.md.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic import rounding
from edgechaos.floatgraph.float_nodes import Add, Gelu, Identity, Lut, Pool, Relu, Thermal, TopK
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
from edgechaos.quantize.graph_builder import GraphBuilder


@dataclass
class ActivationLowering(GraphBuilder):
    """Adds what stands between matrices."""

    def add_identity(self, node: Identity | Relu) -> None:
        """Codes of a sum; after a ReLU from 0 on."""
        quantizer = self.quantizer(node.name)
        source = self.values[node.input]
        self.values[node.name] = self.rescaled(node.name, source, "int8", quantizer.scale, quantizer.low, quantizer.high)

    add_relu = add_identity

    def add_add(self, node: Add) -> None:
        """The sum of two codes, each by the gain that its scale asks for."""
        x, other = (self.values[tensor] for tensor in node.inputs())
        gain, other_gain, unit = gains(float(self.scales[x][0]), float(self.scales[other][0]))
        acc = self.tensor(f"{node.name}_acc", "int32", self.tensors[x].shape, np.array([unit]))
        self.nodes.append(AddNode(node.name, x, acc, other=other, gain=gain, other_gain=other_gain))
        self.values[node.name] = acc

    def add_gelu(self, node: Gelu) -> None:
        """Codes through a table of the exact form."""
        before, after = self.quantizer(f"{node.name}_in"), self.quantizer(node.name)
        source = self.rescaled(f"{node.name}_in", self.values[node.input], "int8", before.scale, before.low, before.high)
        self.lut(node.name, source, gelu_table(before.scale), after)

    def add_lut(self, node: Lut) -> None:
        """A table of real values, as codes."""
        self.lut(node.name, self.values[node.input], node.values, self.quantizer(node.name))

    def lut(self, name: str, source: str, values: NDArray[np.float64], quantizer: Quantizer) -> None:
        """A Lut of 256 real values, or of one row per channel, in codes of `quantizer`."""
        codes = np.clip(rounding.round_half_up(values / quantizer.scale), quantizer.low, quantizer.high)
        table = self.constant(f"{name}_table", codes.astype(np.int8), 8)
        out = self.tensor(f"{name}_codes", "int8", self.tensors[source].shape, np.array([quantizer.scale]))
        self.nodes.append(LutNode(name, source, out, table=table))
        self.values[name] = out

    def add_pool(self, node: Pool) -> None:
        """The largest code of each window, or their sum and its mean."""
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

    def add_topk(self, node: TopK) -> None:
        """Ranks in one int16 scale, of which the k largest stay."""
        quantizer = self.quantizer(node.name)
        ranks = self.rescaled(f"{node.name}_rank", self.values[node.input], "int16", quantizer.scale, quantizer.low, quantizer.high)
        out = self.tensor(f"{node.name}_kept", "int16", self.tensors[ranks].shape, self.scales[ranks])
        self.nodes.append(TopKNode(node.name, ranks, out, k=node.k))
        self.values[node.name] = out

    def add_thermal(self, node: Thermal) -> None:
        """Noise on the accumulators, by the norm of the codes that the matrix read."""
        acc = self.values[node.input]
        matrix = next(n for n in self.nodes if n.output == acc)
        codes, weight_scale = matrix.input, float(self.model.quantized(node.input).scale[0])
        norm_max = math.isqrt(self.tensors[codes].size * 128**2)
        integers = thermal_codes(node.temperature, node.temperature_max, weight_scale, norm_max, node.name)
        out = self.tensor(f"{node.name}_acc", "int32", self.tensors[acc].shape, self.scales[acc])
        self.nodes.append(ThermalNoise(node.name, acc, out, codes=codes, stream=node.stream, **asdict(integers)))
        self.values[node.name] = out
