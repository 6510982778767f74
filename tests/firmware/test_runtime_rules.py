"""Small layers whose inputs are set one by one, against the reference: winners that are lost, refilled neurons, noise that just decides."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.faults.base import Fault
from edgechaos.faults.injections import ResolvedPlan
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.threshold_scale import ThresholdScale
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.kinds.winner_dropped import WinnerDropped
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.graph.artifact import content_hash
from edgechaos.graph.heads import Encoding
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import ChaosLayer
from edgechaos.graph.kinds.embedding_bag import EmbeddingBag
from edgechaos.graph.kinds.matmul import MatMul
from edgechaos.graph.kinds.readout import Readout
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.kinds.topk import TopK
from edgechaos.graph.rules import GAUSSIAN_MAX
from edgechaos.graph.tokenizer import Text
from tests.helpers.firmware_host import GCC, HostLibrary, compile_host
from tests.helpers.mixed_graphs import Builder

i32 = np.int32
UNITS, NEURONS, TICKS, SIGMA, VOCABULARY = 7, 64, 100, 20000, 2200
REACH = (GAUSSIAN_MAX * SIGMA + 2**15) >> 16
MINUS_REACH = (-GAUSSIAN_MAX * SIGMA + 2**15) >> 16


def small_graph() -> IntegerGraph:
    """Heads: winners, refilled, noise, four with rare losses, words."""
    b = Builder(np.random.default_rng(5))
    kinds = {"winners": _winners, "refilled": _refilled, "noise": _noise, "sure": _sure, "unsure": _unsure, "one": _one}
    kinds["stateful"] = _stateful
    for name, kind in kinds.items():
        b.prefix = f"{name}_"
        x = b.tensor("codes", "int8", (UNITS,))
        spikes = kind(b, x)
        size = b.tensors[spikes].size
        logits = b.add(Readout, spikes, "int32", (4,), weight=b.weight(f"{name}_w", 4, size), bias=b.bias(f"{name}_b", 4))
        b.head(name, x, logits, Encoding("codes"))
    _words(b)
    return b.graph()


def _scaled(b: Builder, x: str, dtype: str, multiplier: int, shift: int) -> str:
    high = np.iinfo(dtype).max
    scaling = {
        "multiplier": b.constant(f"m{shift}", np.array([multiplier], i32), 32),
        "shift": b.constant(f"s{shift}", np.array([shift], i32), 32),
    }
    return b.add(Requantize, x, dtype, b.tensors[x].shape, 0, low=-high - 1, high=high, **scaling)


def _winners(b: Builder, x: str) -> str:
    """127 c + 17000 per unit: the largest code is the largest int16."""
    weight = b.constant("each", 127 * np.eye(UNITS, dtype=np.int8), 8)
    acc = b.add(MatMul, x, "int32", (UNITS,), weight=weight, bias=b.constant("up", np.full(UNITS, 17000, i32), 32))
    drive = _scaled(b, acc, "int16", 2**31 - 1, 31)
    return _scaled(b, b.add(TopK, drive, "int16", (UNITS,), k=5), "int8", 2**30, 38)


def _constant(b: Builder, x: str, name: str, drive: Any) -> str:
    weight = b.constant(f"{name}_none", np.zeros((len(drive), UNITS), np.int8), 8)
    return b.add(MatMul, x, "int32", drive.shape, weight=weight, bias=b.constant(f"{name}_drive", drive, 32))


def _refilled(b: Builder, x: str) -> str:
    """A neuron that fires while it is refractory is refilled to 2^15, and is then silent whatever drives it."""
    drive = _scaled(b, _constant(b, x, "refilled", np.array([30000, 16384, 16383, -5], i32)), "int16", 2**31 - 1, 31)
    fields: dict[str, Any] = {
        "mode": "stateful",
        "ticks": 7,
        "refractory_decay_q15": 32767,
        "threshold": b.constant("zero", np.zeros(4, i32), 32),
    }
    return b.add(ChaosLayer, drive, "int8", (4,), fail_stream=1, noise_stream=2, **fields)


def _noise(b: Builder, x: str) -> str:
    """Only the largest of the 1,024 draws lifts the drive over the threshold, or only the least holds it back."""
    drive = np.zeros(NEURONS, i32)
    threshold = np.resize(np.array([REACH - 1, REACH, MINUS_REACH, MINUS_REACH - 1], i32), NEURONS)
    fields: dict[str, Any] = {
        "sigma": b.constant("sigma", np.full(NEURONS, SIGMA, i32), 32),
        "sigma_shift": 16,
        "ticks": TICKS,
        "fail_stream": 3,
    }
    fields |= {"noise_stream": 4, "threshold": b.constant("edge", threshold, 32)}
    return b.add(ChaosLayer, _constant(b, x, "noise", drive), "int8", (NEURONS,), **fields)


RARE: dict[str, Any] = {"ticks": TICKS, "fail_q": 1}
"""A spike in 65,536 is lost."""


def _sure(b: Builder, x: str) -> str:
    fields: dict[str, Any] = {"threshold": b.constant("below", np.full(NEURONS, -1, i32), 32), "fail_stream": 12, "noise_stream": 7}
    return b.add(ChaosLayer, _constant(b, x, "sure", np.zeros(NEURONS, i32)), "int8", (NEURONS,), **RARE, **fields)


def _unsure(b: Builder, x: str, neurons: int = NEURONS) -> str:
    """All but the least of the draws lift the drive over the threshold."""
    threshold = b.constant(f"least{neurons}", np.full(neurons, MINUS_REACH, i32), 32)
    fields: dict[str, Any] = {"threshold": threshold, "fail_stream": 17, "noise_stream": 8, "sigma_shift": 16}
    fields["sigma"] = b.constant(f"sigma{neurons}", np.full(neurons, SIGMA, i32), 32)
    return b.add(ChaosLayer, _constant(b, x, f"unsure{neurons}", np.zeros(neurons, i32)), "int8", (neurons,), **RARE, **fields)


def _one(b: Builder, x: str) -> str:
    return _unsure(b, x, 1)


def _stateful(b: Builder, x: str) -> str:
    """It fires at every second tick, and once less where one spike of that odd number of ticks is lost."""
    drive = _scaled(b, _constant(b, x, "stateful", np.full(NEURONS, 9, i32)), "int16", 2**31 - 1, 31)
    fields: dict[str, Any] = {"mode": "stateful", "refractory_decay_q15": 0, "decay_q15": 32768, "fail_stream": 76, "noise_stream": 9}
    fields |= {**RARE, "ticks": TICKS - 1, "threshold": b.constant("four", np.full(NEURONS, 4, i32), 32)}
    return b.add(ChaosLayer, drive, "int8", (NEURONS,), **fields)


def _words(b: Builder) -> None:
    """A vocabulary beyond the 1,024 rows by which a flipped one is looked for."""
    b.prefix = ""
    ids = b.tensor("ids", "uint16", (4,))
    means = b.rescaling("means", np.minimum(1.0, 0.9 / np.maximum(1, np.arange(5.0))))
    vector = b.add(EmbeddingBag, ids, "int8", (3,), 0, weight=b.weight("rows", VOCABULARY, 3), **means)
    encoding = Encoding("tokens", Text(tuple(f"w{k}" for k in range(VOCABULARY - 2))))
    b.head("words", ids, b.matmul(vector, "words", 4, Readout), encoding)


GRAPH = small_graph()
ITEMS = np.random.default_rng(1).choice(np.array([127, 126, 0, -128], np.int8), (24, UNITS))
ITEMS[0], ITEMS[1] = 127, -128
SAMPLES = np.arange(len(ITEMS), dtype=np.uint32)
HEADS = tuple(h.name for h in GRAPH.heads)
RANK = next(n.name for n in GRAPH.nodes if isinstance(n, TopK))
WINNERS: list[tuple[Fault, ...]] = [
    *((WinnerDropped(RANK, ranks=ranks),) for ranks in ((0,), (1,), (4,), (0, 1), (0, 2, 4), (0, 1, 2, 3, 4))),
    *((WinnerDropped(RANK, ranks=(0, 2)), DeadNeurons(RANK, neurons=dead)) for dead in ((0,), (1, 6), (0, 1, 2, 3, 4))),
    (WinnerDropped(RANK, ranks=(1, 4)), DeadNeurons(RANK, neurons=(0, 1, 2, 3))),
    (DeadNeurons(RANK, neurons=tuple(range(UNITS))), WinnerDropped(RANK, ranks=(0,))),
]


@pytest.fixture(scope="module", params=["speculative", "one by one"])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostLibrary]:
    flags = ("-O0", "-fPIC", "-shared", *(("-DEC_SPECULATIVE=0",) if request.param == "one by one" else ()))
    built = compile_host(generate(GRAPH, None), tmp_path_factory.mktemp("rules"), GCC, flags, output=f"{request.param}.so")
    instance = HostLibrary(GRAPH, built)
    yield instance
    instance.close()


def agrees(host: HostLibrary, faults: tuple[Fault, ...] = (), heads: tuple[str, ...] = HEADS[:-1]) -> None:
    faulty = apply(GRAPH, resolve(GRAPH, FaultPlan(faults)))
    for index, head in enumerate(HEADS):
        if head in heads:
            wanted = reference.run(faulty, ITEMS, seed=9, samples=SAMPLES, head=head)
            np.testing.assert_array_equal(host.infer(ITEMS, 9, SAMPLES, index)[0], wanted.logits, err_msg=head)


@pytest.mark.parametrize("faults", WINNERS)
def test_dropped_winners(host: HostLibrary, faults: tuple[Fault, ...]) -> None:
    """Among equals, among the dead, with fewer alive than may win, at the largest int16."""
    host.inject(resolve(GRAPH, FaultPlan(faults)))
    agrees(host, faults, ("winners",))


def test_neurons_that_a_draw_or_a_refill_decides(host: HostLibrary) -> None:
    host.inject(resolve(GRAPH, FaultPlan()))
    agrees(host)


ROWS = (0, 1, 2, 31, 32, 40, 63, 992, 1023, 1024, 1064, 2088, 2199)
"""Of the vocabulary: the first and last of the 32 bits of a word and of the 32 words, and those that share both with another."""


@pytest.mark.parametrize("flipped", [*((row,) for row in ROWS), ROWS, ()])
def test_flipped_words_of_a_large_vocabulary(host: HostLibrary, flipped: tuple[int, ...]) -> None:
    """Each text has one of the rows twice, or one of them and the unknown word."""
    bag = next(n.name for n in GRAPH.nodes if isinstance(n, EmbeddingBag))
    bits = tuple((3 * row + column, 6) for row in flipped for column in ((0, 2) if len(flipped) > 1 else (1,)))
    plan = resolve(GRAPH, FaultPlan((WeightBitFlip(bag, bits=bits),) if bits else ()))
    host.inject(plan)
    texts = np.array([text for row in ROWS for text in ([row, 0, row, 5], [VOCABULARY, row, 0, 0])], np.uint16)
    wanted = reference.run(apply(GRAPH, plan), texts, head="words").logits
    found = host.infer(texts, 0, np.arange(len(texts)), HEADS.index("words"))[0]
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("of", [0, 1])
@pytest.mark.parametrize(("first", "lifespan"), [(0, 1), (3, 2), (98, 127), (99, 1)])
def test_states_that_are_set(host: HostLibrary, of: int, first: int, lifespan: int) -> None:
    """To both ends of what 16 bits hold, and of what a refractoriness may be."""
    layer = next(n for n in GRAPH.path("stateful") if isinstance(n, ChaosLayer)).name
    values = np.resize(np.array([0, 1, 4, 5, 32767, 32768, 32769, 32770, 65534, 65535], np.uint16), NEURONS)
    when: dict[str, Any] = {"state_from": {layer: first}, "state_ticks": {layer: lifespan}, "state_of": {layer: of}}
    plan = ResolvedPlan.of(state_clear={layer: np.full(NEURONS, 65535)}, state_flip={layer: values}, **when)
    host.inject(plan)
    wanted = reference.run(apply(GRAPH, plan), ITEMS, seed=9, samples=SAMPLES, head="stateful").logits
    np.testing.assert_array_equal(host.infer(ITEMS, 9, SAMPLES, HEADS.index("stateful"))[0], wanted)


@pytest.mark.parametrize("of", [0, 1])
@pytest.mark.parametrize("cleared", [65535, 0x5555, 0xFF00, 0])
def test_bits_of_states_that_are_kept(host: HostLibrary, of: int, cleared: int) -> None:
    """In neurons without decay, whose membranes hold what earlier ticks brought."""
    layer = next(n for n in GRAPH.path("refilled") if isinstance(n, ChaosLayer)).name
    when: dict[str, Any] = {"state_from": {layer: 1}, "state_ticks": {layer: 5}, "state_of": {layer: of}}
    plan = ResolvedPlan.of(state_clear={layer: np.full(4, cleared)}, state_flip={layer: np.array([0, 1, 32768, 255])}, **when)
    host.inject(plan)
    wanted = reference.run(apply(GRAPH, plan), ITEMS, seed=9, samples=SAMPLES, head="refilled").logits
    np.testing.assert_array_equal(host.infer(ITEMS, 9, SAMPLES, HEADS.index("refilled"))[0], wanted)


def test_scaled_thresholds(host: HostLibrary) -> None:
    faults = (ThresholdScale(factor=0.5),)
    host.inject(resolve(GRAPH, FaultPlan(faults)))
    agrees(host, faults)


def test_without_faults(tmp_path: Path) -> None:
    """The build without hooks computes the same, and says whose library it is."""
    firmware = generate(GRAPH, None, faults=False)
    built = compile_host(firmware, tmp_path, GCC, ("-O0", "-fPIC", "-shared"), output="clean.so")
    host, library = HostLibrary(GRAPH, built), ctypes.CDLL(str(built))
    agrees(host)
    host.close()
    for name, wanted in (("model", content_hash(GRAPH)), ("firmware", firmware.firmware_hash)):
        find = getattr(library, f"ec_host_{name}_hash")
        find.restype = ctypes.POINTER(ctypes.c_uint8)
        found = find()
        assert found, name
        assert bytes(found[: len(wanted) // 2]).hex() == wanted


def test_the_draws_that_decide_occur() -> None:
    """Else the test of the noise would say nothing."""
    layer = next(n for n in GRAPH.path("noise") if isinstance(n, ChaosLayer))
    kept = reference.run(GRAPH, ITEMS, seed=9, samples=SAMPLES, head="noise", keep=(layer.output,)).tensors[layer.output]
    by_threshold = kept.reshape(len(ITEMS), -1, 4).sum(axis=(0, 1), dtype=int)
    every = len(ITEMS) * NEURONS // 4 * TICKS
    assert 0 < by_threshold[0] < 100
    assert by_threshold[1] == 0
    assert every - 100 < by_threshold[2] < every
    assert by_threshold[3] == every


@pytest.mark.parametrize("head", ["sure", "unsure", "stateful"])
def test_a_rare_loss_occurs(head: str) -> None:
    layer = next(n for n in GRAPH.path(head) if isinstance(n, ChaosLayer))
    never = apply(GRAPH, FaultPlan((Omission(layer.name, 0.0),)))
    lossy, clean = (reference.run(g, ITEMS, seed=9, samples=SAMPLES, head=head, keep=(layer.output,)).tensors for g in (GRAPH, never))
    assert (lossy[layer.output] < clean[layer.output]).any()
