"""FaultPlan: faults as data, the same for every target.

Enters: a plan (written by hand, by a campaign or read from JSON) and a graph. Leaves: `resolve` turns rates and seeds
into concrete neurons, thresholds and weight words; `apply` turns those into a graph, so that every backend that runs
graphs runs faults. A device receives the same resolved plan over the wire. Source: docs/semantics.md, "Faults".

Permanently dead neurons and intermittent omission are different faults; the names keep them apart everywhere. A fault with a seed
that is not a uint32 cannot be made: SeedError.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.seeds import check_seed
from edgechaos.arithmetic.streams import DEAD_STREAM, FLIP_STREAM, STUCK_STREAM, UNIT_STREAM
from edgechaos.graph.integer_graph import (
    ChaosLayer,
    Constant,
    Conv,
    IntegerGraph,
    MatMul,
    Node,
    Readout,
    Requantize,
    TopK,
    Weighted,
    expected_gain,
    fault_constant,
)
from edgechaos.graph.units import Mortal, chaos_and_topk, loud, mortal, plain_layers
from edgechaos.support.errors import AccumulatorOverflow, FaultError

ALL = "*"
TARGETS = ("weight", "bias")
"""Which words of a node may flip."""


@dataclass(frozen=True, slots=True)
class DeadNeurons:
    """Permanently dead neurons: they never deliver a spike; dead units of a TopK never win, those of a plain layer send code 0.

    Exactly round(rate * n), nested. layer: the name of a ChaosLayer, a TopK or the Requantize that finishes a plain layer, or "*":
    every spiking and k-WTA layer, or every plain layer of a graph that has neither. neurons: explicit indices instead of rate and seed.
    """

    kind: ClassVar[str] = "dead"
    layer: str = ALL
    rate: float = 0.0
    seed: int = 0
    neurons: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", check_seed(self.seed))


@dataclass(frozen=True, slots=True)
class StuckAtOne:
    """Permanently stuck-at-1 neurons: they deliver a spike at every tick. Sites as for DeadNeurons."""

    kind: ClassVar[str] = "stuck_at_1"
    layer: str = ALL
    rate: float = 0.0
    seed: int = 0
    neurons: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", check_seed(self.seed))


@dataclass(frozen=True, slots=True)
class Omission:
    """Intermittent omission: each spike is lost with probability `rate`, afresh per sample, tick and neuron.

    Replaces the layer's own loss probability on the same stream: what a lower rate loses, a higher one loses too.
    """

    kind: ClassVar[str] = "omission"
    layer: str = ALL
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class WeightBitFlip:
    """Permanent bit flips in the stored words of the weights or biases of a MatMul, Readout, Conv or EmbeddingBag.

    node: such a node's name, or "*". target: "weight" or "bias". Words that several nodes read flip for all of them.
    Exactly round(rate * bits) distinct bits, nested over rates; or `bits`, explicit (flat word index, bit) pairs.
    """

    kind: ClassVar[str] = "weight_bit_flip"
    node: str = ALL
    target: str = "weight"
    rate: float = 0.0
    seed: int = 0
    bits: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", check_seed(self.seed))


Fault = DeadNeurons | StuckAtOne | Omission | WeightBitFlip
FAULT_KINDS: Mapping[str, type[Fault]] = MappingProxyType({kind.kind: kind for kind in (DeadNeurons, StuckAtOne, Omission, WeightBitFlip)})


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Any number of faults that hold together during one trial. The empty plan is the clean model."""

    faults: tuple[Fault, ...] = ()

    def to_json(self) -> list[dict[str, Any]]:
        """One JSON object per fault, its `kind` first."""
        return [{"kind": f.kind, **asdict(f)} for f in self.faults]

    @property
    def id(self) -> str:
        """Sixteen hex digits that name the plan's content."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, eq=False)
class ResolvedPlan:
    """What a plan means for one graph, in integers; what goes over the wire.

    fail_q: layer -> 0..65536. dead, stuck: layer -> (n,) bool. patch: weighted node -> (k, 3) int32 rows (row, column, delta),
    column = -1 for the bias.
    """

    fail_q: Mapping[str, int] = field(default_factory=dict)
    dead: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    stuck: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    patch: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)


CLEAN = ResolvedPlan()


def nested_sites(seed: int, stream: int, count: int, rate: float) -> NDArray[np.intp]:
    """The round(rate * count) sites of lowest random word, ties to the lowest index: a lower rate's are among them."""
    chosen = int(rate * count + 0.5)
    if chosen == 0:
        return np.zeros(0, np.intp)
    word = random_bits.words(seed, stream, [0], 1, count)[0, 0]
    # Not sorted: a campaign draws a few of some hundred thousand bits, trial after trial.
    highest = np.partition(word, chosen - 1)[chosen - 1]
    below, equal = np.flatnonzero(word < highest), np.flatnonzero(word == highest)
    return np.sort(np.concatenate([below, equal[: chosen - len(below)]]))


