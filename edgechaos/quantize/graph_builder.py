"""What an integer graph is collected in while a model is lowered: tensors, constants and nodes, and what one code of each is worth.

The kinds of float nodes (`edgechaos.quantize.kinds`) add to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic import rounding
from edgechaos.floatgraph.float_nodes import Conv, EmbeddingMean, MatMul, Shape, stored_name
from edgechaos.graph.kinds.chaos_layer import Sampling
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.node import Node
from edgechaos.graph.tensors import Constant, Dtype, Tensor
from edgechaos.quantize.fake_quant import FakeQuantModel, QuantizedWeight


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

    def factors(self, name: str, real: NDArray[np.float64], node: str, finer_bits: int = 0) -> dict[str, Any]:
        """Store the multiplier and the shift that real factors become; their names, by field. node: in messages."""
        multiplier, shift = rounding.multiplier_shift(real, node, 1 << finer_bits)
        return {field: self.constant(f"{name}_{field}", value, 32) for field, value in (("multiplier", multiplier), ("shift", shift))}

    def quantized(self, point: str, source: str, name: str = "", dtype: Dtype = "int8", terms: int = 1) -> str:
        """`source` in the codes of a quantizer, by a Requantize of that name, or of the quantizer's."""
        quantizer, name = self.model.quantizer(point), name or point
        return self.rescaled(name, source, f"{name}_codes", dtype, quantizer.scale, (quantizer.low, quantizer.high), terms, of=name)

    def rescaled(
        self, name: str, source: str, out: str, dtype: Dtype, scale: float, codes: tuple[int, int], terms: int = 1, *, of: str
    ) -> str:
        """A Requantize of `source` to codes of `scale`; what is rescaled is a sum of `terms`, of which the mean is meant.

        of: begins the names of its constants.
        """
        self.tensor(out, dtype, self.tensors[source].shape, np.array([scale]), self.tensors[source].ticks)
        factors = self.factors(of, self.scales[source] / terms / scale, name)
        self.nodes.append(Requantize(name, source, out, **factors, low=codes[0], high=codes[1]))
        return out
