"""Faults that strike an emulated core while it runs: exact to the instruction, they do what they say, and nothing of them remains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.contract import Machine
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.devices.emulators.firmware_image import load_elf
from edgechaos.devices.emulators.places import drawn_bits, place_strikes
from edgechaos.devices.host import HostDevice
from edgechaos.devices.kinds.unicorn import emulated_firmware
from edgechaos.faults.base import Fault, fault_kinds
from edgechaos.faults.injections import CLEAN, Draw, ResolvedPlan, Strike
from edgechaos.faults.kinds.brown_out import BrownOut
from edgechaos.faults.kinds.instruction_bits import InstructionBits
from edgechaos.faults.kinds.instruction_skip import InstructionSkip
from edgechaos.faults.kinds.memory_bits import MemoryBits
from edgechaos.faults.kinds.program_counter import ProgramCounter
from edgechaos.faults.kinds.register_bits import RegisterBits
from edgechaos.faults.kinds.reset import Reset
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.firmware_gen.board import load_board
from edgechaos.support.errors import DeviceCrash, DeviceError, DeviceReset, FaultError
from tests.helpers.graphs import chaos_graph, codes_for

pytestmark = pytest.mark.slow

GRAPH = chaos_graph(sizes=(30, 12, 5), seed=6)
CODES = codes_for(GRAPH, 4)
CLEAN_LOGITS = reference.run(GRAPH, CODES).logits
BOARD = load_board("mps2-an386")
NOTHING = Strike("register", "r0", mask=0, onset=0)


@pytest.fixture(scope="module", params=["compiled", "python"])
def device(request: pytest.FixtureRequest) -> Iterator[EmulatedDevice]:
    opened = EmulatedDevice(GRAPH, emulated_firmware(GRAPH, "mps2-an386"), compiled_hooks=request.param == "compiled")
    with opened:
        yield opened


@pytest.fixture(scope="module")
def fast() -> Iterator[EmulatedDevice]:
    opened = EmulatedDevice(GRAPH, emulated_firmware(GRAPH, "mps2-an386"))
    with opened:
        yield opened


def under(device: EmulatedDevice, *faults: Fault) -> np.ndarray:
    device.inject(resolve(GRAPH, FaultPlan(faults)))
    try:
        return device.infer(CODES).logits
    finally:
        try:
            device.inject(CLEAN)
        except DeviceError:
            device.reset()


def same_as_clean(device: EmulatedDevice) -> None:
    device.inject(CLEAN)
    np.testing.assert_array_equal(device.infer(CODES).logits, CLEAN_LOGITS)


def test_a_strike_that_changes_nothing_moves_no_instruction(device: EmulatedDevice) -> None:
    """Wherever the core is stopped, and in whatever block, it goes on as if it had not been."""
    device.inject(CLEAN)
    before = device.counters().instructions
    clean = device.infer(CODES)
    between = device.counters().instructions
    assert clean.instructions is not None
    for step, onset in enumerate([*range(40), *range(41, int(clean.instructions.min()), 37)]):
        moment = {"onset": onset} if step % 3 else {"at": "run_any", "hits": 1}
        device.inject(ResolvedPlan(strikes=(Strike("register", "r0", mask=0, **moment), NOTHING)))
        found = device.infer(CODES[:1])
        np.testing.assert_array_equal(found.logits, CLEAN_LOGITS[:1])
        assert found.instructions is not None
        assert found.instructions[0] == clean.instructions[0], onset
    device.inject(ResolvedPlan(strikes=(Strike("register", "r0", mask=0, onset=777),)))
    after = device.counters().instructions
    device.infer(CODES)
    end = device.counters().instructions
    assert {k: end[k] - after[k] for k in end} == {k: between[k] - before[k] for k in before}, "by class, too"


def test_skipping_the_return_value_of_the_model_changes_the_class_alone_of_that_inference(fast: EmulatedDevice) -> None:
    """A skipped instruction is a NOP: at every place of an inference the outcome is the same twice, and some matter."""
    outcomes = []
    for onset in range(0, 3000, 101):
        seen = []
        for _ in range(2):
            try:
                seen.append(under(fast, InstructionSkip(onset=onset, count=1, inference=2)).tobytes())
            except DeviceError as error:
                seen.append(type(error).__name__.encode())
                fast.reset()
        assert seen[0] == seen[1], onset
        outcomes.append(seen[0])
    assert len(set(outcomes)) > 2
    same_as_clean(fast)


def test_a_strike_hits_the_inference_that_it_names(fast: EmulatedDevice) -> None:
    """A bias that is changed only while the third inference runs moves its logits alone."""
    image = load_elf(fast.elf)
    start, _ = image.region("logits_bias" if "logits_bias" in image.regions else "readout_bias")
    strike = Strike("memory", start, "toggle", 1 << 6, onset=0, inference=3, lifespan=2**40)
    fast.inject(ResolvedPlan(strikes=(strike,)))
    moved = (int(GRAPH.value("readout_bias")[0]) ^ 64) - int(GRAPH.value("readout_bias")[0])
    wanted = CLEAN_LOGITS.copy()
    wanted[2, 0] += moved
    np.testing.assert_array_equal(fast.infer(CODES).logits, wanted)
    fast.inject(ResolvedPlan(strikes=(Strike("memory", start, "overwrite", 0xFFFFFFFF, 5, onset=0, inference=0),)))
    wanted = CLEAN_LOGITS.copy()
    wanted[:, 0] += 5 - int(GRAPH.value("readout_bias")[0])
    np.testing.assert_array_equal(fast.infer(CODES).logits, wanted)
    same_as_clean(fast)


def test_held_bits_stay_whatever_is_stored(fast: EmulatedDevice) -> None:
    """The input's first byte, which every item stores anew, reads as its bits held at 0: as an item whose code lacks them."""
    image = load_elf(fast.elf)
    start, end = image.region("state")
    fast.infer(CODES[3:])
    memory, codes = fast.read_memory(start, end - start), CODES[3].tobytes()
    at = start + memory.find(codes)
    assert at % 4 == 0
    fast.inject(ResolvedPlan(strikes=(Strike("memory", at, "clear", 0xFFFF, held=True),)))
    held = CODES.copy()
    held[:, :2] = 0
    np.testing.assert_array_equal(fast.infer(CODES).logits, reference.run(GRAPH, held).logits)
    fast.inject(ResolvedPlan(strikes=(Strike("memory", at, "clear", 0xFFFF),)))
    np.testing.assert_array_equal(fast.infer(CODES).logits, CLEAN_LOGITS)  # a transient one is stored over
    same_as_clean(fast)


