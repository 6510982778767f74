"""What each neuron and channel carries, measured on a data set, and a model without those that carry least."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from edgechaos.data import Dataset
from edgechaos.floatgraph import passes
from edgechaos.floatgraph.float_model import FloatModel
from edgechaos.floatgraph.float_nodes import Conv, MatMul, Readout
from edgechaos.prune import criteria as prune_criteria
from edgechaos.prune import removal as prune
from edgechaos.prune.criteria import Criterion, NeuronActivity, NeuronLayer, neuron_layers
from edgechaos.quantize.heads import by_head, calibration

if TYPE_CHECKING:
    from torch import Tensor


def pruned(
    model: FloatModel,
    data: Dataset | Mapping[str, Dataset],
    neurons: float | None,
    weights: float | None,
    by: Criterion = prune_criteria.DEFAULT,
) -> FloatModel:
    """The folded model without the share of neurons (`by` a criterion) and of weights that matter least; as it came where both are None."""
    if neurons is not None:
        model = passes.fold(model)
        model = prune.prune_neurons(model, activity(model, data), neurons, by)
    return model if weights is None else prune.prune_weights(passes.fold(model), weights)


def activity(model: FloatModel, data: Dataset | Mapping[str, Dataset]) -> dict[str, NeuronActivity]:
    """Of every neuron and channel that can be removed from a folded model, by matrix: measured clean on the calibration items.

    Of several heads each is measured on its own data set. Computed with 8-bit weights and activations, so that a neuron counts as
    dead where the integers never let it act.
    """
    values = _values(model, data)
    return {layer.matrix: _activity(model, layer, values) for layer in neuron_layers(model)}


def _activity(model: FloatModel, layer: NeuronLayer, values: Mapping[str, Tensor]) -> NeuronActivity:
    sent = values[layer.output].double()
    if sent.dim() == 3:  # a readout takes the mean over ticks; a matrix reads each
        sent = sent.mean(dim=1) if all(isinstance(model.node(r), Readout) for r in layer.readers) else sent.flatten(0, 1)
    each = sent.transpose(0, 1).flatten(1)
    moment = (each @ each.T / each.shape[1]).numpy()
    return NeuronActivity(_mean(values[layer.matrix]), _mean(values[layer.output]), sent.mean(dim=0).numpy(), moment)


def currents(model: FloatModel, data: Dataset) -> dict[str, NDArray[np.float64]]:
    """Mean |value| of every element (in,) that a matrix of a folded model reads, of every channel (C,) of a convolution.

    Measured like `activity`. Raises DataError for a model of several heads, whose weights are not compared by current.
    """
    values = _values(model, data)
    read = ((n, values[n.input]) for n in model.nodes if isinstance(n, MatMul | Conv))
    return {n.name: _mean(x.flatten(1) if isinstance(n, MatMul) and x.dim() == 4 else x) for n, x in read}


def _values(model: FloatModel, data: Dataset | Mapping[str, Dataset]) -> dict[str, Tensor]:
    """Every tensor of the calibration items of every head, by name, in the float domain."""
    from edgechaos.quantize.exact import calibrate, exact_tensors
    from edgechaos.quantize.fake_quant import FakeQuantModel
    from edgechaos.quantize.lower import refuse_unsupported

    refuse_unsupported(model, "ticks")
    fake = FakeQuantModel(model, per_channel=False)
    values: dict[str, Tensor] = {}
    for head, of_head in by_head(model, data).items():
        codes, conditions = calibration(fake, of_head, head)
        calibrate(fake, codes, conditions, head)
        values |= exact_tensors(fake, codes, conditions, head)
    return values


def _mean(values: Tensor) -> NDArray[np.float64]:
    """Mean magnitude per neuron of (items, n) or (items, ticks, n), per channel of images (items, C, H, W)."""
    axis = 1 if values.dim() == 4 else values.dim() - 1
    return cast(NDArray[np.float64], values.double().abs().transpose(0, axis).flatten(1).mean(dim=1).numpy())
