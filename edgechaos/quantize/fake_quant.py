"""A folded FloatModel as a torch module with fake-quantized weights and activations: what is trained and calibrated.

The model was folded by `edgechaos.floatgraph.passes.fold`. Spikes are binary and pass unquantized; the membrane of stateful layers
stays float here and becomes int16 in `edgechaos.quantize.lower`. Source: Brevitas (Xilinx): narrow range -127..127, -7..7 or -1..1;
int8 scales are largest magnitude / 127, those of fewer bits are calibrated (`edgechaos.quantize.few_bits`) and learned.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgechaos.floatgraph.float_model import FloatHead, FloatModel
from edgechaos.floatgraph.float_nodes import (
    Add,
    ChaosLayer,
    Conv,
    EmbeddingMean,
    FailingLayer,
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
    stored_name,
)
from edgechaos.graph.kinds.add import gains
from edgechaos.graph.kinds.lut import LUT_ENTRIES
from edgechaos.graph.rules import FINER_BITS
from edgechaos.models.base import thermal
from edgechaos.models.fronts import embedding_mean
from edgechaos.models.spiking import Conditions, LayerFaults, spiking_ticks
from edgechaos.models.units import augmented, delivered, winners
from edgechaos.quantize.activations import Quantizer
from edgechaos.support.extras import need

WEIGHTED = (MatMul, Conv, EmbeddingMean)
INT8 = (-128, 127)
INT16 = (-32768, 32767)
ROW_RANGE = 256
"""Of a matrix, a row with scale of its own has one for at least 1/256 of the largest weight: the bias of a row that training left near
zero would not fit int32 in units of its weights."""


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedWeight:
    """Integers and what one of them is worth: weight int8, scale (1,) or (out,), bias (out,), float64."""

    weight: NDArray[np.int8]
    scale: NDArray[np.float64]
    bias: NDArray[np.float64]


class FakeQuantModel(nn.Module):
    """The nodes of a FloatModel as modules by name; runs one head at a time. Trainable by `edgechaos.train.fit.fit`.

    Matrices that heads share have one weight and one scale; activations and biases belong to one head each.
    per_channel: one weight scale per output channel, except where outputs are compared with each other (readouts), where one
    noise amplitude serves all (before thermal noise), and for embeddings. bits: 8, 4 or 2 per stored name, 8 by default.
    Weights that were pruned (`edgechaos.prune.removal`) stay 0 in training.
    """

    def __init__(self, model: FloatModel, per_channel: bool, bits: Mapping[str, int] | None = None) -> None:
        super().__init__()
        self.described = model
        self._failing = {layer.name: layer for layer in model.failing_layers()}
        self.bits = {node.name: (bits or {}).get(stored_name(node), 8) for node in model.nodes if isinstance(node, WEIGHTED)}
        first: dict[str, nn.Module] = {}
        self.layers = nn.ModuleDict()
        self.quantizers = nn.ModuleDict()
        self._kept: dict[str, Tensor] = {}
        if model.metadata.get("pruning", {}).get("weights"):
            self._kept = {n.name: torch.from_numpy(n.weight != 0) for n in model.nodes if isinstance(n, MatMul | Conv)}
        for node in model.nodes:
            if isinstance(node, WEIGHTED):
                noisy = any(isinstance(reader, Thermal) for reader in model.readers(node.name))
                split = per_channel and not noisy and not isinstance(node, Readout | EmbeddingMean)
                layer = _quant_layer(node, split, self.bits[node.name])
                self.layers[node.name] = _tied(layer, first.setdefault(stored_name(node), layer))
            for point, (low, high) in _points(node).items():
                self.quantizers[point] = Quantizer(low, high)

    def head(self, name: str | None = None) -> FloatHead:
        """The head of that name, or the first."""
        return next(h for h in self.described.heads if name in (None, h.name))

    def forward(self, codes: Tensor, conditions: Conditions, head: str | None = None) -> Tensor:
        """Logits (batch, classes) of input codes (batch, *input shape), any dtype; in the dtype of the weights."""
        return self.tensors(codes, conditions, head)[self.head(head).logits]

    def tensors(self, codes: Tensor, conditions: Conditions, head: str | None = None) -> dict[str, Tensor]:
        """Every tensor of the head by name, in the float domain."""
        dtype, spec = next(self.parameters()).dtype, self.head(head)
        values = {spec.input: codes.to(dtype) * spec.step}
        for node in self.described.nodes:
            if values.keys() >= set(node.inputs()):
                value = self._evaluate(node, values, conditions)
                values[node.name] = augmented(value, self.described.augmentation.get(node.name), conditions)
        return values

    def _evaluate(self, node: FloatNode, values: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        x = values[node.input]
        if isinstance(node, ChaosLayer):
            return spiking_ticks(x, node, conditions)
        if isinstance(node, Add):
            return x + values[node.other]
        if isinstance(node, Thermal):
            matrix = self.described.node(node.input)
            assert matrix is not None
            return thermal(x, values[matrix.input], node.temperature, conditions, node.stream)
        if isinstance(node, MatMul):
            x = x.mean(dim=1) if isinstance(node, Readout) and self.described.ticks(node.input) else x.flatten(1) if x.dim() == 4 else x
            return cast(Tensor, self.layers[node.name](x))
        if isinstance(node, Conv):
            return cast(Tensor, self.layers[node.name](x))
        return self._activation(node, x, conditions)

    def _activation(self, node: FloatNode, x: Tensor, conditions: Conditions) -> Tensor:
        if isinstance(node, Pool) and not node.average:
            return nn.functional.max_pool2d(x, node.kernel, node.stride)
        if isinstance(node, Lut):
            x = self.table(node, x)
        elif isinstance(node, EmbeddingMean):
            x = embedding_mean(cast(Any, self.layers[node.name]).quant_weight().value, x.long())
        elif isinstance(node, Pool):
            x = nn.functional.avg_pool2d(x, node.kernel, node.stride)
        elif isinstance(node, Gelu):
            x = self.delivered(cast(Tensor, self.quantizers[f"{node.name}_in"](x)), f"{node.name}_in", conditions)
            x = nn.functional.gelu(x)
        elif isinstance(node, Relu):
            x = x.relu()
        x = cast(Tensor, self.quantizers[node.name](x))
        if isinstance(node, TopK):
            x = x * winners(x, node.k, conditions.faults.get(node.name, LayerFaults()).dead)
        return self.delivered(x, node.name, conditions) if isinstance(node, TopK | Relu | Identity) else x

    def delivered(self, x: Tensor, name: str, conditions: Conditions) -> Tensor:
        """What the units of a layer send: dead ones 0, as the integer graph has it, and lost ones of a layer that fails in training."""
        return delivered(x, self._failing.get(name, FailingLayer(name, x.shape[1], 0)), conditions)

    def failing_layers(self, head: str | None = None) -> tuple[FailingLayer, ...]:
        """The layers of all heads, or of one, whose units can fail, in execution order."""
        if head is None:
            return tuple(self._failing.values())
        path = {node.name for node in self.described.path(self.head(head))}
        return tuple(layer for name, layer in self._failing.items() if name in path or name.removesuffix("_in") in path)

    def table(self, node: Lut, codes: Tensor) -> Tensor:
        """The values of a table for input codes (batch, C, ...), in their dtype."""
        rows = torch.from_numpy(np.atleast_2d(node.values)).to(codes.dtype)
        channel = torch.zeros(1, dtype=torch.long) if len(rows) == 1 else torch.arange(len(rows)).reshape(-1, *(1,) * (codes.dim() - 2))
        return rows[channel, codes.long() + LUT_ENTRIES // 2]

    def before_step(self) -> None:
        """Fine-tuning has no dynamics of its own."""

    def after_step(self, generator: torch.Generator) -> None:
        """Pruned weights return to 0."""
        with torch.no_grad():
            for name, kept in self._kept.items():
                cast(Tensor, self.layers[name].weight).mul_(kept)

    def settle(self, node: FloatNode) -> None:
        """Let a node's activations be no finer than the accumulator they are made of: sums can only be scaled down, means up a little."""
        point = f"{node.name}_in" if isinstance(node, Gelu) else node.name
        if point in self.quantizers and not isinstance(node, Lut):
            quantizer = cast(Quantizer, self.quantizers[point])
            if isinstance(node, EmbeddingMean):
                finest = float(self.quantized(node.name).scale.max()) / (1 << FINER_BITS)
            else:
                finest = float(self.step(node.input).max()) / (node.kernel[0] * node.kernel[1] if isinstance(node, Pool) else 1)
            quantizer.scale = max(quantizer.scale, finest)

    def settle_all(self) -> None:
        """Settle every node, in execution order: fine-tuning moves the scales of weights."""
        for node in self.described.nodes:
            self.settle(node)

    def step(self, tensor: str) -> NDArray[np.float64]:
        """What one code of a tensor is worth, (1,) or one per channel."""
        node = self.described.node(tensor)
        if node is None:
            return np.array([next(h.step for h in self.described.heads if h.input == tensor)])
        if isinstance(node, MatMul | Conv):
            ticks = max(1, self.described.ticks(node.input)) if isinstance(node, Readout) else 1
            return self.quantized(node.name).scale * self.step(node.input) / ticks
        if isinstance(node, Add):
            (x,), (other,) = map(self.step, node.inputs())
            return np.array([gains(x, other)[2]])
        if node.name in self.quantizers:
            return np.array([cast(Quantizer, self.quantizers[node.name]).scale])
        return np.ones(1) if isinstance(node, ChaosLayer) else self.step(node.input)

    def quantized(self, name: str) -> QuantizedWeight:
        """The integers of one node with weights; an embedding has no bias."""
        layer: Any = self.layers[name]
        with torch.no_grad():
            quant = layer.quant_weight()
            weight, scale = quant.int().numpy().astype(np.int8), quant.scale.double().numpy().reshape(-1)
            bias = getattr(layer, "bias", None)
            return QuantizedWeight(weight, scale, np.zeros(0) if bias is None else bias.double().numpy())


