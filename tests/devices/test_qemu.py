"""QEMU's boards: the reference's integers, Unicorn's counts, faults by their registers, no process that outlives its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgechaos.devices.conformance import GRAPHS, PLANS, agrees, difference
from edgechaos.devices.contract import Device
from edgechaos.devices.emulators.device import EmulatedDevice, QemuDevice
from edgechaos.devices.emulators.firmware_image import load_elf
from edgechaos.devices.emulators.unicorn.machine import is_emulated
from edgechaos.devices.kinds.unicorn import emulated_firmware
from edgechaos.devices.registry import check_spec, list_devices
from edgechaos.faults.injections import CLEAN
from edgechaos.faults.plan import resolve
from edgechaos.firmware_gen.board import board_names, load_board
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import ConfigError, DeviceCrash, DeviceError, DeviceHang, FaultError
from tests.helpers.graphs import codes_for

GRAPH = GRAPHS["parallel"]
AN386 = load_board("mps2-an386")


def qemu(graph: IntegerGraph = GRAPH, board: str = "mps2-an386") -> QemuDevice:
    return QemuDevice(graph, emulated_firmware(graph, board), board)


UDF, TO_ITSELF = 0xDE00, 0xE7FE
"""Thumb instructions: permanently undefined, and a branch to itself."""


def overwrite(device: QemuDevice, function: str, halfword: int) -> int:
    """The function begins with another instruction. Returns its address."""
    address = load_elf(device.elf).address(function) & ~1
    old = int.from_bytes(device.read_memory(address & ~3, 4), "little")
    shift = 8 * (address % 4)
    device.poke(address & ~3, (old ^ (halfword << shift)) & (0xFFFF << shift), "toggle")
    return address


def plays(device: Device, graph: IntegerGraph, plan: str | None) -> str:
    """The first integer that differs from the reference's, or ""."""
    resolved = resolve(graph, PLANS[plan]) if plan else CLEAN
    device.inject(resolved)
    return difference(device, graph, resolved)


@pytest.fixture(scope="module")
def device() -> Iterator[QemuDevice]:
    opened = qemu()
    with opened:
        yield opened


QEMU_BOARDS = tuple(name for name in board_names() if load_board(name).qemu)


@pytest.mark.parametrize(("board", "name"), [*((board, "parallel") for board in QEMU_BOARDS), ("mps2-an386", "stateful")])
def test_a_board_has_the_integers_of_the_reference_and_unicorns_counts(board: str, name: str) -> None:
    graph, counted = GRAPHS[name], []
    for kind in (QemuDevice, EmulatedDevice)[: 1 + is_emulated(load_board(board))]:
        with kind(graph, emulated_firmware(graph, board), board) as opened:
            clean = opened.infer(codes_for(graph, 2), seed=5)
            assert [plan for plan in ("weights", None) if plays(opened, graph, plan)] == []
            before = opened.open().boot_counter
            assert opened.reset().boot_counter > before  # a slow machine is reset more than once
            again = opened.infer(codes_for(graph, 2), seed=5)
            assert clean.instructions is not None
            assert again.instructions is not None
            assert again.instructions.tolist() == clean.instructions.tolist()
            counted.append((clean.instructions.tolist(), opened.counters().instructions))
    assert counted[0] == counted[-1]


def test_a_poke_is_read_back_and_ends_with_the_plan(device: QemuDevice) -> None:
    address = AN386.ram.origin + 0x20_0000
    for place in (address, AN386.ram.origin, AN386.flash.origin + 8):
        before = device.read_memory(place, 4)
        device.poke(place, 0x00010004, "toggle")
        assert int.from_bytes(device.read_memory(place, 4), "little") == int.from_bytes(before, "little") ^ 0x00010004
        device.inject(CLEAN)
        assert device.read_memory(place, 4) == before
    with pytest.raises(FaultError, match="no 4 bytes of RAM or flash at 0x50000000"):
        device.poke(0x50000000, 1, "set")
    assert agrees(device, GRAPH)


