"""A batch under one plan after another in the emulator's own process: the same as each plan injected, and nothing of it remains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgechaos.devices.contract import Inference, Replay, Replaying
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.devices.emulators.exchange import Exchange
from edgechaos.devices.emulators.firmware_image import load_elf
from edgechaos.devices.emulators.libraries import hook_library
from edgechaos.devices.emulators.unicorn import replays
from edgechaos.devices.emulators.unicorn.machine import EmulatedMachine
from edgechaos.devices.kinds.unicorn import emulated_firmware
from edgechaos.devices.protocol import frames as frames_of
from edgechaos.faults.base import Fault
from edgechaos.faults.injections import CLEAN, Poke, ResolvedPlan, Strike
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.instruction_skip import InstructionSkip
from edgechaos.faults.kinds.memory_bits import MemoryBits
from edgechaos.faults.kinds.program_counter import ProgramCounter
from edgechaos.faults.kinds.register_bits import RegisterBits
from edgechaos.faults.kinds.reset import Reset
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.protocol import INFER_HEAD, Verb
from edgechaos.support.errors import DeviceError
from tests.helpers.graphs import chaos_graph, codes_for

pytestmark = pytest.mark.slow

GRAPH = chaos_graph(sizes=(30, 12, 5), seed=6)
CODES = codes_for(GRAPH, 3)
MOMENTS: tuple[dict[str, Any], ...] = ({"onset": 0}, {"onset": 700}, {"at": "run_any"}, {})
BOARDS = ("mps2-an386", "mps2-cortex-m0", "mps2-an505")


def opened(board: str = BOARDS[0], compiled: bool = True) -> EmulatedDevice:
    return EmulatedDevice(GRAPH, emulated_firmware(GRAPH, board), board, compiled_hooks=compiled)


@pytest.fixture(scope="module")
def device() -> Iterator[EmulatedDevice]:
    made = opened()
    with made:
        yield made


def plan(*faults: Fault) -> ResolvedPlan:
    return resolve(GRAPH, FaultPlan(faults))


def alone(device: EmulatedDevice, faults: ResolvedPlan, items: int, seed: int = 5) -> tuple[Inference, dict[str, int]] | None:
    """By requests, of a device without a past: changed code may keep what an inference before it left. None where the device fails."""
    device.reset()
    try:
        device.inject(faults)
        before = device.instructions()
        found = device.infer(CODES[:items], seed=seed)
        after = device.instructions()
        return found, {name: after[name] - before[name] for name in after}
    except DeviceError:
        device.reset()
        return None


def compare(device: EmulatedDevice, plans: list[ResolvedPlan], items: int, prune: bool = False) -> list[Replay | None]:
    """What each gave, the same both ways."""
    device.reset()
    found, left = device.infer_under(plans, CODES[:items], seed=5, prune=prune), 0
    for k, (faults, one) in enumerate(zip(plans, found, strict=True)):
        given = alone(device, faults, items)
        assert given is not None or one is None, k
        left += given is not None and one is None
        if given is not None and one is not None:
            for field in ("logits", "labels", "instructions"):
                np.testing.assert_array_equal(getattr(one.inference, field), getattr(given[0], field), f"{k}: {field}")
            assert one.instructions == given[1], k
    assert left <= len(plans) // 20, "answers that no clean device gives are left to requests"
    with suppress(DeviceError):
        device.inject(CLEAN)
    assert prune or not any(one is not None and one.inferred for one in found)
    return found


def test_an_emulated_device_replays(device: EmulatedDevice) -> None:
    assert isinstance(device, Replaying)
    assert device.infer_under([], CODES) == []


@pytest.mark.parametrize("items", [1, 3])
@pytest.mark.parametrize("region", [".bss", ".stack", ".text", "state", "server", "ec_survived"])
def test_flipped_memory(device: EmulatedDevice, region: str, items: int) -> None:
    plans = [CLEAN] + [plan(MemoryBits(flips=1, burst=1 + seed % 9, seed=seed, region=region)) for seed in range(40)]
    assert compare(device, plans, items)[0] is not None


def test_a_fault_before_the_input_is_there(device: EmulatedDevice) -> None:
    """What the input overwrites is gone, what its arrival reads is not, and a lifespan is over before the inference."""
    start, end = device._image().region("state")
    biases, _ = device._image().region("readout_bias" if "readout_bias" in device._image().regions else "logits_bias")
    strikes = [Strike("memory", address, "set", 0xFFFFFFFF) for address in range(start, min(end, start + 400), 4)]
    strikes += [Strike("memory", biases, "toggle", 0x7F7F, lifespan=n) for n in (*range(1000, 9000, 500), 0, 500)]
    compare(device, [ResolvedPlan(strikes=(strike,)) for strike in strikes], 1)
    changed, over = device.infer_under([ResolvedPlan(strikes=(strike,)) for strike in strikes[-2:]], CODES[:1], seed=5)
    assert changed is not None
    assert over is not None
    assert changed.inference.logits[0, 0] != over.inference.logits[0, 0]


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("compiled", [True, False])
def test_everything_that_strikes(board: str, compiled: bool) -> None:
    device = opened(board, compiled)
    with device:
        start, _ = device._image().region("state")
        bits = [Strike("memory", start, "set", 0xFF00F), Strike("memory", start + 12, "overwrite", 0xFF00F, 0x40)]
        strikes = [
            *(replace(strike, **moment) for strike in bits for moment in MOMENTS),
            Strike("memory", start + 8, "set", 1, held=True),
            Strike("memory", start + 8, "toggle", 0xFFFF, lifespan=2000),
            Strike("register", "r0", "toggle", 4),
        ]
        plans = [ResolvedPlan(strikes=(strike,)) for strike in strikes]
        plans += [ResolvedPlan(pokes=(Poke(start, 0xFF, "set"), Poke(start + 4, 1)), strikes=(strikes[1],))]
        plans += [plan(RegisterBits(register=f"r{k}", flips=2, onset=90 * k, seed=k)) for k in range(8)]
        plans += [plan(InstructionSkip(onset=150 * k, count=1 + k % 2)) for k in range(6)]
        plans += [plan(ProgramCounter(flips=1, onset=500, seed=k)) for k in range(4)]
        given = compare(device, plans, 1)
        assert sum(one is not None for one in given) > len(given) // 2
        assert None in given, "some crash"


def test_what_it_cannot_run_so_is_left_to_requests(device: EmulatedDevice) -> None:
    nowhere = ResolvedPlan(strikes=(Strike("memory", "no_such_symbol", mask=1),))
    no_memory = ResolvedPlan(pokes=(Poke(0x60000000, 1),))
    plans = [plan(DeadNeurons(rate=0.5, seed=1)), nowhere, no_memory, plan(Reset(onset=300)), CLEAN]
    assert [one is not None for one in device.infer_under(plans, CODES)] == [False, False, False, False, True]


def test_a_device_is_clean_afterwards_and_as_it_was(device: EmulatedDevice) -> None:
    device.inject(CLEAN)
    wanted, before = device.infer(CODES, seed=5), device.counters()
    crash = ResolvedPlan(strikes=(Strike("register", "pc", "overwrite", 0xFFFFFFFF, 0x70000000, onset=9),))
    device.inject(plan(DeadNeurons(rate=0.5, seed=1)))
    found = device.infer_under([plan(MemoryBits(flips=99, region="server")), crash, CLEAN], CODES, seed=5)
    assert found[1] is None
    assert found[2] is not None
    np.testing.assert_array_equal(found[2].inference.logits, wanted.logits)
    assert device.counters().inferences == before.inferences, "what is replayed does not count"
    assert device.counters().instructions == before.instructions
    np.testing.assert_array_equal(device.infer(CODES, seed=5).logits, wanted.logits)


def test_a_restart_or_a_repair_is_another_beginning(device: EmulatedDevice) -> None:
    """What was run once before belongs to the device as it was then."""
    (one,) = device.infer_under([CLEAN], CODES[:1])
    device.reset()
    device.infer(CODES)
    (two,) = device.infer_under([CLEAN], CODES[:1])
    assert one is not None
    assert two is not None, "its HELLO is of the new session"
    assert one.instructions == two.instructions, "what was counted before is not counted again"


def test_the_beginnings_that_are_kept_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many items as there are, one after the other: each from its own beginning."""
    monkeypatch.setattr(replays, "MOST_PREFIXES", 2)
    device = opened()
    with device:
        for item in (0, 1, 2, 0):
            codes = CODES[item : item + 1]
            (one,) = device.infer_under([CLEAN], codes)
            assert one is not None
            np.testing.assert_array_equal(one.inference.logits, device.infer(codes).logits)


