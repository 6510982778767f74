"""New words for what reads dead and stuck units, so that the living ones make up for them: least squares, then cross-entropy.

Every matrix behind a damaged layer is fitted on the codes that the damaged model really sends. Inner ones are fitted to the sums of the
clean model, by least squares; the readout to the labels, by cross-entropy from a least-squares start, and with it the biases of the living
units of a plain layer before it. What comes out is rounded into the stored types of the graph, and the graph is proved anew: a repaired
graph is a graph. Where rounded words are no better than the old ones, the old ones stay.
Source: docs/repair.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.faults.injections import ResolvedPlan
from edgechaos.faults.plan import apply
from edgechaos.faults.words import with_words
from edgechaos.graph.images import windows_of
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.conv import Conv
from edgechaos.graph.kinds.matmul import MatMul
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.weighted import Summing
from edgechaos.hil.repair.layers import UnitLayer, unit_layers
from edgechaos.hil.repair.softmax import Fit, fit, loss
from edgechaos.support.errors import UnsupportedError

Array = NDArray[Any]
LASTING = ("dead", "stuck", "stuck_code")
"""Slots of units that nothing brings back."""
CUTS = tuple(2.0 ** (k / 2) for k in range(15))
"""How far beyond the stored range the largest weight may be cut: a unit that hardly ever speaks may get a hundred times the others'."""
ROWS = 40_000
"""Windows of a convolution that one least-squares fit sees."""
RIDGE = 1e-3
"""Of the mean square of an input: keeps words of inputs that hardly vary where they are."""


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """codes (n, *input shape) and labels (n,) to fit on, of a head; seed: of the random words."""

    codes: Array
    labels: NDArray[np.int64]
    head: str
    seed: int = 0


def refit(graph: IntegerGraph, damage: ResolvedPlan, items: Items) -> IntegerGraph:
    """The graph with the words that serve it best under `damage`; itself where no layer of the head is damaged.

    Raises UnsupportedError where a damaged layer is read by what cannot be fitted.
    """
    layers = unit_layers(graph, items.head)
    hurt = {node for node, slot in damage.slots if slot in LASTING}
    damaged = [layer for layer in layers if layer.name in hurt]
    unknown = hurt - {layer.name for layer in layers}
    if unknown and not damaged:
        raise UnsupportedError(f"layer '{min(unknown)}' has dead units, and nothing that reads them on head '{items.head}' can be fitted")
    if not damaged:
        return graph
    slots = ResolvedPlan({key: values for key, values in damage.slots.items() if key[1] in LASTING})
    mended = graph
    for layer in damaged:
        for reader in layer.readers:
            if not reader.is_readout:
                mended = _fit_sums(graph, mended, slots, _plain(reader), items)
    last = [layer for layer in layers if layer.last and len(layer.readers) == 1]
    return _fit_readout(graph, mended, slots, last[-1], items) if last else mended


def _plain(reader: Summing) -> MatMul | Conv:
    if not isinstance(reader, MatMul | Conv):
        raise UnsupportedError(f"node '{reader.name}': what a {type(reader).__name__} reads cannot be fitted")
    return reader


def _tensors(graph: IntegerGraph, items: Items, names: Iterable[str]) -> dict[str, Array]:
    keep = tuple(names)
    return dict(reference.run(graph, items.codes, seed=items.seed, head=items.head, keep=keep).tensors)


def _fit_sums(clean: IntegerGraph, mended: IntegerGraph, damage: ResolvedPlan, reader: MatMul | Conv, items: Items) -> IntegerGraph:
    """An inner matrix whose sums are to be those of the clean model, from the codes that it is given now."""
    seen = _tensors(apply(mended, damage), items, (reader.input,))[reader.input]
    wanted = _tensors(clean, items, (reader.output,))[reader.output]
    x, y = _pairs(mended, reader, seen, wanted)
    weight = mended.value(reader.weight)
    old = weight.reshape(len(weight), -1).astype(np.float64)
    center = x.mean(axis=0)
    spread = x - center
    square = spread.T @ spread
    ridge = RIDGE * np.trace(square) / len(square) + 1e-9
    gap = y - y.mean(axis=0) - spread @ old.T
    change = np.linalg.solve(square + ridge * np.eye(len(square)), spread.T @ gap).T
    reach = 1 << (mended.constants[reader.weight].bits - 1)
    new = np.clip(np.rint(old + change), -reach, reach - 1)
    new[:, ~spread.any(axis=0)] = old[:, ~spread.any(axis=0)]  # what never varies adds nothing that the bias does not
    error = [np.square(y - y.mean(axis=0) - spread @ words.T).sum(axis=0) for words in (new, old)]
    words = np.where((error[0] < error[1])[:, None], new, old)
    limit = reader.bias_limit(mended, mended.analysis.bounds)
    bias = np.clip(np.rint(y.mean(axis=0) - words @ center), -limit, limit) if reader.bias is not None else None
    return with_words(mended, reader, words, bias)


