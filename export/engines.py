"""Engines that run the integer ONNX model: ONNX Runtime, onnx's own reference evaluator, TVM.

They take what `edgechaos.reference.run` takes, a clean or a faulty graph, and give the same Result. Three independent
implementations of ONNX, one of them with its graph optimizer on and off, must all give the reference's integers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgechaos.export.onnx.evaluators import Evaluate
from edgechaos.export.onnx.lowering import SAMPLE, SEED
from edgechaos.export.onnx.to_onnx import parameter_inputs, to_onnx
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.reference import Result, batches, check_inputs, check_parameters
from edgechaos.support.registry import Registry

if TYPE_CHECKING:
    from onnx import ModelProto

ENGINES: Registry[Callable[[ModelProto], Evaluate]] = Registry(
    "engine",
    lambda found: found if callable(found) else None,
    table={
        "onnxruntime-off": "edgechaos.export.onnx.evaluators:onnxruntime_off",
        "onnxruntime-on": "edgechaos.export.onnx.evaluators:onnxruntime_on",
        "onnx-reference": "edgechaos.export.onnx.evaluators:onnx_reference",
        "tvm": "edgechaos.export.tvm.to_tvm:tvm_evaluator",
    },
    group="edgechaos.engines",
)
"""ONNX Runtime with all its graph optimizations off or on, one thread; onnx.reference.ReferenceEvaluator; TVM on the host."""


class EngineModel:
    """One head of a graph, exported and loaded in an engine; evaluates any number of batches."""

    def __init__(self, graph: IntegerGraph, engine: str, head: str | None = None, keep: tuple[str, ...] = ()) -> None:
        """Export and load. Raises ConfigError for no engine, what `to_onnx` raises, MissingExtra without the engine's package."""
        evaluator = ENGINES.load(engine)
        self._graph, self._head, self._keep = graph, graph.head(head), keep
        self._outputs = tuple(dict.fromkeys((self._head.logits, self._head.label, *keep)))
        self._evaluate = evaluator(to_onnx(graph, head, keep))

    def run(
        self, codes: NDArray[Any], *, seed: int = 0, samples: ArrayLike | None = None, parameters: Mapping[str, int] | None = None
    ) -> Result:
        """As `edgechaos.reference.run`. Raises ShapeError where codes or samples do not match, SeedError, GraphError for parameters."""
        ids = check_inputs(self._graph, self._head, codes, samples, seed)
        settings = check_parameters(self._graph, parameters)
        fixed = {SEED: np.array([seed], np.uint32)}
        fixed |= {name: np.array([settings[node]], np.int32) for node, name in parameter_inputs(self._graph, self._head.name).items()}
        parts = [
            self._evaluate({self._head.input: codes[at], SAMPLE: ids[at], **fixed}) for at in batches(self._graph, self._head, len(codes))
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
