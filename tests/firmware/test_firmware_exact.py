"""The C of a model against the NumPy reference, integer for integer: random graphs, both kernels, clean and faulty."""

from __future__ import annotations

import tempfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgechaos import reference
from edgechaos.faults.base import Fault
from edgechaos.faults.injections import CLEAN, ResolvedPlan
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.firmware_gen.plan.kernels import Choice
from edgechaos.graph.heads import Head
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import ChaosLayer
from tests.helpers.firmware_host import HostLibrary, library
from tests.helpers.graphs import Spec, chaos_graph, codes_for, specs

pytestmark = pytest.mark.slow

SAMPLES = np.array([0, 1, 2, 3, 77, 2**31, 2**32 - 1, 12345], np.uint32)
WIDE = ("-DEC_WIDE=1",)
"""The kernel of 32-bit cores, in its portable form."""
NATIVE = ("-march=native",)
"""The loops for this machine's own vector instructions, where it has some that the runtime knows."""


def plans(graph: IntegerGraph) -> list[ResolvedPlan]:
    """No fault, each kind alone, and together."""
    faults: list[tuple[Fault, ...]] = [
        (),
        (DeadNeurons(rate=0.3, seed=1),),
        (Omission(rate=0.8),),
        (Omission(rate=0.0),),
        (WeightBitFlip(rate=0.03, seed=2), WeightBitFlip(target="bias", bits=((0, 3), (0, 9)))),
        (DeadNeurons(rate=0.2, seed=3), Omission(rate=0.4), WeightBitFlip(rate=0.01, seed=4)),
    ]
    if all(n.sampling == "ticks" for n in graph.chaos_layers()):
        faults += [(StuckAtOne(rate=0.3, seed=5),), (StuckAtOne(neurons=(0,)), Omission(rate=0.3))]
    return [resolve(graph, FaultPlan(f)) for f in faults]


def check(graph: IntegerGraph, host: HostLibrary, plan: ResolvedPlan, seed: int, sparsity: float) -> None:
    """Logits, classes and state hash of a few samples."""
    codes = codes_for(graph, len(SAMPLES), seed, sparsity)
    read = graph.nodes[-2].input
    wanted = reference.run(apply(graph, plan), codes, seed=seed, samples=SAMPLES, keep=(read,))
    host.inject(plan)
    logits, labels = host.infer(codes, seed, SAMPLES)
    np.testing.assert_array_equal(logits, wanted.logits)
    np.testing.assert_array_equal(labels, wanted.labels)
    assert host.state_hash() == zlib.crc32(wanted.logits[-1].astype("<i4").tobytes(), zlib.crc32(wanted.tensors[read][-1].tobytes()))


@settings(max_examples=6, deadline=None)
@given(
    spec=specs(),
    kernel=st.sampled_from(["dense", "event", "auto"]),
    flags=st.sampled_from([(), WIDE, NATIVE]),
    seed=st.integers(0, 2**32 - 1),
    sparsity=st.sampled_from([0.0, 0.5, 0.95]),
)
def test_random_models_clean_and_faulty(spec: Spec, kernel: Choice, flags: tuple[str, ...], seed: int, sparsity: float) -> None:
    graph = chaos_graph(spec)
    with tempfile.TemporaryDirectory() as folder:
        host = library(graph, Path(folder), kernel=kernel, flags=flags)
        for plan in plans(graph):
            check(graph, host, plan, seed, sparsity)
        host.close()


TABLE = {
    "deep_parallel": Spec(sizes=(30, 21, 17, 9, 5), ticks=6),
    "stateful_per_channel": Spec(sizes=(33, 18, 11, 4), mode="stateful", per_channel=True, pixels=False),
    "binomial": Spec(sizes=(40, 33, 5), sampling="binomial", noise=False, fail_q=655),
    "expected": Spec(sizes=(40, 33, 5), sampling="expected", noise=False),
}