def toggles(address: int, bits: range, **moment: Any) -> list[ResolvedPlan]:
    return [ResolvedPlan(strikes=(Strike("memory", address, "toggle", 1 << bit, **moment),)) for bit in bits]


def shares(found: list[Replay | None], clean: Replay) -> tuple[int, int, int]:
    """Plans whose result is inferred, and those run: with the clean answer, with another."""
    given = [one for one in found if one is not None]
    same = [np.array_equal(one.inference.logits, clean.inference.logits) for one in given if not one.inferred]
    return len(given) - len(same), sum(same), len(same) - sum(same)


@pytest.mark.parametrize("items", [1, 2])
def test_all_bits_of_a_few_words_pruned_as_by_brute_force(device: EmulatedDevice, items: int) -> None:
    """Words that are read, that are stored to first, and that nothing uses, of RAM and flash; each bit, alone."""
    image = device._image()
    start, end = image.region("state")
    weights = next(first for name, (first, _) in image.regions.items() if name.startswith("cortex0_weight"))
    words = [*range(start, start + 4 * 24, 8), end - 400, image.region("readout_bias")[0], weights & ~3]
    words += [image.region(name)[0] & ~3 for name in ("main", "run_any", "server")]
    (clean,) = device.infer_under([CLEAN], CODES[:items], seed=5)
    assert clean is not None
    inferred, same, changed = shares(compare(device, [p for w in words for p in toggles(w, range(0, 32, 3))], items, prune=True), clean)
    whole = [ResolvedPlan(strikes=(Strike("memory", word, "toggle", 0x01010101),)) for word in range(start + 300, start + 600, 4)]
    compare(device, whole, items, prune=True)
    assert inferred > 80
    assert same > 20
    assert changed > 5


