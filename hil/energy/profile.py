"""Where cycles and joules go: a device's profile by layer and function, with the cycle model of a board's core.

Counts are exact, cycles and joules are modelled as in `edgechaos.hil.energy.model`, and belong to all inferences of the profile
together: sums over rows are those of the whole, to the last count and cycle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from edgechaos.devices.contract import EXTRAS, Part, Profile
from edgechaos.hil.energy.model import ORIGIN, BoardEnergy, energy_per_inference


@dataclass(frozen=True, slots=True)
class Spent:
    """What one layer, or one function, or both, took in all inferences of a profile. name: of the layer and of the function, or "".

    Edges of cycles and joules belong together, fewest, usual, most; bytes are those of loads and stores.
    """

    layer: str
    function: str
    instructions: int
    cycles_low: float
    cycles: float
    cycles_high: float
    energy_low_j: float
    energy_j: float
    energy_high_j: float
    bytes_read: int
    bytes_written: int


def spent(parts: Iterable[Part], board: BoardEnergy, layer: str = "", function: str = "") -> Spent:
    """The sum of some parts."""
    chosen = tuple(parts)
    mix: dict[str, int] = {}
    for part in chosen:
        for name, count in part.instructions.items():
            mix[name] = mix.get(name, 0) + count
    estimate = energy_per_inference(mix, board)
    return Spent(
        layer,
        function,
        sum(count for name, count in mix.items() if name not in EXTRAS),
        *(estimate.cycles.low, estimate.cycles.usual, estimate.cycles.high),
        *(estimate.low_j, estimate.energy_j, estimate.high_j),
        sum(part.bytes_read for part in chosen),
        sum(part.bytes_written for part in chosen),
    )


def by_layer(profile: Profile, board: BoardEnergy) -> list[Spent]:
    """Layers in the order in which they run."""
    return _grouped(profile, board, lambda part: (part.layer, ""))


def by_function(profile: Profile, board: BoardEnergy) -> list[Spent]:
    """Functions, most instructions first."""
    rows = _grouped(profile, board, lambda part: ("", part.function))
    return sorted(rows, key=lambda row: (-row.instructions, row.function))


def _grouped(profile: Profile, board: BoardEnergy, key: Callable[[Part], tuple[str, str]]) -> list[Spent]:
    names = dict.fromkeys(map(key, profile.parts))
    return [spent((part for part in profile.parts if key(part) == name), board, *name) for name in names]


def document(profile: Profile, board: BoardEnergy, about: dict[str, Any]) -> dict[str, Any]:
    """Plain JSON, for `edgechaos report` and other programs; about: device, model and head."""
    whole = spent(profile.parts, board)
    return {
        "kind": "edgechaos.profile",
        "format": 1,
        **about,
        "inferences": profile.inferences,
        "board": board.board,
        "clock_hz": board.clock_hz,
        "origin": ORIGIN,
        "source": board.source,
        "total": asdict(whole),
        "layers": [asdict(row) for row in by_layer(profile, board)],
        "functions": [asdict(row) for row in by_function(profile, board)],
        "parts": [asdict(spent((part,), board, part.layer, part.function)) for part in profile.parts],
        "hot_lines": [asdict(line) for line in profile.hot],
    }
