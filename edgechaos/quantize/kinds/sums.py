"""Add and Thermal: sums that stay sums."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgechaos.floatgraph.float_nodes import Add, FloatNode, Thermal
from edgechaos.graph.kinds.add import Add as AddNode
from edgechaos.graph.kinds.add import gains
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from edgechaos.graph.thermal import thermal_codes
from edgechaos.models.base import thermal
from edgechaos.models.spiking import Conditions
from edgechaos.quantize.exact import Evaluation
from edgechaos.quantize.fake_quant import FakeQuantModel
from edgechaos.quantize.graph_builder import GraphBuilder
from edgechaos.quantize.kind import QuantizedKind, quantizes


@quantizes(Add)
class QuantizedAdd(QuantizedKind):
    """A sum of whole units that both scales have in common."""

    gives = "sums"
    takes = frozenset({"codes"})

    def step(self, model: FakeQuantModel, node: Add) -> NDArray[np.float64]:
        (x,), (other,) = map(model.step, node.inputs())
        return np.array([gains(x, other)[2]])

    def fake(self, model: FakeQuantModel, node: Add, values: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        return values[node.input] + values[node.other]

    def exact(self, run: Evaluation, node: Add, values: Mapping[str, Tensor]) -> Tensor:
        (a, step), (b, other_step) = (run.codes(tensor, values) for tensor in node.inputs())
        gain, other_gain, unit = gains(step, other_step)
        return (a * gain + b * other_gain) * unit

    def lower(self, builder: GraphBuilder, node: Add) -> None:
        x, other = (builder.values[tensor] for tensor in node.inputs())
        gain, other_gain, unit = gains(float(builder.scales[x][0]), float(builder.scales[other][0]))
        acc = builder.tensor(f"{node.name}_acc", "int32", builder.tensors[x].shape, np.array([unit]))
        builder.nodes.append(AddNode(node.name, x, acc, other=other, gain=gain, other_gain=other_gain))
        builder.values[node.name] = acc


@quantizes(Thermal)
class QuantizedThermal(QuantizedKind):
    """Its sums stay sums."""

    gives = "sums"
    takes = frozenset({"products"})

    def fake(self, model: FakeQuantModel, node: Thermal, values: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        read = values[_matrix(model, node).input]
        return thermal(values[node.input], read, node.temperature, conditions, node.stream)

    def exact(self, run: Evaluation, node: Thermal, values: Mapping[str, Tensor]) -> Tensor:
        x, (read, step) = values[node.input], run.codes(_matrix(run.model, node).input, values)
        return x + step * thermal(torch.zeros_like(x), read, node.temperature, run.conditions, node.stream)

    def lower(self, builder: GraphBuilder, node: Thermal) -> None:
        acc = builder.values[node.input]
        codes, weight_scale = builder.values[_matrix(builder.model, node).input], float(builder.model.quantized(node.input).scale[0])
        norm_max = math.isqrt(builder.tensors[codes].size * 128**2)
        integers = thermal_codes(node.temperature, node.temperature_max, weight_scale, norm_max, node.name)
        out = builder.tensor(f"{node.name}_acc", "int32", builder.tensors[acc].shape, builder.scales[acc])
        builder.nodes.append(ThermalNoise(node.name, acc, out, codes=codes, stream=node.stream, **asdict(integers)))
        builder.values[node.name] = out


def _matrix(model: FakeQuantModel, node: Thermal) -> FloatNode:
    """The matrix whose sums it reads (`FloatModel.validate`)."""
    return next(n for n in model.described.nodes if n.name == node.input)