@pytest.mark.parametrize("ram_lost", [0, 1])
def test_a_reset_in_the_middle_is_a_reset(fast: EmulatedDevice, ram_lost: int) -> None:
    with pytest.raises(DeviceReset):
        under(fast, Reset(onset=500, ram_lost=ram_lost))
    fast.reset()
    same_as_clean(fast)


def test_a_brown_out_is_a_reset_and_may_lose_the_boot_counter(fast: EmulatedDevice) -> None:
    with pytest.raises(DeviceReset):
        under(fast, BrownOut(rate=0.5, onset=300))
    fast.reset()
    same_as_clean(fast)


def test_a_jump_to_nowhere_crashes_and_a_register_may(fast: EmulatedDevice) -> None:
    with pytest.raises(DeviceCrash):
        under(fast, ProgramCounter(bit=30, onset=200))
    fast.reset()
    found: set[bool | str] = set()
    for seed in range(24):
        try:
            found.add(bool((under(fast, RegisterBits(flips=1, seed=seed, span=2000)) != CLEAN_LOGITS).any()))
        except DeviceError as error:
            found.add(type(error).__name__)
            fast.reset()
    assert {False, True} <= found or len(found) > 1
    same_as_clean(fast)


def test_instructions_that_become_others_and_come_back(fast: EmulatedDevice) -> None:
    """Branches to themselves in place of a function's first instruction hang; for one instruction's time only, they do not."""
    image = load_elf(fast.elf)
    start = image.address("run_any") & ~1
    loop = Strike("memory", start & ~3, "overwrite", 0xFFFF << 8 * (start & 2), 0xE7FE << 8 * (start & 2), at=start)
    fast.inject(ResolvedPlan(strikes=(loop,)))
    with pytest.raises(DeviceError, match="hang"):
        fast.infer(CODES)
    fast.reset()
    fast.inject(ResolvedPlan(strikes=(Strike(**{**{n: getattr(loop, n) for n in loop.__slots__}, "lifespan": 5}),)))
    np.testing.assert_array_equal(fast.infer(CODES).logits, CLEAN_LOGITS)
    assert fast.read_memory(start, 2) == image.read(start, 2)
    try:
        under(fast, InstructionBits(flips=12, seed=1, lifespan=0))
    except DeviceError:
        fast.reset()
    same_as_clean(fast)


