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
from edgechaos.floatgraph.float_nodes import Conv, FailingLayer, FloatNode, MatMul, Thermal, stored_name
from edgechaos.models.spiking import Conditions
from edgechaos.models.units import augmented, delivered
from edgechaos.quantize.activations import Quantizer
from edgechaos.quantize.kind import kind_of
from edgechaos.support.extras import need

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
        self.kinds = {node.name: kind_of(node) for node in model.nodes}
        weighted: list[Any] = [node for node in model.nodes if self.kinds[node.name].weighted]
        self.bits = {node.name: (bits or {}).get(stored_name(node), 8) for node in weighted}
        first: dict[str, nn.Module] = {}
        self.layers = nn.ModuleDict()
        self.quantizers = nn.ModuleDict()
        self._kept: dict[str, Tensor] = {}
        if model.metadata.get("pruning", {}).get("weights"):
            self._kept = {n.name: torch.from_numpy(n.weight != 0) for n in model.nodes if isinstance(n, MatMul | Conv)}
        for node in weighted:
            layer = self._layer(node, per_channel)
            self.layers[node.name] = _tied(layer, first.setdefault(stored_name(node), layer))
        for node in model.nodes:
            for point, (low, high) in self.kinds[node.name].ranges(node).items():
                self.quantizers[point] = Quantizer(low, high)

    def _layer(self, node: Any, per_channel: bool) -> nn.Module:
        qnn, quant = brevitas()
        kind, bits = self.kinds[node.name], self.bits[node.name]
        noisy = any(isinstance(reader, Thermal) for reader in self.described.readers(node.name))
        split = per_channel and kind.per_channel and not noisy
        weight_quant = getattr(quant, f"Int8WeightPer{'Channel' if split else 'Tensor'}Float{'MSE' if bits < 8 else ''}")
        smallest = float(np.abs(node.weight).max()) / ROW_RANGE or 1.0
        layer: Any = kind.module(qnn, node, {"weight_quant": weight_quant, "weight_bit_width": bits, "weight_scaling_min_val": smallest})
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(node.weight))
            if getattr(layer, "bias", None) is not None:
                layer.bias.copy_(torch.from_numpy(np.zeros(len(node.weight)) if node.bias is None else node.bias))
        return cast(nn.Module, layer)

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
                value = self.kinds[node.name].fake(self, node, values, conditions)
                values[node.name] = augmented(value, self.described.augmentation.get(node.name), conditions)
        return values

    def delivered(self, x: Tensor, name: str, conditions: Conditions) -> Tensor:
        """What the units of a layer send: dead ones 0, as the integer graph has it, and lost ones of a layer that fails in training."""
        return delivered(x, self._failing.get(name, FailingLayer(name, x.shape[1], 0)), conditions)

    def failing_layers(self, head: str | None = None) -> tuple[FailingLayer, ...]:
        """The layers of all heads, or of one, whose units can fail, in execution order."""
        if head is None:
            return tuple(self._failing.values())
        path = {node.name for node in self.described.path(self.head(head))}
        return tuple(layer for name, layer in self._failing.items() if name in path or name.removesuffix("_in") in path)

    def before_step(self) -> None:
        """Fine-tuning has no dynamics of its own."""

    def after_step(self, generator: torch.Generator) -> None:
        """Pruned weights return to 0."""
        with torch.no_grad():
            for name, kept in self._kept.items():
                cast(Tensor, self.layers[name].weight).mul_(kept)

    def settle(self, node: FloatNode) -> None:
        """Let a node's activations be no finer than the accumulator they are made of: sums can only be scaled down, means up a little."""
        for point in list(self.kinds[node.name].ranges(node))[:1]:
            self.quantizer(point).scale = max(self.quantizer(point).scale, self.kinds[node.name].finest(self, node))

    def settle_all(self) -> None:
        """Settle every node, in execution order: fine-tuning moves the scales of weights."""
        for node in self.described.nodes:
            self.settle(node)

    def step(self, tensor: str) -> NDArray[np.float64]:
        """What one code of a tensor is worth, (1,) or one per channel."""
        node = self.described.node(tensor)
        if node is None:
            return np.array([next(h.step for h in self.described.heads if h.input == tensor)])
        return self.kinds[tensor].step(self, node)

    def quantizer(self, name: str) -> Quantizer:
        """A quantizer by its name."""
        return cast(Quantizer, self.quantizers[name])

    def quantized(self, name: str) -> QuantizedWeight:
        """The integers of one node with weights; an embedding has no bias."""
        layer: Any = self.layers[name]
        with torch.no_grad():
            quant = layer.quant_weight()
            weight, scale = quant.int().numpy().astype(np.int8), quant.scale.double().numpy().reshape(-1)
            bias = getattr(layer, "bias", None)
            return QuantizedWeight(weight, scale, np.zeros(0) if bias is None else bias.double().numpy())


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
