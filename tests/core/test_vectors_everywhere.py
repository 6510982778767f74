"""The committed vectors on every backend: torch's words, the reference, the ONNX engines, TVM, and every device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from edgechaos import reference
from edgechaos.arithmetic import torch_words as words
from edgechaos.devices.registry import open_device
from edgechaos.export import engines
from edgechaos.faults.plan import apply, resolve
from tests.helpers.edges import SAMPLES, SEED, edge_graph, edge_items
from tests.helpers.vector_cases import node_vectors_graph, node_vectors_plan, vector_graph, vector_plan, vectors

pytestmark = pytest.mark.slow

CASES = pytest.mark.parametrize("case", vectors("graphs"), ids=lambda c: c["model"]["cortex"]["mode"])


def inputs(case: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    return np.array(case["codes"], np.int8), {"seed": case["seed"], "samples": np.array(case["samples"], np.uint32)}


def assert_written(result: Any, run: dict[str, Any]) -> None:
    assert result.logits.tolist() == run["logits"], run["name"]
    assert result.labels.tolist() == run["labels"], run["name"]


@CASES
@pytest.mark.parametrize("engine", ["reference", "onnxruntime-off", "onnxruntime-on", "onnx-reference"])
def test_graphs_on_interpreters(engine: Any, case: dict[str, Any]) -> None:
    graph, (codes, draws) = vector_graph(case), inputs(case)
    for run in case["runs"]:
        faulty = apply(graph, vector_plan(run))
        result = reference.run(faulty, codes, **draws) if engine == "reference" else engines.run(faulty, codes, engine=engine, **draws)
        assert_written(result, run)


@CASES
def test_graphs_on_tvm(case: dict[str, Any]) -> None:
    graph, (codes, draws) = vector_graph(case), inputs(case)
    run = case["runs"][-1]
    assert_written(engines.run(apply(graph, vector_plan(run)), codes, engine="tvm", **draws), run)


@CASES
@pytest.mark.parametrize("spec", ["host", "unicorn", "fake"])
def test_graphs_on_devices(spec: str, case: dict[str, Any]) -> None:
    graph, (codes, draws) = vector_graph(case), inputs(case)
    with open_device(spec, graph) as device:
        for run in case["runs"]:
            device.inject(resolve(graph, vector_plan(run)))
            assert_written(device.infer(codes, **draws), run)


@pytest.mark.parametrize("engine", ["reference", "onnxruntime-off", "onnxruntime-on", "onnx-reference"])
def test_nodes_on_interpreters(engine: Any) -> None:
    """Every tensor that every node writes."""
    cases = vectors("nodes")
    graph = node_vectors_graph(cases)
    for k, case in enumerate(cases):
        names = {f"n{k}_{name}": name for name in case["runs"][0]["tensors"]}
        codes = np.array(case["codes"], graph.tensors[graph.head(f"case{k}").input].dtype)
        draws: dict[str, Any] = {"seed": case["seed"], "samples": np.array(case["samples"], np.uint32), "head": f"case{k}"}
        for run in case["runs"]:
            faulty = apply(graph, node_vectors_plan(k, run))
            if engine == "reference":
                result: Any = reference.run(faulty, codes, keep=tuple(names), **draws)
            else:
                result = engines.run(faulty, codes, engine=engine, keep=tuple(names), **draws)
            assert {names[name]: found.tolist() for name, found in result.tensors.items()} == run["tensors"], (case["family"], run["name"])


@pytest.mark.parametrize("spec", ["host", "fake", "unicorn:mps2-an386"])
def test_nodes_on_devices(spec: str) -> None:
    """Logits and classes of every node's model, all in one firmware, clean and under the faults of the file."""
    cases = vectors("nodes")
    graph = node_vectors_graph(cases)
    with open_device(spec, graph) as device:
        for k, case in enumerate(cases):
            codes = np.array(case["codes"], graph.tensors[graph.head(f"case{k}").input].dtype)
            draws: dict[str, Any] = {"seed": case["seed"], "samples": np.array(case["samples"], np.uint32), "head": f"case{k}"}
            for run in case["runs"]:
                device.inject(resolve(graph, node_vectors_plan(k, run)))
                found = device.infer(codes, **draws)
                assert found.logits.tolist() == run["tensors"][case["logits"]], (case["family"], run["name"])
                label = case["nodes"][-1]["output"]
                assert found.labels.tolist() == [label for (label,) in run["tensors"][label]]


@pytest.mark.parametrize("engine", ["onnxruntime-off", "onnxruntime-on", "onnx-reference"])
def test_edges_on_interpreters(engine: Any) -> None:
    graph = edge_graph()
    for case in vectors("edges"):
        head = case["family"]
        found = engines.run(graph, edge_items(head), engine=engine, seed=SEED, samples=SAMPLES, head=head)
        assert found.logits.tolist() == case["runs"][0]["tensors"][case["logits"]], head


@pytest.mark.parametrize("spec", ["host", "unicorn", "fake"])
def test_edges_on_devices(spec: str) -> None:
    graph = edge_graph()
    with open_device(spec, graph) as device:
        for case in vectors("edges"):
            head = case["family"]
            found = device.infer(edge_items(head), seed=SEED, samples=SAMPLES, head=head)
            assert found.logits.tolist() == case["runs"][0]["tensors"][case["logits"]], head


def test_words_in_torch() -> None:
    reachable = [row for row in vectors("random_words")["words"] if row[2] < 128 and row[4] < 4096]
    assert len(reachable) >= 20  # torch draws whole blocks, from tick 0 and neuron 0
    for seed, sample, tick, stream, neuron, word in reachable:
        drawn = words.words(seed, stream, torch.tensor([sample]), tick + 1, neuron + 1)[0, tick, neuron]
        assert int(drawn) & 0xFFFFFFFF == word, (seed, sample, tick, stream, neuron)
