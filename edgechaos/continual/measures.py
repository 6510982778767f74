"""What a continual run is judged by, from R[i][j]: the accuracy on task j after task i was learned, T tasks, both from 0.

    average accuracy    mean_j R[T-1][j]
    learned             mean_j R[j][j]: a network that holds so fast that it learns nothing new forgets nothing either
    forgetting          mean_{j < T-1} ( max_{l < T-1} R[l][j] - R[T-1][j] )
    backward transfer   mean_{j < T-1} ( R[T-1][j] - R[j][j] )

Intervals are Student's over seeds. Sources: Chaudhry et al., Riemannian walk for incremental learning, ECCV 2018 (forgetting);
Lopez-Paz and Ranzato, Gradient episodic memory, NIPS 2017 (average accuracy, backward transfer); Riemer et al., Learning to learn
without forgetting, ICLR 2019 (learned, there "learning accuracy").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgechaos.support.statistics import mean_over

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OverSeeds:
    """The mean of n seeds and its t interval; low and high are None for one seed, which says nothing of others."""

    value: float
    low: float | None
    high: float | None
    n: int


def average_accuracy(r: Matrix) -> float:
    """Of all tasks, at the end."""
    return float(r[-1].mean())


def learned(r: Matrix) -> float:
    """Of each task right after it was learned."""
    return float(r.diagonal().mean())


def forgetting(r: Matrix) -> float:
    """What was lost since a task was known best, over all tasks but the last."""
    return float((r[:-1, :-1].max(axis=0) - r[-1, :-1]).mean())


def backward_transfer(r: Matrix) -> float:
    """What later tasks added to a task, over all tasks but the last; negative where they took."""
    return float((r[-1, :-1] - r.diagonal()[:-1]).mean())


MEASURES = {"average_accuracy": average_accuracy, "learned": learned, "forgetting": forgetting, "backward_transfer": backward_transfer}


def over_seeds(values: Sequence[float]) -> OverSeeds:
    """mean +- t(n-1) s / sqrt(n), at 95 %."""
    mean, n = float(np.mean(values)), len(values)
    if n == 1:
        return OverSeeds(mean, None, None, 1)
    estimate = mean_over("seeds", values)
    return OverSeeds(mean, estimate.low, estimate.high, n)
