"""Temperatures in integers, where every float on the way is exact: weight scales of 0.01 / 2^n and square temperatures."""

from __future__ import annotations

import math

import pytest

from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from edgechaos.graph.thermal import ThermalCodes, thermal_codes
from edgechaos.support.errors import GraphError, UnsupportedError
from tests.core.test_graph import with_constant, with_node
from tests.helpers.mixed_graphs import mixed_graph


@pytest.mark.parametrize(
    ("temperature", "largest", "halvings", "norm_max", "codes"),
    [
        # deviations 8 and 16; 16 * 100 / 2^13 * 2^17 = 25,600, and 16 * 2^4 * 100 * 2^15 < 2^30
        (1.0, 4.0, 3, 100, ThermalCodes(8 << 19, 16 << 19, 15, 17)),
        (0.25, 4.0, 3, 100, ThermalCodes(4 << 19, 16 << 19, 15, 17)),
        (0.0, 4.0, 3, 100, ThermalCodes(0, 16 << 19, 15, 17)),
        # both limits met exactly: 32,767, and 32,767 * 2^15 = 2^30 - 1 - 32,767
        (1.0, 1.0, 0, 32767, ThermalCodes(1 << 15, 1 << 15, 15, 13)),
        (1.0, 1.0, 0, 32768, ThermalCodes(1 << 14, 1 << 14, 15, 12)),
        # k is rounded half up: 0.5 and 1.5 units, then 0.25 and 0.75
        (2.0**-62, 2.0**-60, 0, 1, ThermalCodes(1 << 16, 1 << 17, 30, 30)),
        (2.0**-96, 9 * 2.0**-96, 0, 1, ThermalCodes(1, 2, 30, 30)),
        (2.0**-98, 9 * 2.0**-98, 0, 1, ThermalCodes(0, 1, 30, 30)),
    ],
)
def test_the_finest_integers(temperature: float, largest: float, halvings: int, norm_max: int, codes: ThermalCodes) -> None:
    assert thermal_codes(temperature, largest, 0.01 / 2**halvings, norm_max, "layer") == codes


@pytest.mark.parametrize(("temperature", "largest"), [(-0.5, 1.0), (1.5, 1.0), (math.nan, 1.0), (0.5, math.nan), (0.5, math.inf)])
def test_temperatures_out_of_order(temperature: float, largest: float) -> None:
    with pytest.raises(UnsupportedError, match=r"'layer': temperature .* is outside 0"):
        thermal_codes(temperature, largest, 0.01, 100, "layer")


GRAPH = mixed_graph(family="thermal")
NOISE = next(n for n in GRAPH.nodes if isinstance(n, ThermalNoise))
LAYER = with_node(
    with_constant(GRAPH, "layer0_w", GRAPH.value("layer0_w"), 8, (0.01 / 2**6,)), NOISE.name, k=0, k_max=48, shift_a=3, shift_b=11
)
"""2^(3 + 11 - 13) units per unit of deviation, which is 64 at T = 1: k = 128 sqrt(T), T at most (48 / 128)^2."""


def k_at(temperature: float, graph: IntegerGraph = LAYER) -> int:
    return graph.node(NOISE.name).parameter_at(graph, temperature)


@pytest.mark.parametrize(("units", "k"), [(0, 0), (1, 1), (32, 32), (48, 48), (48.49, 48), (0.49, 0), (0.5, 1)])
def test_k_of_a_temperature(units: float, k: int) -> None:
    assert k_at((units / 128) ** 2) == k


@pytest.mark.parametrize("temperature", [-0.25, -1e-9, (48.51 / 128) ** 2, 1.0, math.inf, math.nan])
def test_a_temperature_beyond_the_limit_of_its_node(temperature: float) -> None:
    with pytest.raises(GraphError, match=rf"^node '{NOISE.name}': temperature {temperature:g} is outside 0\.\.0\.140625; quantize"):
        k_at(temperature)


def test_a_matrix_that_states_no_scale() -> None:
    for scale in ((), (0.1, 0.1)):
        graph = with_constant(GRAPH, "layer0_w", GRAPH.value("layer0_w"), 8, scale)
        with pytest.raises(GraphError, match="the weights of 'matmul0' state no scale; give k"):
            k_at(0.5, graph)
