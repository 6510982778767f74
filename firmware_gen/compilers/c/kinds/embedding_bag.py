"""EmbeddingBag in C."""

from __future__ import annotations

import numpy as np

from edgechaos.firmware_gen.compilers.c.lowering import CALL, Lowering, lowers
from edgechaos.firmware_gen.compilers.c.matrix import hooks, members, up
from edgechaos.firmware_gen.compilers.c.packing import pack
from edgechaos.firmware_gen.compilers.c.source import Source
from edgechaos.firmware_gen.compilers.c.writer import Writer
from edgechaos.firmware_gen.plan.memory import Scratch
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.embedding_bag import EmbeddingBag

TOKENS = 64
"""Of a list (ec_embedding.h)."""


@lowers(EmbeddingBag)
class EmbeddingBagInC(Lowering):
    """One call; the vocabulary is a dense matrix, a token a row."""

    header = "ec_embedding.h"
    matrix = ".table"

    def scratch(self, graph: IntegerGraph, node: EmbeddingBag, kernel: str) -> Scratch:
        """The sums of a text, and a list of its tokens, one word each."""
        return Scratch(events=up(min(graph.tensors[node.input].size, TOKENS), 8) // 2, sums=graph.tensors[node.output].size)

    def describe(self, source: Source, w: Writer, node: EmbeddingBag) -> None:
        """An ec_matrix and a rescaling per count of tokens."""
        constant = source.graph.constants[node.weight]
        vocabulary, size = constant.value.shape
        w.comment(f"{node.name}: {vocabulary} tokens, vectors of {size}, {constant.bits}-bit weights")
        if constant.bits == 8:
            table, stride = source.table(w, node.weight, "tokens", constant.value, "int8", "[token][element]"), size
        else:
            packed = pack(constant.value, constant.bits)
            stride = packed.shape[1]
            note = f"[token][element], {8 // constant.bits} weights a byte"
            table = source.table(w, node.weight, "packed_dense", packed.view(np.int8), "int8", note)
        fields = members(source, node, table, True, "NULL", (vocabulary, size, stride))
        rest = {"tokens": source.graph.tensors[node.input].size, "low": node.low, "high": node.high}
        rescaling = source.rescaling(w, node.multiplier, node.shift)
        source.fields(w, "ec_embedding", node, {"table": (fields, hooks(source, node)), **rescaling, **rest})

    def call(self, source: Source, w: Writer, node: EmbeddingBag) -> None:
        """ec_embedding_bag(about, run, ids, out)."""
        about = source.address(node, "ec_embedding")
        w.line(f"ec_embedding_bag({about}, run, (const uint8_t *){source.at(node.input)}, {source.at(node.output)});")

    def instructions(self, graph: IntegerGraph, node: EmbeddingBag) -> int:
        """Every token is a word."""
        tokens, size = graph.tensors[node.input].size, graph.tensors[node.output].size
        return CALL + tokens * (32 + 16 * size) + 40 * size

    def row_instructions(self, graph: IntegerGraph, node: EmbeddingBag) -> int:
        """Every token has it."""
        return 40 + 16 * graph.tensors[node.input].size
