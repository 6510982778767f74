"""From fake-quantized weights to the IntegerGraph: thresholds, multipliers and biases in code units.

Every constant is rounded once, here, by `edgechaos.arithmetic.rounding`. Source: docs/semantics.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgechaos.floatgraph.float_model import FloatModel
from edgechaos.floatgraph.float_nodes import ChaosLayer, FloatNode, Readout
from edgechaos.graph.heads import Head
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.argmax import ArgMax
from edgechaos.graph.kinds.chaos_layer import Sampling
from edgechaos.graph.rules import MAX_TICKS
from edgechaos.graph.tensors import Tensor
from edgechaos.quantize.fake_quant import FakeQuantModel
from edgechaos.quantize.graph_builder import GraphBuilder
from edgechaos.quantize.kind import kind_of
from edgechaos.support.errors import UnsupportedError


def refuse_unsupported(model: FloatModel, sampling: Sampling) -> None:
    """Raise UnsupportedError, naming node and remedy, for what no integer graph can carry; before anything is trained."""
    for node in model.nodes:
        if isinstance(node, ChaosLayer) and node.ticks > MAX_TICKS:
            raise UnsupportedError(
                f"layer '{node.name}': {node.ticks} ticks are more than the {MAX_TICKS} that an int8 spike count holds; train with fewer",
                node.name,
            )
        for tensor in node.inputs():
            _refuse_misplaced(model, node, model.node(tensor))
    if sampling not in ("ticks", "binomial", "expected"):
        raise UnsupportedError(f"unknown sampling {sampling!r}; use 'ticks', 'binomial' or 'expected'")
    for node in model.spiking_layers():
        last = any(isinstance(reader, Readout) for reader in model.readers(node.name))
        if sampling != "ticks" and last and (node.mode != "parallel" or model.ticks(node.input)):
            raise UnsupportedError(
                f"layer '{node.name}': sampling '{sampling}' needs parallel ticks with one drive (one spiking layer); use 'ticks'",
                node.name,
            )


def _refuse_misplaced(model: FloatModel, node: FloatNode, before: FloatNode | None) -> None:
    kind = kind_of(node)
    if not (kind.at_input if before is None else kind_of(before).gives in kind.takes):
        what = "the input" if before is None else f"{type(before).__name__} '{before.name}'"
        raise UnsupportedError(f"node '{node.name}': {type(node).__name__} has no integer form after {what}", node.name)


def lower(model: FakeQuantModel, peaks: Mapping[str, float], sampling: Sampling, metadata: Mapping[str, Any]) -> IntegerGraph:
    """The integer graph of a fake-quantized model, validated.

    peaks: largest |membrane| of every stateful layer, from calibration. Raises UnsupportedError for what cannot be
    carried, AccumulatorOverflow where a bound cannot be proved.
    """
    refuse_unsupported(model.described, sampling)
    builder = GraphBuilder(model, peaks, sampling)
    for node in model.described.nodes:
        model.kinds[node.name].lower(builder, node)
    return _finished(builder, metadata)


def _finished(builder: GraphBuilder, metadata: Mapping[str, Any]) -> IntegerGraph:
    heads = []
    for head in builder.model.described.heads:
        single = len(builder.model.described.heads) == 1
        label = "label" if single else f"{head.name}_label"
        builder.tensors[label] = Tensor(label, "uint16", (1,))
        builder.nodes.append(ArgMax("argmax" if single else f"{head.name}_argmax", builder.values[head.logits], label))
        heads.append(Head(head.name, head.input, builder.values[head.logits], label, head.classes, head.encoding))
    name = builder.model.described.name
    return IntegerGraph(name, builder.tensors, builder.constants, tuple(builder.nodes), tuple(heads), metadata).validate()
