"""Run the integer ONNX model: in ONNX Runtime, and in onnx's own reference evaluator.

Enters: a graph (clean or faulty) and what `edgechaos.reference.run` takes. Leaves: the same Result. Two independent
implementations of ONNX, one of them with its graph optimizer on and off, must all give the reference's integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgechaos.export.to_onnx import SAMPLE, SEED, to_onnx
from edgechaos.extras import need
from edgechaos.graph import IntegerGraph
from edgechaos.reference import Result, check_inputs

if TYPE_CHECKING:
    from onnx import ModelProto

Engine = Literal["onnxruntime-off", "onnxruntime-on", "onnx-reference"]
"""ONNX Runtime with all graph optimizations off or on, one thread; onnx.reference.ReferenceEvaluator."""

BATCH = 256


class OnnxModel:
    """One head of a graph, exported and loaded in an engine; evaluates any number of batches."""

    def __init__(self, graph: IntegerGraph, engine: Engine = "onnxruntime-on", head: str | None = None, keep: tuple[str, ...] = ()) -> None:
        """Export and load. Raises what `to_onnx` raises, and MissingExtra without the engine's package."""
        self._graph, self._head, self._keep = graph, graph.head(head), keep
        self._outputs = tuple(dict.fromkeys((self._head.logits, self._head.label, *keep)))
        model = to_onnx(graph, head, keep)
        self._evaluate = _reference(model) if engine == "onnx-reference" else _session(model, optimize=engine == "onnxruntime-on")

    def run(self, codes: NDArray[Any], *, seed: int = 0, samples: ArrayLike | None = None) -> Result:
        """As `edgechaos.reference.run`. Raises ShapeError where codes, samples or seed do not match."""
        ids = check_inputs(self._graph, self._head, codes, samples, seed)
        word = np.array([seed], np.uint32)
        parts = [
            self._evaluate({self._head.input: codes[i : i + BATCH], SAMPLE: ids[i : i + BATCH], SEED: word})
            for i in range(0, max(len(codes), 1), BATCH)
        ]
        found = dict(zip(self._outputs, (np.concatenate(column) for column in zip(*parts, strict=True)), strict=True))
        return Result(found[self._head.logits], found[self._head.label][:, 0], {name: found[name] for name in self._keep})


def run(
    graph: IntegerGraph,
    codes: NDArray[Any],
    *,
    seed: int = 0,
    samples: ArrayLike | None = None,
    head: str | None = None,
    keep: tuple[str, ...] = (),
    engine: Engine = "onnxruntime-on",
) -> Result:
    """Export, load and evaluate once; the signature of `edgechaos.reference.run`, and the engine."""
    return OnnxModel(graph, engine, head, keep).run(codes, seed=seed, samples=samples)


def _session(model: ModelProto, optimize: bool) -> Any:
    ort = need("onnxruntime", "onnx")
    options = ort.SessionOptions()
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def evaluate(feeds: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        return session.run(None, dict(feeds))

    return evaluate


def _reference(model: ModelProto) -> Any:
    evaluator = need("onnx.reference", "onnx").ReferenceEvaluator(model)

    def evaluate(feeds: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        return evaluator.run(None, dict(feeds))

    return evaluate
