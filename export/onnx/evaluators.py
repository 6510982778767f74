"""What runs an ONNX model: ONNX Runtime, one thread, and onnx's own reference evaluator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edgechaos.support.extras import need

if TYPE_CHECKING:
    from onnx import ModelProto

Evaluate = Callable[[Mapping[str, NDArray[Any]]], Sequence[NDArray[Any]]]
"""From arrays by input name, in the model's order, to the model's outputs in their order."""


def onnxruntime_off(model: ModelProto) -> Evaluate:
    """Without graph optimizations."""
    return _session(model, "ORT_DISABLE_ALL")


def onnxruntime_on(model: ModelProto) -> Evaluate:
    """With all graph optimizations."""
    return _session(model, "ORT_ENABLE_ALL")


def onnx_reference(model: ModelProto) -> Evaluate:
    """`onnx.reference.ReferenceEvaluator`."""
    evaluator = need("onnx.reference", "onnx").ReferenceEvaluator(model)
    return lambda feeds: evaluator.run(None, dict(feeds))


def _session(model: ModelProto, level: str) -> Evaluate:
    ort = need("onnxruntime", "onnx")
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda feeds: session.run(None, dict(feeds))
