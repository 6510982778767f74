"""What each kind of node says of itself: others ask it, and never test its class."""

from __future__ import annotations

from typing import Any

import pytest

from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.add import gains
from edgechaos.graph.node import NODE_KINDS
from tests.helpers.graphs import chaos_graph
from tests.helpers.mixed_graphs import mixed_graph

KINDS = {
    # whether it keeps units apart, is a readout, is a class; what its units are
    "Add": (True, False, False, ""),
    "ArgMax": (False, False, True, ""),
    "AveragePool": (True, False, False, ""),
    "ChaosLayer": (True, False, False, "spiking"),
    "Conv": (False, False, False, ""),
    "EmbeddingBag": (False, False, False, ""),
    "Lut": (True, False, False, ""),
    "MatMul": (False, False, False, ""),
    "MaxPool": (True, False, False, ""),
    "Readout": (False, True, False, ""),
    "Requantize": (True, False, False, "plain"),
    "ThermalNoise": (True, False, False, ""),
    "TopK": (True, False, False, "k-WTA"),
}


def test_classes() -> None:
    found = {name: (c.keeps_units, c.is_readout, c.is_class, c.unit_kind) for name, c in NODE_KINDS.items() if name in KINDS}
    assert found == KINDS


GRAPHS = {
    "spiking": chaos_graph(sizes=(6, 5, 4, 3)),
    "stateful": chaos_graph(mode="stateful"),
    "expected": chaos_graph(sampling="expected", noise=False),
    "vision": mixed_graph(table="channel", shape=(2, 7, 6), residual=True, spiking=False),
    "text": mixed_graph(family="text", bits=4),
    "thermal": mixed_graph(family="thermal"),
}
USUAL: dict[str, Any] = {
    "finishes": False,
    "maps_zero_to_zero": True,
    "sums_over": [False],
    "unit_constants": (),
    "bits": None,
    "macs": 0,
    "steps": 1,
    "state_bytes": 0,
    "scales": None,
    "vocabulary": None,
    "readout_gain": 1,
    "streams": (),
    "parameter": None,
}
WEIGHTS = {"finishes": True, "bits": 8, "unit_constants": 2}
UNUSUAL: dict[tuple[str, str], dict[str, Any]] = {
    ("spiking", "cortex0_matmul"): {**WEIGHTS, "macs": 30, "scales": 0},
    ("spiking", "cortex0"): {"unit_constants": 2, "steps": 4, "streams": (0, 1)},
    ("spiking", "cortex1_matmul"): {**WEIGHTS, "macs": 80, "steps": 4, "scales": 0},
    ("spiking", "cortex1"): {"unit_constants": 2, "steps": 4, "streams": (2, 3)},
    ("spiking", "readout"): {**WEIGHTS, "finishes": False, "macs": 12, "scales": 1},
    ("stateful", "cortex0_matmul"): {**WEIGHTS, "macs": 96, "scales": 0},
    ("stateful", "cortex0"): {"unit_constants": 2, "steps": 4, "state_bytes": 32, "streams": (0, 1)},
    ("stateful", "readout"): {**WEIGHTS, "finishes": False, "macs": 32, "scales": 1},
    ("expected", "cortex0_matmul"): {**WEIGHTS, "macs": 96, "scales": 0},
    ("expected", "cortex0"): {"unit_constants": 1, "steps": 4, "readout_gain": 712, "streams": (0,)},
    ("expected", "readout"): {**WEIGHTS, "finishes": False, "macs": 32, "scales": 1},
    ("vision", "lut0"): {"maps_zero_to_zero": False, "unit_constants": 1},
    ("vision", "conv1"): {**WEIGHTS, "macs": 3 * 2 * 9 * 42},
    ("vision", "requantize2"): {"unit_constants": 2},
    ("vision", "conv3"): {**WEIGHTS, "macs": 9 * 42},
    ("vision", "add5"): {"finishes": True, "sums_over": [False, False]},
    ("vision", "requantize6"): {"unit_constants": 2},
    ("vision", "matmul8"): {**WEIGHTS, "macs": 225, "scales": 1},
    ("vision", "matmul10"): {**WEIGHTS, "macs": 45, "scales": 1},
    ("vision", "matmul13"): {**WEIGHTS, "macs": 81, "scales": 1},
    ("vision", "add15"): {"finishes": True, "sums_over": [False, False]},
    ("vision", "readout17"): {**WEIGHTS, "finishes": False, "macs": 36, "scales": 1},
    ("text", "embeddingbag0"): {"bits": 4, "vocabulary": 30},
    ("text", "matmul1"): {**WEIGHTS, "bits": 4, "macs": 45, "scales": 1},
    ("text", "chaoslayer2"): {"unit_constants": 1, "steps": 3, "streams": (0,)},
    ("text", "readout3"): {**WEIGHTS, "bits": 4, "finishes": False, "macs": 36, "scales": 1},
    ("thermal", "matmul0"): {**WEIGHTS, "macs": 108, "scales": 1},
    ("thermal", "thermalnoise1"): {"finishes": True, "sums_over": [False, True], "streams": (0,), "parameter": (474585, 2080768)},
    ("thermal", "readout4"): {**WEIGHTS, "finishes": False, "macs": 36, "scales": 1},
    ("thermal", "thermalnoise5"): {"sums_over": [False, True], "streams": (100,), "parameter": (1794893, 2080768)},
}


def said(graph: IntegerGraph, name: str) -> dict[str, Any]:
    """unit_constants and scales by their number."""
    node = graph.node(name)
    scale, words = node.matrix_scale(graph), node.words(graph)
    return {
        "finishes": node.finishes(graph),
        "maps_zero_to_zero": node.maps_zero_to_zero(graph),
        "sums_over": [node.sums_over(tensor) for tensor in node.inputs()],
        "unit_constants": len(node.unit_constants(graph)) or (),
        "bits": words.bits if words is not None else None,
        "macs": node.macs(graph),
        "steps": node.steps(graph),
        "state_bytes": node.state_bytes(graph),
        "scales": len(scale) if scale is not None else None,
        "vocabulary": node.vocabulary(graph),
        "readout_gain": node.readout_gain(),
        "streams": node.streams(),
        "parameter": node.parameter(),
    }


@pytest.mark.parametrize("which", GRAPHS)
def test_nodes(which: str) -> None:
    graph = GRAPHS[which]
    for node in graph.nodes:
        assert said(graph, node.name) == {**USUAL, **UNUSUAL.get((which, node.name), {})}, node.name


def test_every_unusual_node_is_there() -> None:
    assert UNUSUAL.keys() <= {(which, n.name) for which, graph in GRAPHS.items() for n in graph.nodes}


@pytest.mark.parametrize(
    ("scale", "other", "wanted"),
    [
        (1.0, 1.0, (32767, 32767, 1 / 32767)),
        (2.0, 1.0, (32767, 16384, 2 / 32767)),
        (0.25, 1.0, (8192, 32767, 1 / 32767)),
        (1e-9, 1.0, (1, 32767, 1 / 32767)),
        (3.0, 3.0 / 32767, (32767, 1, 3 / 32767)),
    ],
)
def test_gains_of_a_residual_sum(scale: float, other: float, wanted: tuple[int, int, float]) -> None:
    """The larger scale gets the largest gain, the other its share of it, rounded half up, 1 at least."""
    assert gains(scale, other) == wanted
