"""What an integer graph is collected in while a model is lowered: tensors, constants and nodes, and what one code of each is worth.

`edgechaos.quantize.lower_matrices` and `edgechaos.quantize.lower_activations` add the nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic import rounding
from edgechaos.floatgraph.float_nodes import Conv, EmbeddingMean, FloatNode, MatMul, Shape, stored_name
from edgechaos.graph.kinds.chaos_layer import Sampling
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.node import Node
from edgechaos.graph.tensors import Constant, Dtype, Tensor
from edgechaos.quantize.activations import Quantizer
from edgechaos.quantize.fake_quant import FakeQuantModel, QuantizedWeight

K = TypeVar("K", bound=FloatNode)


@dataclass
class GraphBuilder:
    """Collects tensors, constants and nodes.

    values: the tensor of each float node by name. scales: what one code of each tensor is worth, (1,) or (channels,).
    """

    model: FakeQuantModel
    peaks: Mapping[str, float]
    sampling: Sampling
    tensors: dict[str, Tensor] = field(default_factory=dict)
    constants: dict[str, Constant] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    scales: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for head in self.model.described.heads:
            dtype: Dtype = "uint16" if head.encoding.kind == "tokens" else "int8"
            self.values[head.input] = self.tensor(head.input, dtype, head.shape, np.array([head.step]))

    def tensor(self, name: str, dtype: Dtype, shape: Shape, scale: NDArray[np.float64], ticks: int = 0) -> str:
        """Declare a tensor, of which one code is worth `scale`; returns its name."""
        self.tensors[name] = Tensor(name, dtype, shape, float(scale[0]) if len(scale) == 1 else None, ticks)
        self.scales[name] = scale
        return name

    def constant(self, name: str, value: NDArray[Any], bits: int, scale: NDArray[np.float64] | None = None) -> str:
        """Store a constant; returns its name."""
        self.constants[name] = Constant(np.ascontiguousarray(value), bits, () if scale is None else tuple(scale.tolist()))
        return name

    def weights(self, node: MatMul | Conv | EmbeddingMean) -> tuple[QuantizedWeight, str, NDArray[np.float64]]:
        """The integers, the name of their constant (one for all nodes that share it), and what one unit of the accumulator is worth."""
        quantized = self.model.quantized(node.name)
        name = self.constant(f"{stored_name(node)}_weight", quantized.weight, self.model.bits[node.name], quantized.scale)
        return quantized, name, quantized.scale * self.scales[self.values[node.input]]

    def bias(self, node: MatMul | Conv, codes: NDArray[np.float64]) -> str | None:
        """Store a node's bias in units of its accumulator; None where all of it is 0."""
        rounded = rounding.bias_codes(codes, node.name)
        if not rounded.any():
            return None
        return self.constant(f"{node.name}_bias", rounded.astype(np.int32), 32)

    def rescaled(self, name: str, source: str, dtype: Dtype, scale: float, low: int, high: int, terms: int = 1) -> str:
        """A Requantize of `source` to codes of `scale`; what is rescaled is a sum of `terms`, of which the mean is meant."""
        out = self.tensor(f"{name}_codes", dtype, self.tensors[source].shape, np.array([scale]), self.tensors[source].ticks)
        multiplier, shift = rounding.multiplier_shift(self.scales[source] / terms / scale, name)
        self.nodes.append(
            Requantize(
                name,
                source,
                out,
                multiplier=self.constant(f"{name}_multiplier", multiplier, 32),
                shift=self.constant(f"{name}_shift", shift, 32),
                low=low,
                high=high,
            )
        )
        return out

    def quantizer(self, name: str) -> Quantizer:
        """A node's calibrated quantizer."""
        return cast(Quantizer, self.model.quantizers[name])


@dataclass(frozen=True, slots=True)
class Lowering(Generic[K]):
    """How a kind of float node becomes integers. reads: kinds whose tensors it reads, besides the input of a head where at_input."""

    add: Callable[[GraphBuilder, K], None]
    reads: tuple[type[FloatNode], ...] = ()
    at_input: bool = False
