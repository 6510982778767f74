"""One graph whose values lie exactly where a rule decides: there, `>` for `>=` becomes another integer.

A head each: a sum, a membrane and a sampled drive equal to their threshold, a loss whose probability is the word drawn, a binomial count
whose table entry is the word drawn, a token equal to the size of the vocabulary, thermal noise beyond its largest amplitude.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic import random_bits
from edgechaos.graph.heads import Encoding
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import ChaosLayer, expected_gain
from edgechaos.graph.kinds.embedding_bag import EmbeddingBag
from edgechaos.graph.kinds.matmul import MatMul
from edgechaos.graph.kinds.readout import Readout
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from edgechaos.graph.tokenizer import Text
from tests.helpers.mixed_graphs import WORDS, Builder

SEED = 2026
TICKS = 3
DRIVES = np.repeat(np.array([-7, 0, 9], np.int32), 3)
THRESHOLDS = DRIVES + np.tile(np.array([-1, 0, 1], np.int32), 3)
"""Below, at and above the drive: the first of three fires."""
VOCABULARY = len(WORDS) + 2
CODES = Encoding("codes")
BINOMIAL_STREAM = 8


def _drawn() -> tuple[int, int]:
    """A sample and fail_q = p: of one tick, the table holds p << 15, and neuron 0 of that sample draws just that, all but its last bit."""
    word = random_bits.words(SEED, BINOMIAL_STREAM, np.arange(1 << 19), 1, 1)[:, 0, 0]
    usual = (word & 0xFFFF <= 1) & (word >> 30 == 1)
    sample = int(np.argmax(usual))
    assert usual[sample]
    return sample, int(word[sample] >> 16)


BINOMIAL_SAMPLE, BINOMIAL_FAIL_Q = _drawn()
SAMPLES = np.array([0, 1, 2**32 - 1, BINOMIAL_SAMPLE], np.uint32)


def edge_graph() -> IntegerGraph:
    """The graph; `edge_items` has what its heads take."""
    b = Builder(np.random.default_rng(0))
    b.constant("no_weight", np.zeros((len(DRIVES), 2), np.int8), 8)
    b.constant("drives", DRIVES, 32)
    b.constant("thresholds", THRESHOLDS, 32)
    for name, stream, fields in (
        ("sum", 6, {"fail_q": _deciding_word(6, tick=2)}),
        ("membrane", 2, {"mode": "stateful", "fail_q": _deciding_word(2, tick=0), "decay_q15": 32768, "refractory_decay_q15": 32768}),
        ("binomial", BINOMIAL_STREAM, {"sampling": "binomial", "ticks": 1, "fail_q": BINOMIAL_FAIL_Q}),
        ("expected", 10, {"sampling": "expected", "fail_q": 20000}),
    ):
        _spiking(b, name, stream, **fields)
    _tokens(b)
    _amplitude(b)
    return b.graph()


def _deciding_word(stream: int, tick: int) -> int:
    """What neuron 0 of sample 0, which fires, draws at that tick: it is not below itself, so the spike is delivered."""
    return int(random_bits.words(SEED, stream, [0], tick + 1, 1)[0, tick, 0] & 0xFFFF)


def _spiking(b: Builder, name: str, stream: int, **fields: Any) -> None:
    b.prefix = f"{name}_"
    x = b.tensor("codes", "int8", (2,))
    drive = _product(b, x, "no_weight", "drives")
    every = {"mode": "parallel", "ticks": TICKS, "emit": "count", "decay_q15": 0, "refractory_decay_q15": 0, **fields}
    if every["mode"] == "stateful":  # twice the drive, and halved: a scale of one is none that a multiplier has
        twice = _product(b, x, "no_weight", b.constant("twice", 2 * DRIVES, 32))
        scaling = {
            "multiplier": b.constant("half", np.array([2**30], np.int32), 32),
            "shift": b.constant("by", np.array([31], np.int32), 32),
        }
        drive = b.add(Requantize, twice, "int16", DRIVES.shape, 0, low=-32768, high=32767, **scaling)
    counts = b.add(ChaosLayer, drive, "int8", DRIVES.shape, threshold="thresholds", fail_stream=stream, noise_stream=stream + 1, **every)
    gain = expected_gain(TICKS, every["fail_q"]) if every.get("sampling") == "expected" else 1
    logits = b.add(Readout, counts, "int32", (4,), weight=b.weight(f"{name}_w", 4, len(DRIVES)), bias=b.bias(f"{name}_b", 4), gain=gain)
    b.head(name, x, logits, CODES)


def _product(b: Builder, x: str, weight: str, bias: str) -> str:
    return b.add(MatMul, x, "int32", DRIVES.shape, weight=weight, bias=bias)


def _tokens(b: Builder) -> None:
    b.prefix = "tokens_"
    ids = b.tensor("ids", "uint16", (3,))
    table = b.weight("table", VOCABULARY, 5)
    vector = b.add(EmbeddingBag, ids, "int8", (5,), 0, weight=table, **b.rescaling("mean", 0.9 / np.array([1.0, 1.0, 2.0, 3.0])))
    b.head("tokens", ids, b.matmul(vector, "tokens", 4, Readout), Encoding("tokens", Text(WORDS)))


def _amplitude(b: Builder) -> None:
    b.prefix = "amplitude_"
    x = b.tensor("codes", "int8", (9,))
    noise = {"k": 300, "k_max": 300, "shift_a": 1, "shift_b": 1, "stream": 20}
    logits = b.add(ThermalNoise, b.matmul(x, "amplitude", 4, Readout), "int32", (4,), codes=x, **noise)
    b.head("amplitude", x, logits, CODES)


def edge_items(head: str) -> NDArray[Any]:
    """One item per sample."""
    if head == "tokens":
        return np.array([[VOCABULARY, 0, 0], [VOCABULARY - 1, VOCABULARY, 0], [65535, 1, 2], [0, 0, VOCABULARY + 1]], np.uint16)
    if head == "amplitude":
        # norms 384, 254 and 2: amplitudes of 57,600 and 38,100, both beyond 32,767, and of 300; then none
        return np.array([[-128] * 9, [127] * 4 + [0] * 5, [1] * 4 + [0] * 5, [0] * 9], np.int8)
    return np.zeros((len(SAMPLES), 2), np.int8)
