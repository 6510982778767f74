"""How many instructions a request can take: what a device has not finished by then, it never will.

Upper bounds from the graph alone, whatever the input, the faults, the seed and the kernel: every input is active, every neuron fires
at every tick, every word that could be drawn is drawn, every patch row is in use where it costs most. A hang is what exceeds
them, and no honest work does. Costs are instructions of one step of each loop of the C runtime on a Cortex-M4; MARGIN covers other
compilers and flags. tests/firmware/test_work_bounds.py holds them against counts in an emulator.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from edgechaos.firmware_gen.board import Board
from edgechaos.firmware_gen.compilers.c.lowering import CALL, lowering_of
from edgechaos.firmware_gen.compilers.c.matrix import up
from edgechaos.firmware_gen.plan.memory import CORRECTIONS
from edgechaos.firmware_gen.protocol import PATCH_ROW
from edgechaos.graph.heads import Head
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.weighted import Weighted
from edgechaos.harden.guards import guards_of

MARGIN = 2
"""What a board file's own flags, or another compiler, may cost beyond -O2."""
BYTE = 80
"""A byte of a frame: received, unstuffed and in the checksum, or answered."""
FRAME_BYTES = 32
"""Of a frame around its payload, and of an INFER's head and reply."""
CLEARED_BYTE = 16
"""A byte of the memory that a start or a session clears, twice over."""
GUARDED_WORD, GUARDED_TABLE = 40, 1000
"""A word whose check words are computed and, in every bit position of its block, corrected; what a table costs besides."""
FOREIGN_ROW = 8
"""A patch row that belongs to another matrix: looked at and passed over, at every tick."""


def most_instructions(graph: IntegerGraph, patch_capacity: int) -> int:
    """An upper bound of the instructions of one INFER of one sample, frames included, of the costliest head, under any plan, on a
    Cortex-M4; a core's `work` times as many on another.

    patch_capacity: rows that the firmware holds (`Board.patch_capacity`, or as HELLO says); 0 where faults are compiled out.
    """
    return MARGIN * (_guards(graph) + max(_head(graph, head, patch_capacity) for head in graph.heads))


def most_request_instructions(board: Board) -> int:
    """The same of a start, and of any request but INFER: memory to clear, a frame to read, rows each sought among all others."""
    rows = board.max_payload // PATCH_ROW.size
    frames = 2 * BYTE * (board.max_payload + FRAME_BYTES)
    return board.core.work * (CLEARED_BYTE * board.ram.bytes + frames + rows * (CALL + 20 * board.patch_capacity))


def _head(graph: IntegerGraph, head: Head, patch_capacity: int) -> int:
    path = graph.path(head.name)
    rows = min(patch_capacity, sum(n.patchable(graph) for n in graph.weighted()))
    weighted = [n for n in path if isinstance(n, Weighted)]
    calls = sum(max(graph.tensors[n.output].ticks, 1) for n in weighted)
    frames = BYTE * (2 * FRAME_BYTES + 4 * graph.tensors[head.logits].size)
    patches = FOREIGN_ROW * rows * calls
    patches += _costliest(((lowering_of(n).row_instructions(graph, n), n.patchable(graph)) for n in weighted), rows)
    return CALL + frames + patches + sum(lowering_of(n).instructions(graph, n) for n in path)


def _guards(graph: IntegerGraph) -> int:
    """All guarded tables, padded as their layouts may be; each correction is a row that every matrix looks at."""
    tables = guards_of(graph).codes
    if not tables:
        return 0
    padded = (math.prod(up(n, 8) for n in graph.value(c).shape) for c in tables)
    ticks = sum(max(graph.tensors[n.output].ticks, 1) for n in graph.weighted())
    corrected = CORRECTIONS * (FOREIGN_ROW * ticks + max(lowering_of(n).row_instructions(graph, n) for n in graph.weighted()))
    return corrected + GUARDED_TABLE * len(tables) + GUARDED_WORD * sum(padded)


def _costliest(costs: Iterable[tuple[int, int]], rows: int) -> int:
    """Patch rows where they cost most: (instructions of a row, words that can have one) of each matrix."""
    total = 0
    for cost, words in sorted(costs, reverse=True):
        total += cost * min(rows, words)
        rows -= min(rows, words)
    return total
