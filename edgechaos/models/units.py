"""Units of layers that do not spike, in torch: those that fail are silent, and what training adds to them against faults.

What is dead or lost is 0. A dead unit sends 0 wherever the conditions say so, as in the integer graph. A lost one sends 0 for one
item: that is an augmentation, as no integer graph of such a layer loses values. A unit of a convolution is a channel, of which all
positions go together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgechaos.arithmetic import torch_words as words
from edgechaos.arithmetic.random_bits import fail_q
from edgechaos.floatgraph.float_nodes import Augmentation, FailingLayer
from edgechaos.models.spiking import Conditions, LayerFaults


def delivered(x: Tensor, layer: FailingLayer, conditions: Conditions) -> Tensor:
    """x, (batch, units, ...), with 0 from every unit that is dead, or whose value this item loses."""
    faults = conditions.faults.get(layer.name, LayerFaults())
    if faults.dead is not None:
        x = x * _like(~faults.dead, x)
    if faults.fail_q:
        word = words.words(conditions.seed, layer.fail_stream, conditions.samples, 1, layer.units)[:, 0]
        x = x * _like(~words.lost(word, faults.fail_q), x)
    return x


def _like(kept: Tensor, x: Tensor) -> Tensor:
    """(units,) or (batch, units) bool for a product with x, whatever axes x has behind its units."""
    return kept.reshape(*kept.shape, *(1,) * (x.dim() - 2)).to(x.dtype)


def winners(x: Tensor, k: int, dead: Tensor | None = None) -> Tensor:
    """1 at the k largest of each row, else 0; among equals the lowest index wins, a dead unit never does. In the dtype of x.

    dead: (units,) or (batch, units) bool.
    """
    rank = x.detach() if dead is None else x.detach().masked_fill(dead, -torch.inf)
    best = torch.sort(rank, dim=1, descending=True, stable=True).indices[:, :k]
    won = torch.zeros_like(x).scatter_(1, best, 1.0)
    return won if dead is None else won * (~dead).to(x.dtype)


def augmented(x: Tensor, augmentation: Augmentation | None, conditions: Conditions) -> Tensor:
    """x, (batch, ...), with dropout and noise of its own on every value, where the conditions are those of training."""
    if augmentation is None or not conditions.training:
        return x
    flat = x.flatten(1)
    if augmentation.dropout > 0:
        word = words.words(conditions.seed, augmentation.stream, conditions.samples, 1, flat.shape[1])[:, 0]
        flat = flat * ~words.lost(word, fail_q(augmentation.dropout)) / (1.0 - augmentation.dropout)
    if augmentation.noise_std > 0:
        word = words.words(conditions.seed, augmentation.stream + 1, conditions.samples, 1, flat.shape[1])[:, 0]
        flat = flat + words.gaussian(word, flat.dtype) * augmentation.noise_std
    return flat.reshape(x.shape)
