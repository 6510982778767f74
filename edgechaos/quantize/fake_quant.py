"""A folded FloatModel as a torch module whose weights are fake-quantized by Brevitas: what is trained and calibrated.

Enters: a FloatModel after `edgechaos.passes.fold`. Leaves: a module to fine-tune (QAT) or calibrate (PTQ), and from it
the integers and scales of every weight. Spikes are binary and pass unquantized; the membrane of stateful layers stays
float here and becomes int16 in `edgechaos.quantize.lower`. Source: Brevitas (Xilinx), int8 weights, narrow range
-127..127, scale = largest magnitude / 127.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgechaos.errors import UnsupportedError
from edgechaos.extras import need
from edgechaos.models.spiking import Conditions, spiking_ticks
from edgechaos.quantize.float_model import FloatModel, FloatNode, Linear, Readout, Spiking
from edgechaos.quantize.rounding import round_half_up


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedWeight:
    """Integers and what one of them is worth: weight (out, in) int8, scale (1,) or (out,), bias (out,), float64."""

    weight: NDArray[np.int8]
    scale: NDArray[np.float64]
    bias: NDArray[np.float64]


class FakeQuantModel(nn.Module):
    """The nodes of a FloatModel as modules by name; runs one head. Trainable by `edgechaos.train.fit`.

    per_channel: one weight scale per output channel, except where outputs are compared with each other (readouts).
    """

    def __init__(self, model: FloatModel, per_channel: bool, head: str | None = None) -> None:
        super().__init__()
        self.described = model
        self.head = next(h for h in model.heads if head in (None, h.name))
        self.layers = nn.ModuleDict({n.name: _quant_linear(n, per_channel) for n in model.nodes if isinstance(n, Linear)})

    def forward(self, codes: Tensor, conditions: Conditions) -> Tensor:
        """Logits (batch, classes) of input codes (batch, inputs), any dtype; in the dtype of the weights."""
        return self.tensors(codes, conditions)[self.head.logits]

    def tensors(self, codes: Tensor, conditions: Conditions) -> dict[str, Tensor]:
        """Every tensor of the head by name, in the float domain."""
        dtype = next(self.parameters()).dtype
        values = {self.head.input: codes.to(dtype) * self.head.step}
        for node in self.described.nodes:
            if node.input in values:
                values[node.name] = self._evaluate(node, values[node.input], conditions)
        return values

    def _evaluate(self, node: FloatNode, x: Tensor, conditions: Conditions) -> Tensor:
        if isinstance(node, Spiking):
            return spiking_ticks(x, node, conditions)
        layer = self.layers[node.name]
        return cast(Tensor, layer(x.mean(dim=1) if isinstance(node, Readout) else x))

    def spiking_layers(self) -> tuple[Spiking, ...]:
        """The spiking nodes, in execution order."""
        return self.described.spiking_layers()

    def before_step(self) -> None:
        """Fine-tuning has no dynamics of its own."""

    def after_step(self, generator: torch.Generator) -> None:
        """Fine-tuning has no dynamics of its own."""

    def round_biases(self) -> None:
        """Move every bias to a multiple of its accumulator's scale, so that lowering rounds nothing but noise and membranes."""
        steps = {head.input: head.step for head in self.described.heads}
        for node in self.described.nodes:
            if isinstance(node, Linear):
                ticks = self.described.ticks(node.input) if isinstance(node, Readout) else 1
                scale = self.quantized(node.name).scale * steps.get(node.input, 1.0) / ticks
                bias = cast(Tensor, self.layers[node.name].bias)
                with torch.no_grad():
                    bias.copy_(torch.from_numpy(round_half_up(bias.double().numpy() / scale) * scale))

    def quantized(self, name: str) -> QuantizedWeight:
        """The integers of one linear node."""
        layer: Any = self.layers[name]
        with torch.no_grad():
            quant = layer.quant_weight()
            weight, scale = quant.int().numpy().astype(np.int8), quant.scale.double().numpy().reshape(-1)
            return QuantizedWeight(weight, _usable_scale(weight, scale), layer.bias.double().numpy())


def _usable_scale(weight: NDArray[np.int8], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """A channel of zeros quantizes at any scale; its own, 1e-10 or so, would put its bias beyond int32."""
    if len(scale) == 1:
        return scale
    used = (weight != 0).any(axis=1)
    return np.where(used, scale, scale[used].max() if used.any() else 1.0)


def _quant_linear(node: Linear, per_channel: bool) -> nn.Module:
    qnn, quant = brevitas()
    kind = quant.Int8WeightPerChannelFloat if per_channel and not isinstance(node, Readout) else quant.Int8WeightPerTensorFloat
    outputs, inputs = node.weight.shape
    layer: nn.Module = qnn.QuantLinear(inputs, outputs, bias=True, weight_quant=kind)
    bias = np.zeros(outputs) if node.bias is None else node.bias
    with torch.no_grad():
        for parameter, value in ((layer.weight, node.weight), (layer.bias, bias)):
            cast(Tensor, parameter).copy_(torch.from_numpy(value))
    return layer


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


def correct_bias(model: FakeQuantModel, codes: Tensor, conditions: Conditions) -> None:
    """Post-training: shift each bias by the mean error that quantized weights cause on these inputs, layer by layer.

    Source: Nagel et al., Data-Free Quantization through Weight Equalization and Bias Correction, ICCV 2019.
    """
    with quiet():
        calibrate = need("brevitas.graph.calibrate", "train")
        with torch.no_grad(), calibrate.bias_correction_mode(model):
            model(codes, conditions)
    if not all(bool(p.isfinite().all()) for p in model.parameters()):
        raise UnsupportedError("bias correction diverged; calibrate on more items, or use method='qat'")
