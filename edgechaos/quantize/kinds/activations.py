"""Relu, Identity, TopK, Gelu, Lut and Pool: codes of sums, codes of codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgechaos.arithmetic.rounding import round_half_up
from edgechaos.floatgraph.float_nodes import FloatNode, Gelu, Identity, Lut, Pool, Relu, TopK
from edgechaos.graph.kinds.average_pool import AveragePool
from edgechaos.graph.kinds.lut import LUT_ENTRIES
from edgechaos.graph.kinds.lut import Lut as LutNode
from edgechaos.graph.kinds.max_pool import MaxPool
from edgechaos.graph.kinds.topk import TopK as TopKNode
from edgechaos.models.spiking import Conditions, LayerFaults
from edgechaos.models.units import winners
from edgechaos.quantize.activations import gelu_table
from edgechaos.quantize.exact import Evaluation
from edgechaos.quantize.fake_quant import FakeQuantModel
from edgechaos.quantize.graph_builder import GraphBuilder
from edgechaos.quantize.kind import CODES, INT8, INT16, SUMS, QuantizedKind, quantizes


@quantizes(Identity)
class Codes(QuantizedKind):
    """Codes of the sum itself."""

    takes = SUMS
    codes: ClassVar[tuple[int, int]] = INT8

    def ranges(self, node: FloatNode) -> dict[str, tuple[int, int]]:
        return {node.name: self.codes}

    def before(self, x: Tensor) -> Tensor:
        """What is rounded."""
        return x

    def sent(self, node: Any, x: Tensor, conditions: Conditions) -> Tensor:
        """What of the codes the units send."""
        return x

    def fake(self, model: FakeQuantModel, node: FloatNode, values: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        x = model.quantizers[node.name](self.before(values[node.input]))
        return model.delivered(self.sent(node, x, conditions), node.name, conditions)

    def exact(self, run: Evaluation, node: FloatNode, values: Mapping[str, Tensor]) -> Tensor:
        x = run.rescaled(node.name, node, self.before(values[node.input]), run.model.step(node.input))
        return run.model.delivered(self.sent(node, x, run.conditions), node.name, run.conditions)

    def lower(self, builder: GraphBuilder, node: Any) -> None:
        builder.values[node.name] = builder.quantized(node.name, builder.values[node.input])


@quantizes(Relu)
class QuantizedRelu(Codes):
    """Codes from 0 on."""

    codes = (0, 127)

    def before(self, x: Tensor) -> Tensor:
        return x.relu()


@quantizes(TopK)
class QuantizedTopK(Codes):
    """Ranks in one int16 scale, of which the k largest stay."""

    gives = "ranks"
    codes = INT16

    def sent(self, node: TopK, x: Tensor, conditions: Conditions) -> Tensor:
        return x * winners(x, node.k, conditions.faults.get(node.name, LayerFaults()).dead)

    def lower(self, builder: GraphBuilder, node: TopK) -> None:
        ranks = builder.quantized(node.name, builder.values[node.input], f"{node.name}_rank", "int16")
        out = builder.tensor(f"{node.name}_kept", "int16", builder.tensors[ranks].shape, builder.scales[ranks])
        builder.nodes.append(TopKNode(node.name, ranks, out, k=node.k))
        builder.values[node.name] = out


@quantizes(Lut)
class QuantizedLut(QuantizedKind):
    """A table of real values of the input's codes."""

    at_input = True

    def ranges(self, node: Lut) -> dict[str, tuple[int, int]]:
        return {node.name: INT8}

    def finest(self, model: FakeQuantModel, node: Lut) -> float:
        """What is looked up is no sum."""
        return 0.0

    def looked_up(self, node: Lut, codes: Tensor) -> Tensor:
        """The values of the table for input codes (batch, C, ...), in their dtype."""
        rows = torch.from_numpy(np.atleast_2d(node.values)).to(codes.dtype)
        channel = torch.zeros(1, dtype=torch.long) if len(rows) == 1 else torch.arange(len(rows)).reshape(-1, *(1,) * (codes.dim() - 2))
        return rows[channel, codes.long() + LUT_ENTRIES // 2]

    def fake(self, model: FakeQuantModel, node: Lut, values: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        return cast(Tensor, model.quantizers[node.name](self.looked_up(node, values[node.input])))

    def exact(self, run: Evaluation, node: Lut, values: Mapping[str, Tensor]) -> Tensor:
        x = self.looked_up(node, values[node.input])
        return cast(Tensor, run.quantizer(node.name, node, x)(x))

    def lower(self, builder: GraphBuilder, node: Lut) -> None:
        _lower(builder, node.name, builder.values[node.input], node.values)


@quantizes(Gelu)
class QuantizedGelu(QuantizedKind):
    """Codes of the sum, whose units can fail, through a table of the exact form."""

    takes = SUMS | {"ranks"}

    def ranges(self, node: Gelu) -> dict[str, tuple[int, int]]:
        return {f"{node.name}_in": INT8, node.name: INT8}

    def fake(self, model: FakeQuantModel, node: Gelu, values: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        x = model.quantizers[f"{node.name}_in"](values[node.input])
        x = torch.nn.functional.gelu(model.delivered(x, f"{node.name}_in", conditions))
        return cast(Tensor, model.quantizers[node.name](x))

    def exact(self, run: Evaluation, node: Gelu, values: Mapping[str, Tensor]) -> Tensor:
        before = run.rescaled(f"{node.name}_in", node, values[node.input], run.model.step(node.input))
        before = run.model.delivered(before, f"{node.name}_in", run.conditions)
        scale = run.model.quantizer(f"{node.name}_in").scale
        x = torch.from_numpy(gelu_table(scale))[torch.round(before / scale).long() + LUT_ENTRIES // 2]
        return cast(Tensor, run.quantizer(node.name, node, x)(x))

    def lower(self, builder: GraphBuilder, node: Gelu) -> None:
        source = builder.quantized(f"{node.name}_in", builder.values[node.input])
        _lower(builder, node.name, source, gelu_table(builder.model.quantizer(f"{node.name}_in").scale))


def _lower(builder: GraphBuilder, name: str, source: str, values: NDArray[np.float64]) -> None:
    """A Lut of 256 real values, or of one row per channel, in codes of the node's quantizer."""
    quantizer = builder.model.quantizer(name)
    codes = np.clip(round_half_up(values / quantizer.scale), quantizer.low, quantizer.high)
    table = builder.constant(f"{name}_table", codes.astype(np.int8), 8)
    out = builder.tensor(f"{name}_codes", "int8", builder.tensors[source].shape, np.array([quantizer.scale]))
    builder.nodes.append(LutNode(name, source, out, table=table))
    builder.values[name] = out


@quantizes(Pool)
class QuantizedPool(QuantizedKind):
    """A mean has a scale of its own."""

    takes = CODES

    def ranges(self, node: Pool) -> dict[str, tuple[int, int]]:
        return {node.name: INT8} if node.average else {}

    def finest(self, model: FakeQuantModel, node: Pool) -> float:
        return super().finest(model, node) / (node.kernel[0] * node.kernel[1])

    def fake(self, model: FakeQuantModel, node: Pool, values: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        x = values[node.input]
        if not node.average:
            return nn.functional.max_pool2d(x, node.kernel, node.stride)
        return cast(Tensor, model.quantizers[node.name](nn.functional.avg_pool2d(x, node.kernel, node.stride)))

    def exact(self, run: Evaluation, node: Pool, values: Mapping[str, Tensor]) -> Tensor:
        if not node.average:
            return nn.functional.max_pool2d(values[node.input], node.kernel, node.stride)
        codes, step = run.codes(node.input, values)
        means = nn.functional.avg_pool2d(codes, node.kernel, node.stride) * step
        return run.rescaled(node.name, node, means, run.model.step(node.input) / (node.kernel[0] * node.kernel[1]))

    def lower(self, builder: GraphBuilder, node: Pool) -> None:
        source = builder.values[node.input]
        shape, scale = node.shape_of(builder.tensors[source].shape), builder.scales[source]
        if node.average:
            acc = builder.tensor(f"{node.name}_acc", "int32", shape, scale)
            builder.nodes.append(AveragePool(f"{node.name}_sum", source, acc, kernel=node.kernel, stride=node.stride))
            builder.values[node.name] = builder.quantized(node.name, acc, terms=node.kernel[0] * node.kernel[1])
        else:
            out = builder.values[node.name] = builder.tensor(f"{node.name}_max", "int8", shape, scale)
            builder.nodes.append(MaxPool(node.name, source, out, kernel=node.kernel, stride=node.stride))
