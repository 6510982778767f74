"""What `edgechaos profile -o` writes, as a report needs it, and what no such document can hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from edgechaos.support.limits import MOST, Count, within


@dataclass(frozen=True, slots=True)
class ProfiledRow:
    """A layer, a function, or the whole; of all inferences together."""

    layer: str
    function: str
    instructions: Count
    cycles: Annotated[float, within(0, MOST)]
    energy_low_j: Annotated[float, within(0, MOST)]
    energy_j: Annotated[float, within(0, MOST)]
    energy_high_j: Annotated[float, within(0, MOST)]
    bytes_read: Count
    bytes_written: Count


@dataclass(frozen=True, slots=True)
class ProfileDocument:
    """profile.json."""

    device: str
    model_hash: str
    inferences: Annotated[int, within(1, MOST)]
    board: str
    origin: str
    source: str
    total: ProfiledRow
    layers: tuple[ProfiledRow, ...]
    functions: tuple[ProfiledRow, ...]


def profile_problems(document: ProfileDocument) -> Iterator[str]:
    """Sums that are not those of the whole."""
    if document.total.instructions < 1:
        yield "total.instructions is 0"
    for kind, rows in (("layers", document.layers), ("functions", document.functions)):
        if sum(row.instructions for row in rows) != document.total.instructions:
            yield f"{kind}: their instructions are not those of the whole"
