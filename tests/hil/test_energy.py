"""The energy model against hand calculations, and against the instruction classes that the emulator counts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from edgechaos.devices.contract import EXTRAS
from edgechaos.devices.emulators.instruction_classes import CLASSES
from edgechaos.firmware_gen.board import FlashWaits, board_names, load_board
from edgechaos.firmware_gen.core import cores
from edgechaos.hil.energy import model
from edgechaos.hil.energy.model import FLASH_STALLS, ORIGIN, bits_overwritten, board_energy, cycles_of, energy_per_inference, landauer_bound
from edgechaos.support.errors import ConfigError, EdgeChaosError
from tests.helpers.graphs import chaos_graph
from tests.helpers.places import ROOT

MIX = {
    "alu": 1000.0,
    "load": 400.0,
    "pipelined": 150.0,
    "load_store_multiple": 10.0,
    "multiple_registers": 40.0,
    "branch_taken": 100.0,
    "pc_loads": 5.0,
}


@pytest.mark.parametrize("name", cores)
def test_every_counted_class_has_cycles(name: str) -> None:
    table = cores.load(name).cycles
    if table is not None:
        assert set(table.classes) == {*CLASSES, *EXTRAS}
        assert all(c.low <= c.usual <= c.high for c in table.classes.values())


PUBLISHED = {
    # fewest, usual, most: DDI 0439, table 3-1; P = 1 to 3 cycles refill the pipeline
    "alu": (1, 1, 1),
    "mul_mac": (1, 1, 1),
    "div": (2, 7, 12),
    "load": (2, 2, 2),
    "pipelined": (-1, -1, -1),
    "literal_loads": (0, 0, 1),
    "store": (1, 1, 2),
    "register_stores": (1, 1, 1),
    "address_stalls": (0, 1, 1),
    "table_branches": (1, 3, 3),
    "load_store_multiple": (1, 1, 1),
    "multiple_registers": (1, 1, 1),
    "branch_taken": (2, 3, 4),
    "branch_not_taken": (1, 1, 1),
    "pc_loads": (1, 2, 3),
    "fp": (1, 1, 14),
    "other": (1, 1, 4),
}


@pytest.mark.parametrize("name", [*CLASSES, *EXTRAS])
def test_cycles_of_one_instruction(name: str) -> None:
    (low, usual, high), cycles = PUBLISHED[name], cycles_of({name: 1}, cores.load("cortex-m4"))
    assert (cycles.low, cycles.usual, cycles.high) == pytest.approx((low, usual, high * FLASH_STALLS))


def test_cycles_and_joules_by_hand() -> None:
    estimate = energy_per_inference(MIX, board_energy("stm32l4r5"))
    assert estimate.cycles.usual == 1000 + 2 * 400 - 150 + 10 + 40 + 3 * 100 + 2 * 5
    assert estimate.cycles.low == 1000 + 2 * 400 - 150 + 10 + 40 + 2 * 100 + 5
    assert estimate.cycles.high == (1000 + 2 * 400 - 150 + 10 + 40 + 4 * 100 + 3 * 5) * FLASH_STALLS
    assert estimate.energy_j == pytest.approx(2010 * 0.278e-9, abs=0)
    assert estimate.low_j == pytest.approx(1905 * 0.278e-9, abs=0)
    assert estimate.high_j == pytest.approx(2115 * FLASH_STALLS * 0.278e-9, abs=0)
    assert estimate.clock_hz == board_energy("stm32l4r5").clock_hz == load_board("stm32l4r5").clock_hz
    seconds = estimate.latency_s()
    assert (seconds.low, seconds.usual, seconds.high) == tuple(c / 120_000_000 for c in (1905, 2010, 2115 * FLASH_STALLS))
    assert estimate.origin == ORIGIN == "modelled from emulated counts"
    assert "Arm Cortex-M4" in estimate.source
    assert "607 pJ/MAC" in estimate.source


def test_the_published_energy_per_mac_follows_from_the_figures() -> None:
    assert board_energy("stm32l4r5").energy_per_cycle_j * 2.18 == pytest.approx(607e-12, rel=0.002)


MEASURED = json.loads((ROOT / "benchmarks" / "published.json").read_text())["cycles"]


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: f"{row['program']}, {row['silicon']}")
def test_cycles_that_others_measured_on_silicon(row: dict[str, Any]) -> None:
    """Within 15 % of the usual figure and what flash waits, and within the band, as far as a published digit goes."""
    cycles = cycles_of(row["instructions"], cores.load(row["core"]))
    waits = load_board(row["board"]).flash_waits if row["wait_states"] else None
    assert cycles.low * 0.999 <= row["cycles"] <= cycles.high
    assert cycles.usual + (waits.cycles(row["flash_data_bytes"]) if waits else 0) == pytest.approx(row["cycles"], rel=0.15)


def test_every_word_of_the_flash_waits() -> None:
    waits = FlashWaits(5, 8, "")
    assert [waits.cycles(n) for n in (0, 1, 8, 9, 270_880)] == [0, 5, 5, 10, 169_300]


def test_the_silicon_is_as_many_programs_as_the_page_says() -> None:
    assert [sum(row["wait_states"] == 0 for row in MEASURED), len(MEASURED)] == [9, 11]


def test_unknown_class_and_boards_are_refused() -> None:
    with pytest.raises(EdgeChaosError, match="Cortex-M4 has no figure for vector; it knows alu"):
        energy_per_inference({"alu": 1, "vector": 2}, board_energy("stm32l4r5"))
    with pytest.raises(ConfigError, match="no board 'nowhere'"):
        board_energy("nowhere")
    silent = next(name for name in board_names() if load_board(name).energy is None)
    with pytest.raises(EdgeChaosError, match=f"board '{silent}' states no energy per cycle; choose another one"):
        board_energy(silent)


@pytest.mark.parametrize(("without", "what"), [("energy", "states no energy per cycle"), ("cycles", "of which no cycle table is")])
def test_a_board_needs_both_figures(without: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    board = load_board("stm32l4r5")
    bare = replace(board, core=replace(board.core, cycles=None)) if without == "cycles" else replace(board, energy=None)
    monkeypatch.setattr(model, "load_board", lambda name: bare)
    with pytest.raises(EdgeChaosError, match=f"board 'mine' .*{what}"):
        board_energy("mine")
    with pytest.raises(EdgeChaosError, match="has no figure for alu; it knows"):
        cycles_of({"alu": 1}, replace(board.core, cycles=None))


def test_landauer_bound() -> None:
    """abs=0: the default tolerance, 1e-12, is larger than any of these."""
    assert landauer_bound(1) == pytest.approx(2.8710e-21, rel=1e-4, abs=0)
    assert landauer_bound(1000, 600.0) == pytest.approx(2000 * 2.8710e-21, rel=1e-4, abs=0)
    assert landauer_bound(0) == 0


def test_bits_overwritten() -> None:
    graph = chaos_graph(sizes=(12, 8, 4), ticks=4)
    # 8 accumulators int32, 8 counts int8, 4 logits int32, one class uint16
    assert bits_overwritten(graph) == 8 * 32 + 8 * 8 + 4 * 32 + 16
    stateful = chaos_graph(sizes=(12, 8, 4), ticks=4, mode="stateful")
    # beside: 8 drives int16, and at each of 4 ticks 8 membranes and 8 refractorinesses of 16 bits
    assert bits_overwritten(stateful) == bits_overwritten(graph) + 8 * 16 + 4 * 8 * 32
