"""The ChaosNet neuron in torch: one function over all ticks, for float and for fake-quantized models alike.

One tick is, in this order:

    mem += drive + noise;  mem *= 1 - refr;  s = mem > threshold, strictly, and not lost
    refr = clamp(refractory_decay * refr + s, 0, 1);  mem *= 1 - decay

"parallel" ticks each start from zero state; "stateful" ticks carry mem and refr over. The membrane is not reset by a
spike. Noise and losses come from the counter-based words of the integer graph, in training and in evaluation.
Source: ChaosNet, as published; the surrogate is SuperSpike's (Zenke and Ganguli, Neural Computation 30, 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from edgechaos.arithmetic import torch_words as words
from edgechaos.arithmetic.random_bits import fail_q
from edgechaos.arithmetic.streams import TRAINING_DEAD_STREAM
from edgechaos.faults.injections import ResolvedPlan
from edgechaos.floatgraph.float_nodes import ChaosLayer, FailingLayer
from edgechaos.support.errors import UnsupportedError

SLOPE = 4.0
"""Steepness of the surrogate derivative, per membrane unit."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerFaults:
    """The faults of one layer: its loss threshold 0..65536 (None: the layer's own, 0 where nothing spikes), bool masks (n,).

    dead may also be (batch, n), a mask per item.
    """

    fail_q: int | None = None
    dead: Tensor | None = None
    stuck: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """What a run depends on besides its input: the seed, the sample ids (batch,), the faults by layer name.

    peaks: where given, each stateful layer notes here the largest |membrane| that it reached (calibration).
    training: whether the network's own augmentation acts, such as dropout.
    """

    seed: int
    samples: Tensor
    faults: Mapping[str, LayerFaults] = field(default_factory=dict)
    peaks: dict[str, float] | None = None
    training: bool = False


def torch_faults(plan: ResolvedPlan) -> dict[str, LayerFaults]:
    """A resolved plan for `Conditions`. Raises UnsupportedError for weight flips: float weights have no integer bits."""
    if plan.patch:
        node = next(iter(plan.patch))
        raise UnsupportedError(f"'{node}': a float model has no stored integer bits to flip; run this plan on the integer graph", node)

    for node, slot in plan.slots:
        if slot not in ("fail_q", "dead", "stuck"):
            raise UnsupportedError(f"'{node}': a float model has no '{slot}' to set; run this plan on the integer graph", node)
    lost, dead, stuck = (plan.slot(name) for name in ("fail_q", "dead", "stuck"))

    def mask(masks: Mapping[str, Any], name: str) -> Tensor | None:
        return torch.from_numpy(masks[name]) if name in masks else None

    return {
        name: LayerFaults(int(lost[name][0]) if name in lost else None, mask(dead, name), mask(stuck, name))
        for name in lost.keys() | dead.keys() | stuck.keys()
    }


class _Spike(torch.autograd.Function):
    """Forward: 1 where u > 0, strictly. Backward: 1 / (1 + SLOPE |u|)^2."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (u,) = ctx.saved_tensors
        return gradients[0] / (1.0 + SLOPE * u.abs()).square()


def _fires(excess: Tensor) -> Tensor:
    spikes: Tensor = _Spike.apply(excess)  # type: ignore[no-untyped-call]
    return spikes


def spiking_ticks(drive: Tensor, layer: ChaosLayer, conditions: Conditions) -> Tensor:
    """The delivered spikes of one layer, (batch, ticks, neurons), 0 or 1 in the dtype of `drive`.

    drive: (batch, neurons), the same at every tick, or (batch, ticks, neurons).
    """
    if drive.dim() == 2:
        drive = drive[:, None]
    shape = (len(drive), layer.ticks, layer.neurons)
    faults = conditions.faults.get(layer.name, LayerFaults())
    if layer.noise_std > 0:
        word = words.words(conditions.seed, layer.noise_stream, conditions.samples, layer.ticks, layer.neurons)
        drive = drive + words.gaussian(word, drive.dtype).mul_(layer.noise_std)
    threshold = fail_q(layer.fail_prob) if faults.fail_q is None else faults.fail_q
    kept: Tensor | None = None
    if threshold > 0:
        word = words.words(conditions.seed, layer.fail_stream, conditions.samples, layer.ticks, layer.neurons)
        kept = words.lost(word, threshold).logical_not_()
    if layer.mode == "parallel":
        return _deliver(_fires(drive - layer.threshold), kept, faults).expand(shape)
    return _stateful(drive.expand(shape), layer, kept, faults, conditions.peaks)


def draw_dead(seed: int, samples: Tensor, layer: FailingLayer, fail_q: int) -> Tensor:
    """Who is dead in training, (batch, n) bool: every item draws its share from 0..fail_q / 65536, every unit dies with that share.

    All layers of an item have the same share. samples: (batch,) ids.
    """
    share = words.words(seed, TRAINING_DEAD_STREAM, samples, 1, 1)[:, 0].long() & 0xFFFF
    word = words.words(seed, TRAINING_DEAD_STREAM + 1 + layer.fail_stream, samples, 1, layer.units)[:, 0]
    return (word & 0xFFFF) < (fail_q * share >> 16)


def _deliver(fired: Tensor, kept: Tensor | None, faults: LayerFaults) -> Tensor:
    """Fired and neither lost nor dead, or stuck at 1. fired: (batch, ticks, n), or (batch, n) of one tick."""
    spikes = fired if kept is None else fired * kept
    if faults.dead is not None:
        alive = ~faults.dead
        spikes = spikes * (alive[:, None] if alive.dim() == 2 and fired.dim() == 3 else alive)
    return spikes if faults.stuck is None else torch.where(faults.stuck, 1.0, spikes)


def _stateful(drive: Tensor, layer: ChaosLayer, kept: Tensor | None, faults: LayerFaults, peaks: dict[str, float] | None) -> Tensor:
    membrane = torch.zeros_like(drive[:, 0])
    refractory = torch.zeros_like(membrane)
    spikes, peak = [], 0.0
    for t in range(layer.ticks):
        membrane = membrane + drive[:, t]
        if peaks is not None:
            peak = max(peak, float(membrane.abs().max()))
        membrane = membrane * (1.0 - refractory)
        fired = _fires(membrane - layer.threshold)
        spikes.append(_deliver(fired, None if kept is None else kept[:, t], faults))
        refractory = (layer.refractory_decay * refractory + spikes[-1]).clamp(0.0, 1.0)
        membrane = membrane * (1.0 - layer.decay)
    if peaks is not None:
        peaks[layer.name] = max(peaks.get(layer.name, 0.0), peak)
    return torch.stack(spikes, dim=1)
