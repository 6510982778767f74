"""Boards on serial ports, tried over ptys: the firmware's own server, boards that fall silent or away, ports that are not free."""

from __future__ import annotations

import os
import secrets
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.boards.serial_board import SerialBoard, SerialLink, _timeouts
from edgechaos.devices.conformance import GRAPHS, PLANS, agrees
from edgechaos.devices.fakes.board import FakeBoard
from edgechaos.devices.protocol import frames
from edgechaos.devices.protocol.client import Timeouts
from edgechaos.faults.base import Fault
from edgechaos.faults.injections import CLEAN
from edgechaos.faults.kinds.link import LinkBitErrors, LinkDelay, LinkDrop, LinkDuplicate
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.work import most_instructions
from edgechaos.firmware_gen.projects.host import build_host_server
from edgechaos.firmware_gen.protocol import ResetCause
from edgechaos.support.errors import DeviceDetected, DeviceHang, DeviceRefused, DeviceReset, LinkError
from tests.helpers.graphs import codes_for
from tests.helpers.ptys import Pty, ServedPty

GRAPH = GRAPHS["parallel"]
ONE, ANOTHER = secrets.token_bytes(16), secrets.token_bytes(16)
"""Boards of this process alone: a board is locked by its UID, and other tests run beside these."""
IMPATIENT = Timeouts(hello_s=0.05, request_s=0.05, infer_s=0.05)


@pytest.fixture
def board() -> Iterator[ServedPty]:
    served = ServedPty(FakeBoard(GRAPH, uid=ONE))
    yield served
    served.close()


def test_the_firmwares_own_server_over_a_pty() -> None:
    port, far = Pty(), build_host_server(GRAPH)
    server = subprocess.Popen([str(far)], stdin=port.far, stdout=port.far)
    try:
        with SerialBoard(GRAPH, port.path) as device:
            for name in ("clean", "mixed", "stuck_at_1", "clean"):
                plan = resolve(GRAPH, PLANS[name])
                device.inject(plan)
                assert agrees(device, GRAPH, plan)
            before = device.open().boot_counter
            after = device.reset()
            assert (after.boot_counter, after.reset_cause) == (before + 1, "software")
            assert agrees(device, GRAPH)
    finally:
        server.kill()
        server.wait()
        port.close()


def test_a_board_is_opened_by_one_process_at_a_time(board: ServedPty) -> None:
    with SerialBoard(GRAPH, board.path), pytest.raises(LinkError, match="is in use"):
        SerialBoard(GRAPH, board.path).open()
    with SerialBoard(GRAPH, board.path) as device:
        assert agrees(device, GRAPH)


def test_a_port_is_one_place_by_whatever_name(board: ServedPty, tmp_path: Path) -> None:
    link = tmp_path / "usb-board-if00"
    link.symlink_to(board.path)
    with SerialBoard(GRAPH, board.path) as device:
        heard = len(board.heard)
        with pytest.raises(LinkError, match=f"port {link} is in use"):
            SerialBoard(GRAPH, str(link)).open()
        assert len(board.heard) == heard, "the board in use was not even asked who it is"
        assert agrees(device, GRAPH)
    with SerialBoard(GRAPH, str(link)) as device:
        assert agrees(device, GRAPH)


