"""A convolution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgechaos.graph.images import check_windows, windows_of
from edgechaos.graph.node import Array, Draws, Graph
from edgechaos.graph.rules import require
from edgechaos.graph.weighted import Summing, product


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv(Summing):
    """acc[o, y, x] = bias[o] + sum_(c, i, j) weight[o, c, i, j] * padded[c, y * stride[0] + i, x * stride[1] + j], int32.

    Input int8 (C, H, W), padded by `pad` rows and columns of code 0 on both sides; weight (out, C, kh, kw) int8; bias (out,) int32;
    output (out, (H + 2 pad[0] - kh) // stride[0] + 1, likewise). patch rows are (out, flat index over (C, kh, kw), delta).
    """

    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)

    def check(self, graph: Graph) -> None:
        x, y = self.io(graph)
        weight = graph.value(self.weight)
        good = weight.dtype == np.int8 and weight.ndim == 4 and len(x.shape) == 3 and weight.shape[1] == x.shape[0]
        require(good, self, f"weight {weight.shape} is not int8 (outputs, {x.shape[0]}, height, width)")
        wanted = (weight.shape[0], *check_windows(self, x, (weight.shape[2], weight.shape[3]), self.stride, self.pad))
        require((y.dtype, y.shape, y.ticks) == ("int32", wanted, 0), self, f"output must be int32 {wanted}, not {y.dtype} {y.shape}")
        self.check_bias(graph, weight.shape[0])
        self.check_patch(graph)

    def strides(self) -> tuple[int, int]:
        return self.stride

    def evaluate(self, graph: Graph, tensors: Mapping[str, Array], draws: Draws) -> Array:
        """int32 (batch, outputs, height, width)."""
        x = tensors[self.input]
        weight = self.faulty_weight(graph)
        rows, columns = self.pad
        padded = np.pad(x, ((0, 0), (0, 0), (rows, rows), (columns, columns)))
        windows = windows_of(padded, weight.shape[2:], self.stride).transpose(0, 2, 1, 3)  # (batch, positions, channels, kernel)
        acc = product(windows.reshape(*windows.shape[:2], weight[0].size), weight.reshape(len(weight), -1))
        if self.bias is not None:
            acc += graph.value(self.bias)
        return np.ascontiguousarray(acc.swapaxes(1, 2)).reshape(len(x), *graph.tensors[self.output].shape)
