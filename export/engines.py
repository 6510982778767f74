"""Engines that run the integer ONNX model: ONNX Runtime, onnx's own reference evaluator, TVM.

Enters: a graph (clean or faulty) and what `edgechaos.reference.run` takes. Leaves: the same Result. Three independent
implementations of ONNX, one of them with its graph optimizer on and off, must all give the reference's integers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgechaos.export.onnx.lowering import SAMPLE, SEED
from edgechaos.export.onnx.to_onnx import parameter_inputs, to_onnx
from edgechaos.export.tvm.to_tvm import tvm_evaluator
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.reference import BATCH, Result, check_inputs, check_parameters
from edgechaos.support.errors import ConfigError
from edgechaos.support.extras import need
from edgechaos.support.suggest import suggestion

if TYPE_CHECKING:
    from onnx import ModelProto

Evaluate = Callable[[Mapping[str, NDArray[Any]]], Sequence[NDArray[Any]]]
"""From arrays by input name, in the model's order, to the model's outputs in their order."""


def _session(model: ModelProto, optimize: bool) -> Evaluate:
    ort = need("onnxruntime", "onnx")
    options, level = ort.SessionOptions(), ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda feeds: session.run(None, dict(feeds))


def _reference(model: ModelProto) -> Evaluate:
    evaluator = need("onnx.reference", "onnx").ReferenceEvaluator(model)
    return lambda feeds: evaluator.run(None, dict(feeds))


ENGINES: Mapping[str, Callable[[ModelProto], Evaluate]] = MappingProxyType(
    {
        "onnxruntime-off": lambda model: _session(model, optimize=False),
        "onnxruntime-on": lambda model: _session(model, optimize=True),
        "onnx-reference": _reference,
        "tvm": tvm_evaluator,
    }
)
"""ONNX Runtime with all its graph optimizations off or on, one thread; onnx.reference.ReferenceEvaluator; TVM on the host."""


class EngineModel:
    """One head of a graph, exported and loaded in an engine; evaluates any number of batches."""

    def __init__(self, graph: IntegerGraph, engine: str, head: str | None = None, keep: tuple[str, ...] = ()) -> None:
        """Export and load. Raises what `to_onnx` raises, MissingExtra without the engine's package."""
        if engine not in ENGINES:
            raise ConfigError(f"no engine '{engine}'{suggestion(engine, ENGINES)}; there are {', '.join(ENGINES)}", "engine")
        self._graph, self._head, self._keep = graph, graph.head(head), keep
        self._outputs = tuple(dict.fromkeys((self._head.logits, self._head.label, *keep)))
        self._evaluate = ENGINES[engine](to_onnx(graph, head, keep))

    def run(
        self, codes: NDArray[Any], *, seed: int = 0, samples: ArrayLike | None = None, parameters: Mapping[str, int] | None = None
    ) -> Result:
        """As `edgechaos.reference.run`. Raises ShapeError where codes or samples do not match, SeedError, GraphError for parameters."""
        ids = check_inputs(self._graph, self._head, codes, samples, seed)
        settings = check_parameters(self._graph, parameters)
        fixed = {SEED: np.array([seed], np.uint32)}
        fixed |= {name: np.array([settings[node]], np.int32) for node, name in parameter_inputs(self._graph, self._head.name).items()}
        parts = [
            self._evaluate({self._head.input: codes[i : i + BATCH], SAMPLE: ids[i : i + BATCH], **fixed})
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
    parameters: Mapping[str, int] | None = None,
    engine: str = "onnxruntime-on",
) -> Result:
    """Export, load and evaluate once: the signature of `edgechaos.reference.run`, and the engine."""
    return EngineModel(graph, engine, head, keep).run(codes, seed=seed, samples=samples, parameters=parameters)