def _pairs(graph: IntegerGraph, reader: MatMul | Conv, seen: Array, wanted: Array) -> tuple[Array, Array]:
    """Inputs (rows, fan in) and sums (rows, outputs) in float64: one row per item, tick or window, some of them where there are many."""
    if isinstance(reader, Conv):
        rows, columns = reader.pad
        padded = np.pad(seen, ((0, 0), (0, 0), (rows, rows), (columns, columns)))
        kernel = graph.value(reader.weight).shape[2:]
        windows = windows_of(padded, kernel, reader.stride).transpose(0, 2, 1, 3)
        x, y = windows.reshape(-1, windows.shape[2] * windows.shape[3]), wanted.reshape(*wanted.shape[:2], -1).swapaxes(1, 2)
    else:
        x, y = seen.reshape(-1, graph.value(reader.weight).shape[1]), wanted
    y = y.reshape(len(x), -1)
    step = max(1, len(x) // ROWS)
    return x[::step].astype(np.float64), y[::step].astype(np.float64)


def _fit_readout(clean: IntegerGraph, mended: IntegerGraph, damage: ResolvedPlan, layer: UnitLayer, items: Items) -> IntegerGraph:
    """The readout, and the biases of a plain layer right before it."""
    (reader,) = layer.readers
    faulty = apply(mended, damage)
    codes = _tensors(faulty, items, (reader.input,))[reader.input].reshape(len(items.codes), -1)
    gain = reader.product_gain()
    ramp = _ramp(mended, damage, layer, reader)
    sums = _tensors(faulty, items, (layer.driver.output,))[layer.driver.output] if ramp is not None else None
    found = fit(gain * codes.astype(np.float32), items.labels, len(mended.value(reader.weight)), ramp=ramp, sums=sums)
    best, least = mended, _loss(mended, damage, items)
    before, rises = np.inf, 0
    for share in CUTS:
        candidate = _rounded(clean, mended, reader, layer, found, share, items)
        here = _loss(candidate, damage, items)
        best, least = (candidate, here) if here < least else (best, least)
        rises = rises + 1 if here > before else 0
        before = here
        if rises == 2:
            break
    return best


def _ramp(graph: IntegerGraph, damage: ResolvedPlan, layer: UnitLayer, reader: Summing) -> tuple[Array, int, int] | None:
    """Codes per sum of each living unit (0 of a dead one), and the clip, where a unit's code is a clipped multiple of its sum."""
    node, driver = layer.units, layer.driver
    if not isinstance(node, Requantize) or (node.input, node.output) != (driver.output, reader.input) or driver.bias is None:
        return None
    if len(graph.tensors[node.output].shape) != 1 or graph.tensors[node.output].ticks:
        return None
    step = graph.value(node.multiplier) / 2.0 ** graph.value(node.shift)
    dead = damage.slots.get((node.name, "dead"))
    return np.broadcast_to(step, layer.count) * (dead == 0 if dead is not None else 1), node.low, node.high


def _rounded(
    clean: IntegerGraph, mended: IntegerGraph, reader: Summing, layer: UnitLayer, found: Fit, share: float, items: Items
) -> IntegerGraph:
    """The fit in stored types. share: how far beyond the stored range the largest weight may be cut."""
    old = mended.constants[reader.weight]
    most = (1 << (old.bits - 1)) - 1
    scale = share * most / max(float(np.abs(found.weight).max()), 1e-12)
    head = clean.head(items.head)
    if head.logits != reader.output:  # noise is added to them: their size means something
        spread = (
            reference.run(clean, items.codes[:512], seed=items.seed, head=items.head, keep=(reader.output,)).tensors[reader.output].std()
        )
        scale = min(scale, float(spread) / max(found.spread, 1e-12))
    weight = np.clip(np.rint(scale * found.weight), -most, most)
    weight[:, ~found.used] = old.value.reshape(len(old.value), -1)[:, ~found.used]
    limit = reader.bias_limit(mended, mended.analysis.bounds)
    always = weight[:, ~found.used] @ found.first[~found.used]  # from stuck units, whose words stay
    bias = np.clip(np.rint(scale * found.bias - always), -limit, limit)
    graph = with_words(mended, reader, weight, bias)
    if found.moved is not None:
        limit = layer.driver.bias_limit(graph, graph.analysis.bounds)
        shifted = np.clip(graph.value(layer.driver.bias) + np.rint(found.moved), -limit, limit)
        graph = with_words(graph, layer.driver, bias=shifted)
    return graph


def _loss(graph: IntegerGraph, damage: ResolvedPlan, items: Items) -> float:
    """Mean cross-entropy of the graph's own integers, at the best temperature."""
    logits = reference.run(apply(graph, damage), items.codes, seed=items.seed, head=items.head).logits
    return loss(logits.astype(np.float64), items.labels)
