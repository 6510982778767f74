"""The committed vectors as graphs and fault plans, for the tests of every backend. Layout: tests/vectors/README.md."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np

from edgechaos.faults.base import Fault
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan
from edgechaos.graph.artifact import FORMAT_VERSION
from edgechaos.graph.heads import Head
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.node import NODE_KINDS, Node
from edgechaos.graph.tensors import Constant, Dtype, Tensor
from edgechaos.support.registry import load_all
from tests.helpers.graphs import chaos_graph
from tests.helpers.places import VECTOR_FOLDER

MATRICES = {"input": "cortex0_matmul", "readout": "readout"}


def vectors(name: str) -> Any:
    """The vectors of one file, which must be of the present format."""
    document = json.loads((VECTOR_FOLDER / f"{name}.json").read_text())
    assert document["format"] == FORMAT_VERSION
    return document["vectors"]


def vector_graph(case: dict[str, Any]) -> IntegerGraph:
    """The model of a case of graphs.json; its weights are checked against the file's."""
    graph = chaos_graph(mode=case["model"]["cortex"]["mode"], ticks=6, sizes=(12, 8, 4), seed=5)
    assert graph.value("cortex0_weight").tolist() == case["model"]["input"]["weight"]
    return graph


OF_INT8 = ("weight", "table")
"""Fields whose constants are int8; all others are int32."""


def node_vectors_graph(cases: list[dict[str, Any]]) -> IntegerGraph:
    """One graph of all cases of nodes.json, read from the file alone: case k is head `case<k>`, its names begin with `n<k>_`."""
    load_all("edgechaos.graph.kinds")
    tensors, constants = dict[str, Tensor](), dict[str, Constant]()
    nodes, heads = list[Node](), list[Head]()
    for k, case in enumerate(cases):
        shapes = {name: np.shape(values)[1:] for name, values in case["runs"][0]["tensors"].items()}
        entry: Dtype = "uint16" if any(described["kind"] == "EmbeddingBag" for described in case["nodes"]) else "int8"
        tensors[f"n{k}_{case['input']}"] = Tensor(f"n{k}_{case['input']}", entry, np.shape(case["codes"])[1:])
        for described in case["nodes"]:
            kind = NODE_KINDS[described["kind"]]
            fields_ = {name: value for name, value in described.items() if name not in ("kind", "bits")}
            for f in fields(kind):
                if f.metadata.get("constant") and f.name in fields_:
                    name, dtype = f"n{k}_{described['name']}_{f.name}", np.int8 if f.name in OF_INT8 else np.int32
                    bits = described.get("bits", 8) if f.name == "weight" else 8 * np.dtype(dtype).itemsize
                    constants[name] = Constant(np.array(fields_[f.name], dtype), bits)
                    fields_[f.name] = name
                elif f.name in ("name", "input", "output") or f.metadata.get("tensor"):
                    fields_[f.name] = f"n{k}_{fields_[f.name]}"
                elif isinstance(fields_.get(f.name), list):
                    fields_[f.name] = tuple(fields_[f.name])
            nodes.append(kind(**fields_))
            tensors[nodes[-1].output] = Tensor(nodes[-1].output, _dtype(described), shapes[described["output"]])
        label, logits = nodes[-1].output, f"n{k}_{case['logits']}"
        classes = tuple(map(str, range(tensors[logits].size)))
        heads.append(Head(f"case{k}", f"n{k}_{case['input']}", logits, label, classes))
    return IntegerGraph("vectors", tensors, constants, tuple(nodes), tuple(heads)).validate()


def _dtype(described: dict[str, Any]) -> Dtype:
    """What a node writes, as docs/semantics.md has it."""
    kind = described["kind"]
    if kind in ("MatMul", "Readout", "Conv", "AveragePool", "Add", "ThermalNoise"):
        return "int32"
    if kind == "TopK" or (kind == "Requantize" and described["high"] > 127):
        return "int16"
    return "uint16" if kind == "ArgMax" else "int8"


def node_vectors_plan(k: int, run: dict[str, Any]) -> FaultPlan:
    """The faults of one run of case k."""
    flips = [WeightBitFlip(f"n{k}_{node}", target, bits=((word, bit),)) for node, target, word, bit in run["flips"]]
    return FaultPlan((*flips, *(DeadNeurons(f"n{k}_{node}", neurons=tuple(units)) for node, units in run["dead"])))


def vector_plan(run: dict[str, Any]) -> FaultPlan:
    """The faults of one run."""
    faults: list[Fault] = [Omission(rate=run["fail_q"] / 65536)] if run["fail_q"] is not None else []
    faults += [DeadNeurons(neurons=tuple(run["dead"]))] if run["dead"] else []
    faults += [StuckAtOne(neurons=tuple(run["stuck"]))] if run["stuck"] else []
    for name, target, word, bits in run["flips"]:
        faults.append(WeightBitFlip(MATRICES[name], target, bits=tuple((word, b) for b in range(32) if bits >> b & 1)))
    return FaultPlan(tuple(faults))