def resolve(graph: IntegerGraph, plan: FaultPlan) -> ResolvedPlan:
    """Turn rates and seeds into neurons and words.

    Raises FaultError for a rate outside 0..1, a site that the graph does not have, or faults that contradict.
    """
    fail_q: dict[str, int] = {}
    masks: dict[type, dict[str, NDArray[np.bool_]]] = {DeadNeurons: {}, StuckAtOne: {}}
    flips: dict[str, NDArray[np.int64]] = {}  # by constant, the sites word * bits + bit
    for fault in plan.faults:
        if not 0.0 <= fault.rate <= 1.0:
            raise FaultError(f"{fault.kind}: rate {fault.rate} is outside 0..1")
        if not isinstance(fault, Omission) and fault.rate and (fault.bits if isinstance(fault, WeightBitFlip) else fault.neurons):
            raise FaultError(f"{fault.kind}: has a rate and explicit sites; give one of them")
        if isinstance(fault, WeightBitFlip):
            for constant, node in _words(graph, fault).items():
                before, sites = flips.get(constant), _flip_sites(graph, node, constant, fault)
                flips[constant] = sites if before is None else np.setxor1d(before, sites)  # flipping one bit twice restores it
            continue
        for layer in _layers(graph, fault):
            if isinstance(fault, Omission):
                q = random_bits.fail_q(fault.rate)
                if fail_q.setdefault(layer.name, q) != q:
                    raise FaultError(f"{fault.kind}: layer '{layer.name}' has two rates; a layer has one loss probability")
            else:
                mask = masks[type(fault)].setdefault(layer.name, np.zeros(graph.tensors[layer.input].shape[0], bool))
                mask[_neurons(graph, layer, fault, len(mask))] = True
    for name in masks[DeadNeurons].keys() & masks[StuckAtOne].keys():
        both = masks[DeadNeurons][name] & masks[StuckAtOne][name]
        if both.any():
            raise FaultError(f"layer '{name}': neuron {int(both.argmax())} cannot be both dead and stuck at 1; use other seeds or neurons")
    patch = {}
    for node in graph.weighted():
        flipped = ((target, flips.get(str(stored_words(node, target)))) for target in TARGETS)
        rows = [_patch_rows(graph, node, target, sites) for target, sites in flipped if sites is not None and len(sites)]
        if rows:
            joined = np.concatenate(rows)
            patch[node.name] = joined[np.lexsort((joined[:, 1], joined[:, 0]))]
    return ResolvedPlan(fail_q, masks[DeadNeurons], masks[StuckAtOne], patch)


def apply(graph: IntegerGraph, plan: FaultPlan | ResolvedPlan) -> IntegerGraph:
    """The graph under a plan: same tensors, same heads, faults as constants and thresholds. Validated.

    Raises FaultError where the plan does not fit the graph, a bound no longer holds, or a sampled layer refuses it.
    """
    resolved = resolve(graph, plan) if isinstance(plan, FaultPlan) else plan
    _check_names(graph, resolved)
    constants = dict(graph.constants)
    nodes = [_apply_to_node(graph, node, resolved, constants) for node in graph.nodes]
    try:
        return replace(graph, nodes=tuple(nodes), constants=constants).validate()
    except AccumulatorOverflow as error:
        raise FaultError(f"this plan could overflow an accumulator: {error}") from error


