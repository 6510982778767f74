"""What an integer graph may differ by from the fake-quantized model that it was lowered from: almost nothing, for any training.

Sums are exact on both sides and multipliers the same (`edgechaos.quantize.exact`): without noise every integer is equal, whatever was
trained. But the membrane of a stateful layer is int16 and its decays have 15 bits: a spike may differ where the membrane is as near the
threshold as these roundings reach, and an item that has met such a case is left out from there on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.faults.injections import CLEAN, ResolvedPlan
from edgechaos.faults.plan import apply
from edgechaos.floatgraph.float_nodes import Add, ChaosLayer, Conv, MatMul, Readout
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import ChaosLayer as ChaosLayerNode
from edgechaos.models.spiking import Conditions, torch_faults
from edgechaos.quantize.exact import exact_tensors
from edgechaos.quantize.fake_quant import FakeQuantModel

SUFFIXES = ("", "_codes", "_kept", "_max", "_count", "_spikes", "_acc")
"""Of an integer tensor, after the name of the float node that it holds."""
INT16_MAX = 32767
ROUNDED_CODES = 1.5
"""Of a membrane at each tick: half a code each of the drive and of two products."""
ROUNDED_SHARE = 20 * 2.0**-15
"""Of the membrane itself, at each tick: refractoriness is rounded to 2^-16 and so is its decay, which at 0.95 adds up to less than 20 of
2^-15; the membrane's decay is rounded to 2^-16."""


def assert_integers_equal(
    graph: IntegerGraph,
    fake: FakeQuantModel,
    codes: NDArray[Any],
    plan: ResolvedPlan = CLEAN,
    seed: int = 0,
    head: str | None = None,
) -> None:
    """Compare every tensor of a head, codes and accumulators, under a plan of omission and death."""
    conditions = Conditions(seed, torch.arange(len(codes)), torch_faults(plan))
    floats = {name: value.numpy() for name, value in exact_tensors(fake, torch.from_numpy(codes), conditions, head).items()}
    layers = {n.output: n for n in graph.path(head) if isinstance(n, ChaosLayerNode)}
    run = reference.run(apply(graph, plan), codes, seed=seed, head=head, keep=tuple(n.output for n in graph.path(head)))
    agree = np.ones(len(codes), bool)
    for node in fake.described.path(fake.head(head)):
        name = next(f"{node.name}{s}" for s in SUFFIXES if f"{node.name}{s}" in run.tensors)
        wanted = _in_codes(floats[node.name], fake.step(node.name))
        if name in layers and layers[name].emit == "count":
            wanted = wanted.sum(axis=1)
        differing = np.abs(run.tensors[name] - wanted) > 0.25
        by_item = differing.reshape(len(codes), -1).any(axis=1)
        if isinstance(node, ChaosLayer) and node.mode == "stateful":
            near = _near_threshold(node, float(graph.tensors[layers[name].input].scale or 0.0), floats[node.input], floats[node.name])
            assert near[agree].mean() < 0.5, f"{name}: hardly anything is compared"
            assert not (differing & ~(near[:, None] if differing.ndim == 3 else near))[agree].any(), f"{name}: far from the threshold"
        else:
            assert not (by_item & agree).any(), f"{name}: {(by_item & agree).sum()} of {agree.sum()} items differ"
        agree &= ~by_item


def _in_codes(values: NDArray[Any], step: NDArray[np.float64]) -> NDArray[Any]:
    """step: (1,), or one per neuron on the last axis, per channel of images."""
    return values / (step.reshape(-1, 1, 1) if values.ndim == 4 else step)


def _near_threshold(node: ChaosLayer, code: float, drive: NDArray[Any], spikes: NDArray[Any]) -> NDArray[np.bool_]:
    """(batch, n): at some tick the membrane was near the threshold, or beyond int16. spikes: those that made it refractory."""
    reach = np.zeros(spikes[:, 0].shape)
    membrane, refractory = np.zeros(spikes[:, 0].shape), np.zeros(spikes[:, 0].shape)
    near = np.zeros(membrane.shape, bool)
    for t in range(node.ticks):
        membrane = membrane + (drive if drive.ndim == 2 else drive[:, t])
        reach += ROUNDED_CODES * code + ROUNDED_SHARE * np.abs(membrane)
        membrane = membrane * (1.0 - refractory)
        near |= (np.abs(membrane - node.threshold) <= reach) | (np.abs(membrane) >= INT16_MAX * code)
        refractory = np.clip(node.refractory_decay * refractory + spikes[:, t], 0.0, 1.0)
        membrane = membrane * (1.0 - node.decay)
    return near


def assert_training_computes_the_same(fake: FakeQuantModel, codes: NDArray[Any], head: str | None = None) -> None:
    """What fine-tuning differentiates, in float32, against the exact sums of the same inputs, matrix by matrix.

    A float32 sum of n products differs from the exact one by at most (n + 2) 2^-23 sum |w x|, and the exact one has its bias in whole
    units of the accumulator. An Add's exact terms, of at most 128 codes, are off by at most half a unit of each code.
    """
    conditions = Conditions(0, torch.arange(len(codes)))
    exact = exact_tensors(fake, torch.from_numpy(codes), conditions, head)
    for node in fake.described.path(fake.head(head)):
        if isinstance(node, Add):
            terms = {name: exact[name].float() for name in node.inputs()}
            difference = (fake.kinds[node.name].fake(fake, node, terms, conditions).double() - exact[node.name]).abs()
            (unit,), largest = fake.step(node.name), sum(term.abs() for term in terms.values())
            assert bool((difference <= 64 * unit + 2.0**-22 * largest).all()), f"{node.name}: more than the gains are rounded by"
        if isinstance(node, MatMul | Conv):
            layer: Any = fake.layers[node.name]
            x, step = exact[node.input], torch.from_numpy(fake.step(node.name))
            if isinstance(node, Readout) and x.dim() == 3:
                x = x.mean(dim=1)
            with torch.no_grad():
                weight, bias = layer.quant_weight().value.double().abs(), layer.bias.double().abs()
                if isinstance(node, Conv):
                    bias, step = bias.reshape(-1, 1, 1), step.reshape(-1, 1, 1)
                    largest = torch.nn.functional.conv2d(x.abs(), weight, None, node.stride, node.pad)
                else:
                    x = x.flatten(1) if x.dim() == 4 else x
                    largest = torch.nn.functional.linear(x.abs(), weight)
                difference = (layer(x.float()).double() - exact[node.name]).abs()
            allowed = (weight[0].numel() + 2) * 2.0**-23 * (largest + bias) + 0.5 * step
            assert bool((difference <= allowed).all()), f"{node.name}: {float((difference / allowed).max()):.2f} of what float32 allows"
