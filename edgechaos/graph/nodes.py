"""The kinds of node of an integer graph, named as in ONNX where ONNX has the operation.

Enters: names of tensors and constants. Leaves: frozen dataclasses without behavior: `docs/semantics.md` says what each computes,
`edgechaos.reference` executes it, `edgechaos.graph.node_rules` checks it. Images are (C, H, W), everything is row-major, also on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from numpy.typing import ArrayLike, NDArray

from edgechaos.arithmetic.random_bits import FAIL_ONE, binomial_table
from edgechaos.graph.node import Graph, Node, constant_field, tensor_field
from edgechaos.graph.tensors import Constant, Slot
from edgechaos.support.errors import FaultError

MAX_TICKS = 127
"""Spike counts are int8."""
LUT_ENTRIES = 256
"""One per int8 code; code c stands at index c + 128."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted(Node):
    """A node with stored weight words that a fault may flip: MatMul, Readout, Conv, EmbeddingBag.

    patch: (k, 3) int32 rows (row, column, delta) of flipped words, where weight is read as a matrix of weight.shape[0] rows;
    `delta * what that word is multiplied with` is added after the sum. Set by faults alone.
    """

    weight: str = constant_field()
    patch: str | None = constant_field(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatMul(Weighted):
    """acc[o] = bias[o] + sum_i weight[o, i] * x[i], int8 x int8 -> int32, per tick where the input has ticks.

    weight: (out, in) int8; bias: (out,) int32. An input (C, H, W) is read as a row-major vector: there is no Flatten.
    patch rows are (out, in, delta).
    """

    bias: str | None = constant_field(None)

    def finishes(self, graph: Graph) -> bool:
        """Every output is one sum."""
        return not self.is_readout


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout(MatMul):
    """logits = gain * (weight @ count) + bias, int32. The last layer: one weight scale for all outputs.

    gain is 1, or `count_q8` where the ChaosLayer before it is sampled as `expected` (then the logits are times 256).
    """

    is_readout: ClassVar[bool] = True

    gain: int = 1

    def settled(self, graph: Graph) -> Node:
        """With the gain that the layer before it calls for."""
        layer = graph.producer(self.input)
        return replace(self, gain=layer.readout_gain() if layer is not None else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv(Weighted):
    """acc[o, y, x] = bias[o] + sum_(c, i, j) weight[o, c, i, j] * padded[c, y * stride[0] + i, x * stride[1] + j], int32.

    Input int8 (C, H, W), padded by `pad` rows and columns of code 0 on both sides; weight (out, C, kh, kw) int8; bias (out,) int32;
    output (out, (H + 2 pad[0] - kh) // stride[0] + 1, likewise). patch rows are (out, flat index over (C, kh, kw), delta).
    """

    bias: str | None = constant_field(None)
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)

    def finishes(self, graph: Graph) -> bool:
        """Every channel is one unit."""
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool(Node):
    """The largest code of each window, int8 (C, H, W) -> int8 (C, (H - kernel[0]) // stride[0] + 1, likewise); no padding."""

    kernel: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (2, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragePool(Node):
    """The int32 *sum* of each window of int8 codes, shapes as for MaxPool; the Requantize after it divides."""

    kernel: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (2, 2)


FINER_BITS = 7
"""A mean of embeddings may have codes finer than one code of the embeddings, by 2^7: means of few-bit codes need it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingBag(Weighted):
    """The mean vector of a text: rows of the token ids that are not 0, summed in int32, rescaled for their count.

        q = clip((int64(sum) * multiplier[count] + 2^(shift[count]-1)) >> shift[count], low, high);  no tokens: 0

    Input uint16 (L,): id 0 is padding, an id >= vocabulary counts as 1, the unknown word. weight (vocabulary, dim) int8;
    multiplier, shift (L + 1,) int32, as of Requantize but shift >= 31 - FINER_BITS, entry 0 unused; low <= 0 <= high; output int8
    (dim,). patch rows are (id, column, delta).
    """

    multiplier: str = constant_field()
    shift: str = constant_field()
    low: int = -128
    high: int = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class Requantize(Node):
    """q = clip((int64(acc) * multiplier + 2^(shift-1)) >> shift, low, high); |acc| < 2^30 is proved.

    Input int32 or int16, output int8 or int16, same shape. low = 0 is a ReLU.
    multiplier, shift: (1,) or one per entry of axis 0, int32; 2^30 <= multiplier < 2^31, 31 <= shift <= 61.
    dead: (axis 0,) int8 0/1 mask of units whose codes are 0, where the node finishes a plain layer (`edgechaos.graph.units`); set by
    faults alone.
    """

    multiplier: str = constant_field()
    shift: str = constant_field()
    low: int = -128
    high: int = 127
    dead: str | None = constant_field(None)
    unit_kind: ClassVar[Literal["plain"]] = "plain"

    def finishes_plain_layer(self, graph: Graph) -> bool:
        """Whether it writes int8 codes of a sum: spiking and k-WTA layers read int16 or int32, and logits are no layer."""
        source = graph.producer(self.input)
        return graph.tensors[self.output].dtype == "int8" and source is not None and source.finishes(graph)

    def slots(self, graph: Graph) -> tuple[Slot, ...]:
        """The units of a plain layer may be dead where code 0 is silence."""
        if not self.finishes_plain_layer(graph):
            return ()
        return (Slot("dead", "bool", graph.tensors[self.input].shape[0], refused=self.zero_is_not_silent(graph)),)

    def zero_is_not_silent(self, graph: Graph) -> str | None:
        """Why code 0 is not silence; None where it is. A dead unit must add nothing, and no new code may enter."""
        if not self.low <= 0 <= self.high:
            return f"its clip {self.low}..{self.high} leaves out 0, the code of a dead unit"
        for reader in graph.readers(self.output):
            if not reader.maps_zero_to_zero(graph):
                return f"table '{reader.name}' does not map 0, the code of a dead unit, to 0"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lut(Node):
    """q = table[x + 128], int8 -> int8, same shape. table: (256,), or (channels, 256) with channels on axis 0, int8."""

    table: str = constant_field()

    def maps_zero_to_zero(self, graph: Graph) -> bool:
        """In every channel."""
        return not graph.value(self.table)[..., LUT_ENTRIES // 2].any()


DROPPABLE = 16
"""Winners that a fault can drop, by rank: one bit each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopK(Node):
    """The k largest values keep their value, which may be negative; the others are 0. int16 (n,) -> int16 (n,).

    Among equals the lowest index wins. Set by faults alone: dead, (n,) int8 0/1 mask of units that rank below every value and leave
    as 0; dropped, bit r set: the winner of rank r (0 the largest) leaves as 0.
    """

    unit_kind: ClassVar[Literal["k-WTA"]] = "k-WTA"

    k: int = 1
    dead: str | None = constant_field(None)
    dropped: int = 0

    def slots(self, graph: Graph) -> tuple[Slot, ...]:
        """Units may be dead; each of the first 16 winners may be dropped."""
        return (
            Slot("dead", "bool", graph.tensors[self.input].shape[0]),
            Slot("dropped", "uint16", 1, 0, (1 << min(self.k, DROPPABLE)) - 1),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ThermalNoise(Node):
    """output = input + noise: one table Gaussian per output, as wide as the norm of what was multiplied; int32 (n,).

        norm = floor(sqrt(sum codes^2));  amplitude = min(32767, (norm * k + 2^(shift_a-1)) >> shift_a)
        noise[n] = (G[word(n) >> 22] * amplitude + 2^(shift_b-1)) >> shift_b       word: of `stream`, tick 0

    input: the accumulator of a MatMul; codes: the int8 tensor that this MatMul read. k in 0..k_max carries the temperature
    (`edgechaos.graph.thermal`) and may be set anew for every run; shift_a, shift_b in 1..30; norm * k_max < 2^30 is proved.
    """

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


TickMode = Literal["parallel", "stateful"]
Sampling = Literal["ticks", "binomial", "expected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosLayer(Node):
    """`ticks` ticks of n spiking neurons with intermittent spike loss (order of operations: docs/semantics.md).

    parallel: every tick starts from zero state, spike iff acc + noise > threshold; input int32.
    stateful: membrane int16 and refractoriness uint16 carry over; input int16.
    The input may have ticks (one drive per tick) or not (the same drive at every tick).
    emit: "spikes" writes (ticks, n) int8 0/1, "count" writes (n,) int8, the spikes delivered over all ticks.
    sampling: "ticks" is the definition. "binomial" draws each count at once. "expected" writes 0/1 (would spike), and
    the readout's gain holds the mean count times 256, `expected_gain`.
    threshold: (n,) int32. sigma: (n,) int32 noise multipliers, noise = (G * sigma + 2^(sigma_shift-1)) >> sigma_shift.
    dead, stuck: (n,) int8 0/1 masks of permanently dead and stuck-at-1 neurons, set by faults alone.
    """

    unit_kind: ClassVar[Literal["spiking"]] = "spiking"

    mode: TickMode = "parallel"
    ticks: int = 1
    threshold: str = constant_field()
    sigma: str | None = constant_field(None)
    sigma_shift: int = 0
    decay_q15: int = 0
    refractory_decay_q15: int = 0
    fail_q: int = 0
    fail_stream: int = 0
    noise_stream: int = 1
    sampling: Sampling = "ticks"
    emit: Literal["spikes", "count"] = "count"
    dead: str | None = constant_field(None)
    stuck: str | None = constant_field(None)

    def readout_gain(self) -> int:
        """The mean count times 256 where the layer is sampled as `expected`."""
        return expected_gain(self.ticks, self.fail_q) if self.sampling == "expected" else 1

    def slots(self, graph: Graph) -> tuple[Slot, ...]:
        """Masks, loss, thresholds; the decays of stateful ticks; and the table that follows the loss, which devices must hold."""
        n = graph.tensors[self.input].shape[0]
        no_stuck = f"sampling '{self.sampling}' cannot carry stuck-at-1 neurons; use sampling 'ticks'"
        slots = [
            Slot("dead", "bool", n),
            Slot("stuck", "bool", n, refused=no_stuck if self.sampling != "ticks" else None),
            Slot("fail_q", "uint32", 1, 0, FAIL_ONE),
            Slot("threshold", "int32", n, -(2**31), 2**31 - 1),
        ]
        if self.mode == "stateful":
            slots += [Slot(name, "uint16", 1, 0, 1 << 15) for name in ("decay_q15", "refractory_decay_q15")]
        if self.sampling == "binomial":
            slots.append(Slot("table", "uint32", self.ticks, 0, 1 << 31))
        return tuple(slots)

    def slot_value(self, graph: Graph, name: str) -> NDArray[Any]:
        """As of every node; `table` is the cumulative distribution of the counts, (ticks,)."""
        if name == "table" and self.sampling == "binomial":
            return binomial_table(self.ticks, self.fail_q)
        return super(ChaosLayer, self).slot_value(graph, name)  # a class with slots has no bare super()

    def with_slot(self, graph: Graph, name: str, values: ArrayLike) -> tuple[Node, dict[str, Constant]]:
        """As of every node; `table` follows fail_q and cannot be set."""
        if name == "table":
            raise FaultError(f"node '{self.name}': its table follows from fail_q; set that")
        return super(ChaosLayer, self).with_slot(graph, name, values)


def expected_gain(ticks: int, fail_q: int) -> int:
    """count_q8 = (ticks * (65536 - fail_q) + 128) >> 8: the mean delivered spikes of a neuron that fires, times 256."""
    return (ticks * (FAIL_ONE - fail_q) + 128) >> 8


@dataclass(frozen=True, slots=True)
class ArgMax(Node):
    """The class: the index of the largest logit, ties to the lowest index. Output uint16, shape (1,)."""


_KINDS = (MatMul, Readout, Conv, MaxPool, AveragePool, EmbeddingBag, Requantize, Lut, TopK, ThermalNoise, ChaosLayer, ArgMax)
NODE_KINDS: Mapping[str, type[Node]] = MappingProxyType({kind.__name__: kind for kind in _KINDS})
