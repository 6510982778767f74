"""The committed vectors as graphs and fault plans, for the tests of every backend. Layout: tests/vectors/README.md."""

from __future__ import annotations

import json
from typing import Any

from edgechaos.faults.base import Fault
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan
from edgechaos.graph.artifact import FORMAT_VERSION
from edgechaos.graph.integer_graph import IntegerGraph
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


def vector_plan(run: dict[str, Any]) -> FaultPlan:
    """The faults of one run."""
    faults: list[Fault] = [Omission(rate=run["fail_q"] / 65536)] if run["fail_q"] is not None else []
    faults += [DeadNeurons(neurons=tuple(run["dead"]))] if run["dead"] else []
    faults += [StuckAtOne(neurons=tuple(run["stuck"]))] if run["stuck"] else []
    for name, target, word, bits in run["flips"]:
        faults.append(WeightBitFlip(MATRICES[name], target, bits=tuple((word, b) for b in range(32) if bits >> b & 1)))
    return FaultPlan(tuple(faults))
