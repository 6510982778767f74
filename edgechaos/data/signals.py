"""Data sets of sensor windows: float32 or int16 samples with a scaling per channel that is computed on the training items.

The layout of items is stated, never guessed; items are (n, channels, time) float32, channels first as images are; `mean` and `std`
are those that models normalize with, std a quarter of the reach (`edgechaos.graph.signals`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.data.dataset import MAX_CLASSES, OWN, Dataset, Normalization, split_order
from edgechaos.graph.signals import MAX_REACH, MIN_REACH, RANGE, require_finite
from edgechaos.support.errors import DataError

LAYOUTS = ("channels,time", "time,channels", "channels")
"""What the axes behind the first one are. `channels`: one value each, as of a table of features."""
KEPT = 0.999
"""Share of a channel's training samples that decide its scaling: a glitch must not cost the resolution of all else."""
CHUNK = 1 << 20


def from_signals(
    items: NDArray[Any], labels: NDArray[Any], *, name: str, layout: str, classes: tuple[str, ...] | None = None, source: str | None = None
) -> Dataset:
    """A data set of sensor windows; a stratified fifth, always the same, is the test.

    items: float32 or int16, (n, channels, time), (n, time, channels) or (n, channels) as `layout` says. labels: (n,) integers.
    classes: by default the numbers. Raises DataError where the layout is none, the shapes do not agree, or a sample is not finite.
    """
    where = f"data set '{name}'"
    if layout not in LAYOUTS:
        raise DataError(f"{where}: layout is {str(layout)[:40]!r}; state what the axes of one item are, as one of: {'; '.join(LAYOUTS)}")
    if items.dtype not in (np.dtype(np.float32), np.dtype(np.int16)):
        raise DataError(f"{where}: samples are {items.dtype}; save them as float32 or int16 (items.astype(np.float32))")
    rank = 1 + len(layout.split(","))
    if items.ndim != rank or items.size == 0:
        raise DataError(f"{where}: layout '{layout}' needs items of {rank} axes, the items' own first, with samples; got {items.shape}")
    samples = items.astype(np.float32)
    samples = samples.swapaxes(1, 2) if layout == "time,channels" else samples.reshape(len(items), items.shape[1], -1)
    samples = np.ascontiguousarray(samples)
    require_finite(samples, where)
    if labels.shape != (len(items),) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{where}: labels must be ({len(items)},) integers, not {labels.dtype} {labels.shape}")
    if labels.min() < 0 or labels.max() >= MAX_CLASSES:
        raise DataError(f"{where}: labels must lie in 0..{MAX_CLASSES - 1}, not {labels.min()}..{labels.max()}")
    known = classes or tuple(str(c) for c in range(int(labels.max()) + 1))
    if labels.max() >= len(known):
        raise DataError(f"{where}: label {labels.max()} of {len(known)} classes")
    labels = labels.astype(np.int64)
    train, test = split_order(labels, len(known))
    mean, std = scaling_of(samples[train], where)
    about = {"source": source or "arrays", "licence": OWN, "signals": True}
    return Dataset(name, samples[train], labels[train], samples[test], labels[test], known, mean, std, **about)  # type: ignore[arg-type]


def scaling_of(samples: NDArray[np.float32], where: str) -> Normalization:
    """(mean, std) per channel of training samples (n, channels, time), float32 values: std is the reach over 4.

    Of a channel's samples the one in a thousand that is farthest from the median is left out: mean is the mean of the others, reach
    their largest deviation from it. Where the others are all equal: of all samples; where those are, reach is 1.
    The same on every machine: sums run in one order. Raises DataError for a reach beyond 2^-90..2^90.
    """
    means, stds = [], []
    for channel in range(samples.shape[1]):
        values = samples[:, channel].ravel().astype(np.float64)
        median = np.partition(values, len(values) // 2)[len(values) // 2]
        distance = np.abs(values - median)
        rank = math.ceil(KEPT * len(values)) - 1
        mean, reach = _mean_and_reach(values[distance <= np.partition(distance, rank)[rank]])
        if reach == 0.0:
            mean, reach = _mean_and_reach(values)
        reach = reach or 1.0
        if not MIN_REACH <= reach <= MAX_REACH:
            raise DataError(f"{where}: channel {channel} deviates by {reach:g} from its mean; use units in which it is nearer to 1")
        means.append(mean)
        stds.append(reach / RANGE)
    return tuple(means), tuple(stds)


def _mean_and_reach(values: NDArray[np.float64]) -> tuple[float, float]:
    """Both rounded to float32. The sum runs in order: np.sum adds in an order that depends on the processor."""
    total = 0.0
    for start in range(0, len(values), CHUNK):
        total = float(np.cumsum(np.concatenate([[total], values[start : start + CHUNK]]))[-1])
    mean = float(np.float32(total / len(values)))
    return mean, float(np.float32(np.abs(values - mean).max()))
