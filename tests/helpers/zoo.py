"""One graph that holds every kind of node in every form that the runtime treats differently: one compilation, all kernels.

Sizes straddle the kernels' blocks (4, 8, 32, 64 columns, 64 inputs, 512 events), thresholds lie exactly on sums that occur,
and a loss probability equals a word that is drawn: there, one off in a comparison becomes another integer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.arithmetic import random_bits
from edgechaos.faults.base import Fault
from edgechaos.faults.injections import ResolvedPlan
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.generator import GeneratorBiased, GeneratorPeriod, GeneratorRepeated
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.state import StateFlip, StateSet
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.unit_stuck import UnitStuck
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.kinds.winner_count import WinnerCount
from edgechaos.faults.kinds.winner_dropped import WinnerDropped
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.graph.drawing import Drawing
from edgechaos.graph.heads import Encoding
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.add import Add
from edgechaos.graph.kinds.average_pool import AveragePool
from edgechaos.graph.kinds.chaos_layer import ChaosLayer, expected_gain
from edgechaos.graph.kinds.matmul import MatMul
from edgechaos.graph.kinds.max_pool import MaxPool
from edgechaos.graph.kinds.readout import Readout
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.kinds.topk import TopK
from edgechaos.graph.tokenizer import Text
from tests.helpers.mixed_graphs import WORDS, Builder, Mixed, embedded, items_for

CODES = Encoding("codes")
SEED = 11
SAMPLES = np.array([0, 1, 2**31, 2**32 - 1, 5, 6, 7, 8], np.uint32)


class Zoo(Builder):
    """Adds heads; `event` says which kernel their matrices get."""

    def __init__(self) -> None:
        super().__init__(np.random.default_rng(3))
        self.activity: dict[str, float] = {}
        self.streams = 0

    def begin(self, name: str, event: bool) -> None:
        """What follows carries this prefix."""
        self.prefix, self.event = f"{name}_{'e' if event else 'd'}_", event

    def named(self, name: str) -> str:
        return self.prefix + name

    def codes(self, size: int) -> str:
        return self.tensor("codes", "int8", (size,))

    def product(self, x: str, name: str, outputs: int, kind: type[MatMul] = MatMul, **fields: Any) -> str:
        """As `matmul`, with constants of this head's own, no bias where `bias=None` is given."""
        tensor = self.tensors[x]
        weight = self.weight(self.named(f"{name}_w"), outputs, tensor.size // max(tensor.ticks, 1))
        self.activity[x] = 0.0 if self.event else 1.0
        bias = {"bias": self.bias(self.named(f"{name}_b"), outputs)}
        return self.add(kind, x, "int32", (outputs,), tensor.ticks, weight=weight, **(bias | fields))

    def image_conv(self, x: str, name: str, *geometry: Any) -> str:
        self.activity[x] = 0.0 if self.event else 1.0
        return self.conv(x, self.named(name), *geometry)

    def spiking(self, x: str, name: str, ticks: int, spread: float, *, noise: bool = True, last: bool = True, **fields: Any) -> str:
        size = self.tensors[x].shape[0]
        threshold = self.rng.integers(-int(spread / 4), int(spread), size).astype(np.int32)
        sigma = {}
        if noise:
            value = self.rng.integers(0, 2**15, size).astype(np.int32)
            value[1::3] = 0
            sigma = {"sigma": self.constant(self.named(f"{name}_sigma"), value, 32), "sigma_shift": max(1, 29 - int(spread).bit_length())}
        self.streams += 2
        streams = {"fail_stream": self.streams, "noise_stream": self.streams + 1}
        default = {
            "mode": "parallel",
            "fail_q": 20000,
            "emit": "count" if last else "spikes",
            "decay_q15": 655,
            "refractory_decay_q15": 31130,
        }
        threshold_name = self.constant(self.named(f"{name}_threshold"), threshold, 32)
        every = {"ticks": ticks, "threshold": threshold_name, **streams, **sigma, **default, **fields}
        return self.add(ChaosLayer, x, "int8", (size,), 0 if last else ticks, **every)

    def end(self, x: str, body: str, classes: int = 5, encoding: Encoding = CODES, **fields: Any) -> None:
        self.head(self.prefix.rstrip("_"), x, self.product(body, "readout", classes, Readout, **fields), encoding)


def _parallel(z: Zoo) -> None:
    x = z.codes(12)
    spikes = z.spiking(z.product(x, "a", 70), "a", 5, 12000.0, last=False)
    z.end(x, z.spiking(z.product(spikes, "b", 13), "b", 5, 700.0))
    z.prefix = z.prefix.replace("_", "quiet_", 1)
    y = z.codes(9)
    z.end(y, z.spiking(z.product(y, "a", 131, bias=None), "a", 3, 12000.0, noise=False), 9, bias=None)


def _lossless(z: Zoo) -> None:
    """No spike can be lost: then the runtime delivers all of a neuron's spikes at once, where they are only counted."""
    x = z.codes(9)
    spikes = z.spiking(z.product(x, "a", 23), "a", 4, 9000.0, last=False, fail_q=0)
    z.end(x, z.spiking(z.product(spikes, "b", 11), "b", 4, 700.0, fail_q=0))
    z.prefix = z.prefix.replace("_", "count_", 1)
    y = z.codes(9)
    z.end(y, z.spiking(z.product(y, "a", 23), "a", 4, 9000.0, fail_q=0))


def _stateful(z: Zoo) -> None:
    x = z.codes(11)
    drive = z.requantize(z.product(x, "a", 17), z.named("a"), "int16", 30000.0, per_channel=True)
    spikes = z.spiking(drive, "a", 6, 8000.0, noise=False, last=False, mode="stateful")
    drive = z.requantize(z.product(spikes, "b", 10), z.named("b"), "int16", 500.0)
    z.end(x, z.spiking(drive, "b", 6, 8000.0, mode="stateful", decay_q15=9000, refractory_decay_q15=12000))


def _sampled(z: Zoo) -> None:
    for sampling in ("binomial", "expected"):
        z.begin(sampling, z.event)
        x = z.codes(10)
        counts = z.spiking(z.product(x, "a", 21), "a", 7, 9000.0, noise=False, sampling=sampling, fail_q=9000)
        bias: dict[str, Any] = {"bias": None} if z.event else {}
        z.end(x, counts, gain=expected_gain(7, 9000) if sampling == "expected" else 1, **bias)


def _vision(z: Zoo) -> None:
    x = z.tensor("image", "int8", (2, 7, 9))
    y = z.lut(x, z.named("pixels"), per_channel=True, silent=True)
    y = z.requantize(z.image_conv(y, "c", 6, (3, 3), (1, 1), (1, 1)), z.named("c"), "int8", 9000.0, True, True)
    y = z.pool(y, MaxPool, (2, 3), (2, 2))
    y = z.requantize(z.image_conv(y, "d", 3, (2, 1), (1, 2), (1, 0)), z.named("d"), "int8", 9000.0)
    y = z.requantize(z.pool(y, AveragePool, (2, 2), (1, 1)), z.named("pool"), "int8", 100.0)
    y = z.lut(z.requantize(z.product(y, "embed", 11), z.named("embed"), "int8", 4000.0), z.named("gelu"), silent=True)
    z.end(x, y)
    z.prefix = z.prefix.replace("_", "wide_", 1)
    w = z.tensor("image", "int8", (1, 4, 20))
    z.end(w, z.requantize(z.image_conv(w, "c", 4, (1, 5), (3, 4), (0, 4)), z.named("c"), "int8", 5000.0))


def _text_head(z: Zoo) -> None:
    ids = z.tensor("ids", "uint16", (9,))
    spec = Mixed(family="text", length=9)
    z.end(ids, embedded(z, spec, ids, z.named("embedding")), encoding=Encoding("tokens", Text(WORDS)))


def _kwta(z: Zoo) -> None:
    x = z.codes(20)
    ranked = z.requantize(z.product(x, "layer", 150), z.named("rank"), "int16", 3e5)
    coarse = z.requantize(ranked, z.named("coarse"), "int16", 32767.0 * 2**11)
    winners = z.requantize(z.add(TopK, coarse, "int16", (150,), k=60), z.named("winners"), "int8", 64.0)
    z.end(x, winners)
    z.prefix = z.prefix.replace("_", "fine_", 1)
    y = z.codes(13)
    ranked = z.requantize(z.product(y, "layer", 33), z.named("rank"), "int16", 20000.0, per_channel=True)
    z.end(y, z.requantize(z.add(TopK, ranked, "int16", (33,), k=7), z.named("winners"), "int8", 12000.0))


def _thermal(z: Zoo) -> None:
    x = z.codes(14)
    z.streams += 1
    acc = z.thermal(z.product(x, "layer", 9), x, 200 + z.streams)
    codes = z.lut(z.requantize(acc, z.named("layer"), "int8", 9000.0), z.named("gelu"))
    z.streams += 1
    z.head(z.prefix.rstrip("_"), x, z.thermal(z.product(codes, "readout", 4, Readout), codes, 200 + z.streams), Encoding("codes"))


def _residual(z: Zoo) -> None:
    """Sums of images and of vectors, at the largest and the smallest gains."""
    x = z.tensor("image", "int8", (3, 5, 3))
    y = z.requantize(z.image_conv(x, "c", 3, (3, 3), (1, 1), (1, 1)), z.named("c"), "int8", 5000.0)
    y = z.requantize(z.add(Add, y, "int32", (3, 5, 3), other=x, gain=1, other_gain=32767), z.named("sum"), "int8", 60.0 * 32767)
    v = z.requantize(z.product(y, "v", 33), z.named("v"), "int8", 9000.0)
    w = z.requantize(z.product(v, "w", 33), z.named("w"), "int8", 9000.0, True)
    v = z.requantize(z.add(Add, v, "int32", (33,), other=w, gain=32767, other_gain=20011), z.named("both"), "int8", 120.0 * 32767, True)
    z.end(x, v)


def _wide(z: Zoo) -> None:
    """More events than the packed sums hold at once, at both extremes; columns beyond 32 and 64."""
    x = z.codes(1050)
    z.end(x, z.requantize(z.product(x, "a", 77), z.named("a"), "int8", 3e5), 9)
    stored = z.constants[z.named("a_w")]
    weight = stored.value.copy()
    weight[:2] = [[-(1 << z.bits - 1)], [(1 << z.bits - 1) - 1]]
    z.constants[z.named("a_w")] = replace(stored, value=weight)


FORMS = (_parallel, _lossless, _stateful, _sampled, _vision, _text_head, _kwta, _thermal, _residual, _wide)


def zoo() -> IntegerGraph:
    """Every form with dense and with event-driven kernels; those with matrices alone with 4 and 2 bits, too."""
    z = Zoo()
    for form in FORMS:
        for bits, event in ((8, False), (8, True), (4, True), (2, True)):
            if bits == 8 or form in (_vision, _text_head, _wide, _thermal):
                z.bits = bits
                z.begin(f"{form.__name__.strip('_')}{bits}", event)
                form(z)
    graph = replace(z.graph(), metadata={"activity": {x: share for x, share in z.activity.items()}})
    return on_the_edge(graph).validate()


def on_the_edge(graph: IntegerGraph) -> IntegerGraph:
    """Thresholds at sums that occur, so that firing "at equality" differs; a loss that equals a word that decides."""
    constants, nodes = dict(graph.constants), list(graph.nodes)
    for head in graph.heads:
        for node in graph.path(head.name):
            if isinstance(node, ChaosLayer) and graph.tensors[node.input].ticks == 0:
                drive = reference.run(graph, items(graph, head.name), seed=SEED, samples=SAMPLES, head=head.name, keep=(node.input,))
                threshold = constants[node.threshold].value.copy()
                sums = drive.tensors[node.input]
                columns = np.arange(0, threshold.size, 2)
                threshold[columns] = sums[columns % len(sums), columns]
                constants[node.threshold] = replace(constants[node.threshold], value=threshold)
                fired = sums > threshold
                word = random_bits.words(SEED, node.fail_stream, SAMPLES, node.ticks, threshold.size)[:, 0] & np.uint32(0xFFFF)
                if node.sampling == "ticks" and node.fail_q:
                    middle = np.argwhere(fired & (word > 10000) & (word < 50000))[0]
                    nodes[nodes.index(node)] = replace(node, fail_q=int(word[tuple(middle)]))
    return replace(graph, constants=constants, nodes=tuple(nodes))


def items(graph: IntegerGraph, head: str) -> NDArray[Any]:
    """Eight items of a head; where it takes signed codes the first are all at one extreme, all at the other, and 0."""
    codes = items_for(graph, len(SAMPLES), SEED, head)
    if codes.dtype == np.int8 and graph.head(head).encoding.kind == "codes":
        codes[0], codes[1], codes[2] = -128, 127, 0
        codes[3].reshape(-1)[:] = np.resize(np.array([-128, 127], np.int8), codes[3].size)
    return codes


def plans(graph: IntegerGraph) -> list[ResolvedPlan]:
    """Clean, every fault of units and words at once, and every fault of states, generators and numbers of winners at once."""
    ticks = [n for n in graph.chaos_layers() if n.sampling == "ticks"]
    faults: list[Fault] = [WeightBitFlip(rate=0.02, seed=2)]
    faults += [WeightBitFlip(n.name, "bias", bits=((0, 3), (1, 9))) for n in graph.weighted() if getattr(n, "bias", None)]
    size = {n.name: graph.tensors[n.input].shape[0] for n in ticks}
    faults += [DeadNeurons(n.name, rate=0.3, seed=1) for n in graph.analysis.unit_nodes if n.name not in size]
    faults += [DeadNeurons(n.name, neurons=(1, size[n.name] - 1)) for n in ticks]
    faults += [WinnerDropped(n.name, ranks=(0, 2, 6)) for n in graph.nodes if isinstance(n, TopK)]
    faults += [StuckAtOne(n.name, neurons=(0, size[n.name] - 2)) for n in ticks]
    return [resolve(graph, FaultPlan(tuple(f))) for f in ((), (*faults, Omission(rate=0.4)), _of_states(graph))]


def _of_states(graph: IntegerGraph) -> list[Fault]:
    """Of generators each fault alone and all together; of states and winners one form a layer, in turn."""
    faults: list[Fault] = []
    for k, name in enumerate(n.name for n in graph.nodes if isinstance(n, Drawing)):
        kinds = (GeneratorBiased(name, 3, 0), GeneratorBiased(name, 1, 1), GeneratorPeriod(name, 13), GeneratorRepeated(name, 3))
        alone = (*kinds, GeneratorPeriod(name, 1), GeneratorRepeated(name, 1))
        faults += kinds if k % 7 == 6 else alone[k % 7 : k % 7 + 1]
    stateful = [n.name for n in graph.chaos_layers() if n.mode == "stateful"]
    states: tuple[Callable[[str], Fault], ...] = (
        lambda name: StateFlip(name, 0.5, bit=14, onset=1, lifespan=3),
        lambda name: StateSet(name, 0.5, of="refractoriness", value=20000, onset=2, lifespan=2),
        lambda name: StateSet(name, 0.5, value=-7000),
        lambda name: StateFlip(name, 0.5, of="refractoriness", bit=15, onset=3, lifespan=0),
    )
    faults += [state(name) for state, name in zip(states, stateful, strict=True)]
    winners = [n.name for n in graph.nodes if isinstance(n, TopK)]
    faults += [WinnerCount(name, delta) for name, delta in zip(winners, (5, -3, 200, -200), strict=True)]
    plain = [n for n in graph.nodes if isinstance(n, Requantize) and any(s.name == "stuck_code" for s in n.slots(graph))]
    return [*faults, *(UnitStuck(n.name, 0.3, code=(5, n.low, n.high)[k % 3]) for k, n in enumerate(plain))]
