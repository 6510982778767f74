"""Guards of stored words: every single wrong bit of every layout is corrected or detected, and without guards nothing of them is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.devices.emulators.firmware_image import load_elf
from edgechaos.devices.fakes.device import FakeDevice
from edgechaos.devices.host import HostDevice
from edgechaos.devices.kinds.unicorn import emulated_firmware
from edgechaos.faults.injections import CLEAN
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.firmware_gen.compilers.c.work import most_instructions
from edgechaos.firmware_gen.places import BOARD_FOLDER
from edgechaos.firmware_gen.plan.memory import CORRECTIONS
from edgechaos.firmware_gen.projects.elf import build
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.harden.base import parse_hardening
from edgechaos.harden.guards import KEY, spread_over
from edgechaos.harden.sensitivity import stored_tables
from edgechaos.support.errors import ConfigError, DeviceDetected
from tests.firmware.test_firmware_build import STRICT, without_hooks
from tests.helpers.firmware_host import GCC, compile_host
from tests.helpers.graphs import chaos_graph
from tests.helpers.mixed_graphs import items_for, mixed_graph, normalized_graph

pytestmark = pytest.mark.slow

BOARD = "mps2-an386"
MODELS = {
    "events": chaos_graph(sizes=(30, 12, 5), seed=6),
    "windows": mixed_graph(family="vision", kernel=(3, 2)),
    "pairs": mixed_graph(family="vision"),
    "background": normalized_graph(60),
    "packed": mixed_graph(family="vision", bits=4),
    "tokens": mixed_graph(family="text"),
    "ternary tokens": mixed_graph(family="text", bits=2),
}


def guarded(graph: IntegerGraph, code: str, tables: Iterable[str] = ()) -> IntegerGraph:
    for table in tables or stored_tables(graph):
        graph = parse_hardening(f"{code}={table}").apply(graph)
    return graph


class Bench:
    """A guarded model on the emulated Cortex-M4, and what it makes of words that are changed in its memory."""

    def __init__(self, graph: IntegerGraph, faults: bool = True, board: str = BOARD) -> None:
        self.graph, self.items = graph, items_for(graph, 2)
        self.wanted = reference.run(graph, self.items).logits
        self.device = EmulatedDevice(graph, emulated_firmware(graph, board, faults=faults), board)
        self.device.open()
        self.image = load_elf(self.device.elf)
        self.tables = dict(generate(graph, load_board(board), faults=faults).tables)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: object) -> None:
        self.device.close()

    def flip(self, table: str, *bits: int) -> str:
        """What becomes of an inference under wrong bits of a table: same, wrong or detected."""
        start, _ = self.image.region(self.tables[table])
        self.device.inject(CLEAN)
        for bit in bits:
            self.device.poke(start + bit // 32 * 4, 1 << bit % 32, "toggle")
        return self.infer()

    def infer(self) -> str:
        try:
            return "same" if (self.device.infer(self.items).logits == self.wanted).all() else "wrong"
        except DeviceDetected:
            return "detected"

    def bits(self, table: str) -> int:
        start, end = self.image.region(self.tables[table])
        return 8 * (end - start)


@pytest.mark.parametrize("name", MODELS)
def test_secded_lets_no_single_wrong_bit_through(name: str) -> None:
    with Bench(guarded(MODELS[name], "secded")) as bench:
        for table in stored_tables(bench.graph):
            total = bench.bits(table)
            sites = range(0, total, 1 if total <= 1000 else total // 37)
            assert Counter(bench.flip(table, bit) for bit in sites) == {"same": len(sites)}, table


def test_without_a_guard_wrong_bits_make_wrong_logits() -> None:
    with Bench(MODELS["events"]) as bench:
        assert {bench.flip("readout_weight", bit) for bit in range(0, bench.bits("readout_weight"), 7)} >= {"wrong"}


@pytest.mark.parametrize(("name", "faults"), [("events", True), ("windows", False)])
def test_parity_detects_every_single_wrong_bit(name: str, faults: bool) -> None:
    with Bench(guarded(MODELS[name], "parity"), faults) as bench:
        for table in stored_tables(bench.graph):
            sites = range(0, bench.bits(table), max(1, bench.bits(table) // 11))
            assert Counter(bench.flip(table, bit) for bit in sites) == {"detected": len(sites)}, table
        bench.device.inject(CLEAN)
        assert bench.infer() == "same"


def test_thresholds_are_guarded_where_kernels_read_them_from_flash() -> None:
    """As the product does: with fault hooks they are slots in RAM."""
    for graph, wanted in ((MODELS["events"], {"same", "wrong"}), (guarded(MODELS["events"], "secded", ["cortex0_threshold"]), {"same"})):
        with Bench(graph, faults=False) as bench:
            assert {bench.flip("cortex0_threshold", bit) for bit in range(bench.bits("cortex0_threshold"))} == wanted


def test_double_errors_are_corrected_in_two_columns_and_detected_in_one() -> None:
    with Bench(guarded(MODELS["events"], "secded"), faults=False) as bench:
        for a, b in combinations((0, 7, 31, 32, 96, 5 * 32 + 7), 2):
            wanted = "detected" if (b - a) % 32 == 0 else "same"
            assert bench.flip("cortex0_weight", a, b) == wanted, (a, b)
            assert bench.flip("cortex0_bias", a, b) == wanted, (a, b)
        assert bench.flip("cortex0_weight", 0, 33, 66) == "same"
        assert bench.flip("cortex0_weight", *range(CORRECTIONS)) == "same"
        assert bench.flip("cortex0_weight", *range(CORRECTIONS + 1)) == "detected", "no room for so many rows"


def test_wrong_check_words_are_no_wrong_data() -> None:
    with Bench(guarded(MODELS["events"], "secded")) as bench:
        bench.tables = {name: f"{name}_check" for name in bench.tables}
        for table in stored_tables(bench.graph):
            assert {bench.flip(table, bit) for bit in range(0, bench.bits(table), 9)} == {"same"}


def test_a_table_that_two_heads_share_is_corrected_for_both() -> None:
    with Bench(guarded(mixed_graph(family="shared"), "secded")) as bench:
        (table,) = [t for t in stored_tables(bench.graph) if sum(n.weight == t for n in bench.graph.weighted()) > 1][:1]
        for head in bench.graph.heads:
            codes = items_for(bench.graph, 2, head=head.name)
            start, _ = bench.image.region(bench.tables[table])
            bench.device.inject(CLEAN)
            bench.device.poke(start, 1 << 7, "toggle")
            wanted = reference.run(bench.graph, codes, head=head.name).logits
            np.testing.assert_array_equal(bench.device.infer(codes, head=head.name).logits, wanted)


def test_a_copy_in_ram_that_a_repair_made_has_no_corrections_of_flash(tmp_path: Path) -> None:
    board = tmp_path / "repairable.toml"
    board.write_text((BOARD_FOLDER / f"{BOARD}.toml").read_text().replace("stack_bytes", "repair_bytes = 4096\nstack_bytes"))
    graph = guarded(MODELS["events"], "secded")
    value = graph.value("readout_weight").copy()
    value[0, 0] ^= 3
    mended = replace(graph, constants={**graph.constants, "readout_weight": replace(graph.constants["readout_weight"], value=value)})
    with Bench(graph, board=str(board)) as bench:
        bench.device.commit(mended)
        start, _ = bench.image.region(bench.tables["readout_weight"])
        bench.device.poke(start, 1 << 4, "toggle")
        np.testing.assert_array_equal(bench.device.infer(bench.items).logits, reference.run(mended, bench.items).logits)


def test_checks_that_are_spread_find_an_error_in_so_many_inferences() -> None:
    with Bench(spread_over(guarded(MODELS["events"], "secded"), 5)) as bench:
        bench.items, bench.wanted = bench.items[:1], bench.wanted[:1]
        for table in ("readout_weight", "readout_bias"):
            seen = [bench.flip(table, 7), *(bench.infer() for _ in range(12))]
            assert table == "readout_weight" or "wrong" in seen[:4], seen
            assert set(seen[5:]) == {"same"}, seen
    with Bench(spread_over(guarded(MODELS["events"], "parity"), 5)) as bench:
        bench.items, bench.wanted = bench.items[:1], bench.wanted[:1]
        seen = [bench.flip("readout_weight", 7), *(bench.infer() for _ in range(12))]
        assert set(seen[5:]) == {"detected"}, "a device that has seen wrong words says so until a whole round finds none"
        bench.device.inject(CLEAN)
        assert [bench.infer() for _ in range(12)][-1] == "same"


@pytest.mark.parametrize("name", ["events", "packed"])
def test_the_integers_are_those_of_the_model_without_guards(name: str) -> None:
    graph = MODELS[name]
    hard, codes = guarded(graph, "secded"), items_for(graph, 8)
    for made in (HostDevice(hard), FakeDevice(hard)):
        with made as device:
            np.testing.assert_array_equal(device.infer(codes).logits, reference.run(graph, codes).logits)


def test_correcting_everywhere_stays_within_the_bound_of_work() -> None:
    graph = guarded(MODELS["events"], "secded")
    with Bench(graph, faults=False) as bench:
        start, _ = bench.image.region(bench.tables["cortex0_bias"])
        for word in range(start, start + 8, 8):
            bench.device.poke(word, 2**32 - 1, "toggle")
        found = bench.device.infer(bench.items)
        np.testing.assert_array_equal(found.logits, bench.wanted)
        assert found.instructions is not None
        assert found.instructions.max() < most_instructions(graph, 0)


@pytest.mark.parametrize("faults", [True, False])
def test_a_firmware_without_guards_has_nothing_of_them(faults: bool, tmp_path: Path) -> None:
    firmware = generate(mixed_graph(family="shared"), load_board(BOARD), faults=faults)
    stripped = without_hooks(firmware, "#if EC_GUARDS")
    assert sum(map(len, stripped.files.values())) < sum(map(len, firmware.files.values())) - 8000
    assert build(firmware, tmp_path / "out").elf.read_bytes() == build(stripped, tmp_path / "gone").elf.read_bytes()


@pytest.mark.parametrize("faults", [True, False])
def test_no_warnings(faults: bool, tmp_path: Path) -> None:
    compile_host(generate(guarded(MODELS["packed"], "secded"), None, faults=faults), tmp_path, GCC, ("-O2", "-fPIC", "-shared", *STRICT))


@pytest.mark.parametrize("text", ["secded=cortex0_weights", "sec=readout_weight", "secded", "parity="])
def test_places_and_kinds_that_there_are_not(text: str) -> None:
    with pytest.raises(ConfigError, match=r"did you mean|write KIND=PLACE"):
        parse_hardening(text).apply(MODELS["events"])


@pytest.mark.parametrize(
    "found", [7, {"tables": 3}, {"tables": {"no_table": "parity"}}, {"tables": {"readout_weight": "crc"}}, {"spread": 0}]
)
def test_metadata_that_name_no_guards_are_refused(found: Any) -> None:
    graph = replace(MODELS["events"], metadata={KEY: found})
    with pytest.raises(ConfigError, match="guard"):
        generate(graph, None)
