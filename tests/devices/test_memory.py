"""Memory poked from outside while the firmware sleeps: the integers that follow, and that nothing of it remains."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.contract import Memory, Operation
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.devices.host import HostDevice
from edgechaos.devices.kinds.unicorn import emulated_firmware
from edgechaos.faults.injections import CLEAN, Poke, ResolvedPlan
from edgechaos.faults.kinds.ram_bit_flip import RamBitFlip
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.firmware_gen.board import load_board
from edgechaos.support.errors import DeviceCrash, DeviceError, DevicePowerLoss, FaultError
from tests.helpers.graphs import chaos_graph, codes_for

pytestmark = pytest.mark.slow

GRAPH = chaos_graph(sizes=(30, 12, 5), seed=6)
CODES = codes_for(GRAPH, 4)
CLEAN_LOGITS = reference.run(GRAPH, CODES).logits
BOARD = load_board("mps2-an386")


def device() -> EmulatedDevice:
    return EmulatedDevice(GRAPH, emulated_firmware(GRAPH, "mps2-an386"))


@contextmanager
def running() -> Iterator[EmulatedDevice]:
    opened = device()
    with opened:
        yield opened


def bias_address(opened: EmulatedDevice) -> int:
    """Where the readout's biases lie in flash."""
    at = opened.read_memory(BOARD.flash.origin, BOARD.flash.bytes).find(GRAPH.value("readout_bias").astype("<i4").tobytes())
    assert at >= 0
    return BOARD.flash.origin + at


@pytest.mark.parametrize("restored_by", ["inject", "reset"])
@pytest.mark.parametrize("op", ["set", "clear", "toggle"])
def test_a_poked_bias_moves_its_logit_alone_and_is_restored(op: Operation, restored_by: str) -> None:
    bias, mask = int(GRAPH.value("readout_bias")[1]), 0b1010
    moved = {"set": bias | mask, "clear": bias & ~mask, "toggle": bias ^ mask}[op] - bias
    with running() as opened:
        address, boots = bias_address(opened) + 4, opened.open().boot_counter
        opened.poke(address, mask, op)
        np.testing.assert_array_equal(opened.infer(CODES).logits, CLEAN_LOGITS + np.array([0, moved, 0, 0, 0]))
        if restored_by == "inject":
            opened.inject(CLEAN)
        else:
            assert opened.reset().boot_counter == boots + 1
        np.testing.assert_array_equal(opened.infer(CODES).logits, CLEAN_LOGITS)
        assert int.from_bytes(opened.read_memory(address, 4), "little", signed=True) == bias


def test_pokes_all_over_ram_end_as_the_same_outcomes_twice_and_leave_nothing() -> None:
    """Whatever a flipped word does, the next trial starts clean."""

    def outcome(opened: EmulatedDevice, address: int) -> str:
        opened.poke(address, 1 << address // 4 % 32, "toggle")
        try:
            logits = opened.infer(CODES).logits
        except DeviceError as error:
            found = type(error).__name__
            opened.reset()
        else:
            found = hashlib.sha256(logits.tobytes()).hexdigest()
            opened.inject(CLEAN)
        np.testing.assert_array_equal(opened.infer(CODES[:1]).logits, CLEAN_LOGITS[:1], err_msg=f"after {address:#x}: {found}")
        return found

    with running() as opened:
        memory = np.frombuffer(opened.read_memory(BOARD.ram.origin, BOARD.ram.bytes), "<u4")
        used = BOARD.ram.origin + 4 * np.flatnonzero(memory)
        addresses = [int(a) for a in used[:: max(1, len(used) // 24)]]
        opened.reset()  # so that every trial starts after a reset by software
        first = [outcome(opened, a) for a in addresses]
        assert first == [outcome(opened, a) for a in addresses]
        assert len(set(first)) > 1, "some of them matter"


@pytest.mark.parametrize(
    ("address", "mask", "op"), [(0x7000_0000, 1, "set"), (0x2000_0002, 1, "set"), (0x2000_0000, 1 << 32, "set"), (0x2000_0000, 1, "flip")]
)
def test_what_is_no_word_of_memory_is_refused(address: int, mask: int, op: Operation) -> None:
    with running() as opened:
        with pytest.raises(FaultError):
            opened.poke(address, mask, op)
        np.testing.assert_array_equal(opened.infer(CODES).logits, CLEAN_LOGITS)


@pytest.mark.parametrize("use", ["infer", "counters"])
def test_what_poked_memory_makes_of_the_protocol_is_a_crash(use: str) -> None:
    """The session's number is a word like any other; no other host and no loss of power has changed it."""
    with running() as opened:
        session = opened._opened().client.session
        assert session is not None
        memory = opened.read_memory(BOARD.ram.origin, BOARD.ram.bytes)
        found = [BOARD.ram.origin + at for at in range(0, len(memory), 4) if memory[at : at + 8] == session.to_bytes(8, "little")]
        at = found[-1]
        opened.inject(resolve(GRAPH, FaultPlan((RamBitFlip(at, bits=((0, 3),)),))))
        with pytest.raises(DeviceCrash, match="no longer keeps the protocol: another host"):
            opened.infer(CODES) if use == "infer" else opened.counters()
        opened.reset()
        np.testing.assert_array_equal(opened.infer(CODES).logits, CLEAN_LOGITS)
        opened._opened().client.session = session ^ 1
        with pytest.raises(DevicePowerLoss):
            opened.infer(CODES)


def test_a_plan_with_an_address_that_is_no_memory_leaves_a_clean_device() -> None:
    both = ResolvedPlan.of(dead={"cortex0": np.ones(12, bool)})
    with running() as opened:
        with pytest.raises(FaultError, match="refused the plan"):
            opened.inject(ResolvedPlan(both.slots, pokes=(Poke(bias_address(opened), 1), Poke(0x7000_0000, 1))))
        np.testing.assert_array_equal(opened.infer(CODES).logits, CLEAN_LOGITS)


def test_who_has_memory() -> None:
    assert isinstance(device(), Memory)
    assert not isinstance(HostDevice(GRAPH), Memory)
