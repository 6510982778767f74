"""Profiles: every instruction has one layer and one function, shared kernels that of their caller, and sums are the whole."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from edgechaos.devices.conformance import GRAPHS
from edgechaos.devices.contract import OUTSIDE, Profile
from edgechaos.devices.emulators.attribution import Attribution, attribute, branch_target, profile_of
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.devices.emulators.firmware_image import load_elf
from edgechaos.devices.emulators.instruction_classes import BRANCH, CLASSES, map_code
from edgechaos.devices.emulators.libraries import hook_library
from edgechaos.devices.emulators.unicorn.machine import EmulatedMachine
from edgechaos.devices.kinds.unicorn import debuggable_firmware, emulated_firmware
from edgechaos.devices.protocol import frames
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.protocol import INFER_HEAD, Verb
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.energy.model import board_energy, cycles_of
from edgechaos.hil.energy.profile import by_function, by_layer, document, spent
from edgechaos.support.errors import ArtifactError, UnsupportedError
from tests.helpers.firmwares import compiled
from tests.helpers.graphs import codes_for

BOARD = load_board("mps2-an386")
ITEMS = 3


def profiled(graph: IntegerGraph, compiled_hooks: bool = True) -> Profile:
    elf = emulated_firmware(graph, BOARD.name)
    device = EmulatedDevice(graph, elf, BOARD.name, compiled_hooks=compiled_hooks, debug_elf=lambda: debuggable_firmware(graph, BOARD.name))
    return device.profile(codes_for(graph, ITEMS))


def instructions(profile: Profile, *names: str, of: str = "layer") -> int:
    return sum(p.instructions[c] for p in profile.parts if getattr(p, of) in names for c in CLASSES)


@pytest.mark.parametrize("name", ["parallel", "stateful", "heads"])
def test_sums_over_layers_and_functions_are_the_counts_of_what_is_shipped(name: str) -> None:
    graph = GRAPHS[name]
    profile, sums = profiled(graph), Counter[str]()
    for part in profile.parts:
        sums.update(part.instructions)
    with EmulatedDevice(graph, emulated_firmware(graph, BOARD.name, faults=False), BOARD.name) as device:
        device.infer(codes_for(graph, ITEMS))
        whole = device.counters().instructions
    assert dict(sums) == whole
    assert len({(p.layer, p.function) for p in profile.parts}) == len(profile.parts)
    path = [node.name for node in graph.path(None)]
    assert [layer for layer in dict.fromkeys(p.layer for p in profile.parts) if layer != OUTSIDE] == [
        n for n in path if n in {p.layer for p in profile.parts}
    ]
    if len(graph.heads) == 1:  # of several, the compiler may merge the calls
        assert {n.name for n in graph.weighted()} <= {p.layer for p in profile.parts}
        assert instructions(profile, OUTSIDE) < 100 * ITEMS  # what calls the model, and the pin
        assert {p.function for p in profile.parts if p.layer == OUTSIDE} <= {"main", "run_any"}
    assert sum(h.instructions for h in profile.hot) <= sum(whole[c] for c in CLASSES)


def test_hooks_in_python_tell_the_same() -> None:
    assert profiled(GRAPHS["parallel"], compiled_hooks=False) == profiled(GRAPHS["parallel"])


def test_debug_information_changes_no_byte_of_the_code() -> None:
    graph = GRAPHS["parallel"]
    debug, shipped = (load_elf(e) for e in (debuggable_firmware(graph, BOARD.name)[0], emulated_firmware(graph, BOARD.name, faults=False)))
    assert debug.segments == shipped.segments


def test_a_kernel_works_for_the_layer_that_called_it() -> None:
    """Against an independent way: which description of a layer the kernel was handed."""
    graph = GRAPHS["parallel"]
    elf, source, layers = debuggable_firmware(graph, BOARD.name)
    image = load_elf(elf)
    sites = attribute(elf, image, map_code(image, BOARD.core), source, layers)
    described = {start: name.removesuffix("_layer") for name, (start, _) in image.regions.items() if name.endswith("_layer")}
    made, handed = EmulatedMachine(image, BOARD, hook_library()), Counter[tuple[str, str]]()
    made.power_on(1_000_000)

    def call(engine: Any, address: int, size: int, user: Any) -> None:
        if (named := described.get(made.register("r0"))) is not None:
            handed[named, dict((a, sites.layers[k]) for a, k in sites.calls)[address]] += 1

    for address, _ in sites.calls:
        made.engine.hook_add(made.unicorn.UC_HOOK_CODE, call, None, address, address)
    made.engine.ctl_flush_tb()
    made.exchange(frames.encode(Verb.INFER, 1, INFER_HEAD.pack(0, 0, 0, 1)), 10_000_000)
    assert handed
    assert all(handed_to == called for handed_to, called in handed)


def test_targets_of_branches() -> None:
    import capstone

    image = load_elf(debuggable_firmware(GRAPHS["parallel"], BOARD.name)[0])
    code = map_code(image, BOARD.core)
    machine, seen = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS), Counter[str]()
    for start, end in image.code:
        for insn in machine.disasm(image.read(start, end - start), start):
            plain = insn.mnemonic in ("b", "b.w", "bl")
            wanted = int(insn.op_str.removeprefix("#"), 0) if plain else None
            assert branch_target(insn.address, bytes(insn.bytes)) == wanted, f"{insn.mnemonic} {insn.op_str}"
            seen[insn.mnemonic] += 1
    assert min(seen["b"], seen["bl"]) > 0
    assert (code.kind == BRANCH).any()


def test_bytes_are_those_that_the_memory_sees() -> None:
    made = EmulatedMachine(load_elf(compiled()), BOARD, hook_library())
    made.power_on(1_000_000)
    moved = Counter[int]()

    def access(engine: Any, kind: int, address: int, size: int, value: int, user: Any) -> None:
        moved[kind] += size * made.hooks.m.window_open

    unicorn = made.unicorn
    made.engine.hook_add(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, access)
    made.engine.ctl_flush_tb()
    made.exchange(b"[Zq1", 1_000_000)
    code, count = made.hooks.code, int(made.hooks.before[-1])
    whole = profile_of(made.image, code, Attribution((OUTSIDE,), np.zeros(count, np.uint8), (), ("",) * count), made.hooks.parts, 1)
    assert sum(p.bytes_read for p in whole.parts) == moved[unicorn.UC_MEM_READ] > 0
    assert sum(p.bytes_written for p in whole.parts) == moved[unicorn.UC_MEM_WRITE] > 0


def test_cycles_and_joules_add_up() -> None:
    profile, board = profiled(GRAPHS["parallel"]), board_energy("stm32l4r5")
    whole = Counter[str]()
    for part in profile.parts:
        whole.update(part.instructions)
    total = spent(profile.parts, board)
    assert (total.cycles_low, total.cycles) == (cycles_of(whole, board.core).low, cycles_of(whole, board.core).usual)
    for rows in (by_layer(profile, board), by_function(profile, board), [spent((p,), board) for p in profile.parts]):
        for field in ("instructions", "cycles_low", "cycles", "bytes_read", "bytes_written"):
            assert sum(getattr(row, field) for row in rows) == getattr(total, field), field
        assert sum(row.energy_j for row in rows) == pytest.approx(total.energy_j, rel=1e-12)
    counts = [row.instructions for row in by_function(profile, board)]
    assert counts == sorted(counts, reverse=True)
    found = document(profile, board, {"device": "unicorn"})
    assert found["total"]["instructions"] == sum(row["instructions"] for row in found["layers"])
    assert found["total"]["energy_j"] == pytest.approx(board.energy_per_cycle_j * total.cycles, rel=1e-12)


def test_firmware_that_says_nothing_of_its_lines_is_refused() -> None:
    graph = GRAPHS["parallel"]
    elf = emulated_firmware(graph, BOARD.name)
    image = load_elf(elf)
    with pytest.raises(ArtifactError, match="no debug information"):
        attribute(elf, image, map_code(image, BOARD.core), "m.c", {})
    with pytest.raises(UnsupportedError, match="open it by its name"):
        EmulatedDevice(graph, elf).profile(codes_for(graph, 1))