def test_a_port_that_does_not_open_is_not_kept(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(LinkError, match="cannot open"):
            SerialLink(str(tmp_path / "ttyACM9"), 115_200)
    with pytest.raises(LinkError, match="cannot open"):
        SerialLink("/dev/tty\0ACM0", 115_200)


def test_the_session_of_a_board_in_use_goes_on(board: ServedPty) -> None:
    """Who is refused has asked who it is, no more."""
    with SerialBoard(GRAPH, board.path) as device:
        twin = ServedPty(board.board)
        with pytest.raises(LinkError, match=f"{ONE.hex()} is in use"):
            SerialBoard(GRAPH, twin.path).open()
        twin.close()
        assert agrees(device, GRAPH)


def test_a_board_is_locked_through_whatever_port(board: ServedPty) -> None:
    twin = ServedPty(FakeBoard(GRAPH, uid=ONE))
    try:
        with SerialBoard(GRAPH, board.path), pytest.raises(LinkError, match=f"{ONE.hex()}.* is in use"):
            SerialBoard(GRAPH, twin.path).open()
        with SerialBoard(GRAPH, twin.path) as device:
            assert agrees(device, GRAPH)
    finally:
        twin.close()


def test_the_board_that_is_meant(board: ServedPty) -> None:
    meant = ONE.hex()
    with SerialBoard(GRAPH, board.path, uid=meant) as device:
        assert device.open().uid == meant
    with pytest.raises(DeviceRefused, match=f"leads to board {meant}, not 00"):
        SerialBoard(GRAPH, board.path, uid="00" * 16).open()
    with SerialBoard(GRAPH, board.path) as device:
        assert agrees(device, GRAPH)


def test_an_absent_port(tmp_path: Path) -> None:
    for port in (str(tmp_path / "ttyACM9"), str(tmp_path), "/dev/null"):
        with pytest.raises(LinkError):
            SerialBoard(GRAPH, port, timeouts=IMPATIENT).open()


def test_a_silent_port_is_released() -> None:
    port = Pty()
    for _ in range(2):
        with pytest.raises(LinkError, match="nothing came back"):
            SerialBoard(GRAPH, port.path, timeouts=IMPATIENT).open()
    port.close()


def test_a_board_that_falls_silent_hangs(board: ServedPty) -> None:
    with SerialBoard(GRAPH, board.path, timeouts=IMPATIENT) as device:
        board.board.answer = lambda frame: b""  # type: ignore[method-assign]
        with pytest.raises(DeviceHang, match="no answer to INPUT nor to HELLO"):
            device.infer(codes_for(GRAPH, 1))
        with pytest.raises(LinkError, match="reset button"):
            device.reset()


def test_a_board_that_restarts_is_found_out(board: ServedPty) -> None:
    with SerialBoard(GRAPH, board.path) as device:
        board.board.restart(ResetCause.WATCHDOG)
        with pytest.raises(DeviceReset, match="boot counter"):
            device.infer(codes_for(GRAPH, 1))
        assert device.reset().reset_cause == "software"
        assert agrees(device, GRAPH)


def test_a_board_that_is_unplugged(board: ServedPty) -> None:
    with SerialBoard(GRAPH, board.path, timeouts=IMPATIENT) as device:
        board.close()
        with pytest.raises(LinkError, match="still plugged in"):
            device.infer(codes_for(GRAPH, 1))


def test_a_port_that_takes_no_bytes() -> None:
    port = Pty()
    link = SerialLink(port.path, 115_200)
    link._serial.write_timeout = 0.05
    with pytest.raises(LinkError, match="took no bytes"):
        link.write(bytes(1 << 20))
    link.close()
    port.close()


def test_what_was_in_the_port_before_is_not_heard(board: ServedPty) -> None:
    stale = frames.encode(0x81, 1, b"the HELLO of another session")
    os.write(board.far, stale + b"\x01\x02\x03")
    with SerialBoard(GRAPH, board.path) as device:
        assert agrees(device, GRAPH)


def test_noise_on_the_line_is_mended(board: ServedPty) -> None:
    answer, calls = board.board.answer, iter(range(10**9))

    def noisy(frame: frames.Frame) -> bytes:
        reply = answer(frame)
        return reply[:-3] + b"\xff" + reply[-2:] if next(calls) % 5 == 4 else b"\x55\xaa" + reply

    board.board.answer = noisy  # type: ignore[method-assign]
    with SerialBoard(GRAPH, board.path, timeouts=Timeouts(1.0, 1.0, 1.0)) as device:
        assert agrees(device, GRAPH, count=3)
        assert device.counters().link["retried"] > 0


def test_two_boards_at_once(board: ServedPty) -> None:
    other = ServedPty(FakeBoard(GRAPHS["stateful"], uid=ANOTHER))
    right: list[bool] = []
    with SerialBoard(GRAPH, board.path) as first, SerialBoard(GRAPHS["stateful"], other.path) as second:
        work = [
            threading.Thread(target=lambda d=d, g=g: right.append(agrees(d, g))) for d, g in ((first, GRAPH), (second, GRAPHS["stateful"]))
        ]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
    other.close()
    assert right == [True, True]


@pytest.mark.parametrize("fault", [LinkBitErrors(5e-4, 5), LinkDrop(0.1, 5), LinkDuplicate(0.5, 5), LinkDelay(0.1, 5)])
def test_on_a_port_with_faults_each_result_is_right_or_has_failed_by_name(fault: Fault) -> None:
    """The C server at the far end: what it makes of damaged, doubled and late requests is its own."""
    port, far = Pty(), build_host_server(GRAPH)
    codes, outcomes = codes_for(GRAPH, 8), Counter[str]()
    wanted = reference.run(GRAPH, codes).logits
    server = subprocess.Popen([str(far)], stdin=port.far, stdout=port.far)
    try:
        with SerialBoard(GRAPH, port.path, timeouts=Timeouts(1.0, 1.0, 1.0)) as device:
            device.inject(resolve(GRAPH, FaultPlan((fault,))))
            for k in range(len(codes)):
                try:
                    found = device.infer(codes[k : k + 1], samples=[k]).logits
                except (DeviceDetected, DeviceHang, DeviceReset) as error:
                    outcomes[type(error).__name__] += 1
                    device.reset()
                    device.inject(resolve(GRAPH, FaultPlan((replace(fault, seed=k + 100),))))  # type: ignore[call-arg]
                else:
                    np.testing.assert_array_equal(found, wanted[k : k + 1])
                    outcomes["right"] += 1
            device.inject(CLEAN)
            assert agrees(device, GRAPH)
    finally:
        server.kill()
        server.wait()
        port.close()
    assert outcomes["right"], outcomes


def test_time_outs_leave_the_wire_its_time() -> None:
    slow, fast = _timeouts(9600), _timeouts(921_600)
    assert slow.request_s > 2 * 4096 * 10 / 9600
    assert fast.request_s < 2


def test_an_inference_is_waited_for_as_long_as_it_can_take(board: ServedPty) -> None:
    most, known = most_instructions(GRAPH, board.board.hello.patch_capacity), load_board("stm32l4r5")

    def waits(device: SerialBoard) -> Timeouts:
        with device:
            return device._opened().client.timeouts

    def work_s(device: SerialBoard) -> float:
        return waits(device).infer_s - waits(device).request_s

    assert work_s(SerialBoard(GRAPH, board.path, board=known)) == pytest.approx(2 * most / known.clock_hz, abs=1e-9)
    for timer_hz, clock_hz in ((16_000_000, 16_000_000), (0, 1_000_000), (1, 1_000_000)):
        board.board.hello = replace(board.board.hello, timer_hz=timer_hz)
        assert work_s(SerialBoard(GRAPH, board.path)) == pytest.approx(2 * most / clock_hz, abs=1e-9)
    own = Timeouts(2.0, 3.0, 4.0)
    assert waits(SerialBoard(GRAPH, board.path, board=known, timeouts=own)) == own
