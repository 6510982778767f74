"""TVM: the integer ONNX model imported into Relax, compiled by LLVM for this machine, and run.

TVM is the second, independent compiler of the same graph. It needs `edgechaos[tvm]`: 0.27.0.post1 with apache-tvm-ffi 0.1.14.post1,
because 0.1.15.post2 segfaults. Its bare-metal path is not used here.
Source: docs/semantics.md; https://tvm.apache.org/docs/.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edgechaos.export.exporters import Exporter
from edgechaos.export.onnx.to_onnx import to_onnx
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import BuildError
from edgechaos.support.extras import need
from edgechaos.support.files import write_atomic

if TYPE_CHECKING:
    from onnx import ModelProto

TARGET = "llvm"
"""This machine, by LLVM. TVM's C target reuses a cached load after an in-place store, and computes other integers."""


class TvmExporter(Exporter):
    """`edgechaos export --target tvm`: a shared library for this machine, function `main(codes, sample, seed[, k ...])`."""

    name = "tvm"
    extra = "tvm"
    suffix = ".so"

    def export(self, graph: IntegerGraph, path: str | os.PathLike[str], head: str | None = None) -> Path:
        """Write the library. Raises BuildError where this machine has no linker, and what `to_onnx` raises."""
        tvm = need("tvm", "tvm")
        if need("tvm.support.cc", "tvm").get_cc() is None:
            raise BuildError("TVM links its library with the system's C compiler and found none; install gcc, or clang, or set CXX")
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "model.so"
            _compile(tvm, to_onnx(graph, head)).export_library(str(library))
            return write_atomic(path, library.read_bytes())


def tvm_evaluator(model: ModelProto) -> Callable[[Mapping[str, NDArray[Any]]], Sequence[NDArray[Any]]]:
    """Compile a model of `to_onnx` in memory: a callable from arrays by input name, in the model's order, to its outputs.

    Raises MissingExtra without TVM.
    """
    tvm = need("tvm", "tvm")
    machine = need("tvm.relax", "tvm").VirtualMachine(_compile(tvm, model), tvm.cpu())
    return lambda feeds: call(tvm, machine, feeds)


def call(tvm: Any, machine: Any, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """Call `main` of a loaded virtual machine; arrays in the model's order in, its outputs out."""
    return [output.numpy() for output in machine["main"](*(tvm.runtime.tensor(array) for array in feeds.values()))]


def _compile(tvm: Any, model: ModelProto) -> Any:
    """A Relax executable with a symbolic batch; constants are bound, so that the compiler sees them."""
    module = need("tvm.relax.frontend.onnx", "tvm").from_onnx(model, keep_params_in_input=False)
    return tvm.compile(module, target=tvm.target.Target(TARGET))
