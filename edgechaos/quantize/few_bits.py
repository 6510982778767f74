"""Scales of 4-bit and ternary weights by what reaches the sums: on calibration inputs, the least squared error of W x.

A scale of least squared error of the weights alone lets every error add up along the mean of the inputs, which are rarely centered:
ternary networks lose tens of points by it. What is minimized here is e G e^T for the error e of a row and the second moments G of the
inputs. Where no unit before the matrix can be silent, the mean of the error goes into the bias, as in data-free quantization (Nagel et
al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019), and G is their covariance. Behind units
that can die or lose a spike nothing is added to a bias: the error shrinks with what they deliver, a bias would not.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgechaos.floatgraph.float_model import FloatModel
from edgechaos.floatgraph.float_nodes import ChaosLayer, Conv, FloatNode, Gelu, Identity, MatMul, Readout, Relu, TopK, stored_name

if TYPE_CHECKING:
    from edgechaos.quantize.fake_quant import FakeQuantModel

FRACTIONS = np.linspace(0.1, 1.0, 37)
"""Scales tried, of the one that lets the largest weight through unclipped."""
PATCHES_MAX = 1 << 17
"""Inputs of a convolution's window that are counted: evenly spaced ones where there are more."""


def fit(model: FakeQuantModel, node: MatMul | Conv, codes: Tensor, step: float) -> None:
    """Choose scale and bias of a matrix for these input codes, (batch, ...) whole numbers worth `step` each.

    Of a matrix that heads share, the first head chooses the scale.
    """
    described, layer = model.described, cast(Any, model.layers[node.name])
    moments, mean = _moments(node, described, codes)
    weight = layer.weight.detach().double().numpy().reshape(len(layer.weight), -1)
    steady = not _behind_units(described, node)
    if steady:
        moments = moments - np.outer(mean, mean)
    if next(n for n in described.nodes if isinstance(n, MatMul | Conv) and stored_name(n) == stored_name(node)) is node:
        _choose_scale(layer, weight, moments, (1 << (model.bits[node.name] - 1)) - 1)
    if steady:
        stored = layer.quant_weight().value.detach().double().numpy().reshape(weight.shape)
        missing = np.array([math.fsum(row) for row in (weight - stored) * mean])  # whose order of summation does not matter
        with torch.no_grad():
            layer.bias.add_(torch.from_numpy(missing * step))


def _choose_scale(layer: Any, weight: NDArray[np.float64], moments: NDArray[np.float64], high: int) -> None:
    """One scale per row, or of all rows, as the layer has them."""
    layer.quant_weight()  # the first call sets the scale from the weights
    scaling = layer.weight_quant.tensor_quant.scaling_impl
    shape = scaling.value.shape
    per_row = scaling.value.numel() > 1
    peak = np.abs(weight).max(axis=1, keepdims=True) if per_row else np.abs(weight).max(keepdims=True)
    errors = []
    for fraction in FRACTIONS:
        scale = fraction * peak / high
        error = weight - np.clip(np.rint(weight / np.where(scale == 0.0, 1.0, scale)), -high, high) * scale
        rows = np.einsum("ij,ij->i", error @ moments, error)
        errors.append((rows if per_row else rows.sum(keepdims=True)).astype(np.float32))  # sums of another order are the same float32
    best = FRACTIONS[np.argmin(errors, axis=0)]
    with torch.no_grad():
        scaling.value.copy_(torch.from_numpy(best * peak.ravel()).reshape(shape))


def _moments(node: MatMul | Conv, described: FloatModel, codes: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Second moments (in, in) and mean (in,) of what one output reads, in codes: sums of whole numbers, the same on every processor."""
    if isinstance(node, Conv):
        rows = torch.nn.functional.unfold(codes, node.weight.shape[2:], stride=node.stride, padding=node.pad).transpose(1, 2).flatten(0, 1)
        rows = rows[:: 1 + len(rows) // PATCHES_MAX]
    elif isinstance(node, Readout) and described.ticks(node.input):
        rows = codes.sum(dim=1)
    else:
        rows = codes.flatten(0, 1) if codes.dim() == 3 else codes.flatten(1)
    values = rows.numpy()
    return values.T @ values / len(values), values.mean(axis=0)


def _behind_units(described: FloatModel, node: FloatNode) -> bool:
    """Whether what a node reads went through units that can be silent."""
    before = [n for tensor in node.inputs() if (n := described.node(tensor)) is not None]
    return any(isinstance(n, ChaosLayer | TopK | Relu | Gelu | Identity) or _behind_units(described, n) for n in before)