def test_every_moment_of_a_word_pruned_as_by_brute_force(device: EmulatedDevice) -> None:
    """Between two uses of it a word may change at any moment: the first one stands for all of them."""
    _, top = device._image().region(".stack")
    start, _ = device._image().region("state")
    (clean,) = device.infer_under([CLEAN], CODES[:1], seed=5)
    assert clean is not None
    length = int(clean.inference.instructions[0])  # type: ignore[index]
    onsets = [*range(0, length + 300, 167), length - 1, length, length + 1]
    places = [top - 24, top - 60, start + 100 * 4, device._image().region("readout_bias")[0], device._image().region("main")[0] & ~3]
    plans = [p for place in places for onset in onsets for p in toggles(place, range(3, 4), onset=onset)]
    inferred, same, changed = shares(compare(device, plans, 1, prune=True), clean)
    assert inferred > len(plans) // 3
    assert same + changed > 10
    assert changed > 0


@pytest.mark.parametrize("items", [1, 2])
def test_what_pruning_must_not_conclude(device: EmulatedDevice, items: int) -> None:
    """Several changes of which one matters, changes that are held or undone, that come twice, or wait for an address; and all at once."""
    image = device._image()
    start, end = image.region("state")
    bias = image.region("readout_bias")[0]
    matters, unused = Strike("memory", bias, "toggle", 1 << 6), Strike("memory", end - 400, "toggle", 1)
    before = [replace(matters, onset=onset) for onset in (0, 10, 20)]
    strikes: list[tuple[Strike, ...]] = [
        (matters, unused),
        (unused, unused),
        (matters, matters),
        (replace(unused, held=True),),
        *((replace(matters, lifespan=n, onset=0),) for n in (1, 10_000)),
        *((replace(matters, inference=n, onset=0),) for n in (0, 1, 2, 3)),
        *((one,) for one in before),
        *((replace(matters, at=place),) for place in ("run_any", "main")),
        (replace(before[0], inference=1), replace(before[1], inference=2)),
        (Strike("register", "r3", "toggle", 1, onset=100),),
        (Strike("memory", start + 12, "overwrite", 0xFFFF, 7), replace(matters, op="clear")),
    ]
    found = compare(device, [ResolvedPlan(strikes=plan) for plan in strikes], items, prune=True)
    inferred = [k for k, one in enumerate(found) if one is not None and one.inferred]
    assert inferred == [1], "unused, twice"


def test_a_late_start_saves_instructions(device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """In process, for the machine's own count: what comes before the first snapshot is not run again."""
    executed: dict[int, int] = {}
    for fewest in (1, 10**6):
        monkeypatch.setattr(replays, "FEWEST_LATE", fewest)
        executed[fewest] = run_in_process(device)
    assert executed[1] < 0.7 * executed[10**6]


def test_equal_changes_are_run_once(device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """At whatever moment between two uses; what is equal is not said to be inferred, for another request may run it."""
    runs, under = [0], replays.Replays._under
    bias = Strike("memory", load_elf(device.elf).region("readout_bias")[0], "toggle", 1 << 6)

    def counted(*given: Any) -> Any:
        runs[0] += 1
        return under(*given)

    monkeypatch.setattr(replays.Replays, "_under", counted)
    plans = [[replace(bias, onset=onset)] for onset in range(0, 300, 10)] + [
        [replace(bias, mask=1 << 7, onset=0)],
        [replace(bias, onset=9000)],
    ]
    found = in_process(device, plans, prune=True)
    assert runs[0] == 3, "one for all moments, another bit, and one after the end"
    assert not any(one.inferred for one in found)
    assert len({e.sent for one in found[:30] for e in one.exchanges}) == 1


def in_process(device: EmulatedDevice, plans: list[list[Strike]], prune: bool = False) -> list[replays.Replayed]:
    made = load_elf(device.elf), load_board(device.board), hook_library()
    machine = EmulatedMachine(*made)
    machine.power_on(10**7)
    frames = [(frames_of.encode(Verb.INFER, 1, INFER_HEAD.pack(0, 5, 0, 1)), 10**7)]
    return list(replays.Replays(machine, lambda: EmulatedMachine(*made, traced=True)).run("", 0, frames, plans, prune))


def run_in_process(device: EmulatedDevice) -> int:
    """Instructions that 30 faults late in an inference take, without those of the clean runs."""
    plans = [[Strike("register", "r0", "toggle", 0, onset=2500 + k)] for k in range(30)]
    total, proceed = [0], EmulatedMachine.proceed

    def counted(self: EmulatedMachine) -> Exchange:
        done = proceed(self)
        total[0] += done.executed
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmulatedMachine, "proceed", counted)
        found = in_process(device, plans)
    assert len({(e.sent, tuple(e.windows)) for one in found for e in one.exchanges}) == 1
    return total[0]
