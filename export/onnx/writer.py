"""A small writer of ONNX nodes: unique names, constants, casts.

Values that it invents are named `<node>/<n>_<op>`, constants `<node>/<what>`: a slash never occurs in a graph's own names, so
nothing collides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from edgechaos.graph.tensors import Tensor


class OnnxWriter:
    """Collects the nodes of one model. `scope` is the name of the graph node being written."""

    def __init__(self, onnx: Any) -> None:
        self.scope = ""
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._constants: dict[str, bytes] = {}
        self._helper, self._numpy, self._types = onnx.helper, onnx.numpy_helper, onnx.TensorProto

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Write one operation with one output; returns the output's name."""
        name = f"{self.scope}/{len(self.nodes)}_{kind}"
        self.nodes.append(self._helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def name(self, tensor: str, value: str) -> None:
        """Let the last operation's output, `value`, carry a tensor's name."""
        last = self.nodes[-1]
        assert last.output[0] == value, "only the value just written can be renamed"
        last.output[0] = tensor

    def constant(self, what: str, value: ArrayLike) -> str:
        """An initializer of the current node; written once for equal contents under one name."""
        name, array = f"{self.scope}/{what}", np.ascontiguousarray(value).reshape(np.shape(value))
        data = array.tobytes()
        if name in self._constants:
            assert self._constants[name] == data, f"two constants are called '{name}'"
        else:
            self._constants[name] = data
            self.initializers.append(self._numpy.from_array(array, name))
        return name

    def cast(self, value: str, dtype: str) -> str:
        """Convert to an integer type or `bool`; integers wrap modulo 2^bits."""
        return self.op("Cast", value, to=getattr(self._types, dtype.upper()))

    def unsqueeze(self, value: str, axis: int) -> str:
        """Insert an axis of length 1."""
        return self.op("Unsqueeze", value, self.constant(f"axis_{axis}", np.array([axis], np.int64)))

    def reshape(self, value: str, *shape: int) -> str:
        """One sample's elements, row-major, as (batch, *shape)."""
        return self.op("Reshape", value, self.constant("_".join(["shape", *map(str, shape)]), np.array([-1, *shape], np.int64)))

    def max(self, value: str, axis: int) -> str:
        """The maximum over one axis, which goes."""
        return self.op("ReduceMax", value, self.constant(f"axis_{axis}", np.array([axis], np.int64)), keepdims=0)

    def largest(self, value: str, k: int) -> str:
        """The k largest of axis 1, largest first."""
        name = f"{self.scope}/{len(self.nodes)}_TopK"
        count = self.constant("k", np.array([k], np.int64))
        self.nodes.append(self._helper.make_node("TopK", [value, count], [name, f"{name}_index"], name, axis=1, largest=1, sorted=1))
        return name

    def sum(self, value: str, axis: int) -> str:
        """Sum over one axis, which goes."""
        return self.op("ReduceSum", value, self.constant(f"axis_{axis}", np.array([axis], np.int64)), keepdims=0)

    def split(self, value: str, parts: int) -> list[str]:
        """The slices of axis 1, each with that axis of length 1."""
        if parts == 1:
            return [value]
        name = f"{self.scope}/{len(self.nodes)}_Split"
        slices = [f"{name}_{k}" for k in range(parts)]
        self.nodes.append(self._helper.make_node("Split", [value], slices, name, axis=1, num_outputs=parts))
        return slices

    def value(self, name: str, tensor: Tensor) -> Any:
        """The declaration of an input or output of the model: symbolic batch, then ticks, then the shape."""
        shape = ["batch", *([tensor.ticks] if tensor.ticks else []), *tensor.shape]
        return self._helper.make_tensor_value_info(name, getattr(self._types, tensor.dtype.upper()), shape)
