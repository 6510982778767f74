"""Where every tensor lives: sizes that are known before anything is compiled, and asserted by the C that is.

One typed pool per integer width, in which values whose lifetimes do not overlap share space. What the readout read and the logits
stay in place after a run, because STATE_HASH and RESULT read them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, replace

import numpy as np

from edgechaos.firmware_gen.plan.slots import placed_slots
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.harden.guards import guards_of
from edgechaos.reference import readout_input

POOL = {"int32": "words", "int16": "halves", "int8": "codes"}
"""The state's member for each dtype."""
BYTES = {"words": 4, "halves": 2, "codes": 1}
WORD = {pool: 4 // width for pool, width in BYTES.items()}
"""Elements of a word: every tensor begins with one, for kernels that load words."""
PATCH_BYTES = 12
"""sizeof(ec_patch)."""
EVENT_PADDING = 6
"""Event lists come in groups of four, one growing up and one down (ec_run.h)."""
CORRECTIONS = 16
"""Wrong weights at a time that guards correct: rows of ec_guards."""
FOREVER = 1 << 30


@dataclass(frozen=True, slots=True)
class Capacities:
    """What the fault hooks hold: words of all slots (`edgechaos.firmware_gen.plan.slots`), patch rows, copies of repaired matrices."""

    slot_words: int
    patches: int
    repair_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Scratch:
    """Elements of each array of ec_scratch (ec_run.h), which no value outlives."""

    events: int = 0
    neurons: int = 0
    stateful: int = 0
    sums: int = 0
    block: int = 0
    window: int = 0

    @staticmethod
    def shared(all_of: Iterable[Scratch]) -> Scratch:
        """Each array as long as whoever needs most of it."""
        return Scratch(*map(max, zip(*map(astuple, (Scratch(), *all_of)), strict=True)))


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor's pool and its first element there."""

    pool: str
    first: int


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Sizes in elements (pools, scratch) and bytes (the rest); state_bytes is what C asserts. guards: tables with check words."""

    places: Mapping[str, Place]
    pools: Mapping[str, int]
    input_bytes: int
    scratch: Scratch
    parameters: int
    capacities: Capacities
    state_bytes: int
    guards: int = 0


def plan_memory(graph: IntegerGraph, patch_capacity: int, faults: bool, scratch: Scratch, repair_bytes: int = 0) -> MemoryPlan:
    """Place every tensor."""
    places, pools = _place(graph)
    capacities = Capacities(
        slot_words=sum(slot.words for slot in placed_slots(graph)),
        patches=patch_capacity if faults else 0,
        repair_bytes=repair_bytes if faults else 0,
    )
    plan = MemoryPlan(
        places=places,
        pools=pools,
        input_bytes=max(input_bytes(graph, h.input) for h in graph.heads),
        scratch=scratch,
        parameters=sum(n.parameter() is not None for n in graph.nodes),
        capacities=capacities,
        state_bytes=0,
        guards=len(guards_of(graph).codes),
    )
    return replace(plan, state_bytes=_state_bytes(plan, faults))


def input_bytes(graph: IntegerGraph, tensor: str) -> int:
    """Of a head's input on the wire and in the state."""
    return graph.tensors[tensor].size * np.dtype(graph.tensors[tensor].dtype).itemsize


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
        if node.is_class or node.output in inputs:
            continue  # the class is returned, not stored
        tensor = graph.tensors[node.output]
        pool = POOL[tensor.dtype]
        alive[pool] = sorted(span for span in alive[pool] if span[2] >= step)
        first = 0
        for begin, end, _ in alive[pool]:
            if first + tensor.size <= begin:
                break
            first = max(first, -(-end // WORD[pool]) * WORD[pool])
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
    s = plan.scratch
    events = s.events + EVENT_PADDING if s.events else 1
    stateful, neurons = max(s.stateful, 1), max(s.neurons, 1)
    lists = [(8 * events, 4), (4 * stateful, 4), (2 * stateful, 2), (2 * stateful, 2), (2 * neurons, 2), (neurons, 1)]
    scratch = _struct([*lists, (4 * max(s.sums, 1), 4), (2 * max(s.block, 1), 2), (max(s.window, 1), 1)])
    pools = [(max(plan.pools[p], 1) * BYTES[p], BYTES[p]) for p in ("words", "halves", "codes")]
    parameters = [(4 * plan.parameters, 4)] if plan.parameters else []
    members = [*parameters, pools[0], (math.ceil(plan.input_bytes / 4) * 4, 4), pools[1], (pools[2][0], 4), (scratch, 4)]
    if faults:
        c = plan.capacities
        hooks = [(8, 8)] if c.repair_bytes else []
        hooks += [(4 * max(c.slot_words, 1), 4), (PATCH_BYTES * max(c.patches, 1), 4), (6, 2)]
        members.append((_struct(hooks), 8 if c.repair_bytes else 4))
    if plan.guards:
        members.append((_struct([(PATCH_BYTES * CORRECTIONS, 4), (2 * CORRECTIONS + 6, 2)]), 4))
    return _struct(members)
