"""The emulated board: exact counts, the same from compiled and Python hooks; crashes, hangs, babble and dead processes named."""

from __future__ import annotations

import itertools
import os
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgechaos.devices.conformance import GRAPHS, agrees
from edgechaos.devices.emulators import libraries
from edgechaos.devices.emulators import link as emulator_link
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.devices.emulators.firmware_image import load_elf
from edgechaos.devices.emulators.instruction_classes import CLASSES, classify
from edgechaos.devices.emulators.libraries import hook_library
from edgechaos.devices.emulators.link import EmulatorLink
from edgechaos.devices.emulators.unicorn.machine import EmulatedMachine
from edgechaos.devices.kinds.unicorn import emulated_firmware
from edgechaos.devices.protocol.client import Link
from edgechaos.faults.injections import Strike
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.work import most_instructions
from edgechaos.firmware_gen.protocol import INFER_HEAD, Verb
from edgechaos.support.errors import ArtifactError, DeviceCrash, DeviceHang, DeviceReset, EdgeChaosError, LinkError, UnsupportedError
from tests.helpers.firmwares import compiled
from tests.helpers.graphs import codes_for

BOARD = load_board("mps2-an386")
GRAPH = GRAPHS["parallel"]
BUDGET = 1_000_000


def machine(python_hooks: bool = False, elf: Path | None = None) -> EmulatedMachine:
    made = EmulatedMachine(load_elf(elf or compiled()), BOARD, None if python_hooks else hook_library())
    made.power_on(BUDGET)
    return made


def conversation(made: EmulatedMachine) -> list[Any]:
    """Everything a machine tells about a session of good and bad commands."""
    answers: list[Any] = []
    for command in (b"ABC", b"Z", b"r", b"D", b"n", b"u", b"f", b"l", b"h", b"b"):
        answers.append(made.exchange(command, BUDGET * 10 if command == b"b" else BUDGET // 10))
        answers.append(made.hooks.counts())
        if answers[-2].stopped is not None:
            answers.append(made.pin_reset(BUDGET))
    return answers


def test_compiled_and_python_hooks_tell_the_same() -> None:
    compiled, interpreted = conversation(machine()), conversation(machine(python_hooks=True))
    same = [a == b for a, b in zip(compiled, interpreted, strict=True)]
    assert all(same), f"differs at {same.index(False)}"


def test_counts_are_those_of_stepping() -> None:
    """Against an independent count: a hook per instruction, between the stores that open and close the window."""
    made = machine()
    code, stepped, taken = made.hooks.code, np.zeros(len(CLASSES) + 1, np.int64), 0
    last, inside = 0, False

    def step(engine: Any, address: int, size: int, user: Any) -> None:
        nonlocal last, inside, taken
        if inside:
            at, to = (last - code.base) // 2, (address - code.base) // 2
            after = at + int(code.length[at])
            stepped[code.kind[at]] += 1
            if code.kind[at] == len(CLASSES) or code.beside["pc_loads"][at]:
                taken += to != after and not code.beside["pc_loads"][at]
            else:  # what an IT block skips is fetched and takes its cycle, but is not stepped on
                for skipped in range(after, to):
                    stepped[code.kind[skipped]] += code.length[skipped] > 0
        last, inside = address, bool(made.hooks.m.window_open)

    made.engine.hook_add(made.unicorn.UC_HOOK_CODE, step)
    exchange = made.exchange(b"[Zq1", BUDGET)
    counts = made.hooks.counts()
    assert exchange.stopped is None
    assert len(exchange.windows) == 4
    assert int(stepped.sum()) == sum(exchange.windows) == sum(counts[name] for name in CLASSES)
    assert counts["branch_taken"] == taken
    for name in set(CLASSES) - {"branch_taken", "branch_not_taken"}:
        assert counts[name] == stepped[CLASSES.index(name)], name


@pytest.mark.parametrize("python_hooks", [False, True])
def test_an_it_block_ends_where_it_ends(python_hooks: bool) -> None:
    """Whatever calls back in the middle of one: a page touched for the first time, a store that is noted, the pin, a held word."""
    made = machine(python_hooks)
    assert made.exchange(b"p", BUDGET).stopped is None
    made.arm([asdict(Strike("memory", 0x20180000, "set", 1, held=True))])
    assert made.exchange(b"p", BUDGET).stopped is None


def test_known_work_has_known_counts() -> None:
    made = machine()
    made.exchange(b"\x10", BUDGET)  # collatz(16): 4 halvings
    one = made.hooks.counts()
    made.exchange(b"\x10", BUDGET)
    assert made.hooks.counts() == {name: 2 * count for name, count in one.items()}
    assert one["div"] == 1
    made.hooks.clear_counts()
    assert not any(made.hooks.counts().values())


@pytest.mark.parametrize(
    ("mnemonic", "kind"),
    [
        ("adds", "alu"),
        ("movw", "alu"),
        ("itte", "alu"),
        ("bics", "alu"),
        ("bfi", "alu"),
        ("uxtb", "alu"),
        ("mul", "mul_mac"),
        ("smlad", "mul_mac"),
        ("umull", "mul_mac"),
        ("sdiv", "div"),
        ("ldr.w", "load"),
        ("ldrsh", "load"),
        ("ldrd", "load_store_multiple"),
        ("strd", "load_store_multiple"),
        ("strb", "store"),
        ("push", "load_store_multiple"),
        ("pop.w", "load_store_multiple"),
        ("ldm", "load_store_multiple"),
        ("vldmia", "load_store_multiple"),
        ("b", "branch"),
        ("ble", "branch"),
        ("blt.w", "branch"),
        ("bl", "branch"),
        ("blx", "branch"),
        ("bx", "branch"),
        ("bls", "branch"),
        ("cbnz", "branch"),
        ("tbb", "branch"),
        ("vadd.f32", "fp"),
        ("vldr", "load"),
        ("wfi", "other"),
        ("dsb", "other"),
        ("bkpt", "other"),
        ("msr", "other"),
    ],
)
def test_classes(mnemonic: str, kind: str) -> None:
    assert classify(mnemonic) == kind


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "outcome", "said"),
    [
        (b"n", "crash", r"0x60000000 .*Reset_Handler.*fetch"),
        (b"u", "crash", r"Reset_Handler.*Invalid instruction"),
        (b"f", "crash", r"Reset_Handler.*write-protected memory.*0x00000100"),
        (b"l", "crash", r"Reset_Handler.*Invalid memory read.*0x70000000"),
        (b"h", "hang", r"loop_forever.*instructions it was allowed"),
        (b"b", "babble", r"Reset_Handler.*more than 65536 bytes"),
    ],
)
def test_misdeeds_are_named_with_their_place(command: bytes, outcome: str, said: str) -> None:
    kinds = {"crash": DeviceCrash, "hang": DeviceHang, "babble": LinkError}
    link = EmulatorLink(("unicorn", compiled(), "mps2-an386", hook_library()), BUDGET)
    try:
        assert link.read(0) == b"1"
        link.write(command)
        for _ in range(2):  # the second time from memory: a device that is down stays down
            with pytest.raises(kinds[outcome], match=f"{outcome} at .*{said}"):
                link.read(1)
            link.write(b"A")
        link.hard_reset()
        assert link.read(0) == b"2"
        link.write(b"A")
        assert link.read(0) == b"A"
    finally:
        link.close()


