"""The sum of two tensors of different scale: a residual connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgechaos.arithmetic.rounding import round_half_up
from edgechaos.graph.node import Array, Draws, Graph, Interval, Node, tensor_field
from edgechaos.graph.rules import require

MAX_GAIN = 32767
"""Two codes of int8 times two such gains stay within 2^23: what is summed never needs a proof of its own."""


def gains(scale: float, other_scale: float) -> tuple[int, int, float]:
    """(gain, other_gain, unit) of an Add of codes worth `scale` and `other_scale`: one of the accumulator is worth `unit`.

    The larger scale gets the largest gain, the other its share, rounded, at least 1: off by half a unit in 32767 at most.
    """
    unit = max(scale, other_scale) / MAX_GAIN
    gain, other_gain = (max(1, int(round_half_up(s / unit))) for s in (scale, other_scale))
    return gain, other_gain, unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Node):
    """acc = gain * input + other_gain * other, int8 and int8 -> int32, element by element.

    input, other and the output have one shape, without ticks; `other` is another tensor than `input`. The gains, 1..32767, are the
    scales of the two in units of the accumulator's. The Requantize after it rounds once; to int8, it finishes a plain layer.
    """

    keeps_units: ClassVar[bool] = True

    other: str = tensor_field()
    gain: int
    other_gain: int

    def check(self, graph: Graph) -> None:
        (x, y), z = self.io(graph), graph.tensors[self.other]
        require(self.other != self.input, self, f"adds '{self.other}' to itself; double its gain instead")
        good = x.dtype == z.dtype == "int8" and x.shape == z.shape and x.ticks == z.ticks == 0
        require(good, self, f"adds int8 tensors of one shape without ticks, not {x.dtype} {x.shape} and {z.dtype} {z.shape}")
        require((y.dtype, y.shape, y.ticks) == ("int32", x.shape, 0), self, f"output must be int32 {x.shape}")
        require(1 <= self.gain <= MAX_GAIN and 1 <= self.other_gain <= MAX_GAIN, self, f"gains must lie in 1..{MAX_GAIN}")

    def bound(self, graph: Graph, bounds: Mapping[str, Interval]) -> Interval:
        """The two at their worst together."""
        x, z = bounds[self.input], bounds[self.other]
        return self.gain * x[0] + self.other_gain * z[0], self.gain * x[1] + self.other_gain * z[1]

    def evaluate(self, graph: Graph, tensors: Mapping[str, Array], draws: Draws) -> Array:
        x, z = tensors[self.input].astype(np.int32), tensors[self.other].astype(np.int32)
        return x * np.int32(self.gain) + z * np.int32(self.other_gain)

    def finishes(self, graph: Graph) -> bool:
        """One unit per entry of axis 0, as after a MatMul or Conv."""
        return True
