"""Integer ONNX: the graph, its random words and its faults as integer operations that any ONNX runtime computes alike.

The model is of opset 21, IR 10, and byte-identical for equal graphs. Inputs, in this order: the head's codes (batch, *shape),
`sample` uint32 (batch,), one id per item, `seed` uint32 (1,), and for every ThermalNoise node of the head `<node>_k` int32 (1,),
its k in 0..k_max. Outputs: the head's logits int32 (batch, outputs) and label uint16 (batch, 1), then the tensors asked for.
Source: docs/semantics.md. No float enters; every sum is int8 x int8 -> int32 (uint8 operands saturate on AVX2), every right shift
is logical on unsigned words that an offset made non-negative (ONNX has no arithmetic shift), ticks are an axis, not a loop.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import edgechaos.export.onnx.chaos
import edgechaos.export.onnx.nodes  # noqa: F401  # both fill the table
from edgechaos.arithmetic.random_bits import RANDOM_ID
from edgechaos.export.exporters import Exporter
from edgechaos.export.onnx.lowering import SAMPLE, SEED, lowering_of
from edgechaos.export.onnx.writer import OnnxWriter
from edgechaos.graph.artifact import FORMAT_VERSION, content_hash
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.reference import check_keep, check_parameters
from edgechaos.support.errors import UnsupportedError
from edgechaos.support.extras import need
from edgechaos.support.files import write_atomic
from edgechaos.support.version import __version__

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 21
IR_VERSION = 10
"""What current runtimes read; onnx's own defaults are newer than onnxruntime accepts."""


class OnnxExporter(Exporter):
    """`edgechaos export --target onnx`."""

    name = "onnx"
    extra = "onnx"
    suffix = ".onnx"

    def export(self, graph: IntegerGraph, path: str | os.PathLike[str], head: str | None = None) -> Path:
        """Write the model; see `to_onnx`."""
        return write_atomic(path, to_onnx(graph, head).SerializeToString(deterministic=True))


def to_onnx(graph: IntegerGraph, head: str | None = None, keep: tuple[str, ...] = ()) -> ModelProto:
    """The ONNX model of one head; `keep` names further tensors to output, (batch, [ticks,] *shape) each.

    Raises GraphError where the graph is not valid or has no such head or tensor, UnsupportedError where a name collides
    with an input of ours, MissingExtra without the onnx package.
    """
    onnx = need("onnx", "onnx")
    graph.validate()
    spec = graph.head(head)
    check_keep(graph, spec, keep)
    writer, parameters = OnnxWriter(onnx), parameter_inputs(graph, spec.name)
    reserved = {SAMPLE, SEED, *parameters.values()}
    if spec.input in reserved:
        raise UnsupportedError(f"head '{spec.name}': ONNX models have another input named '{spec.input}'; rename the tensor")
    for node in graph.path(spec.name):
        if node.output in reserved:
            raise UnsupportedError(f"node '{node.name}': ONNX models have an input named '{node.output}'; rename the tensor", node.name)
        writer.scope = node.name
        lowering_of(node)(writer, graph, node)
    inputs = [
        writer.value(spec.input, graph.tensors[spec.input]),
        onnx.helper.make_tensor_value_info(SAMPLE, onnx.TensorProto.UINT32, ["batch"]),
        onnx.helper.make_tensor_value_info(SEED, onnx.TensorProto.UINT32, [1]),
        *(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT32, [1]) for name in parameters.values()),
    ]
    outputs = [writer.value(name, graph.tensors[name]) for name in dict.fromkeys((spec.logits, spec.label, *keep))]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(writer.nodes, graph.name, inputs, outputs, writer.initializers),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="edgechaos",
        producer_version=__version__,
    )
    facts = {
        "edgechaos.format": str(FORMAT_VERSION),
        "edgechaos.model_hash": content_hash(graph),
        "edgechaos.head": spec.name,
        "edgechaos.classes": "\n".join(spec.classes),
        "edgechaos.encoding": spec.encoding.kind,
        "edgechaos.random_id": f"{RANDOM_ID:#010x}",
    }
    if spec.encoding.kind == "signals":
        facts |= {f"edgechaos.{what}": " ".join(map(repr, getattr(spec.encoding, what))) for what in ("mean", "reach")}
    facts |= {f"edgechaos.default.{parameters[name]}": str(k) for name, k in check_parameters(graph, None).items() if name in parameters}
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model, full_check=True)
    return model


def parameter_inputs(graph: IntegerGraph, head: str | None = None) -> dict[str, str]:
    """The model inputs that carry run-time parameters, by node name, in their order."""
    return {node.name: f"{node.name}_k" for node in graph.path(head) if node.parameter() is not None}
