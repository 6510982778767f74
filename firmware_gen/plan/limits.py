"""What generated C cannot carry is refused here, by name; and the margins within which a fault keeps every proof.

For each matrix, how large a faulty bias may be, and for each expected layer, how low a faulty loss may be, so that a device can
refuse what would overflow.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgechaos.arithmetic.random_bits import FAIL_ONE
from edgechaos.firmware_gen.protocol import BIAS_INPUT
from edgechaos.graph.integer_graph import (
    ArgMax,
    ChaosLayer,
    Conv,
    EmbeddingBag,
    IntegerGraph,
    MatMul,
    Readout,
    Requantize,
    ThermalNoise,
    TopK,
    Weighted,
    expected_gain,
    fault_constant,
)
from edgechaos.graph.node import Interval
from edgechaos.graph.rules import ACCUMULATOR, SHIFTABLE
from edgechaos.support.errors import UnsupportedError

MOST_OUTPUTS = 65535
MOST_SITES = 255
LONGEST_SIDE = 65535


def check_supported(graph: IntegerGraph) -> None:
    """Raises UnsupportedError, naming node and remedy, for what the C runtime has no words for."""
    for head in graph.heads:
        label, logits = graph.producer(head.label), graph.producer(head.logits)
        if not isinstance(label, ArgMax) or label.input != head.logits or not isinstance(logits, MatMul | ThermalNoise):
            raise UnsupportedError(f"head '{head.name}': firmware needs Readout -> ArgMax at its end")
    for node in graph.nodes:
        shape = graph.tensors[node.input].shape
        if isinstance(node, Weighted):
            weight = graph.value(node.weight)
            outputs, inputs = len(weight), weight.size // len(weight)
            if outputs > MOST_OUTPUTS or inputs >= BIAS_INPUT:
                raise UnsupportedError(f"node '{node.name}': {inputs} x {outputs} is beyond 65,534 x 65,535; split the layer", node.name)
            if node.patch is not None:
                raise UnsupportedError(_FAULTY.format(node.name, "patched weights"), node.name)
            if isinstance(node, MatMul | Conv) and node.bias == fault_constant(node.name, "bias"):
                raise UnsupportedError(_FAULTY.format(node.name, "a faulty bias"), node.name)
        if max(shape) > LONGEST_SIDE and (len(shape) == 3 or isinstance(node, TopK | EmbeddingBag)):
            raise UnsupportedError(f"node '{node.name}': no side of its input {shape} may be beyond 65,535; split the layer", node.name)
        if isinstance(node, ChaosLayer) and (node.dead is not None or node.stuck is not None):
            raise UnsupportedError(_FAULTY.format(node.name, "a fault mask"), node.name)
        if any(node.slot_value(graph, slot.name).any() for slot in node.slots(graph) if slot.added):
            raise UnsupportedError(_FAULTY.format(node.name, "a fault"), node.name)
        if isinstance(node, TopK | Requantize) and (node.dead is not None or (isinstance(node, TopK) and node.dropped)):
            raise UnsupportedError(_FAULTY.format(node.name, "a fault mask"), node.name)
        if isinstance(node, Readout) and node.gain != _gain(graph, node):
            raise UnsupportedError(f"node '{node.name}': gain {node.gain} is not that of the layer before it", node.name)
    thermals = [n for n in graph.nodes if isinstance(n, ThermalNoise)]
    layers = graph.analysis.unit_nodes
    for what, sites in (("nodes with weights", graph.weighted()), ("layers of neurons", layers), ("ThermalNoise nodes", thermals)):
        if len(sites) > MOST_SITES:
            raise UnsupportedError(f"graph '{graph.name}': more than {MOST_SITES} {what}")


_FAULTY = "node '{}': the graph carries {}; build the clean graph and load the plan over the protocol"


def expected_layer(graph: IntegerGraph, node: Readout) -> ChaosLayer | None:
    """The layer sampled as `expected` whose mean count is this readout's gain."""
    layer = graph.producer(node.input)
    return layer if isinstance(layer, ChaosLayer) and layer.sampling == "expected" else None


def _gain(graph: IntegerGraph, node: Readout) -> int:
    layer = expected_layer(graph, node)
    return 1 if layer is None else expected_gain(layer.ticks, layer.fail_q)


def bias_limit(graph: IntegerGraph, node: MatMul | Conv) -> int:
    """The largest |bias| with which every sum, and what is made of it, keeps its proof: a faulty bias beyond it is refused."""
    bounds = graph.analysis.bounds
    x = max(map(abs, bounds[node.input]))
    gain = 1
    layer = expected_layer(graph, node) if isinstance(node, Readout) else None
    if layer is not None:
        gain = expected_gain(layer.ticks, lowest_fail_q(graph, layer))
    return _room(graph, node.output, bounds) - node.reach(graph, x) * gain


def _room(graph: IntegerGraph, tensor: str, bounds: Mapping[str, Interval]) -> int:
    """How large an accumulator may be for what reads it."""
    room = ACCUMULATOR
    for reader in graph.readers(tensor):
        if isinstance(reader, Requantize):
            room = min(room, SHIFTABLE)
        if isinstance(reader, ThermalNoise):
            room = min(room, _room(graph, reader.output, bounds) - (bounds[reader.output][1] - bounds[tensor][1]))
        if isinstance(reader, ChaosLayer) and reader.sigma is not None:
            room = min(room, ACCUMULATOR - ((reader.noise_bound(graph) >> reader.sigma_shift) + 1))
    return room


def lowest_fail_q(graph: IntegerGraph, layer: ChaosLayer) -> int:
    """The lowest loss with which the readout after an expected layer cannot overflow; 0 for every other layer."""
    if layer.sampling != "expected":
        return 0
    bounds = graph.analysis.bounds
    lowest = 0
    for node in graph.nodes:
        if isinstance(node, Readout) and node.input == layer.output:
            reach = node.reach(graph, max(map(abs, bounds[node.input])))
            bias = max(map(abs, graph.value(node.bias).tolist()), default=0)
            # gain = (ticks * (65536 - q) + 128) >> 8 falls with q: find the first that fits.
            low, high = 0, FAIL_ONE
            while low < high:
                middle = (low + high) // 2
                fits = reach * expected_gain(layer.ticks, middle) + bias <= ACCUMULATOR
                low, high = (low, middle) if fits else (middle + 1, high)
            lowest = max(lowest, low)
    return lowest
