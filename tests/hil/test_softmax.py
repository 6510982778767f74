"""The multinomial fit: an optimum by another method, stationary with a ramp, its penalty chosen on held-out items."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import approx_fprime, minimize
from scipy.special import log_softmax

from edgechaos.hil.repair import softmax
from edgechaos.hil.repair.softmax import FEW, PENALTIES, _Problem, fit, loss

pytestmark = pytest.mark.trains

Array = NDArray[np.float64]
CLASSES, UNITS = 3, 4


def drawn(count: int, seed: int = 3) -> tuple[Array, NDArray[np.int64]]:
    """Correlated inputs that are not centered, and labels that they decide in part."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, UNITS)) @ rng.normal(size=(UNITS, UNITS)) + np.arange(UNITS)
    logits = x @ rng.normal(size=(UNITS, CLASSES)) + rng.gumbel(size=(count, CLASSES)) * 2
    return x, (logits - logits.mean(axis=0)).argmax(axis=1).astype(np.int64)


def cross_entropy(logits: Array, labels: NDArray[np.int64]) -> float:
    return float(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())


def objective(x: Array, labels: NDArray[np.int64], penalty: float) -> Callable[[Array], float]:
    """As the module's page has it, of (weight, bias) in a row."""
    spread = x - x.mean(axis=0)
    covariance = spread.T @ spread / len(x)

    def value(parameters: Array) -> float:
        weight, bias = parameters[: CLASSES * UNITS].reshape(CLASSES, UNITS), parameters[CLASSES * UNITS :]
        return cross_entropy(x @ weight.T + bias, labels) + penalty * float(np.trace(weight @ covariance @ weight.T))

    return value


@pytest.mark.parametrize("penalty", [1e-2, 1e-1])
def test_the_optimum(penalty: float) -> None:
    x, labels = drawn(60)
    weight, bias, _ = _Problem(x, labels, CLASSES).solve(penalty)
    best = minimize(objective(x, labels, penalty), np.zeros(CLASSES * (UNITS + 1)), method="BFGS", options={"gtol": 1e-8}).x
    assert weight == pytest.approx(best[: CLASSES * UNITS].reshape(CLASSES, UNITS), abs=2e-3)
    assert bias - bias.mean() == pytest.approx(best[CLASSES * UNITS :] - best[CLASSES * UNITS :].mean(), abs=4e-3)


def test_with_a_ramp_nothing_is_gained_by_a_small_step() -> None:
    x, labels = drawn(80)
    low, high, penalty = -1, 4, 1e-2
    problem = _Problem(np.clip(x, low, high), labels, CLASSES)
    start = problem.solve(penalty)
    weight, bias, shift = problem.solve(penalty, ramp=(x, low, high), start=start[:2])
    spread = np.clip(x, low, high) - np.clip(x, low, high).mean(axis=0)
    covariance = spread.T @ spread / len(x)

    def value(parameters: Array) -> float:
        w, b, s = np.split(parameters, [CLASSES * UNITS, CLASSES * UNITS + CLASSES])
        w = w.reshape(CLASSES, UNITS)
        size = penalty * float(np.trace(w @ covariance @ w.T))
        return cross_entropy(np.clip(x + s, low, high) @ w.T + b, labels) + size

    found = np.concatenate([weight.ravel(), bias, shift])
    before = np.concatenate([start[0].ravel(), start[1], np.zeros(UNITS)])
    assert value(found) < value(before) - 1e-3
    assert np.abs(shift).max() > 0.05
    slope = approx_fprime(found, value, 1e-6)
    assert np.abs(slope[: CLASSES * (UNITS + 1)]).max() < 2e-3
    assert np.abs(slope).max() < 1e-2, "of a shift: a kink for every item that meets an end of the ramp"


def test_the_penalty_is_that_of_the_lowest_loss_on_every_fifth_item() -> None:
    chosen = set()
    for seed, count in ((1, 24), (2, 40), (5, 60), (7, 200)):
        x, labels = drawn(count, seed)
        held = np.arange(count) % 5 == 0
        inside = _Problem(x[~held], labels[~held], CLASSES)
        losses = {}
        for penalty in PENALTIES:
            weight, bias, _ = inside.solve(penalty)
            losses[penalty] = loss(x[held] @ weight.T + bias, labels[held])
        best = min(losses, key=lambda p: losses[p])
        chosen.add(best)
        found = fit(x, labels, CLASSES)
        weight, bias, _ = _Problem(x, labels, CLASSES).solve(best)
        assert found.weight == pytest.approx(weight)
        assert found.bias == pytest.approx(bias)
        assert found.spread == pytest.approx(float((x @ weight.T).std()))
        assert found.moved is None
    assert len(chosen) > 1, "the choice matters"
    assert PENALTIES == (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


def test_what_never_varies_has_no_weight_and_many_items_have_a_ramp(monkeypatch: pytest.MonkeyPatch) -> None:
    assert FEW == 4000
    monkeypatch.setattr(softmax, "FEW", 100)
    sums, labels = drawn(100)
    sums = np.concatenate([sums, np.full((100, 2), 7.0)], axis=1)
    step = np.array([1.0, 0.5, 2.0, 1.0, 1.0, 0.0])
    low, high = -1, 4
    x = np.clip(step * sums, low, high)
    found = fit(x, labels, CLASSES, ramp=(step, low, high), sums=sums)
    used = slice(0, UNITS)
    start = _Problem(x[:, used], labels, CLASSES).solve(PENALTIES[0])
    weight, bias, shift = _Problem(x[:, used], labels, CLASSES).solve(
        PENALTIES[0], ramp=(step[used] * sums[:, used], low, high), start=start[:2]
    )
    assert found.used.tolist() == [True] * UNITS + [False] * 2
    assert (found.weight[:, UNITS:] == 0).all()
    assert found.first.tolist() == x[0].tolist()
    assert found.weight[:, used] == pytest.approx(weight)
    assert found.bias == pytest.approx(bias)
    assert found.moved is not None
    assert found.moved[used] == pytest.approx(shift / step[used])
    assert (found.moved[UNITS:] == 0).all()
    assert fit(x[:99], labels[:99], CLASSES, ramp=(step, low, high), sums=sums[:99]).moved is None
    silent = fit(np.full((9, 2), 3.0), np.array([0, 0, 0, 0, 0, 1, 1, 2, 2]), CLASSES)
    assert silent.bias == pytest.approx(np.log(np.array([6, 3, 3]) / 12))
    assert (silent.spread, silent.moved, silent.weight.tolist()) == (0.0, None, [[0.0, 0.0]] * 3)


def test_the_loss_is_at_the_best_of_25_temperatures() -> None:
    x, labels = drawn(50)
    logits = x[:, :CLASSES] * 3
    size = np.abs(logits - logits.max(axis=1, keepdims=True)).mean()
    losses = [cross_entropy(logits * factor / size, labels) for factor in np.geomspace(0.3, 30, 25)]
    assert loss(logits, labels) == pytest.approx(min(losses))
    sharp = np.eye(CLASSES)[labels]
    assert loss(sharp, labels) == pytest.approx(cross_entropy(sharp * 30 / (2 / 3), labels)), "the last of them"
    assert loss(-sharp, labels) == pytest.approx(cross_entropy(-sharp * 0.3 / (1 / 3), labels)), "the first"
    assert loss(np.zeros((4, 3)), np.arange(4) % 3) == pytest.approx(np.log(3))
