"""Artifacts: byte-identical round trips; and everything that a missing, damaged or hostile file may hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from safetensors.numpy import save as save_safetensors

from edgechaos import reference
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply
from edgechaos.graph.artifact import FORMAT_VERSION, KEY, content_hash, from_bytes, load, save, to_bytes
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import ChaosLayer
from edgechaos.graph.tensors import Constant
from edgechaos.support.errors import ArtifactError, EdgeChaosError, GraphError
from tests.helpers.graphs import Spec, chaos_graph, codes_for, specs

GRAPH = chaos_graph()
DATA = to_bytes(GRAPH)


def document(data: bytes = DATA) -> dict[str, Any]:
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return json.loads(header["__metadata__"][KEY])


def file_with(changed: Any, constants: dict[str, np.ndarray] | None = None) -> bytes:
    """An artifact with another JSON document, well formed as a safetensors file."""
    arrays = {name: c.value for name, c in GRAPH.constants.items()} if constants is None else constants
    return save_safetensors(arrays, metadata={KEY: changed if isinstance(changed, str) else json.dumps(changed)})


@given(specs(max_size=10))
@settings(max_examples=20, deadline=None)
def test_round_trip(spec: Spec) -> None:
    graph = chaos_graph(spec)
    again = from_bytes(to_bytes(graph))
    assert to_bytes(again) == to_bytes(graph)
    assert content_hash(again) == content_hash(graph)
    assert (again.nodes, again.heads, again.tensors, again.metadata) == (graph.nodes, graph.heads, graph.tensors, graph.metadata)
    codes = codes_for(graph, 3)
    assert (reference.run(again, codes, seed=1).logits == reference.run(graph, codes, seed=1).logits).all()


def test_faulty_graphs_are_graphs(tmp_path: Path) -> None:
    faulty = apply(GRAPH, FaultPlan((DeadNeurons(rate=0.5), WeightBitFlip(rate=0.1))))
    save(faulty, tmp_path / "faulty.ecm")
    assert content_hash(load(tmp_path / "faulty.ecm")) == content_hash(faulty) != content_hash(GRAPH)


def test_save_and_load(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "model.ecm"
    assert save(GRAPH, path) == content_hash(GRAPH) == content_hash(load(path))
    assert path.read_bytes() == DATA
    with pytest.raises(GraphError):
        save(replace(GRAPH, name="Bad Name"), tmp_path / "bad.ecm")
    assert not (tmp_path / "bad.ecm").exists()


def test_every_part_enters_the_hash() -> None:
    weight = GRAPH.value("readout_weight").copy()
    weight[0, 0] ^= 1
    others: list[IntegerGraph] = [
        replace(GRAPH, name="other"),
        replace(GRAPH, metadata={"a": 1}),
        replace(GRAPH, constants={**GRAPH.constants, "readout_weight": Constant(weight, 8, (0.01,))}),
        replace(GRAPH, constants={**GRAPH.constants, "readout_weight": Constant(GRAPH.value("readout_weight"), 8, (0.02,))}),
        replace(GRAPH, nodes=tuple(replace(n, fail_q=1) if isinstance(n, ChaosLayer) else n for n in GRAPH.nodes)),
        replace(GRAPH, heads=(replace(GRAPH.heads[0], classes=tuple("abcd")),)),
    ]
    assert len({content_hash(g) for g in [GRAPH, *others]}) == len(others) + 1


def test_missing_and_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(EdgeChaosError, match=r"cannot read artifact .*none\.ecm: No such file"):
        load(tmp_path / "none.ecm")
    (tmp_path / "text.ecm").write_text("hello")
    with pytest.raises(ArtifactError, match=r"text\.ecm: not an EdgeChaos artifact, or truncated .*edgechaos quantize") as caught:
        load(tmp_path / "text.ecm")
    assert caught.value.path == str(tmp_path / "text.ecm")


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 500, len(DATA) // 2, len(DATA) - 1])
def test_truncated(length: int) -> None:
    with pytest.raises(ArtifactError, match="or truncated"):
        from_bytes(DATA[:length])


@pytest.mark.slow
def test_any_flipped_bit_is_noticed() -> None:
    """Each byte of the file in turn, one bit: refused, or, where JSON has a redundant byte, the same content."""
    rng = np.random.default_rng(0)
    for position in rng.choice(len(DATA), 400, replace=False):
        damaged = bytearray(DATA)
        damaged[position] ^= 1 << int(rng.integers(8))
        try:
            graph = from_bytes(bytes(damaged))
        except ArtifactError:
            continue
        assert content_hash(graph) == content_hash(GRAPH)


def test_a_header_that_claims_to_be_huge() -> None:
    for length in (2**63, 2**64 - 1, 2**40, 200_000_000):
        with pytest.raises(ArtifactError, match="or truncated"):
            from_bytes(length.to_bytes(8, "little") + DATA[8:])


def test_a_tensor_that_claims_to_be_huge() -> None:
    header = {"__metadata__": {KEY: "{}"}, "w": {"dtype": "I8", "shape": [2**40], "data_offsets": [0, 2**40]}}
    encoded = json.dumps(header).encode()
    with pytest.raises(ArtifactError, match="or truncated"):
        from_bytes(len(encoded).to_bytes(8, "little") + encoded + b"\0" * 64)


def edit(change: Callable[[dict[str, Any]], Any]) -> bytes:
    changed = document()
    change(changed)
    return file_with(changed)


def constant(name: str, value: np.ndarray) -> bytes:
    return file_with(document(), {**{n: c.value for n, c in GRAPH.constants.items()}, name: value})


HOSTILE: list[tuple[str, Callable[[], bytes], str]] = [
    ("no metadata", lambda: save_safetensors({"w": np.zeros(1, np.int8)}), "not an EdgeChaos artifact"),
    ("not JSON", lambda: file_with("{"), "not an EdgeChaos artifact"),
    ("a list", lambda: file_with([]), "format version None is not 1"),
    ("deep JSON", lambda: file_with("[" * 100_000), "not an EdgeChaos artifact"),
    ("a huge number", lambda: file_with('{"format": ' + "9" * 5000 + "}"), "not an EdgeChaos artifact"),
    ("another version", lambda: edit(lambda d: d.update(format=FORMAT_VERSION + 1)), "format version 2 is not 1"),
    ("unknown key", lambda: edit(lambda d: d.update(hook="x")), "malformed.*hook"),
    ("missing key", lambda: edit(lambda d: d.pop("nodes")), "malformed.*nodes"),
    ("unknown node kind", lambda: edit(lambda d: d["nodes"][0].update(kind="Exec")), "node kind 'Exec' is not known"),
    ("unknown node key", lambda: edit(lambda d: d["nodes"][0].update(code="x")), "malformed.*code"),
    ("a node that is a number", lambda: edit(lambda d: d["nodes"].append(3)), "malformed"),
    ("a shape of words", lambda: edit(lambda d: d["tensors"][0].update(shape=["a"])), "malformed"),
    ("a negative shape", lambda: edit(lambda d: d["tensors"][0].update(shape=[-12])), "breaks a rule.*not acceptable"),
    ("a giant shape", lambda: edit(lambda d: d["tensors"][0].update(shape=[2**62, 2**62])), "breaks a rule.*not acceptable"),
    ("giant ticks", lambda: edit(lambda d: d["nodes"][1].update(ticks=10**12)), r"breaks a rule.*ticks 1000000000000"),
    ("another dtype", lambda: edit(lambda d: d["tensors"][0].update(dtype="object")), "malformed"),
    ("a name for a shell", lambda: edit(lambda d: d.update(name="x; rm -rf /")), "breaks a rule.*not of the form"),
    ("a name for a path", lambda: edit(lambda d: d["nodes"][0].update(name="../../etc/passwd")), "not of the form"),
    ("a name for C", lambda: edit(lambda d: d["heads"][0].update(name='a"];')), "not of the form"),
    ("a constant's name", lambda: constant("../w", np.zeros(1, np.int8)), "weights and graph disagree"),
    ("a constant too few", lambda: file_with(document(), {}), "weights and graph disagree"),
    ("two tensors of one name", lambda: edit(lambda d: d["tensors"].append(d["tensors"][0])), "two tensors share a name"),
    ("two nodes of one name", lambda: edit(lambda d: d["nodes"].append(d["nodes"][0])), "two nodes share a name"),
    ("bits as a word", lambda: edit(lambda d: d["constants"]["readout_bias"].update(bits="many")), "malformed"),
    ("giant bits", lambda: edit(lambda d: d["constants"]["readout_bias"].update(bits=10**18)), "stored bits"),
    ("an unknown constant key", lambda: edit(lambda d: d["constants"]["readout_bias"].update(x=1)), "must have 'bits' and 'scale'"),
    ("an infinite scale", lambda: edit(lambda d: d["constants"]["readout_bias"].update(scale=[float("inf")])), "positive number"),
    ("float weights", lambda: constant("readout_weight", np.zeros((4, 8), np.float32)), "float32"),
    ("empty weights", lambda: constant("readout_weight", np.zeros((0, 8), np.int8)), "not acceptable"),
    ("other weights", lambda: constant("readout_weight", np.zeros((4, 8), np.int8)), "was altered"),
    ("another hash", lambda: edit(lambda d: d.update(hash="0" * 64)), "content hash .* is not the recorded 000000000000"),
    ("a metadata list", lambda: edit(lambda d: d.update(metadata=[1])), "malformed"),
]


@pytest.mark.parametrize(("make", "message"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_hostile_files_are_refused(make: Callable[[], bytes], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        from_bytes(make())


def test_metadata_survives() -> None:
    graph = replace(GRAPH, metadata={"accuracy": 0.967, "dataset": {"name": "ziffern 数字", "split": [4000, 1000]}})
    assert from_bytes(to_bytes(graph)).metadata == graph.metadata
