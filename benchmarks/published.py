"""Modelled cycles and joules beside what others measured on silicon and published; prints the errors.

    python benchmarks/published.py

`published.json` holds the published figures with their sources and conditions, and the instruction mixes of those programs as an
emulator counted them. Joules are predicted from a maker's current per MHz, never from the result that they are compared with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.core import cores
from edgechaos.hil.energy.model import cycles_of

DATA = Path(__file__).with_suffix(".json")
NETWORK = "CMSIS-NN, anomaly detection"


def waiting(row: Mapping[str, Any]) -> int:
    """Cycles that a program's data in flash wait, where its board says what that takes."""
    waits = load_board(row["board"]).flash_waits if "board" in row else None
    return waits.cycles(row["flash_data_bytes"]) if waits else 0


def main() -> None:
    """Print both tables."""
    data = json.loads(DATA.read_text())
    print("| program | silicon | flash wait states | published cycles | modelled | error |\n|---|---|---|---|---|---|")
    for row in data["cycles"]:
        model, waits = cycles_of(row["instructions"], cores.load(row["core"])), waiting(row)
        band = f"{model.usual + waits:,.0f} ({model.low:,.0f} to {model.high:,.0f})"
        states = "cache" if row["wait_states"] is None else row["wait_states"]
        error = f"{100 * ((model.usual + waits) / row['cycles'] - 1):+.1f} %"
        print(f"| {row['program']} | {row['silicon']} | {states} | {row['cycles']:,.0f} | {band} | {error} |")
    print("\n| board | published µJ | pJ per cycle: published, from the maker's current | of published cycles | of modelled cycles |")
    print("|---|---|---|---|---|")
    networks = {row["core"]: row for row in data["cycles"] if row["program"] == NETWORK}
    for row in data["energy"]:
        cycles, per_cycle_j = row["clock_hz"] / row["inferences_per_s"], row["current_a_per_hz"] * row["voltage_v"]
        network = networks[row["core"]]
        modelled = cycles_of(network["instructions"], cores.load(row["core"])).usual + waiting(network)
        cells = (f"{1e6 * c * per_cycle_j:.1f} ({100 * (c * per_cycle_j / row['energy_j'] - 1):+.0f} %)" for c in (cycles, modelled))
        pj = f"{1e12 * row['energy_j'] / cycles:.0f}, {1e12 * per_cycle_j:.0f}"
        print(f"| {row['board']} | {1e6 * row['energy_j']:.1f} | {pj} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
