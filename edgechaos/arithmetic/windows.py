"""Windows of images, for Conv and the pools: output sizes, and the index of every input that every window reads.

Kernel, stride and padding are (rows, columns); NumPy and ONNX gather by the same table of flat positions. Source:
docs/semantics.md, "Conv".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def output_size(shape: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int], pad: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    """(height, width) of the output: (size + 2 pad - kernel) // stride + 1; below 1 where the kernel does not fit."""
    height, width = ((n + 2 * p - k) // s + 1 for n, k, s, p in zip(shape[1:], kernel, stride, pad, strict=True))
    return height, width


def window_index(shape: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int]) -> NDArray[np.int64]:
    """Flat positions in one (H, W) channel, (output height * output width, kernel height * kernel width) int64, row-major."""
    height, width = output_size(shape, kernel, stride)
    rows = np.arange(height)[:, None] * stride[0] + np.arange(kernel[0])
    columns = np.arange(width)[:, None] * stride[1] + np.arange(kernel[1])
    flat = rows[:, None, :, None] * shape[2] + columns[None, :, None, :]
    return flat.reshape(height * width, kernel[0] * kernel[1]).astype(np.int64)
