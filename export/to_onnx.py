"""Integer ONNX: the graph, its random words and its faults as integer operations that any ONNX runtime computes alike.

Enters: a validated IntegerGraph (also one that `edgechaos.faults.apply` returned) and a head. Leaves: an ONNX model, opset 21,
IR 10, byte-identical for equal graphs. Inputs, in this order: the head's codes (batch, *shape), `sample` uint32 (batch,), one id
per item, and `seed` uint32 (1,). Outputs: the head's logits int32 (batch, outputs) and label uint16 (batch, 1), then the tensors asked for.
Source: docs/semantics.md. No float enters; every sum is int8 x int8 -> int32 (uint8 operands saturate on AVX2), every right shift is
logical on unsigned words that an offset made non-negative (ONNX has no arithmetic shift), ticks are an axis, not a loop.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgechaos import __version__
from edgechaos.artifact import FORMAT_VERSION, content_hash
from edgechaos.errors import UnsupportedError
from edgechaos.export.exporters import Exporter
from edgechaos.export.onnx_chaos import chaos
from edgechaos.export.onnx_writer import OnnxWriter
from edgechaos.extras import need
from edgechaos.files import write_atomic
from edgechaos.graph import ArgMax, ChaosLayer, IntegerGraph, MatMul, Node, Readout, Requantize
from edgechaos.random_bits import RANDOM_ID
from edgechaos.reference import check_keep

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 21
IR_VERSION = 10
"""What current runtimes read; onnx's own defaults are newer than onnxruntime accepts."""
SAMPLE = "sample"
SEED = "seed"


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
    writer = OnnxWriter(onnx)
    for node in graph.path(spec.name):
        if node.output in (SAMPLE, SEED):
            raise UnsupportedError(f"node '{node.name}': ONNX models have an input named '{node.output}'; rename the tensor", node.name)
        writer.scope = node.name
        _EMIT[type(node)](writer, graph, node)
    inputs = [
        writer.value(spec.input, graph.tensors[spec.input]),
        onnx.helper.make_tensor_value_info(SAMPLE, onnx.TensorProto.UINT32, ["batch"]),
        onnx.helper.make_tensor_value_info(SEED, onnx.TensorProto.UINT32, [1]),
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
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model, full_check=True)
    return model


def _matmul(w: OnnxWriter, graph: IntegerGraph, node: Node) -> None:
    assert isinstance(node, MatMul)
    terms = [w.op("MatMulInteger", node.input, w.constant("weight", graph.value(node.weight).T))]
    if node.patch is not None:
        terms.append(_patched(w, graph, node))
    acc = terms[0] if len(terms) == 1 else w.op("Add", *terms)
    if isinstance(node, Readout) and node.gain != 1:
        acc = w.op("Mul", acc, w.constant("gain", np.int32(node.gain)))
    if node.bias is not None:
        acc = w.op("Add", acc, w.constant("bias", graph.value(node.bias)))
    w.name(node.output, acc)


def _patched(w: OnnxWriter, graph: IntegerGraph, node: MatMul) -> str:
    """sum of delta * x[in] per output, over the input columns that a flipped word reads; deltas span 9 bits, so int32."""
    out, inputs, delta = graph.value(node.patch).T
    columns, position = np.unique(inputs, return_inverse=True)
    matrix = np.zeros((len(columns), len(graph.value(node.weight))), np.int32)
    np.add.at(matrix, (position, out), delta)
    read = w.op("Gather", node.input, w.constant("patch_columns", columns.astype(np.int64)), axis=-1)
    return w.op("MatMul", w.cast(read, "int32"), w.constant("patch", matrix))


def _requantize(w: OnnxWriter, graph: IntegerGraph, node: Node) -> None:
    """In int64: |acc * multiplier| < 2^61, so that + 2^62 is positive and the shift of the unsigned word is exact."""
    assert isinstance(node, Requantize)
    multiplier, shift = graph.value(node.multiplier).astype(np.int64), graph.value(node.shift).astype(np.int64)
    product = w.op("Mul", w.cast(node.input, "int64"), w.constant("multiplier", multiplier))
    positive = w.op("Add", product, w.constant("offset", np.int64(1 << 62) + (np.int64(1) << (shift - 1))))
    shifted = w.op("BitShift", w.cast(positive, "uint64"), w.constant("shift", shift.astype(np.uint64)), direction="RIGHT")
    scaled = w.op("Sub", w.cast(shifted, "int64"), w.constant("offset_shifted", np.int64(1) << (62 - shift)))
    clipped = w.op("Clip", scaled, w.constant("low", np.int64(node.low)), w.constant("high", np.int64(node.high)))
    w.name(node.output, w.cast(clipped, graph.tensors[node.output].dtype))


def _chaos_layer(w: OnnxWriter, graph: IntegerGraph, node: Node) -> None:
    assert isinstance(node, ChaosLayer)
    w.name(node.output, chaos(w, graph, node, SAMPLE, SEED))


def _argmax(w: OnnxWriter, graph: IntegerGraph, node: Node) -> None:
    w.name(node.output, w.cast(w.op("ArgMax", node.input, axis=1, keepdims=1, select_last_index=0), "uint16"))


_EMIT: dict[type[Node], Any] = {MatMul: _matmul, Readout: _matmul, Requantize: _requantize, ChaosLayer: _chaos_layer, ArgMax: _argmax}
