"""The committed vectors: what the package writes today, and what an independent scalar reading of the rules gives."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import pytest

from edgechaos.graph.node import NODE_KINDS
from tests.helpers import scalar, scalar_nodes
from tests.helpers.places import VECTOR_FOLDER
from tests.helpers.vector_cases import vectors
from tests.vectors.make import VECTORS, render


@pytest.mark.parametrize("name", VECTORS)
def test_files_are_what_the_package_writes(name: str) -> None:
    assert (VECTOR_FOLDER / f"{name}.json").read_text() == render(name)


def test_words() -> None:
    found = vectors("random_words")
    assert [[x, scalar.mix(x)] for x, _ in found["mix"]] == found["mix"]
    assert len(found["words"]) > 200
    for *key, word in found["words"]:
        assert scalar.word(*key) == word, key


def test_lost_and_fail_q() -> None:
    found = vectors("random_words")
    for fail_q, lost in found["lost"]["by_fail_q"]:
        assert [int(word & 0xFFFF < fail_q) for word in found["lost"]["words"]] == lost
    for probability, fail_q in found["fail_q"]:
        assert math.floor(65536 * probability + 0.5) == fail_q


def test_gaussian_table() -> None:
    found = vectors("random_words")["gaussian"]
    table = [scalar.gaussian(i) for i in range(1024)]
    assert hashlib.sha256(b"".join(v.to_bytes(2, "little", signed=True) for v in table)).hexdigest() == found["sha256_le16"]
    assert [[i, table[i]] for i, _ in found["entries"]] == found["entries"]


def test_binomial_tables() -> None:
    for case in vectors("random_words")["binomial"]:
        assert scalar.binomial_table(case["ticks"], case["fail_q"]) == case["table"]


def test_arithmetic() -> None:
    found = vectors("arithmetic")
    for *arguments, q in found["requantize"]:
        assert scalar.requantize(*arguments) == q, arguments
    for x, shift, y in found["rounded_shift"]:
        assert scalar.rounded_shift(x, shift) == y, (x, shift)
    for *arguments, noise in found["noise"]:
        assert scalar.noise(*arguments) == noise, arguments
    for real, acc, spike in found["threshold"]:
        assert (acc > math.floor(real)) == spike == (acc > real), (real, acc)


def test_ties_and_amplitudes() -> None:
    found = vectors("arithmetic")
    for values, k, dead, winners in found["topk"]:
        assert scalar_nodes.topk(values, k, dead) == winners, (values, k, dead)
    for codes, k, shift_a, shift_b, noise in found["amplitude"]:
        amplitude = min(32767, scalar.rounded_shift(scalar_nodes.norm(codes) * k, shift_a))
        assert scalar.rounded_shift(scalar.gaussian(1023) * amplitude, shift_b) == noise, (codes, k)
    saturated = scalar.rounded_shift(scalar.gaussian(1023) * 32767, 13)
    assert max(noise for *_, shift_b, noise in found["amplitude"] if shift_b == 13) == saturated


def test_arithmetic_covers_ties_and_saturation() -> None:
    rows = vectors("arithmetic")["requantize"]
    assert {row[5] for row in rows} >= {-128, 127, -32768, 32767}
    assert any((acc * multiplier * 2) % (1 << shift) == 0 and (acc * multiplier) % (1 << shift) for acc, multiplier, shift, *_ in rows)


@pytest.mark.parametrize("case", vectors("stateful"), ids=lambda c: f"seed {c['seed']}")
def test_stateful_ticks(case: dict[str, Any]) -> None:
    ticks = range(case["ticks"])
    lost = [scalar.word(case["seed"], case["sample"], t, case["fail_stream"], 0) & 0xFFFF < case["fail_q"] for t in ticks]
    noise = [
        scalar.noise(scalar.word(case["seed"], case["sample"], t, case["noise_stream"], 0), case["sigma"], case["sigma_shift"])
        for t in ticks
    ]
    assert (noise, [int(gone) for gone in lost]) == (case["noise"], case["lost"])
    drives = [case["drive"]] * case["ticks"]
    states = scalar.stateful(drives, noise, lost, case["threshold"], case["decay_q15"], case["refractory_decay_q15"])
    assert states == case["states"]


def test_sites_and_flips() -> None:
    found = vectors("sites")
    for case in found["drawn"]:
        assert scalar.sites(case["seed"], case["stream"], case["count"], case["rate"]) == case["sites"]
    for value, bits, width, flipped in found["flips"]:
        assert scalar.flipped(value, bits, width) == flipped


@pytest.mark.parametrize("case", vectors("graphs"), ids=lambda c: c["model"]["cortex"]["mode"])
def test_graphs(case: dict[str, Any]) -> None:
    different = set()
    for run in case["runs"]:
        for k, (codes, sample) in enumerate(zip(case["codes"], case["samples"], strict=True)):
            found = scalar.run(case["model"], codes, case["seed"], sample, run)
            written = {key: run[key][k] for key in ("counts", "logits")} | {"label": run["labels"][k], "state_hash": run["state_hashes"][k]}
            assert found == written, (run["name"], k)
        different.add(json.dumps(run["logits"]))
    assert len(different) == len(case["runs"]), "every fault shows in some logit"


@pytest.mark.parametrize("case", vectors("nodes") + vectors("edges"), ids=lambda c: c["family"])
def test_nodes(case: dict[str, Any]) -> None:
    different = set()
    for run in case["runs"]:
        nodes = {node["name"]: node for node in case["nodes"]}
        for name, target, word, bit in run["flips"]:
            nodes[name] = scalar_nodes.flip(nodes[name], target, word, 1 << bit)
        for name, units in run["dead"]:
            nodes[name] = {**nodes[name], "dead": [int(n in units) for n in range(max(units) + 1)]}
        for k, (codes, sample) in enumerate(zip(case["codes"], case["samples"], strict=True)):
            found = scalar_nodes.run(list(nodes.values()), case["input"], codes, case["seed"], sample)
            assert {name: values[k] for name, values in run["tensors"].items()} == {n: v for n, v in found.items() if n != case["input"]}
            read = scalar_nodes.flat(found[case["readout_input"]])
            assert scalar.state_hash(read, found[case["logits"]]) == run["state_hashes"][k]
        different.add(json.dumps(run["tensors"]))
    assert len(different) == len(case["runs"]), "every fault shows in some tensor"


def test_edge_vectors_lie_on_the_edge() -> None:
    """What the vectors are for: without these equalities they would hold nothing that the others do not."""
    cases = {case["family"]: case for case in vectors("edges")}
    for name in ("sum", "membrane", "binomial", "expected"):
        node = next(n for n in cases[name]["nodes"] if n["kind"] == "ChaosLayer")
        (drive,) = {tuple(row) for row in cases[name]["runs"][0]["tensors"][node["input"]]}
        assert [d - threshold for d, threshold in zip(drive, node["threshold"], strict=True)] == [1, 0, -1] * 3
        drawn = [
            scalar.word(cases[name]["seed"], sample, t, node["fail_stream"], 0)
            for sample in cases[name]["samples"]
            for t in range(node["ticks"])
        ]
        if node["sampling"] == "ticks":
            assert node["fail_q"] in [word & 0xFFFF for word in drawn]
        elif node["sampling"] == "binomial":
            assert scalar.binomial_table(1, node["fail_q"])[0] in [word >> 1 for word in drawn]
    bag = next(n for n in cases["tokens"]["nodes"] if n["kind"] == "EmbeddingBag")
    assert [len(bag["weight"]), 0, 0] in cases["tokens"]["codes"]
    noise = next(n for n in cases["amplitude"]["nodes"] if n["kind"] == "ThermalNoise")
    assert any(scalar.rounded_shift(scalar_nodes.norm(c) * noise["k"], noise["shift_a"]) > 32767 for c in cases["amplitude"]["codes"])


def test_node_vectors_name_every_kind() -> None:
    assert {node["kind"] for case in vectors("nodes") for node in case["nodes"]} == set(NODE_KINDS)