def test_places_by_symbol_section_and_address() -> None:
    image = load_elf(emulated_firmware(GRAPH, "mps2-an386"))
    start, end = image.region(".bss")
    (one,) = place_strikes([Strike("memory", f"{start:#x}:4", draw=Draw(1, 2, count=3))], image)
    assert (one.where, one.mask.bit_count()) == (start, 3)
    placed = list(place_strikes([Strike("memory", ".bss", draw=Draw(1, 2, count=4, burst=5))], image))
    assert 4 <= sum(s.mask.bit_count() for s in placed) <= 20
    assert all(start <= int(s.where) < end for s in placed)
    assert image.address("run_any+0x10") == image.region("run_any")[0] + 16
    with pytest.raises(FaultError, match="no section or symbol 'run_amy', did you mean 'run_any'"):
        image.region("run_amy")


def test_fewer_drawn_bits_are_among_more() -> None:
    few, more = set(drawn_bits(Draw(5, 6, count=7), 4000)), set(drawn_bits(Draw(5, 6, count=40), 4000))
    assert (len(few), len(more)) == (7, 40)
    assert few < more
    assert len(drawn_bits(Draw(5, 6, count=32), 32)) == 32
    assert len(drawn_bits(Draw(5, 6, rate=0.25), 400)) == 100
    with pytest.raises(FaultError, match="has no 33 runs"):
        drawn_bits(Draw(5, 6, count=33), 32)


KINDS = (
    MemoryBits(flips=1),
    InstructionSkip(),
    RegisterBits(flips=1),
    ProgramCounter(flips=1),
    Reset(),
    BrownOut(),
    InstructionBits(flips=1),
)


def test_no_kind_is_left_out() -> None:
    of_machines = {name for name, kind in fault_kinds().items() if kind.level == "machine" and kind.__module__.startswith("edgechaos.")}
    assert of_machines == {fault.kind for fault in KINDS}


@pytest.mark.parametrize("fault", KINDS)
def test_a_device_without_a_core_refuses(fault: Fault) -> None:
    with HostDevice(GRAPH) as host:
        assert not isinstance(host, Machine)
        with pytest.raises(FaultError, match="cannot carry faults of the machine; use one that gives access to its core"):
            host.inject(resolve(GRAPH, FaultPlan((fault,))))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (MemoryBits(region="a b"), "region 'a b' is no section or symbol; write .bss, state, or 0x20000000:4096"),
        (MemoryBits(op="flip"), "op 'flip' is none of set, clear, toggle, overwrite"),
        (MemoryBits(held=1, lifespan=3), "held bits have no lifespan"),
        (MemoryBits(burst=0), r"burst 0 is outside 1\.\."),
        (RegisterBits(register="r13"), "register 'r13' is none of"),
        (RegisterBits(bit=32), r"bit 32 is outside -1\.\.31"),
        (ProgramCounter(bit=0), r"bit 0 is outside 1\.\.31"),
        (ProgramCounter(flips=9, highest=8), "9 bits are not among bits 1..8"),
        (InstructionSkip(onset=-2), r"onset -2 is outside -1\.\."),
        (InstructionSkip(trigger="main + 4"), "trigger 'main [+] 4' is no address; write 0x1c4"),
        (InstructionBits(value=-1), "value -1 is outside"),
        (Reset(hits=0), r"hits 0 is outside 1\.\."),
        (BrownOut(region=""), "region '' is no section"),
    ],
)
def test_what_cannot_be_is_refused(fault: Fault, message: str) -> None:
    with pytest.raises(FaultError, match=message):
        resolve(GRAPH, FaultPlan((fault,)))


def test_a_store_beyond_what_the_firmware_uses_is_seen_and_undone(fast: EmulatedDevice) -> None:
    """A stack pointer that jumps into RAM that nobody uses: the model still runs there, and the next plan finds zeros again."""
    far = BOARD.ram.origin + 0x200000
    for _ in range(2):
        fast.inject(ResolvedPlan(strikes=(Strike("register", "sp", "overwrite", 0xFFFFFFFF, far, onset=-1),)))
        with suppress(DeviceError):
            fast.infer(CODES[:1])
        written = np.frombuffer(fast.read_memory(far - 4096, 4096), np.uint8)
        assert written.any()
        fast.reset()
        assert not np.frombuffer(fast.read_memory(far - 4096, 4096), np.uint8).any()
        same_as_clean(fast)
