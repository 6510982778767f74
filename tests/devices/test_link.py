"""The host's side of the protocol against every misbehavior of the scripted fake: mended, or named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.fakes.board import FakeBoard
from edgechaos.devices.fakes.device import FakeDevice, Misbehavior
from edgechaos.devices.protocol.frames import Frame, FrameDecoder, encode
from edgechaos.devices.protocol.plan_payloads import plan_requests
from edgechaos.faults.injections import CLEAN
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.firmware_gen.protocol import COUNTERS_REPLY, PATCH_ROW, REPLY, Level, ResetCause, Verb
from edgechaos.support.errors import (
    DeviceCrash,
    DeviceError,
    DeviceHang,
    DevicePowerLoss,
    DeviceRefused,
    DeviceReset,
    EdgeChaosError,
    FaultError,
    LinkError,
)
from tests.helpers.graphs import chaos_graph, codes_for

GRAPH = chaos_graph(sizes=(30, 12, 5), seed=6)
CODES = codes_for(GRAPH, 3)
REQUESTS = 2 * len(CODES)  # one frame of input and one INFER per item, then a HELLO
OPENING = 3  # HELLO, SESSION, HELLO
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
    "crossed",
    "wrong_kind",
    "slow",
)
NAMED: dict[Misbehavior, type[DeviceError]] = {
    "babble": LinkError,
    "reset": DeviceReset,
    "refuse": DeviceRefused,
    "malformed": LinkError,
    "hang": DeviceHang,
    "power_loss": DevicePowerLoss,
    "power_loss_late": DevicePowerLoss,
    "power_loss_after": DevicePowerLoss,
}


def opened(*script: Misbehavior, **options: Any) -> FakeDevice:
    device = FakeDevice(GRAPH, (*after(OPENING), *script), **options)
    device.open()
    return device


def after(count: int) -> list[Misbehavior]:
    return ["ok"] * count


def is_right(device: FakeDevice) -> bool:
    return np.array_equal(device.infer(CODES).logits, reference.run(GRAPH, CODES).logits)


def test_every_misbehavior_is_tested() -> None:
    assert {*MENDED, *NAMED} == set(get_args(Misbehavior))


@pytest.mark.parametrize("at", range(OPENING))
@pytest.mark.parametrize("step", MENDED)
def test_a_bad_exchange_while_opening_is_mended(step: Misbehavior, at: int) -> None:
    device = FakeDevice(GRAPH, (*after(at), step))
    device.open()
    assert is_right(device)


@pytest.mark.parametrize("at", range(REQUESTS + 1))
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
    device.link.board.restart(ResetCause.FAULT)
    for _ in range(2):
        with pytest.raises(DeviceReset, match="boot counter 1 -> 2"):
            device.infer(CODES)
    device.reset()
    assert is_right(device)


def test_a_restart_is_found_whichever_of_its_two_marks_shows_it() -> None:
    for session, boots in ((0, 1), (None, 2)):
        device = opened()
        hello = device.link.board.hello
        device.link.board.hello = replace(hello, session=hello.session if session is None else session, boot_counter=boots)
        for call in (lambda d=device: d.infer(CODES), device.counters):
            with pytest.raises(DeviceReset, match="restarted by itself"):
                call()


def test_a_restart_explains_a_refusal() -> None:
    device = opened()
    device.link.board.restart(ResetCause.WATCHDOG)
    with pytest.raises(DeviceReset, match="reset cause watchdog; boot counter 1 -> 2"):
        device._opened().client.request(Verb.STATE_HASH)  # after a restart there is no result to hash


@pytest.mark.parametrize(
    ("cause", "outcome"),
    [
        (ResetCause.POWER_ON, "infrastructure"),
        (ResetCause.PIN, "infrastructure"),
        (ResetCause.WATCHDOG, "reset"),
        (ResetCause.FAULT, "reset"),
    ],
)
def test_only_a_restart_that_a_fault_can_cause_is_an_outcome(cause: ResetCause, outcome: str) -> None:
    device = opened()
    device.link.board.restart(cause)
    with pytest.raises(DeviceReset) as raised:
        device.infer(CODES)
    assert raised.value.outcome == outcome


@pytest.mark.parametrize("step", ["silence", "refuse", "malformed", "hang"])
def test_after_a_reset_that_failed_nothing_is_believed(step: Misbehavior) -> None:
    for at in range(1, 1 + OPENING):  # RESET, then HELLO, SESSION, HELLO
        device = opened(*after(at), step, step, step, reset_line=False)
        with pytest.raises(DeviceError):
            device.reset()
        device.link.script.clear()
        device.link._hangs = False
        for call in (lambda d=device: d.infer(CODES), device.counters):
            with pytest.raises(DeviceError):
                call()
        device.reset()
        assert is_right(device)


def test_the_words_that_campaigns_record() -> None:
    words = {DeviceCrash: "crash", DeviceHang: "hang", DeviceReset: "reset"}
    assert {kind: kind.outcome for kind in words} == words
    assert {k.outcome for k in (DeviceError, LinkError, DeviceRefused, DevicePowerLoss)} == {"infrastructure"}


def test_a_device_that_loses_its_power_at_every_request_says_so() -> None:
    """It answers HELLO alone: what it says there, that it began anew, is the cause, not the link."""
    device = opened()
    respond = device.link._respond

    def dies(frame: Frame) -> bytes:
        if frame.kind == Verb.HELLO:
            return respond(frame)
        device.link.board.lose_power()
        return b""

    device.link._respond = dies  # type: ignore[method-assign]
    with pytest.raises(DevicePowerLoss, match="restarted by itself"):
        device.infer(CODES)


@pytest.mark.parametrize("size", range(116, 140))
def test_a_plan_is_cut_into_requests_that_fit_and_are_full(size: int) -> None:
    graph = chaos_graph(sizes=(50, 2000, 5), noise=False, seed=4)
    plan = resolve(graph, FaultPlan((StuckAtOne(rate=0.5, seed=1), WeightBitFlip(rate=0.001, seed=2))))
    requests = plan_requests(graph, apply(graph, plan), plan, size)
    lengths = {verb: [len(r.payload) for r in requests if r.verb == verb] for verb in (Verb.SET, Verb.PATCH)}
    assert all(1 < length <= size for found in lengths.values() for length in found)
    assert max(lengths[Verb.SET]) == size
    assert max(lengths[Verb.PATCH]) > size - PATCH_ROW.size, "another row would not fit"
    rows = sum(length // PATCH_ROW.size for length in lengths[Verb.PATCH])
    assert rows == sum(map(len, plan.patch.values()))


@pytest.mark.parametrize("at", range(len(CODES)))
@pytest.mark.parametrize("label", [5, 6, 60000, 65535])
def test_a_class_that_the_model_has_not_is_not_believed(label: int, at: int) -> None:
    assert len(GRAPH.heads[0].classes) == 5
    device = opened()
    board, inferences = device.link.board, iter(range(len(CODES)))
    answer = board.answer

    def lying(frame: Frame) -> bytes:
        reply = answer(frame)
        if frame.kind != Verb.INFER or next(inferences) != at:
            return reply
        (good,) = FrameDecoder().feed(reply)
        return encode(good.kind, good.seq, label.to_bytes(2, "little") + good.payload[2:])

    board.answer = lying  # type: ignore[method-assign]
    with pytest.raises(LinkError, match=f"answered class {label} of 5 for item {at}"):
        device.infer(CODES)


@pytest.mark.parametrize(
    ("hz", "ticks", "right"),
    [(0, 0, True), (0, 1, False), (1000, 3 * (2**32 - 1), True), (1000, 3 * (2**32 - 1) + 1, False), (1000, 2**64 - 1, False)],
)
def test_ticks_that_no_timer_can_count_are_not_believed(hz: int, ticks: int, right: bool) -> None:
    board = FakeBoard(GRAPH)
    board.hello = replace(board.hello, timer_hz=hz)
    device = FakeDevice(GRAPH, board=board)
    device.open()
    answer = board.answer

    def lying(frame: Frame) -> bytes:
        reply = answer(frame)
        return encode(frame.kind | REPLY, frame.seq, COUNTERS_REPLY.pack(3, 9, 0, 0, ticks)) if frame.kind == Verb.COUNTERS else reply

    board.answer = lying  # type: ignore[method-assign]
    if right:
        assert device.counters().timer_ticks == ticks
    else:
        with pytest.raises(LinkError, match="more than it can"):
            device.counters()


def test_a_hung_device_without_a_reset_line_says_so() -> None:
    device = opened("hang", reset_line=False)
    with pytest.raises(LinkError, match="reset button"):
        device.reset()


def test_a_device_that_only_pretends_to_restart_is_reset_by_its_line() -> None:
    device = opened()
    restart, causes = device.link.board.restart, list[int]()
    device.link.board.restart = lambda cause: causes.append(cause) or (restart(cause) if cause == ResetCause.PIN else None)  # type: ignore[method-assign, func-returns-value]
    assert device.reset().reset_cause == "pin"
    assert causes == [ResetCause.SOFTWARE, ResetCause.PIN]
    device.link.board.restart = lambda cause: None  # type: ignore[method-assign]
    with pytest.raises(LinkError, match="told to restart and did not"):
        device.reset()


def test_a_device_without_fault_hooks_refuses_plans() -> None:
    device = FakeDevice(GRAPH, board=FakeBoard(GRAPH, levels=Level(0)))
    device.open()
    with pytest.raises(FaultError, match="without fault hooks"):
        device.inject(resolve(GRAPH, FaultPlan((StuckAtOne(rate=0.5),))))
    assert is_right(device)


def test_a_plan_refused_half_way_leaves_the_device_clean() -> None:
    device = opened("ok", "refuse")
    with pytest.raises(FaultError, match="refused the plan"):
        device.inject(resolve(GRAPH, FaultPlan((StuckAtOne(rate=0.5),))))
    assert is_right(device)


@pytest.mark.parametrize("payload", [116, 117, 119, 128, 1000, 65535])
def test_any_frame_size_works(payload: int) -> None:
    graph = chaos_graph(sizes=(150, 12, 120), seed=8)
    device = FakeDevice(graph, board=FakeBoard(graph, max_payload=payload))
    with device:
        codes = codes_for(graph, 2)
        assert np.array_equal(device.infer(codes).logits, reference.run(graph, codes).logits)
        assert max(len(f.payload) for f in device.link.requests) <= payload


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


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_random_misbehavior_never_gives_a_wrong_integer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps: list[Misbehavior] = [str(s) for s in rng.choice(get_args(Misbehavior), 12)]  # type: ignore[misc]
    device = opened(*after(int(rng.integers(12))), *steps)
    plan = resolve(GRAPH, FaultPlan((StuckAtOne(rate=0.5, seed=1),)))
    wanted = reference.run(apply(GRAPH, plan), CODES).logits
    assert (wanted != reference.run(GRAPH, CODES).logits).any()
    right = 0

    def measure() -> None:
        nonlocal right
        device.inject(plan)
        assert np.array_equal(device.infer(CODES).logits, wanted)
        right += 1

    for _ in range(20):
        if error_of(measure) is not None:
            error_of(device.reset)
    assert right > 0
    device.link.hard_reset()
    device.reset()
    measure()
