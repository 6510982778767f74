"""The seam where targets plug in: one class per target, found by name.

Enters: a target's name. Leaves: its Exporter. Targets of this package are listed here; any installed package adds its own
through the entry-point group `edgechaos.exporters` (name = "module:Class").
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import ConfigError, UnsupportedError
from edgechaos.support.suggest import suggestion

GROUP = "edgechaos.exporters"
BUILT_IN: Mapping[str, str] = MappingProxyType(
    {"onnx": "edgechaos.export.onnx.to_onnx:OnnxExporter", "tvm": "edgechaos.export.tvm.to_tvm:TvmExporter"}
)


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


def names() -> tuple[str, ...]:
    """Every target that can be asked for, sorted; nothing is imported."""
    return tuple(sorted(_points()))


def exporter(name: str) -> Exporter:
    """The exporter of that name. Raises ConfigError with the names there are, UnsupportedError where a plug-in is no Exporter."""
    points = _points()
    if name not in points:
        raise ConfigError(f"no exporter '{name}'{suggestion(name, points)}; there are {', '.join(sorted(points))}", "target")
    made = points[name].load()()
    if not isinstance(made, Exporter):
        raise UnsupportedError(f"plug-in '{points[name].value}' for target '{name}' is not an edgechaos.export.exporters.Exporter")
    return made


def _points() -> dict[str, EntryPoint]:
    """Targets of this package win over a plug-in of the same name: what `onnx` means must not depend on what is installed."""
    plugins = {point.name: point for point in entry_points(group=GROUP)}
    return plugins | {name: EntryPoint(name, value, GROUP) for name, value in BUILT_IN.items()}
