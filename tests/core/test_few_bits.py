"""Scales of 4-bit and ternary weights: least squared error of the sums on calibration items, means corrected where nothing is silent.

The weights are drawn, not trained: nothing here hangs on what training does on one processor.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgechaos import data
from edgechaos.floatgraph.float_nodes import MatMul
from edgechaos.quantize.exact import exact_tensors
from edgechaos.quantize.fake_quant import FakeQuantModel
from edgechaos.quantize.heads import calibration
from edgechaos.quantize.pipeline import fake_quantized
from edgechaos.train.fit import new_model

pytestmark = pytest.mark.trains
DIGITS = data.load("digits8x8")
BITS = (4, 2)
FEW = pytest.mark.parametrize("bits", BITS)


@cache
def quantized(bits: int, per_channel: bool = True) -> FakeQuantModel:
    model = new_model(DIGITS, ticks=4, hidden=(24, 16), threshold=0.1, noise_std=0.0, seed=5)
    return fake_quantized(model.describe(), DIGITS, method="ptq", per_channel=per_channel, epochs=1, weight_bits=bits)


def matrices(fake: FakeQuantModel) -> list[MatMul]:
    return [node for node in fake.described.nodes if isinstance(node, MatMul)]


def inputs(fake: FakeQuantModel, node: MatMul) -> NDArray[np.float64]:
    """What a matrix reads on the calibration items, (items x ticks, in), in reals."""
    codes, conditions = calibration(fake, DIGITS, "main")
    read = exact_tensors(fake, codes, conditions)[node.input]
    return read.reshape(-1, node.weight.shape[1]).numpy()


def error(fake: FakeQuantModel, node: MatMul, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of every sum, (items, out): what other weights compute less what the float weights do."""
    return inputs(fake, node) @ (weight - node.weight).T


def stored(fake: FakeQuantModel, node: MatMul) -> NDArray[np.float64]:
    found = fake.quantized(node.name)
    return found.weight * found.scale.reshape(-1, 1)


@FEW
@pytest.mark.parametrize("position", [0, 1])
def test_no_scale_of_a_row_gives_sums_nearer_to_the_float_ones(bits: int, position: int) -> None:
    fake = quantized(bits)
    node, high = matrices(fake)[position], (1 << (bits - 1)) - 1

    def loss(weight: NDArray[np.float64]) -> NDArray[np.float64]:
        wrong = error(fake, node, weight)
        return np.square(wrong - (wrong.mean(axis=0) if position == 0 else 0.0)).mean(axis=0)  # the first one's mean goes into its bias

    chosen = loss(stored(fake, node))
    peak = np.abs(node.weight).max(axis=1, keepdims=True) / high
    for share in np.linspace(0.1, 1.0, 37):
        scale = share * peak
        assert (chosen <= loss(np.clip(np.rint(node.weight / scale), -high, high) * scale) * 1.001).all(), f"{share:.3f} of the largest"


@FEW
@pytest.mark.parametrize("per_channel", [True, False])
def test_the_first_matrix_is_right_on_average(bits: int, per_channel: bool) -> None:
    fake = quantized(bits, per_channel)
    first = matrices(fake)[0]
    wanted = np.zeros(len(first.weight)) if first.bias is None else first.bias
    found = error(fake, first, stored(fake, first)).mean(axis=0) + fake.quantized(first.name).bias - wanted
    assert np.abs(found).max() < 1e-5
    assert np.abs(error(fake, first, stored(fake, first)).mean(axis=0)).max() > 1e-2, "nothing to correct: this test proves nothing"


@FEW
def test_biases_behind_units_that_can_fall_silent_are_left_alone(bits: int) -> None:
    fake = quantized(bits)
    for node in matrices(fake)[1:]:
        wanted = np.zeros(len(node.weight)) if node.bias is None else node.bias
        assert (fake.quantized(node.name).bias == wanted.astype(np.float32)).all()


def test_eight_bits_are_the_largest_magnitude() -> None:
    fake = quantized(8)
    for node in matrices(fake)[:-1]:
        assert np.allclose(fake.quantized(node.name).scale, np.abs(node.weight).max(axis=1) / 127, rtol=1e-6)


def test_threads_change_nothing() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        quantized.cache_clear()
        one = [quantized(2).quantized(node.name) for node in matrices(quantized(2))]
        torch.set_num_threads(2)
        quantized.cache_clear()
        two = [quantized(2).quantized(node.name) for node in matrices(quantized(2))]
    finally:
        torch.set_num_threads(before)
    assert all(
        (a.weight == b.weight).all() and (a.scale == b.scale).all() and (a.bias == b.bias).all() for a, b in zip(one, two, strict=True)
    )
