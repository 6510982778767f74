"""A fake-quantized model computed as the integers compute it: every sum is taken over integer codes, in float64.

Sums of integers below 2^53 are exact, so that no order of summation, processor or number of threads changes what is calibrated or
lowered, and rescaling uses the integers' own multipliers. What is left to round in `edgechaos.quantize.lower`: noise and int16
membranes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgechaos.arithmetic.rounding import bias_codes, multiplier_shift, requantize
from edgechaos.floatgraph.float_nodes import (
    Add,
    ChaosLayer,
    Conv,
    EmbeddingMean,
    FloatNode,
    Gelu,
    Lut,
    MatMul,
    Pool,
    Readout,
    Relu,
    Thermal,
    TopK,
)
from edgechaos.graph.kinds.add import gains
from edgechaos.graph.kinds.lut import LUT_ENTRIES
from edgechaos.graph.rules import FINER_BITS
from edgechaos.models.base import thermal
from edgechaos.models.fronts import embedding_mean
from edgechaos.models.spiking import Conditions, LayerFaults, spiking_ticks
from edgechaos.models.units import winners
from edgechaos.quantize import few_bits
from edgechaos.quantize.activations import Quantizer, gelu_table
from edgechaos.quantize.fake_quant import FakeQuantModel


def exact_tensors(model: FakeQuantModel, codes: Tensor, conditions: Conditions, head: str | None = None) -> dict[str, Tensor]:
    """Every tensor of a head by name, float64, of input codes (batch, *input shape). Biases count as whole accumulator units."""
    return _Evaluation(model, conditions, choosing=False).run(codes, head)


def calibrate(model: FakeQuantModel, codes: Tensor, conditions: Conditions, head: str | None = None) -> None:
    """Choose the scale of every activation of a head on these inputs, one after another, each on what the earlier ones let through."""
    _Evaluation(model, conditions, choosing=True).run(codes, head)


@dataclass(frozen=True, slots=True)
class _Evaluation:
    model: FakeQuantModel
    conditions: Conditions
    choosing: bool

    @torch.no_grad()
    def run(self, codes: Tensor, head: str | None) -> dict[str, Tensor]:
        spec = self.model.head(head)
        values = {spec.input: codes.double() * spec.step}
        for node in self.model.described.path(spec):
            values[node.name] = self.evaluate(node, values)
        return values

    def evaluate(self, node: FloatNode, values: Mapping[str, Tensor]) -> Tensor:
        x = values[node.input]
        if isinstance(node, ChaosLayer):
            return spiking_ticks(x, node, self.conditions)
        if isinstance(node, Add):
            (a, step), (b, other_step) = (self.codes(tensor, values) for tensor in node.inputs())
            gain, other_gain, unit = gains(step, other_step)
            return (a * gain + b * other_gain) * unit
        if isinstance(node, Thermal):
            matrix = self.model.described.node(node.input)
            assert matrix is not None
            read, step = self.codes(matrix.input, values)
            return x + step * thermal(torch.zeros_like(x), read, node.temperature, self.conditions, node.stream)
        if isinstance(node, MatMul | Conv):
            codes, step = self.codes(node.input, values)
            if self.choosing and self.model.bits[node.name] < 8:
                few_bits.fit(self.model, node, codes, step)
            return self.sums(node, codes)
        if isinstance(node, Pool) and not node.average:
            return torch.nn.functional.max_pool2d(x, node.kernel, node.stride)
        return self.activation(node, x, values)

    def activation(self, node: FloatNode, x: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        if isinstance(node, Lut):
            x = self.model.table(node, x)
            return cast(Tensor, self.quantizer(node.name, node, x)(x))
        if isinstance(node, EmbeddingMean):
            stored, ids = self.model.quantized(node.name), x.long()
            x = embedding_mean(torch.from_numpy(stored.weight).double(), ids) * float(stored.scale[0])
            count = (ids != 0).sum(dim=1, keepdim=True).clamp(min=1)
            return self.rescaled(node.name, node, x, stored.scale / count.numpy(), FINER_BITS)
        step = self.model.step(node.input)
        if isinstance(node, Pool):
            x = torch.nn.functional.avg_pool2d(self.codes(node.input, values)[0], node.kernel, node.stride) * step.item()
            return self.rescaled(node.name, node, x, step / (node.kernel[0] * node.kernel[1]))
        if isinstance(node, Gelu):
            before = self.model.delivered(self.rescaled(f"{node.name}_in", node, x, step), f"{node.name}_in", self.conditions)
            scale = cast(Quantizer, self.model.quantizers[f"{node.name}_in"]).scale
            x = torch.from_numpy(gelu_table(scale))[torch.round(before / scale).long() + LUT_ENTRIES // 2]
            return cast(Tensor, self.quantizer(node.name, node, x)(x))
        x = self.rescaled(node.name, node, x.relu() if isinstance(node, Relu) else x, step)
        if isinstance(node, TopK):
            x = x * winners(x, node.k, self.conditions.faults.get(node.name, LayerFaults()).dead)
        return self.model.delivered(x, node.name, self.conditions)

    def quantizer(self, point: str, node: FloatNode, x: Tensor) -> Quantizer:
        found = cast(Quantizer, self.model.quantizers[point])
        if self.choosing:
            found.choose(x)
            self.model.settle(node)
        return found

    def rescaled(self, point: str, node: FloatNode, x: Tensor, step: NDArray[np.float64], finer_bits: int = 0) -> Tensor:
        """The reals of the codes of x, which is a multiple of `step`, rounded as the Requantize that it becomes rounds them.

        step: (1,), one per channel, or one per item (batch, 1).
        """
        quantizer = self.quantizer(point, node, x)
        step = step.reshape(-1, *(1,) * (x.dim() - 2)) if step.ndim == 1 and x.dim() == 4 else step
        multiplier, shift = multiplier_shift(step / quantizer.scale, point, 1 << finer_bits)
        sums = np.rint(x.numpy() / step).astype(np.int64)
        return torch.from_numpy(requantize(sums, multiplier, shift, quantizer.low, quantizer.high) * quantizer.scale)

    def codes(self, tensor: str, values: Mapping[str, Tensor]) -> tuple[Tensor, float]:
        """The integer codes behind a tensor that a matrix reads, and what one of them is worth."""
        (step,) = self.model.step(tensor)
        return torch.round(values[tensor] / step), float(step)

    def sums(self, node: MatMul | Conv, codes: Tensor) -> Tensor:
        """The accumulators of integer codes, in the float domain."""
        stored: Any = self.model.quantized(node.name)
        weight, scale = torch.from_numpy(stored.weight).double(), torch.from_numpy(self.model.step(node.name))
        bias = torch.from_numpy(bias_codes(stored.bias / scale.numpy(), node.name)).double()
        if isinstance(node, Conv):
            total = torch.nn.functional.conv2d(codes, weight, bias, node.stride, node.pad)
            return total * scale.reshape(-1, 1, 1)
        if isinstance(node, Readout) and self.model.described.ticks(node.input):
            codes = codes.sum(dim=1)
        return torch.nn.functional.linear(codes.flatten(1) if codes.dim() == 4 else codes, weight, bias) * scale
