"""MatMul, Readout, Conv and EmbeddingMean: integer weights, per output a scale where nothing compares the outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from edgechaos.arithmetic.random_bits import fail_q
from edgechaos.arithmetic.rounding import bias_codes
from edgechaos.floatgraph.float_nodes import ChaosLayer, Conv, EmbeddingMean, MatMul, Readout
from edgechaos.graph.kinds.chaos_layer import expected_gain
from edgechaos.graph.kinds.conv import Conv as ConvNode
from edgechaos.graph.kinds.embedding_bag import EmbeddingBag
from edgechaos.graph.kinds.matmul import MatMul as MatMulNode
from edgechaos.graph.kinds.readout import Readout as ReadoutNode
from edgechaos.graph.rules import FINER_BITS
from edgechaos.models.fronts import embedding_mean
from edgechaos.models.spiking import Conditions
from edgechaos.quantize import few_bits
from edgechaos.quantize.exact import Evaluation
from edgechaos.quantize.fake_quant import FakeQuantModel
from edgechaos.quantize.graph_builder import GraphBuilder
from edgechaos.quantize.kind import CODES, INT8, Gives, QuantizedKind, quantizes

EXPECTED_SCALE = 256
"""Logits of "expected" sampling are times this."""


class Matrix(QuantizedKind):
    """Sums of codes times weights."""

    takes = CODES
    at_input = True
    weighted = True
    per_channel = True
    gives: ClassVar[Gives] = "products"

    def read(self, model: FakeQuantModel, node: Any, x: Tensor) -> Tensor:
        """What is multiplied: an image as a row-major vector."""
        return x.flatten(1) if x.dim() == 4 else x

    def sums(self, node: Any, x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor) -> Tensor:
        """The sums of codes, times what one of each is worth."""
        return nn.functional.linear(x, weight, bias) * scale

    def step(self, model: FakeQuantModel, node: Any) -> Any:
        return model.quantized(node.name).scale * model.step(node.input)

    def fake(self, model: FakeQuantModel, node: Any, values: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        return cast(Tensor, model.layers[node.name](self.read(model, node, values[node.input])))

    def exact(self, run: Evaluation, node: Any, values: Mapping[str, Tensor]) -> Tensor:
        """Biases count as whole accumulator units."""
        codes, step = run.codes(node.input, values)
        if run.choosing and run.model.bits[node.name] < 8:
            few_bits.fit(run.model, node, codes, step)
        stored, scale = run.model.quantized(node.name), self.step(run.model, node)
        bias = torch.from_numpy(bias_codes(stored.bias / scale, node.name)).double()
        codes = self.read(run.model, node, codes)
        return self.sums(node, codes, torch.from_numpy(stored.weight).double(), bias, torch.from_numpy(scale))


@quantizes(MatMul)
class QuantizedMatMul(Matrix):
    """Per tick, where its input has ticks."""

    def module(self, qnn: Any, node: MatMul, options: Mapping[str, Any]) -> nn.Module:
        outputs, inputs = node.weight.shape
        return cast(nn.Module, qnn.QuantLinear(inputs, outputs, bias=True, **options))

    def lower(self, builder: GraphBuilder, node: Any) -> None:
        quantized, weight, scale = builder.weights(node)
        source = builder.values[node.input]
        acc = builder.tensor(f"{node.name}_acc", "int32", quantized.bias.shape, scale, builder.tensors[source].ticks)
        builder.nodes.append(MatMulNode(node.name, source, acc, weight=weight, bias=builder.bias(node, quantized.bias / scale)))
        builder.values[node.name] = acc


@quantizes(Conv)
class QuantizedConv(Matrix):
    """The same over windows."""

    gives = "sums"

    def module(self, qnn: Any, node: Conv, options: Mapping[str, Any]) -> nn.Module:
        outputs, channels, *kernel = node.weight.shape
        options = {"stride": node.stride, "padding": node.pad, "bias": True, **options}
        return cast(nn.Module, qnn.QuantConv2d(channels, outputs, tuple(kernel), **options))

    def read(self, model: FakeQuantModel, node: Conv, x: Tensor) -> Tensor:
        return x

    def sums(self, node: Conv, x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor) -> Tensor:
        return nn.functional.conv2d(x, weight, bias, node.stride, node.pad) * scale.reshape(-1, 1, 1)

    def lower(self, builder: GraphBuilder, node: Conv) -> None:
        quantized, weight, scale = builder.weights(node)
        source = builder.values[node.input]
        acc = builder.tensor(f"{node.name}_acc", "int32", node.shape_of(builder.tensors[source].shape), scale)
        bias = builder.bias(node, quantized.bias / scale)
        builder.nodes.append(ConvNode(node.name, source, acc, weight=weight, bias=bias, stride=node.stride, pad=node.pad))
        builder.values[node.name] = acc


@quantizes(Readout)
class QuantizedReadout(QuantizedMatMul):
    """The logits, in one scale. The integers take the sum over ticks, and its mean lies in the scale."""

    per_channel = False

    def fake(self, model: FakeQuantModel, node: Readout, values: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        x, ticks = values[node.input], model.described.ticks(node.input)
        return cast(Tensor, model.layers[node.name](x.mean(dim=1) if ticks else self.read(model, node, x)))

    def read(self, model: FakeQuantModel, node: Readout, x: Tensor) -> Tensor:
        return x.sum(dim=1) if model.described.ticks(node.input) else super().read(model, node, x)

    def step(self, model: FakeQuantModel, node: Readout) -> Any:
        return super().step(model, node) / max(1, model.described.ticks(node.input))

    def lower(self, builder: GraphBuilder, node: Readout) -> None:
        quantized, weight, scale = builder.weights(node)
        layer = builder.model.described.node(node.input)
        gain = 1
        if isinstance(layer, ChaosLayer):
            expected = builder.sampling == "expected"
            # logits = W mean + b = (scale / T) (W_int count + T b / scale)
            scale = quantized.scale / (layer.ticks * (EXPECTED_SCALE if expected else 1))
            gain = expected_gain(layer.ticks, fail_q(layer.fail_prob)) if expected else 1
        bias = builder.bias(node, quantized.bias / scale)
        heads = builder.model.described.heads
        final = any(head.logits == node.name for head in heads)
        logits = builder.tensor(node.name if final else f"{node.name}_acc", "int32", quantized.bias.shape, scale)
        name = "readout" if len(heads) == 1 else f"{node.name}_readout"
        builder.nodes.append(ReadoutNode(name, builder.values[node.input], logits, weight=weight, bias=bias, gain=gain))
        builder.values[node.name] = logits


@quantizes(EmbeddingMean)
class QuantizedEmbeddingMean(QuantizedKind):
    """Of all rows one scale, and no bias."""

    at_input = True
    weighted = True

    def module(self, qnn: Any, node: EmbeddingMean, options: Mapping[str, Any]) -> nn.Module:
        return cast(nn.Module, qnn.QuantEmbedding(*node.weight.shape, **options))

    def ranges(self, node: EmbeddingMean) -> dict[str, tuple[int, int]]:
        return {node.name: INT8}

    def finest(self, model: FakeQuantModel, node: EmbeddingMean) -> float:
        return float(model.quantized(node.name).scale.max()) / (1 << FINER_BITS)

    def fake(self, model: FakeQuantModel, node: EmbeddingMean, values: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        layer: Any = model.layers[node.name]
        return cast(Tensor, model.quantizers[node.name](embedding_mean(layer.quant_weight().value, values[node.input].long())))

    def exact(self, run: Evaluation, node: EmbeddingMean, values: Mapping[str, Tensor]) -> Tensor:
        stored, ids = run.model.quantized(node.name), values[node.input].long()
        x = embedding_mean(torch.from_numpy(stored.weight).double(), ids) * float(stored.scale[0])
        count = (ids != 0).sum(dim=1, keepdim=True).clamp(min=1)
        return run.rescaled(node.name, node, x, stored.scale / count.numpy(), FINER_BITS)

    def lower(self, builder: GraphBuilder, node: EmbeddingMean) -> None:
        quantized, weight, _ = builder.weights(node)
        source, quantizer = builder.values[node.input], builder.model.quantizer(node.name)
        counts = np.maximum(1, np.arange(builder.tensors[source].size + 1))
        out = builder.tensor(f"{node.name}_codes", "int8", quantized.weight.shape[1:], np.array([quantizer.scale]))
        factors = builder.factors(node.name, quantized.scale / (counts * quantizer.scale), node.name, FINER_BITS)
        builder.nodes.append(EmbeddingBag(node.name, source, out, weight=weight, **factors, low=quantizer.low, high=quantizer.high))
        builder.values[node.name] = out
