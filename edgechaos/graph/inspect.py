"""What a model is and costs, as data: layers, bits, MACs, synaptic operations, flash and RAM estimates.

Synaptic operations are MACs at the activity that was measured when the graph was made (`metadata["activity"]`), a modelled figure
for event-driven kernels. Flash counts constants and RAM live tensors and neuron state: what every target must hold, without its
code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgechaos.graph.artifact import content_hash
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.node import Node
from edgechaos.graph.tensors import Tensor

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """One node. weight_bits: of its matrix, 0 without. macs: per sample, ticks included.

    synaptic_operations: MACs at the measured share of nonzero inputs; None where no activity was measured.
    """

    name: str
    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    ticks: int
    output_dtype: str
    weight_bits: int
    parameters: int
    macs: int
    synaptic_operations: float | None
    input_activity: float | None
    flash_bytes: int


@dataclass(frozen=True, slots=True)
class HeadInfo:
    """One task: its input tensor, how raw items are encoded, its classes."""

    name: str
    input: str
    input_shape: tuple[int, ...]
    encoding: str
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inspection:
    """The whole model. flash_bytes: constants, each once. ram_bytes: the largest input, output and state alive together."""

    name: str
    content_hash: str
    layers: tuple[LayerInfo, ...]
    heads: tuple[HeadInfo, ...]
    parameters: int
    macs: int
    synaptic_operations: float | None
    flash_bytes: int
    ram_bytes: int
    metadata: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON objects, the fields by name."""
        return asdict(self)


def inspect(graph: IntegerGraph) -> Inspection:
    """Everything `edgechaos inspect` shows. The graph must be valid."""
    layers = tuple(_layer(graph, node) for node in graph.nodes)
    heads = tuple(HeadInfo(h.name, h.input, graph.tensors[h.input].shape, h.encoding.kind, h.classes) for h in graph.heads)
    operations = [layer.synaptic_operations for layer in layers if layer.macs]
    return Inspection(
        graph.name,
        content_hash(graph),
        layers,
        heads,
        sum(_parameters(graph, c) for c in graph.constants),
        sum(layer.macs for layer in layers),
        None if None in operations else float(sum(o for o in operations if o is not None)),
        sum(_stored_bytes(graph, c) for c in graph.constants),
        _ram_bytes(graph),
        dict(graph.metadata),
    )


def _layer(graph: IntegerGraph, node: Node) -> LayerInfo:
    x, y = node.io(graph)
    words, macs = node.words(graph), node.macs(graph)
    activity = None if words is None else graph.metadata.get("activity", {}).get(node.input)
    constants = {name for _, name in node.constants()}
    return LayerInfo(
        node.name,
        type(node).__name__,
        x.shape,
        y.shape,
        node.steps(graph),
        y.dtype,
        0 if words is None else words.bits,
        sum(_parameters(graph, c) for c in constants),
        macs,
        None if activity is None else macs * activity,
        activity,
        sum(_stored_bytes(graph, c) for c in constants),
    )


def _parameters(graph: IntegerGraph, constant: str) -> int:
    return int(graph.constants[constant].value.size)


def _stored_bytes(graph: IntegerGraph, constant: str) -> int:
    return -(-graph.constants[constant].value.size * graph.constants[constant].bits // 8)


def _tensor_bytes(tensor: Tensor) -> int:
    return tensor.size * np.dtype(tensor.dtype).itemsize


def _ram_bytes(graph: IntegerGraph) -> int:
    """The largest sum over a node of all tensors alive while it runs; neuron state lives with its layer."""
    last_read = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs()}
    first_written = {node.output: i for i, node in enumerate(graph.nodes)} | {head.input: 0 for head in graph.heads}
    results = {name for head in graph.heads for name in (head.logits, head.label)}
    peak = 0
    for i, node in enumerate(graph.nodes):
        alive = [
            tensor
            for name, tensor in graph.tensors.items()
            if first_written.get(name, len(graph.nodes)) <= i and (name in results or last_read.get(name, -1) >= i)
        ]
        peak = max(peak, sum(map(_tensor_bytes, alive)) + node.state_bytes(graph))
    return peak


def rich_table(inspection: Inspection) -> Table:
    """A table of the layers, totals in its footer."""
    from rich.box import SIMPLE_HEAD  # rich loads slower than the rest of this module together
    from rich.table import Table

    table = Table(
        title=f"{inspection.name}  {inspection.content_hash[:12]}",
        caption=f"{inspection.flash_bytes:,} bytes of constants, about {inspection.ram_bytes:,} bytes of RAM",
        show_footer=True,
        box=SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
    )
    total = "" if inspection.synaptic_operations is None else f"{inspection.synaptic_operations:,.0f}"
    columns = (
        ("layer", ""),
        ("kind", ""),
        ("shape", ""),
        ("ticks", ""),
        ("bits", ""),
        ("params", f"{inspection.parameters:,}"),
        ("MACs", f"{inspection.macs:,}"),
        ("active", ""),
        ("synaptic ops", total),
        ("flash B", f"{inspection.flash_bytes:,}"),
    )
    for i, (header, footer) in enumerate(columns):
        table.add_column(header, footer, justify="left" if i < 3 else "right", no_wrap=True)
    for layer in inspection.layers:
        table.add_row(
            layer.name,
            layer.kind,
            f"{_shape(layer.input_shape)} -> {_shape(layer.output_shape)} {layer.output_dtype}",
            str(layer.ticks),
            str(layer.weight_bits or ""),
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.macs:,}" if layer.macs else "",
            "" if layer.input_activity is None else f"{100 * layer.input_activity:.1f} %",
            "" if layer.synaptic_operations is None else f"{layer.synaptic_operations:,.0f}",
            f"{layer.flash_bytes:,}" if layer.flash_bytes else "",
        )
    return table


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
