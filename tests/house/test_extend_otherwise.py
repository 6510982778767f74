"""The pages hold for other additions than their examples: a node with two inputs and a slot of its own, and the fault that sets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.extend import install, run

FILES = {
    "lab/__init__.py": "",
    "lab/kind.py": """
from dataclasses import dataclass

import numpy as np

from edgechaos.graph.node import Node, tensor_field
from edgechaos.graph.rules import require
from edgechaos.graph.tensors import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Maximum(Node):
    keeps_units = True
    other: str = tensor_field()
    inverted: int = 0

    def slots(self, graph):
        return (Slot("inverted", "uint8", 1, added=1),)

    def check(self, graph):
        (x, y), z = self.io(graph), graph.tensors[self.other]
        require(x.dtype == z.dtype == y.dtype == "int8" and x.shape == z.shape == y.shape, self, "takes two int8 tensors of one shape")

    def bound(self, graph, bounds):
        x, z = bounds[self.input], bounds[self.other]
        return min(x[0], z[0]), max(x[1], z[1])

    def evaluate(self, graph, tensors, draws):
        return (np.minimum if self.inverted else np.maximum)(tensors[self.input], tensors[self.other])
""",
    "lab/in_onnx.py": """
from edgechaos.export.onnx.lowering import lowers

from lab.kind import Maximum


@lowers(Maximum)
def maximum(w, graph, node):
    x, z = (w.cast(tensor, "int32") for tensor in node.inputs())
    w.name(node.output, w.cast(w.op("Min" if node.inverted else "Max", x, z), "int8"))
""",
    "lab/in_c.py": """
from pathlib import Path

from edgechaos.firmware_gen.compilers.c.lowering import CALL, Lowering, lowers

from lab.kind import Maximum


@lowers(Maximum)
class MaximumInC(Lowering):
    header = "ec_maximum.h"
    sources = tuple(Path(__file__).with_name(name) for name in ("ec_maximum.h", "ec_maximum.c"))

    def describe(self, source, w, node):
        source.fields(w, "ec_maximum_layer", node, {"size": source.graph.tensors[node.output].size}, source.slots_at(node))

    def call(self, source, w, node):
        x, z, out = map(source.at, (*node.inputs(), node.output))
        w.line(f"ec_maximum(&{source.description(node)}, run, {x}, {z}, {out});")

    def instructions(self, graph, node):
        return CALL + 20 * graph.tensors[node.output].size
""",
    "lab/ec_maximum.h": """
#ifndef EC_MAXIMUM_H
#define EC_MAXIMUM_H

#include "ec_run.h"

typedef struct ec_maximum_layer {
    uint32_t size;
#if EC_FAULTS
    uint32_t inverted_at;
#endif
} ec_maximum_layer;

void ec_maximum(const ec_maximum_layer *layer, const ec_run *run, const int8_t *x, const int8_t *other, int8_t *out);

#endif
""",
    "lab/ec_maximum.c": """
#include "ec_maximum.h"

void ec_maximum(const ec_maximum_layer *layer, const ec_run *run, const int8_t *x, const int8_t *other, int8_t *out)
{
    uint32_t inverted = 0;
#if EC_FAULTS
    inverted = run->faults->word[layer->inverted_at];
#else
    (void)run;
#endif
    for (uint32_t i = 0; i < layer->size; i++)
        out[i] = ((x[i] > other[i]) != (inverted != 0u)) ? x[i] : other[i];
}
""",
    "lab/fault.py": """
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from edgechaos.faults.base import ALL, Fault
from edgechaos.faults.injections import SetSlot
from edgechaos.faults.sites import carriers
from edgechaos.support.limits import within


@dataclass(frozen=True, slots=True)
class Inverted(Fault):
    kind = "inverted"
    swept = "by"
    limits = (0, 1)
    uniform = True

    layer: str = ALL
    by: Annotated[int, within(0, 1)] = 0

    def resolve(self, analysis):
        for node, _ in carriers(analysis, self.kind, "inverted", self.layer):
            yield SetSlot(node.name, "inverted", np.zeros(1, np.intp), np.array([self.by], np.int64))
""",
    "pyproject.toml": """
[project]
name = "lab"
version = "0.1"

[project.entry-points."edgechaos.graph.kinds"]
maximum = "lab.kind"

[project.entry-points."edgechaos.export.onnx.kinds"]
maximum = "lab.in_onnx"

[project.entry-points."edgechaos.firmware_gen.compilers.c.kinds"]
maximum = "lab.in_c"

[project.entry-points."edgechaos.faults"]
inverted = "lab.fault"
""",
    "proof.py": """
import numpy as np

import edgechaos as ec
from edgechaos.cli.fault_option import parse_faults
from edgechaos.export.verify import device_backend, engine_backend
from edgechaos.faults.plan import FaultPlan
from edgechaos.graph import artifact
from edgechaos.graph.heads import Head
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.argmax import ArgMax
from edgechaos.graph.kinds.matmul import MatMul
from edgechaos.graph.kinds.readout import Readout
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.tensors import Constant, Tensor
from lab.kind import Maximum

rng = np.random.default_rng(1)
shapes = {"x": ("int8", 4), "a": ("int32", 6), "ac": ("int8", 6), "b": ("int32", 6), "bc": ("int8", 6), "p": ("int8", 6), "y": ("int32", 3)}
tensors = {name: Tensor(name, dtype, (n,)) for name, (dtype, n) in shapes.items()} | {"c": Tensor("c", "uint16", (1,))}
constants = {n: Constant(rng.integers(-127, 128, s).astype(np.int8), 8, (1.0,)) for n, s in (("v", (6, 4)), ("u", (6, 4)), ("w", (3, 6)))}
constants |= {n: Constant(np.array([v], np.int32), 32) for n, v in (("m", 1 << 30), ("s", 37))}
codes = {"multiplier": "m", "shift": "s", "low": -128, "high": 127}
nodes = (MatMul("a", "x", "a", weight="v"), Requantize("ar", "a", "ac", **codes), MatMul("b", "x", "b", weight="u"),
         Requantize("br", "b", "bc", **codes), Maximum(name="top", input="ac", output="p", other="bc"),
         Readout("readout", "p", "y", weight="w"), ArgMax("argmax", "y", "c"))
graph = IntegerGraph("lab", tensors, constants, nodes, (Head("main", "x", "y", "c", ("k", "l", "m")),)).validate()
graph = artifact.from_bytes(artifact.to_bytes(graph))
items = ec.encode(graph, rng.integers(-128, 128, (32, 4)).astype(np.int8))
plan = parse_faults(("inverted=1",))
assert (ec.run(graph, items).logits != ec.run(ec.apply(graph, plan), items).logits).any()
with ec.open_device("host", graph) as host, ec.open_device("fake", graph) as fake:
    backends = {"onnx": engine_backend("onnxruntime-on"), "host": device_backend(host), "fake": device_backend(fake)}
    for plans in ((("clean", FaultPlan()),), (("inverted", plan),)):
        print(ec.verify(graph, items, backends, plans).require())
""",
}


@pytest.mark.slow
def test_a_node_of_two_inputs_with_a_slot_and_its_fault(tmp_path: Path) -> None:
    install(FILES, tmp_path)
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": 0 of ") == 2