def _check_names(graph: IntegerGraph, plan: ResolvedPlan) -> None:
    """A plan resolved for another graph must not pass for a fault without effect."""
    spiking = {n.name for n in graph.chaos_layers()}
    for names, layers in ((plan.fail_q.keys() | plan.stuck.keys(), spiking), (plan.dead.keys(), {n.name for n in mortal(graph)})):
        for name in names - layers:
            raise FaultError(f"graph '{graph.name}' has no layer '{name}' that this plan can break; resolve the plan for this graph")
    weighted = {n.name: n for n in graph.weighted()}
    for name, rows in plan.patch.items():
        if name not in weighted:
            raise FaultError(f"graph '{graph.name}' has no weights '{name}'; resolve the plan for this graph")
        of_bias = rows[rows[:, 1] < 0, 0]
        bias = graph.value(stored_words(weighted[name], "bias"))
        if len(of_bias) and not (of_bias.min() >= 0 and of_bias.max() < len(bias)):
            raise FaultError(f"'{name}' has {len(bias)} bias words, not word {int(of_bias.max())}; resolve the plan for this graph")


def stored_words(node: Weighted, target: str) -> str | None:
    """The constant that holds the words of a target, "weight" or "bias"; None where the node has no such words."""
    if target == "weight":
        return node.weight
    return node.bias if isinstance(node, MatMul | Conv) else None


def _apply_to_node(graph: IntegerGraph, node: Node, plan: ResolvedPlan, constants: dict[str, Constant]) -> Node:
    if isinstance(node, ChaosLayer):
        changes: dict[str, Any] = {"fail_q": plan.fail_q.get(node.name, node.fail_q)}
        for what, mask in (("dead", plan.dead.get(node.name)), ("stuck", plan.stuck.get(node.name))):
            if mask is not None and mask.any():
                if what == "stuck" and node.sampling != "ticks":
                    raise FaultError(
                        f"layer '{node.name}': sampling '{node.sampling}' cannot carry stuck-at-1 neurons; use sampling 'ticks'"
                    )
                changes[what] = fault_constant(node.name, what)
                constants[changes[what]] = Constant(mask.astype(np.int8), 8)
        return replace(node, **changes)
    if isinstance(node, TopK | Requantize) and plan.dead.get(node.name, np.zeros(1, bool)).any():
        dead = fault_constant(node.name, "dead")
        constants[dead] = Constant(plan.dead[node.name].astype(np.int8), 8)
        return replace(node, dead=dead)
    if isinstance(node, Weighted):
        changes = {}
        rows = plan.patch.get(node.name, np.zeros((0, 3), np.int32))
        of_bias, of_weight = rows[rows[:, 1] < 0], rows[rows[:, 1] >= 0]
        if len(of_weight):
            changes["patch"] = fault_constant(node.name, "patch")
            constants[changes["patch"]] = Constant(of_weight.astype(np.int32), 32)
        if len(of_bias):
            bias = graph.value(stored_words(node, "bias")).copy()
            np.add.at(bias, of_bias[:, 0], of_bias[:, 2])
            changes["bias"] = fault_constant(node.name, "bias")
            constants[changes["bias"]] = Constant(bias, 32)
        if isinstance(node, Readout):
            layer = graph.producer(node.input)
            if isinstance(layer, ChaosLayer) and layer.sampling == "expected":
                changes["gain"] = expected_gain(layer.ticks, plan.fail_q.get(layer.name, layer.fail_q))
        return replace(node, **changes)
    return node


def _layers(graph: IntegerGraph, fault: DeadNeurons | StuckAtOne | Omission) -> tuple[Mortal, ...]:
    """Spiking layers; units of a TopK or of a plain layer may be dead, but have no spikes to lose or to send."""
    able: tuple[Mortal, ...]
    everywhere: tuple[Mortal, ...]
    if not isinstance(fault, DeadNeurons):
        able, everywhere, what = graph.chaos_layers(), graph.chaos_layers(), "spiking layer"
    else:
        able = (*chaos_and_topk(graph), *plain_layers(graph))
        everywhere, what = chaos_and_topk(graph) or plain_layers(graph), "spiking, k-WTA or plain layer"
    layers = everywhere if fault.layer == ALL else tuple(n for n in able if n.name == fault.layer)
    if not layers:
        have = ", ".join(n.name for n in able) or "none"
        raise FaultError(f"{fault.kind}: graph '{graph.name}' has no {what} '{fault.layer}'; it has {have}")
    for layer in layers:
        why = loud(graph, layer) if isinstance(layer, Requantize) else None
        if why is not None:
            raise FaultError(f"{fault.kind}: the units of layer '{layer.name}' cannot be dead: {why}; name another layer")
    return layers


