"""What generated C cannot carry is refused here, by name."""

from __future__ import annotations

from edgechaos.firmware_gen.protocol import BIAS_INPUT
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.tensors import fault_constant
from edgechaos.graph.weighted import Weighted
from edgechaos.support.errors import UnsupportedError

MOST_OUTPUTS = 65535
MOST_SITES = 255
LONGEST_SIDE = 65535


def check_supported(graph: IntegerGraph) -> None:
    """Raises UnsupportedError, naming node and remedy, for what the C runtime has no words for."""
    for head in graph.heads:
        if all(node.matrix_scale(graph) is None for node in graph.path(head.name)):
            raise UnsupportedError(f"head '{head.name}': firmware needs a MatMul or Readout in it, whose input the state hash covers")
    for node in graph.nodes:
        shape = graph.tensors[node.input].shape
        if isinstance(node, Weighted):
            weight = graph.value(node.weight)
            outputs, inputs = len(weight), weight.size // len(weight)
            if outputs > MOST_OUTPUTS or inputs >= BIAS_INPUT:
                raise UnsupportedError(f"node '{node.name}': {inputs} x {outputs} is beyond 65,534 x 65,535; split the layer", node.name)
        if max(shape) > LONGEST_SIDE:
            raise UnsupportedError(f"node '{node.name}': no side of its input {shape} may be beyond 65,535; split the layer", node.name)
        of_faults = [f for f, constant in node.constants() if constant == fault_constant(node.name, f)]
        of_faults += [f for f in node.set_by_faults if getattr(node, f)]
        of_faults += [slot.name for slot in node.slots(graph) if slot.added and node.slot_value(graph, slot.name).any()]
        if of_faults:
            message = f"node '{node.name}': the graph carries a fault in '{of_faults[0]}'; build the clean graph and load the plan"
            raise UnsupportedError(f"{message} over the protocol", node.name)
    parameters = [n for n in graph.nodes if n.parameter() is not None]
    layers = graph.analysis.unit_nodes
    for what, sites in (("nodes with weights", graph.weighted()), ("layers of neurons", layers), ("run-time parameters", parameters)):
        if len(sites) > MOST_SITES:
            raise UnsupportedError(f"graph '{graph.name}': more than {MOST_SITES} {what}")
