"""Targets by name: one class each. An installed package adds its own by the entry-point group `edgechaos.exporters`."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.registry import Registry, one_of


class Exporter(ABC):
    """One target: turns a graph into a file. What the target cannot carry raises UnsupportedError here, never at run time."""

    name: ClassVar[str]
    suffix: ClassVar[str]
    """Of the file, with its dot."""
    extra: ClassVar[str | None] = None
    """The extra of this package that brings what the target needs."""

    @abstractmethod
    def export(self, graph: IntegerGraph, path: str | os.PathLike[str], head: str | None = None) -> Path:
        """Write one head of a valid graph to `path`, whole or not at all; returns the path.

        Raises UnsupportedError, GraphError, MissingExtra, and EdgeChaosError where the file cannot be written.
        """


EXPORTERS = Registry(
    "exporter",
    one_of(Exporter),  # type: ignore[type-abstract]
    table={"onnx": "edgechaos.export.onnx.to_onnx:OnnxExporter", "tvm": "edgechaos.export.tvm.to_tvm:TvmExporter"},
    group="edgechaos.exporters",
)
"""`EXPORTERS.load("onnx")` is the exporter of that name."""