def _words(graph: IntegerGraph, fault: WeightBitFlip) -> dict[str, Weighted]:
    """The constants whose words a fault flips, each once, with the first node that reads it: nodes may share constants."""
    if fault.target not in TARGETS:
        raise FaultError(f"{fault.kind}: unknown target '{fault.target}'; use 'weight' or 'bias'")
    weighted = graph.weighted()
    named = {stored_words(n, fault.target) for n in weighted if fault.node in (ALL, n.name)} - {None}
    if not named:
        have = ", ".join(n.name for n in weighted)
        raise FaultError(f"{fault.kind}: graph '{graph.name}' has no {fault.target} at '{fault.node}'; its matrices are {have or 'none'}")
    found: dict[str, Weighted] = {}
    for node in weighted:
        constant = stored_words(node, fault.target)
        if constant is not None and constant in named:
            found.setdefault(constant, node)
    return found


def _neurons(graph: IntegerGraph, layer: Mortal, fault: DeadNeurons | StuckAtOne, count: int) -> NDArray[np.intp]:
    if fault.neurons:
        chosen = np.array(fault.neurons, np.intp)
        if chosen.min() < 0 or chosen.max() >= count:
            wrong = int(chosen[(chosen < 0) | (chosen >= count)][0])
            raise FaultError(f"{fault.kind}: layer '{layer.name}' has neurons 0..{count - 1}, not {wrong}")
        return chosen
    if not isinstance(layer, ChaosLayer):
        stream = UNIT_STREAM + graph.site(layer)
    else:
        stream = (DEAD_STREAM if isinstance(fault, DeadNeurons) else STUCK_STREAM) | layer.fail_stream
    return nested_sites(fault.seed, stream, count, fault.rate)


def _flip_sites(graph: IntegerGraph, node: Weighted, constant: str, fault: WeightBitFlip) -> NDArray[np.int64]:
    """Distinct sites word * width + bit, ascending."""
    size, width = graph.constants[constant].value.size, graph.constants[constant].bits
    if not fault.bits:
        stream = FLIP_STREAM + 2 * graph.site(node) + (fault.target == "bias")
        return nested_sites(fault.seed, stream, size * width, fault.rate).astype(np.int64)
    for word, bit in fault.bits:
        if not (0 <= word < size and 0 <= bit < width):
            raise FaultError(f"{fault.kind}: '{node.name}' has {size} {fault.target} words of {width} bits, not word {word} bit {bit}")
    return np.unique(np.array([word * width + bit for word, bit in fault.bits], np.int64))


def _patch_rows(graph: IntegerGraph, node: Weighted, target: str, sites: NDArray[np.int64]) -> NDArray[np.int32]:
    """(row, column, w' - w) per flipped word; a word's flips are taken together. sites: not empty, ascending."""
    constant = graph.constants[str(stored_words(node, target))]
    width = constant.bits
    word, first = np.unique(sites // width, return_index=True)
    bits = np.bitwise_or.reduceat(np.int64(1) << sites % width, first)
    old = constant.value.reshape(-1)[word].astype(np.int64)
    new = (old ^ bits) & ((1 << width) - 1)
    new -= (new >> (width - 1)) << width
    delta = new - old
    beyond = np.abs(delta) >= 2**31
    if beyond.any():
        raise FaultError(
            f"'{node.name}': flipping bias word {word[beyond][0]} moves it by more than an int32 can hold; exclude its top bit"
        )
    columns = constant.value.size // len(constant.value)
    place = (word // columns, word % columns) if target == "weight" else (word, np.full(len(word), -1))
    return np.stack([*place, delta], axis=1).astype(np.int32)
