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
from edgechaos.firmware_gen.compilers.c.lowering import lowering_of
from edgechaos.firmware_gen.plan.memory import CONV_BLOCK, fan_in, padded_fan_in
from edgechaos.firmware_gen.protocol import PATCH_ROW
from edgechaos.graph.integer_graph import (
    ArgMax,
    AveragePool,
    ChaosLayer,
    Conv,
    EmbeddingBag,
    Head,
    IntegerGraph,
    Lut,
    MatMul,
    MaxPool,
    Node,
    Requantize,
    ThermalNoise,
    TopK,
    Weighted,
)
from edgechaos.graph.kinds.topk import DROPPABLE

MARGIN = 2
"""What a board file's own flags, or another compiler, may cost beyond -O2."""
CALL = 300
"""A kernel's own beginning and end, its loops over nothing included."""
BYTE = 80
"""A byte of a frame: received, unstuffed and in the checksum, or answered."""
FRAME_BYTES = 32
"""Of a frame around its payload, and of an INFER's head and reply."""
CLEARED_BYTE = 16
"""A byte of the memory that a start or a session clears, twice over."""
BROKEN = 120
"""A word from a generator with faults: two prefixes of its own, divisions by period and repeat."""
FOREIGN_ROW = 8
"""A patch row that belongs to another matrix: looked at and passed over, at every tick."""


def most_instructions(graph: IntegerGraph, patch_capacity: int) -> int:
    """An upper bound of the instructions of one INFER of one sample, frames included, of the costliest head, under any plan, on a
    Cortex-M4; a core's `work` times as many on another.

    patch_capacity: rows that the firmware holds (`Board.patch_capacity`, or as HELLO says); 0 where faults are compiled out.
    """
    return MARGIN * max(_head(graph, head, patch_capacity) for head in graph.heads)


def most_request_instructions(board: Board) -> int:
    """The same of a start, and of any request but INFER: memory to clear, a frame to read, rows each sought among all others."""
    rows = board.max_payload // PATCH_ROW.size
    frames = 2 * BYTE * (board.max_payload + FRAME_BYTES)
    return board.core.work * (CLEARED_BYTE * board.ram.bytes + frames + rows * (CALL + 20 * board.patch_capacity))


def _head(graph: IntegerGraph, head: Head, patch_capacity: int) -> int:
    path = graph.path(head.name)
    rows = min(patch_capacity, sum(_words(graph, n) for n in graph.weighted()))
    calls = sum(max(graph.tensors[n.output].ticks, 1) for n in path if isinstance(n, Weighted))
    frames = BYTE * (2 * FRAME_BYTES + 4 * graph.tensors[head.logits].size)
    patches = FOREIGN_ROW * rows * calls + _costliest(((_row(graph, n), _words(graph, n)) for n in path if isinstance(n, Weighted)), rows)
    return CALL + frames + patches + sum(_node(graph, n) for n in path)


def _costliest(costs: Iterable[tuple[int, int]], rows: int) -> int:
    """Patch rows where they cost most: (instructions of a row, words that can have one) of each matrix."""
    total = 0
    for cost, words in sorted(costs, reverse=True):
        total += cost * min(rows, words)
        rows -= min(rows, words)
    return total


def _words(graph: IntegerGraph, node: Weighted) -> int:
    """How many patch rows a matrix can have: one a stored word."""
    bias = graph.value(node.bias).size if isinstance(node, MatMul | Conv) and node.bias is not None else 0
    return graph.value(node.weight).size + bias


def _row(graph: IntegerGraph, node: Weighted) -> int:
    """Instructions of one patch row of a matrix in one inference."""
    written = graph.tensors[node.output]
    if isinstance(node, EmbeddingBag):
        return 40 + 16 * graph.tensors[node.input].size
    if isinstance(node, Conv):
        rows, columns = written.shape[1:]
        return 80 + rows * (20 + 16 * columns)
    return 24 * max(written.ticks, 1)


def _node(graph: IntegerGraph, node: Node) -> int:
    """Instructions of a node in one inference, without its patch rows."""
    read, written = graph.tensors[node.input], graph.tensors[node.output]
    ticks = max(written.ticks, 1)
    if isinstance(node, MatMul):
        return ticks * _matmul(fan_in(graph, node), written.shape[0])
    if isinstance(node, Conv):
        return _conv(graph, node)
    if isinstance(node, EmbeddingBag):
        return CALL + read.size * (32 + 16 * written.size) + 40 * written.size
    if isinstance(node, MaxPool | AveragePool):
        return CALL + written.size * (24 + node.kernel[0] * (16 + 8 * node.kernel[1]))
    if isinstance(node, Requantize):
        channels = graph.value(node.multiplier).size
        return CALL + ticks * (24 * channels + 128 * read.shape[0] + 48 * math.prod(read.shape))
    if isinstance(node, Lut):
        return CALL + 10 * written.size + 24 * read.shape[0]
    if isinstance(node, TopK):
        return CALL + 4096 + (80 + 20 * min(node.k, DROPPABLE)) * read.size
    if isinstance(node, ThermalNoise):
        return 2 * CALL + 10 * graph.tensors[node.codes].size + (60 + BROKEN) * read.size
    if isinstance(node, ChaosLayer):
        return CALL + _chaos(node, read.shape[0])
    if isinstance(node, ArgMax):
        return CALL + 10 * read.size
    return lowering_of(node).instructions(graph, node)


def _matmul(inputs: int, outputs: int) -> int:
    """One vector, by the costlier kernel: every input is listed, whole groups of inputs meet whole eights of outputs."""
    return CALL + 32 * inputs + 120 * _up(outputs, 8) + 4 * (inputs + 8) * _up(outputs, 8)


def _conv(graph: IntegerGraph, node: Conv) -> int:
    """Every window, four at a time or one by one, whichever costs more."""
    channels, kernel_rows, kernel_columns = graph.value(node.weight).shape[1:]
    outputs, rows, columns = graph.tensors[node.output].shape
    gathered = channels * kernel_rows * (24 + 10 * kernel_columns)
    one_by_one = rows * columns * (gathered + 16 * outputs + _matmul(fan_in(graph, node), outputs))
    block = CALL + 4 * gathered + outputs * (60 + 8 * padded_fan_in(graph, node))
    return CALL + max(one_by_one, rows * (_up(columns, CONV_BLOCK) // CONV_BLOCK) * block)


def _chaos(layer: ChaosLayer, neurons: int) -> int:
    """Every neuron is a candidate, has its noise and its loss drawn from a generator with faults, fires and is stuck."""
    if layer.sampling != "ticks":
        return neurons * (60 + BROKEN + 8 * layer.ticks)
    return layer.ticks * (200 + ((150 if layer.mode == "parallel" else 200) + 2 * BROKEN) * neurons)


def _up(value: int, multiple: int) -> int:
    return math.ceil(value / multiple) * multiple
