"""The one table of random streams: who draws from which ids of `edgechaos.arithmetic.random_bits`.

Two streams with one id draw equal words for equal seeds. Numbers never change: stored models and finished campaigns hang on them.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple


class Span(NamedTuple):
    """Ids first .. first + size - 1; size: what is set aside, not what is in use."""

    first: int
    size: int


LAYERS = Span(0, 0x10000)
"""What nodes of a graph store: fail_stream, noise_stream and stream are uint16."""
AUGMENTATION_STREAM = 0x8000
UNIT_FAIL_STREAM = 0x9000
DEAD_STREAM = 0x10000
STUCK_STREAM = 0x20000
FLIP_STREAM = 0x30000
MASK_STREAM = 0x40000
UNIT_STREAM = 0x50000
SPLIT_STREAM = 0x50000
PERMUTATION_STREAM = 0x51000
TASK_STREAM = 0x52000
EPOCH_STREAM = 0x60000
SHARE_STREAM = 0x70000
DYNAMICS_STREAM = 0x78000
TRAINING_DEAD_STREAM = 0x7C000
LABEL_STREAM = 0x7D000
COMPANION_STREAM = 0x7E000
RANDOM_STREAM = 0x80000
FAULT_STREAMS = Span(0x40000000, 0x40000000)
"""What kinds of fault without a span of their own draw from."""
STREAMS: dict[str, Span] = {
    "layers of a graph": LAYERS,
    "augmentation while training: dropout and noise": Span(AUGMENTATION_STREAM, 0x1000),
    "omission while training, of units that are no ChaosLayer": Span(UNIT_FAIL_STREAM, 0x1000),
    "fault sites: dead neurons, by fail_stream": Span(DEAD_STREAM, 0x10000),
    "fault sites: stuck neurons, by fail_stream": Span(STUCK_STREAM, 0x10000),
    "fault sites: flipped bits, by site": Span(FLIP_STREAM, 0x10000),
    "campaigns: seeds of masks": Span(MASK_STREAM, 1),
    "fault sites: dead units, by site": Span(UNIT_STREAM, 0x1000),
    "data: the split of items": Span(SPLIT_STREAM, 1),
    "continual: permutations of pixels, by task": Span(PERMUTATION_STREAM, 0x1000),
    "continual: seeds of tasks, by task": Span(TASK_STREAM, 0x1000),
    "training: order of items, by epoch": Span(EPOCH_STREAM, 0x10000),
    "training: the share that is omitted": Span(SHARE_STREAM, 1),
    "training: torch's own draws": Span(DYNAMICS_STREAM, 1),
    "training: permanent death, by fail_stream": Span(TRAINING_DEAD_STREAM, 0x10001),
    "continual: labels drawn for EWC": Span(LABEL_STREAM, 1),
    "training: companions of a step": Span(COMPANION_STREAM, 0x1000),
    "pruning: removal by chance, by node": Span(RANDOM_STREAM, 0x10000),
    "fault sites: of any other kind, by its name and the site": FAULT_STREAMS,
}
EXEMPT = {
    frozenset(("layers of a graph", "augmentation while training: dropout and noise")): "layers store ids from 0 on, two each",
    frozenset(("layers of a graph", "omission while training, of units that are no ChaosLayer")): "likewise; and no graph stores these",
    **{
        frozenset(("training: permanent death, by fail_stream", other)): "fail_streams lie below 0x1000 or from 0x9000 on, never there"
        for other in ("continual: labels drawn for EWC", "training: companions of a step", "pruning: removal by chance, by node")
    },
    frozenset(("fault sites: dead units, by site", "data: the split of items")): "items are split with a seed of the data set's own",
}
"""Spans that overlap, and why that hurts nobody."""


def fault_stream(kind: str, site: int = 0) -> int:
    """The stream of a kind of fault at a site: first + crc32("kind site") mod size. A plug-in draws words that no other kind draws."""
    return FAULT_STREAMS.first + zlib.crc32(f"{kind} {site}".encode()) % FAULT_STREAMS.size
