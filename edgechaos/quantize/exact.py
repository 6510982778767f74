"""A fake-quantized model computed as the integers compute it: every sum is taken over integer codes, in float64.

Sums of integers below 2^53 are exact, so that no order of summation, processor or number of threads changes what is calibrated or
lowered, and rescaling uses the integers' own multipliers. What is left to round in `edgechaos.quantize.lower`: noise and int16
membranes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgechaos.arithmetic.rounding import multiplier_shift, requantize
from edgechaos.floatgraph.float_nodes import FloatNode
from edgechaos.models.spiking import Conditions
from edgechaos.quantize.activations import Quantizer
from edgechaos.quantize.fake_quant import FakeQuantModel


def exact_tensors(model: FakeQuantModel, codes: Tensor, conditions: Conditions, head: str | None = None) -> dict[str, Tensor]:
    """Every tensor of a head by name, float64, of input codes (batch, *input shape). Biases count as whole accumulator units."""
    return Evaluation(model, conditions, choosing=False).run(codes, head)


def calibrate(model: FakeQuantModel, codes: Tensor, conditions: Conditions, head: str | None = None) -> None:
    """Choose the scale of every activation of a head on these inputs, one after another, each on what the earlier ones let through."""
    Evaluation(model, conditions, choosing=True).run(codes, head)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the kinds of nodes compute their exact values with. choosing: whether scales are chosen on the way."""

    model: FakeQuantModel
    conditions: Conditions
    choosing: bool

    @torch.no_grad()
    def run(self, codes: Tensor, head: str | None) -> dict[str, Tensor]:
        """Every tensor of a head by name."""
        spec = self.model.head(head)
        values = {spec.input: codes.double() * spec.step}
        for node in self.model.described.path(spec):
            values[node.name] = self.model.kinds[node.name].exact(self, node, values)
        return values

    def quantizer(self, point: str, node: FloatNode, x: Tensor) -> Quantizer:
        """A quantizer of a node, where scales are chosen with the one for x."""
        found = self.model.quantizer(point)
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