def test_a_restart_by_itself_is_a_restart() -> None:
    made = machine()
    assert made.exchange(b"r", BUDGET).sent == b"r2"
    assert made.exchange(b"A", BUDGET).sent == b"A"
    assert made.pin_reset(BUDGET).sent == b"3"
    assert made.power_on(BUDGET).sent == b"1"


def test_a_reset_loop_is_a_hang() -> None:
    made = machine()
    stopped = made.exchange(b"R", BUDGET).stopped
    assert stopped is not None
    assert (stopped.outcome, stopped.reason) == ("hang", "it restarted more than 100 times without getting to sleep")
    assert made.power_on(BUDGET).sent == b"1"


def test_the_same_session_twice_is_the_same_session() -> None:
    assert conversation(machine()) == conversation(machine())


def test_instructions_that_the_core_lacks_are_refused() -> None:
    doubles = compiled('void scaled(void) { __asm volatile(".inst.w 0xee310b00"); }\n')  # vadd.f64 d0, d1, d0
    with pytest.raises(UnsupportedError, match=r"scaled.*double-precision floating point, which a Cortex-M4 lacks"):
        machine(elf=doubles)


def test_what_is_no_instruction_is_refused() -> None:
    junk = compiled('void junk(void) { __asm volatile(".inst.w 0xffffffff"); }\n')
    with pytest.raises(UnsupportedError, match=r"junk.*ffff.*is no Armv7E-M instruction"):
        machine(elf=junk)


def test_a_board_with_other_peripherals_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="stm32l4r5"):
        EmulatedMachine(load_elf(compiled()), load_board("stm32l4r5"), hook_library())


