"""What the kinds of node that read images by windows share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from edgechaos.arithmetic.windows import output_size, window_index
from edgechaos.graph.node import Array, Graph, Node
from edgechaos.graph.rules import MAX_GATHERED, require
from edgechaos.graph.tensors import Tensor


def check_windows(node: Node, x: Tensor, kernel: tuple[int, int], stride: tuple[int, int], pad: tuple[int, int]) -> tuple[int, int]:
    """The (height, width) of the output."""
    image = x.dtype == "int8" and x.ticks == 0 and len(x.shape) == 3
    require(image, node, f"takes int8 (channels, height, width) without ticks, not {x.dtype} {x.shape}")
    good = min(*kernel, *stride) >= 1 and all(0 <= p < k for p, k in zip(pad, kernel, strict=True))
    require(good, node, f"kernel {kernel}, stride {stride} and pad {pad} must be at least 1, and pad smaller than the kernel")
    size = output_size(x.shape, kernel, stride, pad)
    require(min(size) >= 1, node, f"kernel {kernel} is larger than its padded input {x.shape}")
    gathered = x.shape[0] * math.prod(size) * math.prod(kernel)
    require(gathered <= MAX_GATHERED, node, f"its windows read {gathered} codes, more than {MAX_GATHERED}")
    return size


def windows_of(x: Array, kernel: tuple[int, ...], stride: tuple[int, int]) -> Array:
    """(batch, channels, positions, kernel): what every window of a padded image reads."""
    index = window_index(x.shape[1:], (kernel[0], kernel[1]), stride)
    return x.reshape(*x.shape[:2], x.shape[2] * x.shape[3])[:, :, index]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool(Node):
    """One value of each window, int8 (C, H, W) -> (C, (H - kernel[0]) // stride[0] + 1, likewise); no padding."""

    keeps_units: ClassVar[bool] = True
    pooled_dtype: ClassVar[str] = "int8"

    kernel: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (2, 2)

    def check(self, graph: Graph) -> None:
        """Raises GraphError where a rule of docs/semantics.md is broken."""
        x, y = self.io(graph)
        wanted, dtype = (x.shape[0], *check_windows(self, x, self.kernel, self.stride, (0, 0))), self.pooled_dtype
        require((y.dtype, y.shape, y.ticks) == (dtype, wanted, 0), self, f"output must be {dtype} {wanted}, not {y.dtype} {y.shape}")

    def windows(self, graph: Graph, tensors: Mapping[str, Array]) -> Array:
        """(batch, channels, positions, kernel): the codes of every window."""
        return windows_of(tensors[self.input], self.kernel, self.stride)
