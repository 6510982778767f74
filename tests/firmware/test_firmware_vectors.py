"""The committed vectors against the C runtime."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgechaos.faults.plan import resolve
from edgechaos.firmware_gen.compilers.c.generate import generate
from tests.helpers.firmware_host import GCC, compile_host, library
from tests.helpers.graphs import chaos_graph
from tests.helpers.places import C_SOURCES
from tests.helpers.vector_cases import node_vectors_graph, node_vectors_plan, vector_graph, vector_plan, vectors

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("vectors")
    built = compile_host(generate(chaos_graph(), None), folder, GCC, ("-O2", "-fPIC", "-shared"), (C_SOURCES / "vectors.c",), "vectors.so")
    functions = ctypes.CDLL(str(built))
    for name in ("mix", "word", "lost"):
        getattr(functions, f"test_{name}").restype = ctypes.c_uint32
    return functions


def u32(*values: int) -> list[ctypes.c_uint32]:
    return [ctypes.c_uint32(v) for v in values]


def test_random_words(runtime: ctypes.CDLL) -> None:
    found = vectors("random_words")
    assert [[x, runtime.test_mix(*u32(x))] for x, _ in found["mix"]] == found["mix"]
    for *key, word in found["words"]:
        assert runtime.test_word(*u32(*key)) == word, key
    for fail_q, lost in found["lost"]["by_fail_q"]:
        assert [runtime.test_lost(*u32(word, fail_q)) for word in found["lost"]["words"]] == lost


def test_arithmetic(runtime: ctypes.CDLL) -> None:
    found = vectors("arithmetic")
    for *key, q in found["requantize"]:
        acc, multiplier, shift, low, high = key
        assert runtime.test_requantize(acc, multiplier, ctypes.c_uint8(shift), low, high) == q, key
    for x, shift, y in found["rounded_shift"]:
        assert runtime.test_rounded_shift(x, *u32(shift)) == y, (x, shift)
    for word, sigma, shift, noise in found["noise"]:
        assert runtime.test_noise(*u32(word), sigma, *u32(shift)) == noise, (word, sigma, shift)


@pytest.mark.parametrize("case", vectors("graphs"), ids=lambda c: c["model"]["cortex"]["mode"])
def test_graphs(case: dict[str, Any], tmp_path: Path) -> None:
    graph = vector_graph(case)
    host = library(graph, tmp_path)
    for run in case["runs"]:
        host.inject(resolve(graph, vector_plan(run)))
        for k, (codes, sample) in enumerate(zip(case["codes"], case["samples"], strict=True)):
            logits, labels = host.infer(np.array([codes], np.int8), case["seed"], [sample])
            assert (logits[0].tolist(), int(labels[0]), host.state_hash()) == (run["logits"][k], run["labels"][k], run["state_hashes"][k])
    host.close()


def test_nodes(tmp_path: Path) -> None:
    """Every kind of node in one library: logits, classes and the hash of what the readout read, clean and under faults."""
    cases = vectors("nodes")
    graph = node_vectors_graph(cases)
    host = library(graph, tmp_path)
    for k, case in enumerate(cases):
        codes = np.array(case["codes"], graph.tensors[graph.heads[k].input].dtype)
        label = case["nodes"][-1]["output"]
        for run in case["runs"]:
            host.inject(resolve(graph, node_vectors_plan(k, run)))
            for i, sample in enumerate(case["samples"]):
                logits, labels = host.infer(codes[i : i + 1], case["seed"], [sample], k)
                written = (run["tensors"][case["logits"]][i], run["tensors"][label][i], run["state_hashes"][i])
                assert (logits[0].tolist(), labels.tolist(), host.state_hash(k)) == written, (case["family"], run["name"])
    host.close()
