"""Multinomial regression on codes: least squares, then cross-entropy by L-BFGS, with the biases before a clipped ramp if wanted.

    minimize mean_i -log softmax(W x_i + b)[label_i] + penalty |W V|^2,   V the square root of the covariance of x

In the coordinates in which the inputs are uncorrelated, a few dozen steps are enough. The penalty is the one of the lowest loss on items
that are held out, where there are few; with many it is the smallest.
Source: Bishop, Pattern Recognition and Machine Learning, 2006, 4.3.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
STEPS = 150
FEW = 4000
"""Items from which on the penalty is not searched for."""
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
HELD_OUT = 5
"""One item of so many is held out."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """weight (classes, inputs), bias (classes,).

    used: inputs that vary; the weights of the others are 0, and `first` is what they are. moved: what to add to the sums before the ramp,
    (inputs,), in sums; None without a ramp. spread: standard deviation of the logits.
    """

    weight: Array
    bias: Array
    used: NDArray[np.bool_]
    first: Array
    moved: Array | None
    spread: float


def fit(x: Array, labels: NDArray[np.int64], classes: int, *, ramp: tuple[Array, int, int] | None = None, sums: Array | None = None) -> Fit:
    """x: (n, inputs). ramp: codes per sum (inputs,), low, high, where x = clip(step * sums); sums: (n, inputs) then."""
    used = (x != x[:1]).any(axis=0)
    if not used.any():
        return Fit(np.zeros((classes, x.shape[1])), _log_shares(labels, classes), used, x[0], None, 0.0)
    penalty = PENALTIES[0]
    held = np.arange(len(x)) % HELD_OUT == 0
    if len(x) < FEW and held.any() and not held.all():
        inside = _Problem(x[~held][:, used], labels[~held], classes)
        trials = [(inside.solve(p), p) for p in PENALTIES]
        penalty = min(trials, key=lambda t: loss(x[held][:, used] @ t[0][0].T + t[0][1], labels[held]))[1]
    problem = _Problem(x[:, used], labels, classes)
    weight, bias, _ = problem.solve(penalty)
    moved = None
    if ramp is not None and sums is not None and len(x) >= FEW:
        step, low, high = ramp
        weight, bias, shift = _Problem(x[:, used], labels, classes).solve(
            penalty, ramp=(step[used] * sums[:, used], low, high), start=(weight, bias)
        )
        moved = np.zeros(x.shape[1])
        moved[used] = shift / step[used]  # a unit without a step sends one code, and is not used
    whole = np.zeros((classes, x.shape[1]))
    whole[:, used] = weight
    return Fit(whole, bias, used, x[0], moved, float((x[:, used] @ weight.T).std()))


def loss(logits: Array, labels: NDArray[np.int64]) -> float:
    """Mean cross-entropy at the temperature at which it is lowest: integers have no scale of their own."""
    centered = logits - logits.max(axis=1, keepdims=True)
    size = float(np.abs(centered).mean()) or 1.0
    return min(_cross_entropy(centered * (factor / size), labels)[0] for factor in np.geomspace(0.3, 30, 25))


def _cross_entropy(logits: Array, labels: NDArray[np.int64]) -> tuple[float, Array]:
    """The mean loss, and its derivative by the logits."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = shifted / shifted.sum(axis=1, keepdims=True)
    at = np.arange(len(labels)), labels
    value = -float(np.log(np.maximum(shares[at], 1e-30)).mean())
    shares[at] -= 1
    return value, shares / len(labels)


def _log_shares(labels: NDArray[np.int64], classes: int) -> Array:
    return np.log((np.bincount(labels, minlength=classes) + 1.0) / (len(labels) + classes))


class _Problem:
    """One set of inputs and labels, in coordinates in which the inputs are uncorrelated."""

    def __init__(self, x: Array, labels: NDArray[np.int64], classes: int) -> None:
        self.x, self.labels, self.classes = x.astype(np.float32), labels, classes
        self.center = self.x.mean(axis=0, dtype=np.float64)
        spread = self.x - self.center.astype(np.float32)
        size, axes = np.linalg.eigh((spread.T @ spread).astype(np.float64) / len(x))
        size = np.maximum(size, size[-1] * 1e-7)
        self.white = axes / np.sqrt(size)  # x -> (x - center) @ white
        self.back = (axes * np.sqrt(size)).T

    def solve(
        self, penalty: float, ramp: tuple[Array, int, int] | None = None, start: tuple[Array, Array] | None = None
    ) -> tuple[Array, Array, Array]:
        """Weight, bias, and with a ramp what to add to its argument, in codes."""
        from scipy.optimize import minimize

        units = self.x.shape[1]
        if start is None:
            whitened = (self.x - self.center.astype(np.float32)) @ self.white.astype(np.float32)
            target = np.eye(self.classes)[self.labels] * 2 - 1
            weight = 2 * (whitened.T @ target).T / len(self.x)
            bias = _log_shares(self.labels, self.classes)
        else:
            weight, bias = start[0] @ self.back.T, start[1] + start[0] @ self.center
        first = np.concatenate([weight.ravel(), bias, np.zeros(units if ramp is not None else 0)])
        whitened = (self.x - self.center.astype(np.float32)) @ self.white.astype(np.float32)

        def value(parameters: Array) -> tuple[float, Array]:
            weight = parameters[: self.classes * units].reshape(self.classes, units)
            bias = parameters[self.classes * units :][: self.classes]
            if ramp is None:
                inputs = whitened
            else:
                argument, low, high = ramp
                moved = argument + (high - low) * parameters[-units:]
                inputs = (np.clip(moved, low, high) - self.center) @ self.white
            found, slope = _cross_entropy(inputs @ weight.T + bias, self.labels)
            parts = [(slope.T @ inputs + 2 * penalty * weight).ravel(), slope.sum(axis=0)]
            if ramp is not None:
                open_ = (moved > low) & (moved < high)
                parts.append((high - low) * ((slope @ (weight @ self.white.T)) * open_).sum(axis=0))
            return found + penalty * float(np.square(weight).sum()), np.concatenate(parts)

        best = minimize(value, first, jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x
        weight = best[: self.classes * units].reshape(self.classes, units) @ self.white.T
        bias = best[self.classes * units :][: self.classes] - weight @ self.center
        shift = (ramp[2] - ramp[1]) * best[-units:] if ramp is not None else np.zeros(units)
        return weight, bias, shift