def _points(node: FloatNode) -> dict[str, tuple[int, int]]:
    """The quantizers of a node by name, with the range of their codes."""
    if isinstance(node, Relu):
        return {node.name: (0, 127)}
    if isinstance(node, Gelu):
        return {f"{node.name}_in": INT8, node.name: INT8}
    if isinstance(node, TopK):
        return {node.name: INT16}
    if isinstance(node, Identity | Lut | EmbeddingMean) or (isinstance(node, Pool) and node.average):
        return {node.name: INT8}
    return {}


def _quant_layer(node: MatMul | Conv | EmbeddingMean, per_channel: bool, bits: int) -> nn.Module:
    qnn, quant = brevitas()
    kind = getattr(quant, f"Int8WeightPer{'Channel' if per_channel else 'Tensor'}Float{'MSE' if bits < 8 else ''}")
    smallest = float(np.abs(node.weight).max()) / ROW_RANGE or 1.0
    options: dict[str, Any] = {"weight_quant": kind, "weight_bit_width": bits, "weight_scaling_min_val": smallest}
    layer: Any
    if isinstance(node, EmbeddingMean):
        layer = qnn.QuantEmbedding(*node.weight.shape, **options)
    elif isinstance(node, Conv):
        outputs, channels, *kernel = node.weight.shape
        layer = qnn.QuantConv2d(channels, outputs, tuple(kernel), stride=node.stride, padding=node.pad, bias=True, **options)
    else:
        outputs, inputs = node.weight.shape
        layer = qnn.QuantLinear(inputs, outputs, bias=True, **options)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(node.weight))
        if not isinstance(node, EmbeddingMean):
            layer.bias.copy_(torch.from_numpy(np.zeros(len(node.weight)) if node.bias is None else node.bias))
    return cast(nn.Module, layer)


def _tied(layer: Any, first: Any) -> nn.Module:
    """The layer with the weight and the weight's quantizer of the first one of its stored name."""
    if layer is not first:
        layer.weight, layer.weight_quant = first.weight, first.weight_quant
    return cast(nn.Module, layer)


def brevitas() -> tuple[Any, Any]:
    """(brevitas.nn, brevitas.quant), without the warnings that their import prints. Raises MissingExtra."""
    with quiet():
        return need("brevitas.nn", "train"), need("brevitas.quant", "train")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Brevitas and torch warn of kernels and of named tensors that nothing here uses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
