"""COMMIT: a repair becomes part of the model in RAM, exact on every device, and gone with it after every restart."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.contract import Repairable
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.devices.fakes.board import FakeBoard
from edgechaos.devices.fakes.device import FakeDevice, Misbehavior
from edgechaos.devices.host import HostDevice
from edgechaos.devices.kinds.unicorn import emulated_firmware
from edgechaos.devices.protocol.device import ProtocolDevice
from edgechaos.faults.injections import CLEAN
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.faults.words import changed_words, with_rows
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.places import BOARD_FOLDER
from edgechaos.firmware_gen.protocol import Verb
from edgechaos.graph.artifact import content_hash
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import ConfigError, DeviceError, DevicePowerLoss, DeviceRefused, FaultError, LinkError
from tests.helpers.graphs import chaos_graph
from tests.helpers.mixed_graphs import items_for, mixed_graph, normalized_graph

GRAPHS: Mapping[str, Any] = {
    "spiking": lambda: chaos_graph(sizes=(12, 20, 6)),
    "two layers": lambda: chaos_graph(sizes=(12, 9, 8, 6), noise=False),
    "convolutions": lambda: mixed_graph(family="vision", spiking=False, depth=2, shape=(1, 9, 8)),
    "4 bits": lambda: mixed_graph(family="kwta", bits=4, hidden=11),
    "2 bits": lambda: mixed_graph(family="vision", bits=2),
    "text": lambda: mixed_graph(family="text"),
    "background": lambda: normalized_graph(30, 9),
}
GRAPH = GRAPHS["spiking"]()


def other_words(graph: IntegerGraph, seed: int = 0, rate: float = 0.2) -> IntegerGraph:
    """The same model with flipped bits in a share of its words, of biases too, for good."""
    nodes = [n.name for n in graph.weighted() if hasattr(n, "bias")]
    faults = [WeightBitFlip(node=name, rate=rate / 8, seed=seed) for name in nodes]
    rows = dict(resolve(graph, FaultPlan(tuple(faults))).patch)
    name = nodes[-1]
    more = np.array([[1, -1, 37]], np.int32)
    rows[name] = np.concatenate([more, rows.get(name, np.zeros((0, 3), np.int32))])
    rows[name] = rows[name][np.lexsort((rows[name][:, 1], rows[name][:, 0]))]
    return with_rows(graph, rows)


def exact(device: ProtocolDevice, graph: IntegerGraph, count: int = 6) -> bool:
    codes = items_for(graph, count)
    return bool((device.infer(codes, seed=4).logits == reference.run(graph, codes, seed=4).logits).all())


def fake(graph: IntegerGraph, **options: Any) -> FakeDevice:
    return FakeDevice(graph, board=FakeBoard(graph, **options))


@pytest.fixture(scope="module")
def repairable(tmp_path_factory: pytest.TempPathFactory) -> Callable[[IntegerGraph], EmulatedDevice]:
    """An emulated Cortex-M4 with little room for rows, and RAM for repairs."""
    folder = tmp_path_factory.mktemp("board")
    text = (BOARD_FOLDER / "mps2-an386.toml").read_text().replace('"mps2-an386"', '"repairable"')
    path = folder / "repairable.toml"
    path.write_text(text.replace("patch_capacity = 1024", "patch_capacity = 13\nrepair_bytes = 16384"))

    def opened(graph: IntegerGraph) -> EmulatedDevice:
        return EmulatedDevice(graph, emulated_firmware(graph, str(path)), str(path))

    return opened


EVERY = [
    (kind, name)
    for kind in ("fake", "host", "emulated")
    for name in GRAPHS
    if kind != "emulated" or name in ("convolutions", "4 bits", "background")
]


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_a_committed_model_is_the_mended_one_with_faults_on_top(kind: str, name: str, repairable: Any) -> None:
    graph = GRAPHS[name]()
    mended, again = other_words(graph), other_words(graph, seed=1)
    device = {"fake": lambda g: fake(g, patch_capacity=7), "host": HostDevice, "emulated": repairable}[kind](graph)
    assert isinstance(device, Repairable)
    device = cast(ProtocolDevice, device)
    with device:
        info = device.commit(mended)
        assert info.model_hash == content_hash(mended) != content_hash(graph)
        assert exact(device, mended)
        damage = resolve(mended, FaultPlan((DeadNeurons(rate=0.4, seed=3), WeightBitFlip(rate=0.002, seed=5))))
        device.inject(damage)
        assert exact_under(device, mended, damage)
        device.inject(CLEAN)
        assert exact(device, mended), "faults are cleared, words stay"
        device.inject(damage)
        device.commit(again)
        assert exact(device, again), "a repair on top of a repair, faults are gone"
        device.inject(damage)
        assert device.revert().model_hash == content_hash(graph)
        assert exact(device, graph)


def exact_under(device: ProtocolDevice, graph: IntegerGraph, plan: Any) -> bool:
    codes = items_for(graph, 6)
    return bool((device.infer(codes, seed=4).logits == reference.run(apply(graph, plan), codes, seed=4).logits).all())


@pytest.mark.parametrize("kind", ["fake", "host", "emulated"])
def test_a_restart_loses_it_and_results_are_refused_until_it_is_sent_again(kind: str, repairable: Any) -> None:
    mended = other_words(GRAPH)
    device = {"fake": fake, "host": HostDevice, "emulated": repairable}[kind](GRAPH)
    with device:
        device.commit(mended)
        assert device.reset().model_hash == content_hash(GRAPH)
        with pytest.raises(DeviceRefused, match="it holds another model"):
            exact(device, mended)
        device.commit(mended)
        assert exact(device, mended)
        device.reset()
        device.revert()
        assert exact(device, GRAPH), "given up"


def test_a_killed_emulator_comes_back_without_it(repairable: Any) -> None:
    mended = other_words(GRAPH)
    with repairable(GRAPH) as device:
        device.commit(mended)
        os.kill(device._link.process.pid, signal.SIGKILL)
        with pytest.raises(LinkError):
            exact(device, mended)
        device.reset()
        with pytest.raises(DeviceRefused):
            exact(device, mended)
        device.commit(mended)
        assert exact(device, mended)
        device._link.power_cycle()
        with pytest.raises(DevicePowerLoss):
            exact(device, mended)


def test_power_lost_at_any_moment_of_a_commit_leaves_the_flashed_model() -> None:
    mended = other_words(GRAPH)
    counting = fake(GRAPH, patch_capacity=9)
    with counting:
        before = len(counting.link.requests)
        counting.commit(mended)
        steps = len(counting.link.requests) - before
    assert steps > 8
    for moment in range(steps):
        for how in ("power_loss", "power_loss_late", "power_loss_after"):
            device = fake(GRAPH, patch_capacity=9)
            with device:
                device.link.script.extend(cast("list[Misbehavior]", ["ok"] * moment + [how]))
                try:
                    device.commit(mended)
                    lost = False
                except (DeviceError, FaultError):
                    lost = True
                if not lost:  # the last reply had left
                    with pytest.raises(DeviceError):
                        exact(device, mended)
                device.reset()
                assert device.link.board.hello.model_hash.hex() == content_hash(GRAPH)
                device.commit(mended)
                assert exact(device, mended)


def test_a_new_host_finds_the_mended_model_and_no_other() -> None:
    mended, board = other_words(GRAPH), FakeBoard(GRAPH, patch_capacity=9)
    first, second = FakeDevice(GRAPH, board=board), FakeDevice(mended, board=board)
    with first:
        first.commit(mended)
    with second:
        assert exact(second, mended)
    with pytest.raises(DeviceRefused, match="holds model"):
        FakeDevice(GRAPH, board=board).open()
    marked = type(mended)(
        mended.name, mended.tensors, mended.constants, mended.nodes, mended.heads, {"repair": {"of": content_hash(GRAPH)}}
    )
    board.lose_power()
    with pytest.raises(DeviceRefused, match="it has lost the repair with its RAM"):
        FakeDevice(marked, board=board).open()


def test_a_host_that_reads_a_mended_artifact_undoes_it() -> None:
    mended, board = other_words(GRAPH), FakeBoard(GRAPH)
    first, second = FakeDevice(GRAPH, board=board), FakeDevice(mended, board=board)
    with first:
        first.commit(mended)
    with second:
        assert second.revert().model_hash == content_hash(GRAPH)


def test_a_repair_that_was_not_finished_is_said() -> None:
    mended, device = other_words(GRAPH), fake(GRAPH, patch_capacity=9)
    with device:
        first = [n for n, _ in enumerate(changed_words(GRAPH, mended))]
        assert first
        device.link.script.extend(cast("list[Misbehavior]", ["ok"] * 5 + ["hang"]))
        with pytest.raises(DeviceError):
            device.commit(mended)
    board = device.link.board
    if board.hello.model_hash == bytes(32):
        with pytest.raises(DeviceRefused, match="was begun and not finished"):
            FakeDevice(GRAPH, board=board).open()


def test_firmware_without_room_refuses_a_repair_and_stays_what_it_was(tmp_path: Path) -> None:
    name = "mps2-an386"
    device = EmulatedDevice(GRAPH, emulated_firmware(GRAPH, name), name)
    with device:
        with pytest.raises(FaultError, match="holds the model that was flashed: it has 0 bytes for repaired matrices"):
            device.commit(other_words(GRAPH))
        assert device.revert().model_hash == content_hash(GRAPH)
        assert exact(device, GRAPH)


def test_room_follows_the_name_of_a_board() -> None:
    name = "mps2-an386,patch_capacity=9,repair_bytes=16384"
    device, mended = EmulatedDevice(GRAPH, emulated_firmware(GRAPH, name), name), other_words(GRAPH)
    with device:
        assert device.open().patch_capacity == 9
        assert device.commit(mended).model_hash == content_hash(mended)
        assert exact(device, mended)


def test_what_is_refused(repairable: Any, tmp_path: Path) -> None:
    other = chaos_graph(sizes=(12, 19, 6))
    device: Any = fake(GRAPH)
    with device, pytest.raises(FaultError, match="in more than stored words"):
        device.commit(other)
    device = fake(GRAPH, repair_bytes=0)
    with device:
        with pytest.raises(FaultError, match="it has 0 bytes for repaired matrices; give its board more"):
            device.commit(other_words(GRAPH))
        assert exact(device, GRAPH)
    large = chaos_graph(sizes=(300, 80, 6))
    device = repairable(large)
    with device:
        with pytest.raises(FaultError, match="it has 16384 bytes for repaired matrices"):
            device.commit(other_words(large, rate=0.001))
        assert exact(device, large)
    text = mixed_graph(family="text")
    rows = {"embeddingbag0": np.array([[3, 2, 1]], np.int32)}
    changed = with_rows(text, {text.weighted()[0].name: rows["embeddingbag0"]})
    for device in (fake(text), HostDevice(text)):
        with device:
            with pytest.raises(FaultError, match="refused"):
                device.commit(changed)
            assert exact(device, text)
    board = tmp_path / "odd.toml"
    board.write_text((BOARD_FOLDER / "mps2-an386.toml").read_text().replace("stack_bytes", "repair_bytes = 12\nstack_bytes"))
    with pytest.raises(ConfigError, match="multiple of 8"):
        load_board(board)


def test_without_room_for_repairs_the_firmware_is_as_it_was() -> None:
    from edgechaos.firmware_gen.compilers.c.generate import generate

    files = generate(GRAPH, load_board("mps2-an386")).files
    assert b"EC_IN_USE" not in files["src/tiny.c"]
    assert b"#define EC_REPAIR_BYTES 0u" in files["src/ec_config.h"]
    assert int(Verb.COMMIT) == 0x0D
