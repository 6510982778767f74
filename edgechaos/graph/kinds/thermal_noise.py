"""Temperature: noise as wide as the norm of what was multiplied."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.rounding import rounded_shift
from edgechaos.graph.drawing import Drawing
from edgechaos.graph.node import Array, Draws, Graph, Interval, tensor_field
from edgechaos.graph.rules import ACCUMULATOR, GAUSSIAN_MAX, SHIFTABLE, need, require
from edgechaos.graph.tensors import Slot
from edgechaos.graph.thermal import AMPLITUDE_MAX, NOISE_PER_ROOT_TEMPERATURE, deviation
from edgechaos.support.errors import GraphError


@dataclass(frozen=True, slots=True, kw_only=True)
class ThermalNoise(Drawing):
    """output = input + noise: one table Gaussian per output, as wide as the norm of what was multiplied; int32 (n,).

        norm = floor(sqrt(sum codes^2));  amplitude = min(32767, (norm * k + 2^(shift_a-1)) >> shift_a)
        noise[n] = (G[word(n) >> 22] * amplitude + 2^(shift_b-1)) >> shift_b       word: of `stream`, tick 0

    input: the accumulator of a MatMul; codes: the int8 tensor that this MatMul read. k in 0..k_max carries the temperature
    (`edgechaos.graph.thermal`) and may be set anew for every run; shift_a, shift_b in 1..30; norm * k_max < 2^30 is proved.
    """

    keeps_units: ClassVar[bool] = True

    codes: str = tensor_field()
    k: int = 0
    k_max: int = 0
    shift_a: int = 1
    shift_b: int = 1
    stream: int = 0

    def finishes(self, graph: Graph) -> bool:
        """As the MatMul before it."""
        source = graph.producer(self.input)
        return source is not None and source.finishes(graph)

    def sums_over(self, tensor: str) -> bool:
        """Of the codes it takes the norm."""
        return tensor == self.codes

    def streams(self) -> tuple[int, ...]:
        """The noise's."""
        return (self.stream,)

    def slots(self, graph: Graph) -> tuple[Slot, ...]:
        """Its generator."""
        return self.generator_slots()

    def parameter(self) -> tuple[int, int] | None:
        """k, which carries the temperature, and k_max."""
        return self.k, self.k_max

    def parameter_at(self, graph: Graph, temperature: float) -> int:
        """The k of a temperature, as devices take it. Raises GraphError above k_max, or where the weights of the matrix state no scale."""
        matrix = graph.producer(self.input)
        scale = (matrix.matrix_scale(graph) if matrix is not None else None) or ()
        if matrix is None or len(scale) != 1:
            where = matrix.name if matrix is not None else self.input
            raise GraphError(f"node '{self.name}': the weights of '{where}' state no scale; give k instead of a temperature", self.name)
        (unit,) = scale
        per_deviation = 2.0 ** (self.shift_a + self.shift_b - random_bits.GAUSSIAN_BITS)
        k = deviation(temperature, unit) * per_deviation + 0.5 if temperature >= 0 else math.inf
        if not k < self.k_max + 1:
            limit = (self.k_max / per_deviation * unit / NOISE_PER_ROOT_TEMPERATURE) ** 2
            raise GraphError(
                f"node '{self.name}': temperature {temperature:g} is outside 0..{limit:g}; quantize with a larger maximum", self.name
            )
        return math.floor(k)

    def room(self, graph: Graph, bounds: Mapping[str, Interval]) -> int:
        """What the noise leaves."""
        noise = bounds[self.output][1] - bounds[self.input][1]
        return min(ACCUMULATOR, graph.room(self.output, bounds) - noise)

    def check(self, graph: Graph) -> None:
        x, y = self.io(graph)
        matrix = graph.producer(self.input)
        scale = matrix.matrix_scale(graph) if matrix is not None and matrix.input == self.codes and not x.ticks else None
        require(scale is not None, self, "its input must come from a MatMul without ticks, and codes must be what that MatMul reads")
        several = f"one norm serves all outputs: '{matrix.name if matrix else ''}' needs one weight scale (per tensor)"
        require(len(scale or ()) <= 1, self, several)
        require((y.dtype, y.shape, y.ticks) == ("int32", x.shape, 0), self, f"output must be int32 {x.shape}")
        require(0 <= self.k <= self.k_max < 2**30, self, f"k {self.k} is outside 0..k_max, or k_max {self.k_max} outside 0..2^30-1")
        require(1 <= self.shift_a <= 30 and 1 <= self.shift_b <= 30, self, "shifts must lie in 1..30")
        self.check_generator()
        require(0 <= self.stream < 2**16, self, "the stream id must lie in 0..65535")

    def bound(self, graph: Graph, bounds: Mapping[str, Interval]) -> Interval:
        """The accumulator and the largest noise at any k up to k_max; what is summed on the way is proved too."""
        square = graph.tensors[self.codes].size * max(map(abs, bounds[self.codes])) ** 2
        need(self, square, ACCUMULATOR, "sum of squared codes")
        product = math.isqrt(square) * self.k_max
        need(self, product, SHIFTABLE, "norm times k_max")
        amplitude = min(AMPLITUDE_MAX, (product + (1 << self.shift_a - 1)) >> self.shift_a)
        noise = (GAUSSIAN_MAX * amplitude + (1 << self.shift_b - 1)) >> self.shift_b
        need(self, max(map(abs, bounds[self.input])) + noise, ACCUMULATOR, "accumulator plus thermal noise")
        low, high = bounds[self.input]
        return low - noise, high + noise

    def evaluate(self, graph: Graph, tensors: Mapping[str, Array], draws: Draws) -> Array:
        """int32 (batch, n)."""
        x = tensors[self.input]
        codes = tensors[self.codes]
        square = np.square(codes.astype(np.int64)).sum(axis=tuple(range(1, codes.ndim)))
        norm = np.sqrt(square).astype(np.int32)  # exact: below 2^53, a float64 root rounds up to an integer only where it is one
        amplitude = np.minimum(AMPLITUDE_MAX, rounded_shift(norm * np.int32(draws.parameters[self.name]), self.shift_a))
        word = self.drawn(draws, self.stream, 1, x.shape[1]).squeeze(1)
        return x + rounded_shift(random_bits.gaussian(word).astype(np.int32) * amplitude[:, None], self.shift_b)