@pytest.mark.parametrize("damage", ["absent", "empty", "text", "truncated", "x86", "stripped"])
def test_what_is_no_firmware_is_refused(damage: str, tmp_path: Path) -> None:
    whole = compiled().read_bytes()
    x86 = bytearray(whole)
    x86[18:20] = (62).to_bytes(2, "little")
    stripped = bytearray(whole)
    stripped[32:36] = bytes(4)  # no section table
    stripped[46:52] = bytes(6)
    content = {"empty": b"", "text": b"int main", "truncated": whole[:300], "x86": bytes(x86), "stripped": bytes(stripped)}
    path = tmp_path / "firmware.elf"
    if damage != "absent":
        path.write_bytes(content[damage])
    device = EmulatedDevice(GRAPH, path)
    with pytest.raises(EdgeChaosError, match=r"firmware\.elf"):
        device.open()
    device.close()


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_elf_never_does_worse_than_an_error(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(compiled().read_bytes())
    for at in rng.integers(0, len(data), 20):
        data[at] ^= int(rng.integers(1, 256))
    (tmp_path / "bad.elf").write_bytes(data)
    try:
        image = load_elf(tmp_path / "bad.elf")
        assert all(start < end for start, end in image.code)
        EmulatedMachine(image, BOARD, hook_library())
    except (ArtifactError, UnsupportedError):
        return


@pytest.fixture(scope="module")
def device() -> Any:
    with EmulatedDevice(GRAPH, emulated_firmware(GRAPH, "mps2-an386")) as opened:
        yield opened


def test_python_hooks_count_the_firmware_alike(device: EmulatedDevice) -> None:
    codes = codes_for(GRAPH, 3)
    device.reset()
    seen, counted = device.infer(codes), device.counters()
    with EmulatedDevice(GRAPH, device.elf, compiled_hooks=False) as slow:
        other, other_counted = slow.infer(codes), slow.counters()
    assert np.array_equal(seen.logits, other.logits)
    assert seen.instructions is not None
    assert other.instructions is not None
    assert seen.instructions.tolist() == other.instructions.tolist()
    assert counted.instructions == other_counted.instructions


def test_a_hang_is_counted_in_instructions(device: EmulatedDevice) -> None:
    link = device._link
    assert link is not None
    allowed, link.infer_budget = link.infer_budget, 1000
    with pytest.raises(DeviceHang, match="hang at"):
        device.infer(codes_for(GRAPH, 2))
    link.infer_budget = allowed
    device.reset()
    assert agrees(device, GRAPH)


def test_a_killed_process_is_an_error_and_replaced(device: EmulatedDevice) -> None:
    link = device._link
    assert link is not None
    os.kill(link.process.pid, signal.SIGKILL)
    with pytest.raises(LinkError, match="SIGKILL"):
        device.infer(codes_for(GRAPH, 1))
    device.reset()
    assert agrees(device, GRAPH)


def test_a_process_that_does_not_answer_is_killed(device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    link = device._link
    assert link is not None
    os.kill(link.process.pid, signal.SIGSTOP)
    monkeypatch.setattr(link.process, "_guard_s", 0.2)
    monkeypatch.setattr(link.process, "_slowest_hz", 2 * link.request_budget)  # half a second for what a frame may take
    with pytest.raises(LinkError, match=r"did not answer within 0\.7 s"):
        device.infer(codes_for(GRAPH, 1))
    device.reset()
    assert agrees(device, GRAPH)


def test_every_frame_has_the_time_that_its_own_work_takes(device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    link = device._link
    assert link is not None
    waits: list[int] = []
    receive = link.process.receive

    def noted(budget: int = 0) -> Any:
        waits.append(budget)
        return receive(budget)

    monkeypatch.setattr(link.process, "receive", noted)
    device.infer(codes_for(GRAPH, 3))
    assert waits == [link.request_budget, link.infer_budget] * 3 + [link.request_budget]  # and a HELLO
    assert link.infer_budget == most_instructions(GRAPH, BOARD.patch_capacity)


def test_an_infer_of_many_samples_may_take_as_many_times_longer(device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    link = device._link
    assert link is not None
    device.infer(codes_for(GRAPH, 1))
    (once,) = link.windows
    monkeypatch.setattr(link, "infer_budget", 2 * once)
    device._opened().client.request(Verb.INFER, INFER_HEAD.pack(0, 0, 0, 20))
    assert link.windows[1] > 10 * once
    monkeypatch.setattr(link, "infer_budget", 2**31)
    assert link.budget(Verb.INFER, INFER_HEAD.pack(0, 0, 0, 2**32 - 1)) == 2**62


def test_no_pause_of_this_machine_is_a_hang(device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute passes between any two looks at the clock."""
    minutes = itertools.count(0.0, 60.0)
    monkeypatch.setattr(Link, "now", lambda link: next(minutes))
    assert agrees(device, GRAPH)


def test_a_firmware_that_restarts_is_found_out(device: EmulatedDevice) -> None:
    link = device._link
    assert link is not None
    link.process.call({"op": "pin_reset", "budget": BUDGET})
    with pytest.raises(DeviceReset):
        device.infer(codes_for(GRAPH, 1))
    device.reset()
    assert agrees(device, GRAPH)


def test_a_firmware_that_says_nothing_of_the_protocol_is_refused() -> None:
    with pytest.raises(LinkError, match="no answer to HELLO"):
        EmulatedDevice(GRAPH, compiled()).open()


def test_a_firmware_that_crashes_at_once_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[int] = []
    close = emulator_link.EmulatorProcess.close

    def noted(process: emulator_link.EmulatorProcess) -> None:
        closed.append(process.pid)
        close(process)

    monkeypatch.setattr(emulator_link.EmulatorProcess, "close", noted)
    with pytest.raises(DeviceCrash, match="crash at 0x60000000"):
        EmulatedDevice(GRAPH, compiled("#define CRASH_AT_START\n")).open()
    (pid,) = closed
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_process_ends_with_its_parent() -> None:
    process = emulator_link.EmulatorProcess(("unicorn", compiled(), "mps2-an386", hook_library()))
    assert process._child.stdin is not None
    process._child.stdin.close()
    assert process._child.wait(timeout=30) == 0
    process.close()


def test_without_a_compiler_the_hooks_are_pythons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    assert hook_library() is None
