"""What the kinds of node with stored weights share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from edgechaos.graph.node import Array, Graph, Interval, Node, constant_field
from edgechaos.graph.rules import ACCUMULATOR, need, require
from edgechaos.graph.tensors import Constant

FLOAT32_INPUTS = 1024
"""So many products of two int8 stay within 2^24, below which float32 has every integer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted(Node):
    """A node with stored weight words that a fault may flip: MatMul, Readout, Conv, EmbeddingBag.

    patch: (k, 3) int32 rows (row, column, delta) of flipped words, where weight is read as a matrix of weight.shape[0] rows;
    `delta * what that word is multiplied with` is added after the sum. Set by faults alone.
    """

    set_by_faults: ClassVar[tuple[str, ...]] = ("patch",)

    weight: str = constant_field()
    patch: str | None = constant_field(None)

    def words(self, graph: Graph) -> Constant:
        """`weight`."""
        return graph.constants[self.weight]

    def terms(self, graph: Graph) -> int:
        """How many products one output sums."""
        weight = graph.value(self.weight)
        return weight.size // len(weight)

    def reach(self, graph: Graph, largest_input: int) -> int:
        """The largest |sum of weight * input| that any stored words can make, with |input| <= largest_input."""
        return self.terms(graph) * (1 << (graph.constants[self.weight].bits - 1)) * largest_input

    def macs(self, graph: Graph) -> int:
        """Products per sample, ticks included."""
        positions = math.prod(graph.tensors[self.output].shape[1:])
        return graph.value(self.weight).size * positions * max(graph.tensors[self.input].ticks, 1)

    def patchable(self, graph: Graph) -> int:
        """How many stored words a fault may change."""
        return graph.value(self.weight).size

    def bias_limit(self, graph: Graph, bounds: Mapping[str, Interval]) -> int:
        """The largest |bias| with which every sum, and what is made of it, keeps its proof; 0 without one."""
        return 0

    def faulty_weight(self, graph: Graph) -> Array:
        """The int8 weights with the flips of the node's patch: the same integers as delta times input after the sum."""
        weight = graph.value(self.weight)
        if self.patch is None:
            return weight
        row, column, delta = graph.value(self.patch).T
        flipped = weight.astype(np.int32)
        flipped.reshape(len(flipped), -1)[row, column] += delta
        return flipped.astype(np.int8)  # a flipped word stays within its stored type

    def check_patch(self, graph: Graph) -> None:
        """Each flipped word once and within its stored type: what the overflow proof counts with."""
        if self.patch is None:
            return
        constant, patch = graph.constants[self.weight], graph.value(self.patch)
        require(patch.dtype == np.int32 and patch.ndim == 2 and patch.shape[1] == 3, self, "patch must be (k, 3) int32")
        weight, patch = constant.value.reshape(len(constant.value), -1), patch.astype(np.int64)
        inside = (patch[:, :2] >= 0) & (patch[:, :2] < weight.shape)
        require(bool(inside.all()), self, "patch names a weight outside the matrix")
        words = np.sort(patch[:, 0] * weight.shape[1] + patch[:, 1])  # sorted already where a plan was resolved
        require(bool((np.diff(words) > 0).all()), self, "patch names a weight twice")
        flipped, reach = weight[patch[:, 0], patch[:, 1]] + patch[:, 2], 1 << (constant.bits - 1)
        require(bool(((flipped >= -reach) & (flipped < reach)).all()), self, f"patch takes a weight out of its {constant.bits} stored bits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summing(Weighted):
    """A node whose outputs are sums of products of weights with codes, and of a bias: MatMul, Readout, Conv."""

    bias: str | None = constant_field(None)

    def strides(self) -> tuple[int, int]:
        """Rows and columns from window to window; none where the matrix is applied once."""
        return 0, 0

    @property
    def slides(self) -> bool:
        """Whether the matrix is applied to windows, at many positions."""
        return any(self.strides())

    def product_gain(self) -> int:
        """What the products are multiplied with."""
        return 1

    def largest_product_gain(self, graph: Graph, bounds: Mapping[str, Interval]) -> int:
        """The same under any fault."""
        return 1

    def patchable(self, graph: Graph) -> int:
        """Weights and biases."""
        return graph.value(self.weight).size + graph.value(self.bias).size

    def bias_limit(self, graph: Graph, bounds: Mapping[str, Interval]) -> int:
        """What the products leave of what the readers have room for."""
        products = self.reach(graph, max(map(abs, bounds[self.input]))) * self.largest_product_gain(graph, bounds)
        return graph.room(self.output, bounds) - products

    def bound(self, graph: Graph, bounds: Mapping[str, Interval]) -> Interval:
        """Every stored word at its worst, and the bias as it is."""
        reach = self.reach(graph, max(map(abs, bounds[self.input]))) * self.product_gain()
        reach += int(np.abs(graph.value(self.bias).astype(np.int64)).max(initial=0))
        bits = graph.constants[self.weight].bits
        need(self, reach, ACCUMULATOR, f"sum of {self.terms(graph)} stored {bits}-bit weights")
        return -reach, reach

    def finishes(self, graph: Graph) -> bool:
        """Every output, of a Conv every channel, is one sum."""
        return not self.is_readout

    def check_bias(self, graph: Graph, outputs: int) -> None:
        """One int32 per output."""
        if self.bias is not None:
            bias = graph.value(self.bias)
            require(bias.dtype == np.int32 and bias.shape == (outputs,), self, f"bias {bias.shape} does not match ({outputs},)")


def product(x: Array, weight: Array) -> NDArray[np.int32]:
    """x @ weight.T over int8 in int32. Float products use BLAS; they are exact in float32 up to 2^24, else in float64."""
    real = np.float32 if weight.shape[1] <= FLOAT32_INPUTS else np.float64
    return np.rint(x.astype(real) @ weight.T.astype(real)).astype(np.int32)