def test_a_crash_has_its_fault_registers(device: QemuDevice) -> None:
    overwrite(device, "ec_chaos_parallel", UDF)
    said = r"crash at ec_chaos_parallel \(LR .*\): exception 3, CFSR 0x00010000, HFSR 0x40000000"
    for _ in range(2):
        with pytest.raises(DeviceCrash, match=said):
            device.infer(codes_for(GRAPH, 1))
    device.inject(CLEAN)
    assert agrees(device, GRAPH)
    before = device.open().boot_counter
    overwrite(device, "ec_chaos_parallel", UDF)
    with pytest.raises(DeviceCrash, match=said):
        device.infer(codes_for(GRAPH, 1))
    assert device.reset().boot_counter > before
    assert agrees(device, GRAPH)


def test_a_trap_has_its_registers() -> None:
    """An illegal instruction of RISC-V: mcause 2, and mtval is the instruction."""
    opened = qemu(board="sifive-e")
    with opened:
        overwrite(opened, "ec_chaos_parallel", 0)
        with pytest.raises(DeviceCrash, match=r"crash at ec_chaos_parallel \(LR run_any.*\): mcause 0x00000002, mtval 0x"):
            opened.infer(codes_for(GRAPH, 1))
        assert opened.reset().boot_counter > 1  # what followed from the poke is undone, that start among it
        assert agrees(opened, GRAPH)


def test_a_hang_is_too_many_instructions(device: QemuDevice) -> None:
    overwrite(device, "ec_chaos_parallel", TO_ITSELF)
    with pytest.raises(DeviceHang, match=r"ec_chaos_parallel.*ran out of the instructions"):
        device.infer(codes_for(GRAPH, 1))
    device.inject(CLEAN)
    assert agrees(device, GRAPH)


def test_a_core_that_locks_up_is_a_crash(device: QemuDevice) -> None:
    """A fault in the handler of faults: QEMU gives up."""
    overwrite(device, "ec_chaos_parallel", UDF)
    overwrite(device, "Fault_Handler", UDF)
    with pytest.raises(DeviceCrash, match=r"Lockup|exception"):
        device.infer(codes_for(GRAPH, 1))
    device.inject(CLEAN)
    assert agrees(device, GRAPH)


def qemus_of(pid: int) -> list[int]:
    """The QEMUs among the descendants of a process."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            name, fields = (entry / "stat").read_text().rsplit(")", 1)
        except OSError:
            continue
        parents[int(entry.name)] = int(fields.split()[1]), "qemu" in name
    family = {pid}
    while more := {child for child, (parent, _) in parents.items() if parent in family} - family:
        family |= more
    return [one for one in family if one in parents and parents[one][1]]


SERVE = """
import sys
from tests.devices.test_qemu import GRAPH, codes_for, overwrite, qemu, TO_ITSELF
with qemu() as device:
    if sys.argv[1] == "hangs":
        overwrite(device, "ec_chaos_parallel", TO_ITSELF)
    print("ready", flush=True)
    sys.stdin.read() if sys.argv[1] == "waits" else device.infer(codes_for(GRAPH, 1))
"""


@pytest.mark.parametrize("does", ["waits", "hangs"])
def test_no_qemu_outlives_its_owner(does: str) -> None:
    owner = subprocess.Popen([sys.executable, "-c", SERVE, does], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"ready\n"
    (one,) = qemus_of(owner.pid)
    owner.kill()
    owner.communicate()
    while Path(f"/proc/{one}/exe").exists():  # a QEMU that stays is found by the suite's time-out
        time.sleep(0.01)


def test_a_qemu_that_is_killed_is_replaced(device: QemuDevice) -> None:
    (one,) = qemus_of(os.getpid())
    os.kill(one, signal.SIGKILL)
    with pytest.raises(DeviceError):
        device.infer(codes_for(GRAPH, 1))
    device.reset()
    assert agrees(device, GRAPH)


def test_what_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    check_spec("qemu")
    with pytest.raises(ConfigError, match=r"board 'stm32l4r5' is not emulated by qemu; there are microbit, mps2-an385"):
        check_spec("qemu:stm32l4r5")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="qemu-system-arm on the PATH; on Debian: apt-get install qemu-system-arm"):
        check_spec("qemu:mps2-an386")
    assert {d.remedy for d in list_devices() if d.spec == "qemu:mps2-an386"} == {"apt-get install qemu-system-arm"}
