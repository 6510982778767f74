"""The host's side of the protocol against every misbehavior of the scripted fake: mended, or named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.fake import FakeDevice, Misbehavior
from edgechaos.devices.fake_board import FakeBoard
from edgechaos.errors import DeviceError, DeviceHang, DeviceRefused, DeviceReset, EdgeChaosError, FaultError, LinkError
from edgechaos.faults import CLEAN, FaultPlan, StuckAtOne, resolve
from edgechaos.firmware_gen.protocol import Capability, Verb
from tests.graphs import chaos_graph, codes_for

GRAPH = chaos_graph(sizes=(30, 12, 5), seed=6)
CODES = codes_for(GRAPH, 3)
HELLO, REQUESTS = 1, 2 * len(CODES)  # one frame of input and one INFER per item
MENDED: tuple[Misbehavior, ...] = (
    "ok",
    "silence",
    "lost_reply",
    "noise",
    "garbage",
    "corrupt",
    "truncate",
    "duplicate",
    "stale",
    "wrong_seq",
    "wrong_kind",
    "slow",
)
NAMED: dict[Misbehavior, type[DeviceError]] = {
    "babble": LinkError,
    "reset": DeviceReset,
    "refuse": DeviceRefused,
    "malformed": LinkError,
    "hang": DeviceHang,
}


def opened(*script: Misbehavior, **options: Any) -> FakeDevice:
    device = FakeDevice(GRAPH, ("ok", *script), **options)
    device.open()
    return device


def after(count: int) -> list[Misbehavior]:
    return ["ok"] * count


def is_right(device: FakeDevice) -> bool:
    return np.array_equal(device.infer(CODES).logits, reference.run(GRAPH, CODES).logits)


def test_every_misbehavior_is_tested() -> None:
    assert {*MENDED, *NAMED} == set(get_args(Misbehavior))


@pytest.mark.parametrize("at", range(REQUESTS + HELLO))
@pytest.mark.parametrize("step", MENDED)
def test_a_bad_exchange_is_mended(step: Misbehavior, at: int) -> None:
    assert is_right(opened(*after(at), step))


@pytest.mark.parametrize("step", MENDED)
def test_two_in_a_row_are_mended(step: Misbehavior) -> None:
    assert is_right(opened("ok", step, step))


@pytest.mark.parametrize("step", ["lost_reply", "corrupt", "truncate", "garbage"])
def test_a_request_is_executed_once(step: Misbehavior) -> None:
    device = opened("ok", step)  # the first INFER's reply is lost; its repetition is answered from the replay
    device.infer(CODES)
    counted = device.counters()
    assert counted.inferences == len(CODES)
    assert counted.link["replayed"] == counted.link["retried"] == 1


@pytest.mark.parametrize("at", range(REQUESTS))
@pytest.mark.parametrize("step", NAMED)
def test_what_cannot_be_mended_is_named(step: Misbehavior, at: int) -> None:
    if step == "malformed" and at % 2 == 0:
        at += 1  # an INPUT's reply is empty and nobody reads it
    device = opened(*after(at), step)
    with pytest.raises(NAMED[step]):
        device.infer(CODES)


@pytest.mark.parametrize("step", ["reset", "hang", "babble"])
def test_reset_helps(step: Misbehavior) -> None:
    device = opened("ok", step)
    device.inject(CLEAN)
    with pytest.raises(DeviceError):
        device.infer(CODES)
    before = device.open().boot_counter
    assert device.reset().boot_counter > before
    assert is_right(device)


def test_a_restarted_device_is_not_measured_until_it_is_reset() -> None:
    device = FakeDevice(GRAPH)
    device.open()
    device.inject(resolve(GRAPH, FaultPlan((StuckAtOne(rate=0.5),))))
    device.link.board.restart(3)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(DeviceReset, match="boot counter 1 -> 2"):
            device.infer(CODES)
    device.reset()
    assert is_right(device)


def test_a_hung_device_without_a_reset_line_says_so() -> None:
    device = opened("hang", reset_line=False)
    with pytest.raises(LinkError, match="reset button"):
        device.reset()


def test_a_device_that_only_pretends_to_restart_is_reset_by_its_line() -> None:
    device = opened("lost_reply")
    device.link.board.restart = lambda cause: None  # type: ignore[method-assign]
    with pytest.raises(LinkError, match="did not restart"):
        device._restart(device._opened())


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (["silence"] * 3, "nothing came back"),
        (["garbage"] * 3, "bytes came"),
        (["babble"], "babbles"),
        (["malformed"], "not those of this protocol"),
    ],
)
def test_a_device_that_cannot_say_hello(script: list[Misbehavior], message: str) -> None:
    device = FakeDevice(GRAPH, script)
    with pytest.raises((LinkError, DeviceRefused), match=message):
        device.open()
    assert device.link.closed == 1, "the link is released"


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        ({"protocol": 9}, "speaks protocol 9"),
        ({"random_id": 7}, "other random words"),
        ({"model_hash": b"\x1b[31m" + bytes(27)}, "holds model 1b5b33316d00"),
        ({"max_payload": 0}, "takes 0 bytes"),
        ({"max_payload": 20}, "takes 20 bytes"),
    ],
)
def test_a_hostile_hello_is_refused(lie: dict[str, Any], message: str) -> None:
    board = FakeBoard(GRAPH)
    board.hello = replace(board.hello, **lie)
    with pytest.raises(DeviceRefused, match=message):
        FakeDevice(GRAPH, board=board).open()


def test_what_hello_says_reaches_no_terminal_raw() -> None:
    board = FakeBoard(GRAPH, uid=b"\x1b]0;owned\x07" + bytes(6))
    board.hello = replace(board.hello, reset_cause=77)
    info = FakeDevice(GRAPH, board=board).open()
    assert info.uid == "1b5d303b6f776e656407000000000000"
    assert info.reset_cause == "code 77"


def test_a_device_without_fault_hooks_refuses_plans() -> None:
    device = FakeDevice(GRAPH, board=FakeBoard(GRAPH, capabilities=Capability.OMISSION))
    device.open()
    with pytest.raises(FaultError, match="stuck_at_1"):
        device.inject(resolve(GRAPH, FaultPlan((StuckAtOne(rate=0.5),))))
    assert is_right(device)


def test_a_plan_refused_half_way_leaves_the_device_clean() -> None:
    device = opened("ok", "refuse")
    with pytest.raises(FaultError, match="refused the plan"):
        device.inject(resolve(GRAPH, FaultPlan((StuckAtOne(rate=0.5),))))
    assert is_right(device)


@pytest.mark.parametrize("payload", [64, 65, 67, 128, 1000, 65535])
def test_any_frame_size_works(payload: int) -> None:
    graph = chaos_graph(sizes=(150, 12, 120), seed=8)
    device = FakeDevice(graph, board=FakeBoard(graph, max_payload=payload))
    with device:
        codes = codes_for(graph, 2)
        assert np.array_equal(device.infer(codes).logits, reference.run(graph, codes).logits)
        assert max(len(f.payload) for f in device.link.requests) <= payload


def test_hello_is_said_anew_each_time() -> None:
    device = FakeDevice(GRAPH, ["silence"])
    device.open()
    seqs = [f.seq for f in device.link.requests if f.kind == Verb.HELLO]
    assert len(seqs) == len(set(seqs)) == 2


def test_sequence_numbers_wrap() -> None:
    device = opened()
    device._opened().client._seq = 0xFFFD
    assert is_right(device)


def error_of(call: Callable[[], object]) -> EdgeChaosError | None:
    try:
        call()
    except EdgeChaosError as error:
        return error
    return None


@pytest.mark.parametrize("seed", range(40))
def test_random_misbehavior_never_gives_a_wrong_integer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps = [str(s) for s in rng.choice(get_args(Misbehavior), 12)]
    device = FakeDevice(GRAPH, ("ok", *steps))  # type: ignore[arg-type]
    device.open()
    for _ in range(20):
        if error_of(lambda: None if is_right(device) else pytest.fail("wrong integers")) is not None:
            error_of(device.reset)
    device.link.hard_reset()
    device.reset()
    assert is_right(device)