@pytest.mark.parametrize("name", TABLE)
def test_every_kind_of_layer(name: str, tmp_path: Path) -> None:
    graph = chaos_graph(TABLE[name])
    host = library(graph, tmp_path, kernel="event", flags=WIDE)
    for plan in plans(graph):
        check(graph, host, plan, seed=9, sparsity=0.4)
    host.close()


@pytest.mark.parametrize("flags", [(), WIDE, NATIVE], ids=["plain", "wide", "native"])
def test_extreme_inputs(flags: tuple[str, ...], tmp_path: Path) -> None:
    """All inputs at one extreme fill the packed sums to their proven limit."""
    graph = chaos_graph(sizes=(1100, 45, 3), pixels=False, ticks=2)
    weight = graph.value("cortex0_weight").copy()
    weight[:2] = [[-128], [127]]
    graph = replace(graph, constants={**graph.constants, "cortex0_weight": replace(graph.constants["cortex0_weight"], value=weight)})
    host = library(graph, tmp_path, kernel="event", flags=flags)
    codes = np.stack([np.full(1100, v, np.int8) for v in (-128, 127, 0)] + [np.resize(np.array([-128, 127], np.int8), 1100)])
    wanted = reference.run(graph, codes, seed=1)
    np.testing.assert_array_equal(host.infer(codes, 1, np.arange(4))[0], wanted.logits)
    host.close()


def two_heads() -> IntegerGraph:
    """Two tasks that share every constant; each has its own path."""
    graph = chaos_graph(sizes=(12, 8, 4), seed=5)
    tensors, nodes = dict(graph.tensors), list(graph.nodes)
    for node in graph.nodes:
        copy = replace(node, name=f"{node.name}_b", input=f"{node.input}_b", output=f"{node.output}_b")
        nodes.append(copy)
        for name in (copy.input, copy.output):
            tensors[name] = replace(tensors[name.removesuffix("_b")], name=name)
    nodes = [replace(n, fail_stream=40, noise_stream=41) if isinstance(n, ChaosLayer) and n.name == "cortex0_b" else n for n in nodes]
    second = Head("second", "input_b", "logits_b", "label_b", graph.heads[0].classes, graph.heads[0].encoding)
    return replace(graph, tensors=tensors, nodes=tuple(nodes), heads=(*graph.heads, second)).validate()


def test_heads_share_constants_and_keep_their_results(tmp_path: Path) -> None:
    graph = two_heads()
    source = generate(graph, None, kernel="dense").files["src/tiny.c"].decode()
    assert source.count("cortex0_weight_dense[") == 1
    host = library(graph, tmp_path)
    codes = codes_for(graph, 6, 1)
    for index, head in enumerate(graph.heads):
        wanted = reference.run(graph, codes, seed=3, samples=SAMPLES[:6], head=head.name)
        np.testing.assert_array_equal(host.infer(codes, 3, SAMPLES[:6], index)[0], wanted.logits)
    host.close()


def test_without_hooks_the_model_is_the_same(tmp_path: Path) -> None:
    graph = chaos_graph(sizes=(20, 11, 6, 3))
    host = library(graph, tmp_path, faults=False)
    codes = codes_for(graph, 8, 2)
    np.testing.assert_array_equal(host.infer(codes, 4, SAMPLES)[0], reference.run(graph, codes, seed=4, samples=SAMPLES).logits)
    host.close()


def test_instances_are_independent(tmp_path: Path) -> None:
    graph = chaos_graph()
    first = library(graph, tmp_path)
    second = HostLibrary(graph, next(tmp_path.glob("*.so")))
    first.inject(resolve(graph, FaultPlan((DeadNeurons(rate=1.0),))))
    codes = codes_for(graph, 8, 3)
    wanted = reference.run(graph, codes, seed=5, samples=SAMPLES).logits
    np.testing.assert_array_equal(second.infer(codes, 5, SAMPLES)[0], wanted)
    assert not np.array_equal(first.infer(codes, 5, SAMPLES)[0], wanted)
    first.inject(CLEAN)
    np.testing.assert_array_equal(first.infer(codes, 5, SAMPLES)[0], wanted)
    first.close()
    second.close()
