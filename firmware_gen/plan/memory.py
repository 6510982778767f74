"""Where every tensor lives: sizes that are known before anything is compiled, and asserted by the C that is.

One typed pool per integer width, in which values whose lifetimes do not overlap share space. What the readout read and the logits
stay in place after a run, because STATE_HASH and RESULT read them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgechaos.firmware_gen.plan.slots import placed_slots
from edgechaos.graph.integer_graph import ArgMax, Conv, EmbeddingBag, IntegerGraph, MatMul, ThermalNoise
from edgechaos.reference import readout_input

POOL = {"int32": "words", "int16": "halves", "int8": "codes"}
"""The state's member for each dtype."""
BYTES = {"words": 4, "halves": 2, "codes": 1}
PATCH_BYTES = 12
"""sizeof(ec_patch)."""
EVENT_PADDING = 6
"""Event lists come in groups of four, one growing up and one down (ec_run.h)."""
CONV_BLOCK = 4
"""Positions that a dense convolution takes at a time, and inputs that it takes together (ec_conv_dense.h)."""
FOREVER = 1 << 30


@dataclass(frozen=True, slots=True)
class Capacities:
    """What the fault hooks hold: words of all slots (`edgechaos.firmware_gen.plan.slots`), and patch rows."""

    slot_words: int
    patches: int


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor's pool and its first element there."""

    pool: str
    first: int


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Sizes in elements (pools, scratch) and bytes (the rest); state_bytes is what C asserts."""

    places: Mapping[str, Place]
    pools: Mapping[str, int]
    input_bytes: int
    scratch_events: int
    scratch_neurons: int
    scratch_stateful: int
    scratch_sums: int
    scratch_block: int
    scratch_window: int
    parameters: int
    capacities: Capacities
    state_bytes: int


def plan_memory(graph: IntegerGraph, patch_capacity: int, faults: bool, dense: Collection[str]) -> MemoryPlan:
    """Place every tensor. `dense`: names of the nodes with the dense kernel; every other matrix needs a list of its active inputs."""
    places, pools = _place(graph)
    layers = graph.chaos_layers()
    convs = [n for n in graph.nodes if isinstance(n, Conv)]
    sizes = {n.name: graph.tensors[n.input].shape[0] for n in layers}
    capacities = Capacities(
        slot_words=sum(slot.words for slot in placed_slots(graph)),
        patches=patch_capacity if faults else 0,
    )
    plan = MemoryPlan(
        places=places,
        pools=pools,
        input_bytes=max(input_bytes(graph, h.input) for h in graph.heads),
        scratch_events=max((fan_in(graph, n) for n in graph.nodes if isinstance(n, MatMul | Conv) and n.name not in dense), default=0),
        scratch_neurons=max(sizes.values(), default=0),
        scratch_stateful=max((sizes[n.name] for n in layers if n.mode == "stateful"), default=0),
        scratch_sums=max((_sums(graph, n, n.name in dense) for n in graph.nodes if isinstance(n, Conv | EmbeddingBag)), default=0),
        scratch_block=max((CONV_BLOCK * padded_fan_in(graph, n) for n in convs if n.name in dense), default=0),
        scratch_window=max((fan_in(graph, n) for n in convs if n.name not in dense), default=0),
        parameters=sum(isinstance(n, ThermalNoise) for n in graph.nodes),
        capacities=capacities,
        state_bytes=0,
    )
    return replace(plan, state_bytes=_state_bytes(plan, faults))


def fan_in(graph: IntegerGraph, node: MatMul | Conv) -> int:
    """How many inputs each output sums: a tick's, or a window's."""
    weight = graph.value(node.weight)
    return weight.size // len(weight)


def padded_fan_in(graph: IntegerGraph, node: Conv) -> int:
    """A window's inputs, and zeros up to whole fours."""
    return math.ceil(fan_in(graph, node) / CONV_BLOCK) * CONV_BLOCK


def input_bytes(graph: IntegerGraph, tensor: str) -> int:
    """Of a head's input on the wire and in the state."""
    return graph.tensors[tensor].size * np.dtype(graph.tensors[tensor].dtype).itemsize


def _sums(graph: IntegerGraph, node: Conv | EmbeddingBag, dense: bool) -> int:
    outputs, size = graph.value(node.weight).shape[:2]
    if isinstance(node, EmbeddingBag):
        return int(size)
    if dense:  # sums go straight to their places, unless a block is wider than a row
        return CONV_BLOCK * outputs if graph.tensors[node.output].shape[2] < CONV_BLOCK else 0
    return int(outputs)


def _place(graph: IntegerGraph) -> tuple[dict[str, Place], dict[str, int]]:
    """First fit, in the order of execution: a tensor takes the lowest span that nobody alive holds."""
    last_use = {tensor: step for step, node in enumerate(graph.nodes) for tensor in node.inputs()}
    for head in graph.heads:
        last_use[head.logits] = FOREVER
        last_use[readout_input(graph, head)] = FOREVER
    inputs = {h.input for h in graph.heads}
    places: dict[str, Place] = {}
    alive: dict[str, list[tuple[int, int, int]]] = {pool: [] for pool in BYTES}
    pools = dict.fromkeys(BYTES, 0)
    for step, node in enumerate(graph.nodes):
        if isinstance(node, ArgMax) or node.output in inputs:
            continue  # the class is returned, not stored
        tensor = graph.tensors[node.output]
        pool = POOL[tensor.dtype]
        alive[pool] = sorted(span for span in alive[pool] if span[2] >= step)
        first = 0
        for begin, end, _ in alive[pool]:
            if first + tensor.size <= begin:
                break
            first = max(first, end)
        alive[pool].append((first, first + tensor.size, last_use.get(node.output, step)))
        pools[pool] = max(pools[pool], first + tensor.size)
        places[node.output] = Place(pool, first)
    return places, pools


def _struct(members: list[tuple[int, int]]) -> int:
    """sizeof a struct of (bytes, alignment) members on every ABI whose fixed-width types are aligned to their size."""
    size = 0
    for width, alignment in members:
        size = math.ceil(size / alignment) * alignment + width
    widest = max(a for _, a in members)
    return math.ceil(size / widest) * widest


def _state_bytes(plan: MemoryPlan, faults: bool) -> int:
    events = plan.scratch_events + EVENT_PADDING if plan.scratch_events else 1
    stateful, neurons = max(plan.scratch_stateful, 1), max(plan.scratch_neurons, 1)
    lists = [(8 * events, 4), (4 * stateful, 4), (2 * stateful, 2), (2 * stateful, 2), (2 * neurons, 2), (neurons, 1)]
    scratch = _struct([*lists, (4 * max(plan.scratch_sums, 1), 4), (2 * max(plan.scratch_block, 1), 2), (max(plan.scratch_window, 1), 1)])
    pools = [(max(plan.pools[p], 1) * BYTES[p], BYTES[p]) for p in ("words", "halves", "codes")]
    parameters = [(4 * plan.parameters, 4)] if plan.parameters else []
    members = [*parameters, pools[0], (math.ceil(plan.input_bytes / 4) * 4, 1), pools[1], pools[2], (scratch, 4)]
    if faults:
        c = plan.capacities
        hooks = [(4 * max(c.slot_words, 1), 4), (PATCH_BYTES * max(c.patches, 1), 4), (4, 2)]
        members.append((_struct(hooks), 4))
    return _struct(members)
