"""MLPerf Tiny's text commands: replies of the reference, real logits, bad commands, and a session over a pty."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.boards.serial_board import SerialLink
from edgechaos.devices.conformance import GRAPHS
from edgechaos.devices.fakes.device import FakeDevice
from edgechaos.devices.protocol.energy_runner import EnergyRunnerAdapter, serve
from edgechaos.support.errors import LinkError
from tests.helpers.graphs import codes_for
from tests.helpers.ptys import Pty

GRAPH = GRAPHS["parallel"]
ITEM = codes_for(GRAPH, 1)
SIZE = ITEM.size * ITEM.itemsize
LOAD = f"db load {SIZE}%".encode() + b"".join(
    f"db {part.hex()}%".encode() for part in (ITEM.tobytes()[k : k + 31] for k in range(0, SIZE, 31))
)


@pytest.fixture
def adapter() -> Iterator[EnergyRunnerAdapter]:
    with FakeDevice(GRAPH) as device:
        yield EnergyRunnerAdapter(device, GRAPH, "ad01", clock_s=iter(np.arange(1, 99) / 4).__next__)


def said(adapter: EnergyRunnerAdapter, command: str) -> list[str]:
    lines = adapter.feed(command.encode()).decode().split("\r\n")
    assert lines[-2:] == ["m-ready", ""]
    return lines[:-2]


def test_the_replies_are_those_of_the_reference(adapter: EnergyRunnerAdapter) -> None:
    assert adapter.greeting() == b"m-init-done\r\nm-ready\r\n"
    assert said(adapter, "name%") == ["m-name-dut-[EdgeChaos]"]
    assert said(adapter, "profile%") == ["m-profile-[ULPMark for tinyML Firmware V0.0.1]", "m-model-[ad01]"]
    assert said(adapter, "timestamp%") == ["m-lap-us-250000"]
    assert said(adapter, f"db load {SIZE}%") == [f"m-[Expecting {SIZE} bytes]"]
    assert adapter.feed(b"db ") == b""  # not over yet
    assert said(adapter, "0aFF%") == []
    assert said(adapter, "db print%") == ["m-buffer-0a-ff"]


def test_inference_gives_the_models_logits(adapter: EnergyRunnerAdapter) -> None:
    assert adapter.feed(LOAD).decode().count("m-load-done") == 1
    assert len(said(adapter, "db print%")) == -(-SIZE // 8)
    scale = GRAPH.tensors[GRAPH.head(None).logits].scale or 1.0
    results = "m-results-[" + ",".join(f"{v:.3f}" for v in reference.run(GRAPH, ITEM).logits[0] * scale) + "]"
    begin, end = ["m-warmup-start-2", "m-warmup-done", "m-infer-start-3"], ["m-infer-done", results]
    assert said(adapter, "infer 3 2%") == [*begin, "m-lap-us-250000", "m-lap-us-500000", *end]
    assert said(adapter, "results%") == [results]
    assert said(adapter, "infer%")[::2][:2] == ["m-warmup-start-10", "m-infer-start-1"]


def test_warm_ups_run_too_and_what_is_too_much_is_left(adapter: EnergyRunnerAdapter) -> None:
    adapter.feed(LOAD)
    assert said(adapter, "db ff%") == ["m-load-done"]
    assert len(adapter._buffer) == SIZE
    said(adapter, "infer 3 2%")
    assert adapter._device.counters().inferences == 5


def test_results_are_in_the_scale_of_the_logits() -> None:
    name = GRAPH.head(None).logits
    graph = replace(GRAPH, tensors={**GRAPH.tensors, name: replace(GRAPH.tensors[name], scale=0.25)})
    with FakeDevice(GRAPH) as device:
        adapter = EnergyRunnerAdapter(device, graph, "ad01")
        adapter.feed(LOAD + b"infer 1 0%")
        wanted = ",".join(f"{v / 4:.3f}" for v in reference.run(GRAPH, ITEM).logits[0])
        assert said(adapter, "results%") == [f"m-results-[{wanted}]"]


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("fly%", "e-[Unknown command: fly]"),
        ("db%", "e-[Command 'db' requires a subcommand]"),
        ("db load%", "e-[Command 'db load' requires the # of bytes]"),
        (
            "db load 7%",
            f"e-[Command 'db load' must be {SIZE} bytes, one {GRAPH.tensors[GRAPH.head(None).input].dtype} input of {GRAPH.name}]",
        ),
        ("db abc%", "e-[Insufficent number of hex digits]"),
        ("db zz%", "e-[Invalid hex digit 'zz']"),
        ("infer 0%", "e-[Inference iterations must be >0]"),
        ("infer x%", "e-[Inference iterations must be >0]"),
        ("infer 1 -1%", "e-[Inference warmup must be >=0]"),
        ("infer 1 0%", "e-[No input: send 'db load' and its bytes first]"),
        ("x" * 200 + "%", f"e-[Unknown command: {'x' * 80}]"),
    ],
)
def test_bad_commands_are_answered(adapter: EnergyRunnerAdapter, command: str, reply: str) -> None:
    assert said(adapter, command) == [reply]


def test_no_command_is_no_error(adapter: EnergyRunnerAdapter) -> None:
    assert said(adapter, "%") == []


def test_a_device_that_fails_is_said(adapter: EnergyRunnerAdapter) -> None:
    adapter.feed(LOAD)
    adapter._device.close()
    (reply,) = said(adapter, "infer 1 0%")
    assert reply.startswith("e-[")


def test_a_session_over_a_serial_port(adapter: EnergyRunnerAdapter) -> None:
    pty, ended = Pty(), list[LinkError]()

    def serving() -> None:
        link = SerialLink(pty.path, 115_200)
        try:
            serve(adapter, link)
        except LinkError as error:
            ended.append(error)
        finally:
            link.close()

    def heard() -> bytes:
        found = b""
        while not found.endswith(b"m-ready\r\n"):
            found += os.read(pty.far, 64)
        return found

    thread = threading.Thread(target=serving, daemon=True)
    thread.start()
    assert heard() == adapter.greeting()
    os.write(pty.far, b"na")
    os.write(pty.far, b"me%")
    assert heard() == b"m-name-dut-[EdgeChaos]\r\nm-ready\r\n"
    pty.close()
    thread.join(60)
    assert len(ended) == 1
