"""What each neuron and channel carries, measured on a data set, and a model without those that carry least.

Enters: a FloatModel and its data set. Leaves: the `NeuronActivity` of every layer that `edgechaos.prune` can make smaller, and the
pruned model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from edgechaos import passes, prune
from edgechaos.data import Dataset
from edgechaos.errors import UnsupportedError
from edgechaos.quantize.float_model import Conv, FloatModel, Linear

if TYPE_CHECKING:
    from torch import Tensor


def pruned(model: FloatModel, data: Dataset, neurons: float | None, weights: float | None) -> FloatModel:
    """The folded model without the share of neurons and of weights that matter least; as it came where both are None."""
    if neurons is not None:
        model = passes.fold(model)
        model = prune.prune_neurons(model, activity(model, data), neurons)
    return model if weights is None else prune.prune_weights(passes.fold(model), weights)


def activity(model: FloatModel, data: Dataset) -> dict[str, prune.NeuronActivity]:
    """Of every neuron and channel that can be removed from a folded model, by matrix: measured clean on the calibration items.

    Computed with 8-bit weights and activations, so that a neuron counts as dead where the integers never let it act.
    Raises UnsupportedError for a model of several heads: one data set says nothing of what the others need.
    """
    values = _values(model, data)
    return {
        layer.matrix: prune.NeuronActivity(_mean(values[layer.matrix]), _mean(values[layer.output]))
        for layer in prune.neuron_layers(model)
        if layer.output in values
    }


def currents(model: FloatModel, data: Dataset) -> dict[str, NDArray[np.float64]]:
    """Mean |value| of every element (in,) that a matrix of a folded model reads, of every channel (C,) of a convolution.

    Measured, and refused, like `activity`.
    """
    values = _values(model, data)
    read = ((n, values[n.input]) for n in model.nodes if isinstance(n, Linear | Conv))
    return {n.name: _mean(x.flatten(1) if isinstance(n, Linear) and x.dim() == 4 else x) for n, x in read}


def _values(model: FloatModel, data: Dataset) -> dict[str, Tensor]:
    """Every tensor of the calibration items, by name, in the float domain."""
    import torch

    from edgechaos.quantize.fake_quant import FakeQuantModel
    from edgechaos.quantize.lower import refuse_unsupported
    from edgechaos.quantize.pipeline import calibration  # which itself prunes by this module

    refuse_unsupported(model, "ticks")
    if len(model.heads) > 1:
        raise UnsupportedError(f"model '{model.name}' has {len(model.heads)} heads that share neurons; prune its weights instead")
    fake = FakeQuantModel(model, per_channel=False)
    codes, conditions = calibration(fake, data)
    fake.calibrate(codes, conditions)
    with torch.inference_mode():
        return fake.tensors(codes, conditions)


def _mean(values: Tensor) -> NDArray[np.float64]:
    """Mean magnitude per neuron of (items, n) or (items, ticks, n), per channel of images (items, C, H, W)."""
    axis = 1 if values.dim() == 4 else values.dim() - 1
    return cast(NDArray[np.float64], values.double().abs().transpose(0, axis).flatten(1).mean(dim=1).numpy())
