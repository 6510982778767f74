"""What quantization makes of a kind of float node: its scales, its values in training and exactly, its integer nodes; in a file each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from edgechaos.floatgraph.float_nodes import FloatNode
from edgechaos.support.errors import UnsupportedError
from edgechaos.support.registry import load_all

Gives = Literal["products", "sums", "codes", "ranks", "spikes"]
"""What a tensor holds: int32 sums of a matrix, or of anything else; int8 or int16 codes of reals; spikes."""
SUMS: frozenset[Gives] = frozenset({"products", "sums"})
CODES: frozenset[Gives] = frozenset({"codes", "spikes"})
INT8 = (-128, 127)
INT16 = (-32768, 32767)
PACKAGE = "edgechaos.quantize.kinds"


class QuantizedKind:
    """One kind of float node. `model` is a `FakeQuantModel`, `run` an `Evaluation` of its exact values, `builder` a `GraphBuilder`.

    gives: what its tensor holds. takes: what those that it reads may hold; at_input: whether it may read the input of a head.
    weighted: whether it has a matrix, and per_channel: whether that may have a scale per output.
    """

    gives: ClassVar[Gives] = "codes"
    takes: ClassVar[frozenset[Gives]] = frozenset()
    at_input: ClassVar[bool] = False
    weighted: ClassVar[bool] = False
    per_channel: ClassVar[bool] = False

    def module(self, qnn: Any, node: Any, options: Mapping[str, Any]) -> nn.Module:
        """Of a kind with a matrix: the layer of `brevitas.nn` that trains it."""
        raise NotImplementedError

    def ranges(self, node: Any) -> dict[str, tuple[int, int]]:
        """Its quantizers by name, with the range of their codes; the first is that of its sums."""
        return {}

    def finest(self, model: Any, node: Any) -> float:
        """What a code of its first quantizer is worth at least: sums can only be scaled down, means up a little."""
        return float(model.step(node.input).max())

    def step(self, model: Any, node: Any) -> NDArray[np.float64]:
        """What one code of its tensor is worth, (1,) or one per channel."""
        if node.name in model.quantizers:
            return np.array([model.quantizers[node.name].scale])
        return model.step(node.input)  # type: ignore[no-any-return]

    def fake(self, model: Any, node: Any, values: Mapping[str, Tensor], conditions: Any) -> Tensor:
        """Its tensor in the dtype of what it reads, with a gradient."""
        raise NotImplementedError

    def exact(self, run: Any, node: Any, values: Mapping[str, Tensor]) -> Tensor:
        """Its tensor as the integers have it, float64."""
        raise NotImplementedError

    def lower(self, builder: Any, node: Any) -> None:
        """Add its integer nodes, and the name of their tensor to `builder.values`."""
        raise NotImplementedError


K = TypeVar("K", bound=type[QuantizedKind])
KINDS: dict[type[FloatNode], QuantizedKind] = {}


def quantizes(*kinds: type[FloatNode]) -> Callable[[K], K]:
    """The decorated class is that of these kinds."""

    def register(quantized: K) -> K:
        KINDS.update(dict.fromkeys(kinds, quantized()))
        return quantized

    return register


def kind_of(node: FloatNode) -> QuantizedKind:
    """What quantization makes of a node's kind. Raises UnsupportedError where that is nothing."""
    if not KINDS:
        load_all(PACKAGE)
    if type(node) not in KINDS:
        raise UnsupportedError(f"node '{node.name}': {type(node).__name__} has no integer form here; fold it first", node.name)
    return KINDS[type(node)]
