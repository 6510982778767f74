"""What stands between the nodes of an integer graph: tensors, constants, and the names that they may have."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from numpy.typing import NDArray

IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")
"""Names reach C, file names and tables: nothing else is accepted."""
Dtype = Literal["int8", "int16", "uint16", "int32"]
DTYPE_RANGE: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"int8": (-128, 127), "int16": (-32768, 32767), "uint16": (0, 65535), "int32": (-(2**31), 2**31 - 1)}
)


@dataclass(frozen=True, slots=True)
class Tensor:
    """What one sample of a value looks like. `ticks` > 0: there is one such value per tick, on a leading axis."""

    name: str
    dtype: Dtype
    shape: tuple[int, ...]
    scale: float | None = None
    ticks: int = 0

    @property
    def size(self) -> int:
        """Elements of one sample, ticks included."""
        return math.prod(self.shape) * max(self.ticks, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """Read-only integers. `bits` is the stored width of a code: 8, 16 or 32, or 4 and 2 for packed weights."""

    value: NDArray[Any]
    bits: int
    scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        self.value.flags.writeable = False


@dataclass(frozen=True, slots=True)
class Slot:
    """Entries of one node that a fault may set.

    name: the node's field that holds them; dtype: of each entry on the wire, little endian; low, high: inclusive limits of each.
    refused: why this node, in its graph, cannot have them set, as a sentence; None where it can.
    excludes: another slot of the node; no unit may be in both.
    added: 0 of what the first table of slots held, 1 of what came later: numbers once given stay.
    """

    name: str
    dtype: Literal["bool", "uint8", "int16", "uint16", "int32", "uint32"]
    length: int
    low: int = 0
    high: int = 1
    refused: str | None = None
    excludes: str = ""
    added: int = 0


def fault_constant(node: str, field: str) -> str:
    """The name of the constant that a fault puts into a field of a node."""
    return f"{node}.{field}"


FAULT_CONSTANT = re.compile(rf"(?P<node>{IDENTIFIER.pattern})\.(?P<field>{IDENTIFIER.pattern})")
"""Such a name. A dot is in no name of a graph's own, and a constant of this form may be read by that field of that node alone: so a
fault overwrites nothing but an earlier fault of the same place."""
