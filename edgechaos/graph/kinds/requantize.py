"""From an accumulator to codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from edgechaos.arithmetic.rounding import requantize
from edgechaos.graph.node import Array, Draws, Graph, Interval, Node, constant_field
from edgechaos.graph.rules import SHIFTABLE, check_mask, check_rescaling, need, require
from edgechaos.graph.tensors import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Requantize(Node):
    """q = clip((int64(acc) * multiplier + 2^(shift-1)) >> shift, low, high); |acc| < 2^30 is proved.

    Input int32 or int16, output int8 or int16, same shape. low = 0 is a ReLU.
    multiplier, shift: (1,) or one per entry of axis 0, int32; 2^30 <= multiplier < 2^31, 31 <= shift <= 61.
    Set by faults alone, where the node finishes a plain layer (`finishes_plain_layer`): dead, (axis 0,) int8 0/1 mask of units whose
    codes are 0; stuck_code, (axis 0,) uint16, 0, or 1 + c - low of a unit whose codes are all c.
    """

    set_by_faults: ClassVar[tuple[str, ...]] = ("dead",)

    multiplier: str = constant_field()
    shift: str = constant_field()
    low: int = -128
    high: int = 127
    dead: str | None = constant_field(None)
    stuck_code: str | None = constant_field(None)
    keeps_units: ClassVar[bool] = True
    unit_kind: ClassVar[Literal["plain"]] = "plain"

    def finishes_plain_layer(self, graph: Graph) -> bool:
        """Whether it writes int8 codes of a sum: spiking and k-WTA layers read int16 or int32, and logits are no layer."""
        source = graph.producer(self.input)
        return graph.tensors[self.output].dtype == "int8" and source is not None and source.finishes(graph)

    def slots(self, graph: Graph) -> tuple[Slot, ...]:
        """The units of a plain layer may be dead where code 0 is silence, or stuck at any code that they can send."""
        if not self.finishes_plain_layer(graph):
            return ()
        units = graph.tensors[self.input].shape[0]
        stuck = Slot("stuck_code", "uint16", units, 0, 1 + self.high - self.low, excludes="dead", added=1)
        return (Slot("dead", "bool", units, refused=self.zero_is_not_silent(graph)), stuck)

    def zero_is_not_silent(self, graph: Graph) -> str | None:
        """Why code 0 is not silence; None where it is. A dead unit must add nothing, and no new code may enter."""
        if not self.low <= 0 <= self.high:
            return f"its clip {self.low}..{self.high} leaves out 0, the code of a dead unit"
        for reader in graph.readers(self.output):
            if not reader.maps_zero_to_zero(graph):
                return f"table '{reader.name}' does not map 0, the code of a dead unit, to 0"
        return None

    def check(self, graph: Graph) -> None:
        x, y = self.io(graph)
        good = x.dtype in ("int32", "int16") and y.dtype in ("int8", "int16")
        require(good, self, f"requantizes int32 or int16 to int8 or int16, not {x.dtype} to {y.dtype}")
        require((x.shape, x.ticks) == (y.shape, y.ticks), self, "input and output must have the same shape")
        clip = (self.low, self.high)
        check_rescaling(graph, self, (self.multiplier, self.shift), clip, ((1,), (x.shape[0],)), "one or one per channel")
        check_mask(graph, self, "dead", self.dead, x.shape[:1])
        if self.dead is not None:
            require(self.finishes_plain_layer(graph), self, "only the int8 codes of a MatMul or Conv have units that can be dead")
            why = self.zero_is_not_silent(graph)
            require(why is None, self, f"has dead units, but {why}")
        if self.stuck_code is not None:
            stuck, most = graph.value(self.stuck_code), 1 + self.high - self.low
            require(self.finishes_plain_layer(graph), self, "only the int8 codes of a MatMul or Conv have units that can be stuck")
            good = stuck.dtype == np.uint16 and stuck.shape == x.shape[:1] and int(stuck.max()) <= most
            require(good, self, f"stuck_code must be uint16 {x.shape[:1]} in 0..{most}")
            both = np.flatnonzero((stuck > 0) & (self.slot_value(graph, "dead") > 0))
            require(not len(both), self, f"unit {both[0] if len(both) else 0} is both dead and stuck")

    def room(self, graph: Graph, bounds: Mapping[str, Interval]) -> int:
        """Of a shifted operand."""
        return SHIFTABLE

    def most_active(self, graph: Graph) -> float | None:
        """As before it: 0 stays 0."""
        source = graph.producer(self.input)
        return None if source is None else source.most_active(graph)

    def bound(self, graph: Graph, bounds: Mapping[str, Interval]) -> Interval:
        """Of the clip."""
        need(self, max(map(abs, bounds[self.input])), SHIFTABLE, "requantized accumulator")
        return self.low, self.high

    def evaluate(self, graph: Graph, tensors: Mapping[str, Array], draws: Draws) -> Array:
        """int8 or int16, shape kept; constants run along the first axis of the tensor's shape."""
        x = tensors[self.input]
        trailing = (1,) * (len(graph.tensors[self.input].shape) - 1)
        multiplier, shift = (graph.value(name).reshape(-1, *trailing) for name in (self.multiplier, self.shift))
        codes = requantize(x, multiplier, shift, self.low, self.high).astype(graph.tensors[self.output].dtype)
        if self.dead is not None:
            codes = np.where(graph.value(self.dead).reshape(-1, *trailing) == 1, codes.dtype.type(0), codes)
        if self.stuck_code is None:
            return codes
        stuck = graph.value(self.stuck_code).astype(np.int32).reshape(-1, *trailing)
        return np.where(stuck > 0, self.low + stuck - 1, codes).astype(codes.dtype)
