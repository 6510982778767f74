"""Random words, table Gaussians and rounded shifts in integer ONNX operations.

Source: docs/semantics.md, "Random words" and "Requantize".
"""

from __future__ import annotations

import numpy as np

from edgechaos.arithmetic.random_bits import GOLDEN, MUL_1, MUL_2, SECOND_PREFIX, gaussian_table
from edgechaos.export.onnx.writer import OnnxWriter
from edgechaos.graph.drawing import LARGEST, Drawing


class Words:
    """Random words of any stream of one node, written where they are needed; sample: (batch,), seed: (1,), uint32."""

    def __init__(self, w: OnnxWriter, node: Drawing, sample: str, seed: str, neurons: int) -> None:
        self.w, self.node, self.seed, self.neurons = w, node, seed, neurons
        self.sample = w.op("Mod", sample, w.constant("repeat", np.uint32(node.draw_repeat))) if node.draw_repeat else sample

    def stream(self, stream: int, ticks: int) -> str:
        """uint32 (batch, ticks, neurons): `Drawing.drawn`, operation by operation; a generator that works costs nothing."""
        w, node, word = self.w, self.node, self._words(stream, ticks)
        if node.draw_period:
            at = w.constant(f"period_{ticks}", np.arange(ticks * self.neurons, dtype=np.int64) % node.draw_period)
            word = w.reshape(w.op("Gather", w.reshape(word, ticks * self.neurons), at, axis=1), ticks, self.neurons)
        if node.draw_clear:
            word = w.op("BitwiseAnd", word, w.constant("working", np.uint32(~node.draw_clear & LARGEST)))
        return w.op("BitwiseOr", word, w.constant("set", np.uint32(node.draw_set))) if node.draw_set else word

    def _words(self, stream: int, ticks: int) -> str:
        """`edgechaos.arithmetic.random_bits.words`."""
        w = self.w
        key = w.constant(f"stream_{stream}", np.uint32(GOLDEN * (stream + 1) & 0xFFFFFFFF))
        head_a = self._mix(w.op("BitwiseXor", self.seed, key))
        head_b = self._mix(w.op("Add", head_a, w.constant("second_prefix", np.uint32(SECOND_PREFIX))))
        sample = w.unsqueeze(self.sample, 1)
        tick = w.constant(f"ticks_{ticks}", np.arange(ticks, dtype=np.uint32))
        prefix_a = self._mix(w.op("BitwiseXor", self._mix(w.op("BitwiseXor", sample, head_a)), tick))
        prefix_b = self._mix(w.op("Add", self._mix(w.op("Add", sample, head_b)), tick))
        steps = w.constant("neuron_steps", np.arange(self.neurons, dtype=np.uint32) * np.uint32(GOLDEN))
        x = self._xor_shift(w.op("Add", w.unsqueeze(prefix_a, 2), steps), 16)
        x = self._xor_shift(w.op("Mul", x, w.constant("mul_1", np.uint32(MUL_1))), 15)
        x = w.op("Mul", w.op("Add", x, w.unsqueeze(prefix_b, 2)), w.constant("mul_2", np.uint32(MUL_2)))
        return self._xor_shift(x, 16)

    def _mix(self, x: str) -> str:
        x = self._xor_shift(x, 16)
        x = self._xor_shift(self.w.op("Mul", x, self.w.constant("mul_1", np.uint32(MUL_1))), 15)
        return self._xor_shift(self.w.op("Mul", x, self.w.constant("mul_2", np.uint32(MUL_2))), 15)

    def _xor_shift(self, x: str, bits: int) -> str:
        return self.w.op("BitwiseXor", x, shift_right(self.w, x, bits))


def shift_right(w: OnnxWriter, x: str, bits: int) -> str:
    """x >> bits of uint32 words."""
    return w.op("BitShift", x, w.constant(f"shift_{bits}", np.uint32(bits)), direction="RIGHT")


def rounded_shift(w: OnnxWriter, x: str, bits: int) -> str:
    """(x + 2^(bits-1)) >> bits, arithmetic, of int32 x in -2^30..2^30-1: the offset 2^30 makes the word non-negative."""
    word = w.op("Add", w.cast(x, "uint32"), w.constant(f"round_{bits}", np.uint32((1 << 30) + (1 << (bits - 1)))))
    return w.op("Sub", w.cast(shift_right(w, word, bits), "int32"), w.constant(f"unround_{bits}", np.int32(1 << (30 - bits))))


def gaussian(w: OnnxWriter, words: str) -> str:
    """G[word >> 22], int32."""
    table = w.constant("gaussian", gaussian_table().astype(np.int32))
    return w.op("Gather", table, w.cast(shift_right(w, words, 22), "int32"), axis=0)
