"""The computed worst case of a model is above every count in the emulator, whatever the faults, and not far above."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.devices.kinds.unicorn import emulated_firmware
from edgechaos.faults.base import Fault
from edgechaos.faults.injections import ResolvedPlan
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.firmware_gen.compilers.c.work import most_instructions, most_request_instructions
from edgechaos.firmware_gen.plan.kernels import Choice
from edgechaos.firmware_gen.projects.elf import build
from edgechaos.graph.integer_graph import IntegerGraph
from tests.helpers.graphs import Spec, chaos_graph, specs
from tests.helpers.mixed_graphs import Mixed, mixed_graph, mixed_specs

pytestmark = pytest.mark.slow

BOARD = load_board("mps2-an386")
LOOSE = 60
FRAMES = 500
"""Instructions of the least frames, which lie outside the GPIO window."""


def busiest(graph: IntegerGraph, head: str, seed: int) -> NDArray[Any]:
    """Two items of one head without a zero."""
    spec = graph.head(head)
    tensor = graph.tensors[spec.input]
    low, high = {"tokens": (1, 29), "pixels": (1, 127)}.get(spec.encoding.kind, (-128, 127))
    codes = np.random.default_rng(seed).integers(low, high, (2, *tensor.shape), endpoint=True)
    return np.where(codes == 0, 1, codes).astype(tensor.dtype)


def worst_plans(graph: IntegerGraph) -> list[ResolvedPlan]:
    """Those with the most to do: no fault, almost every spike lost, all stuck, all dead, patch rows up to the board's capacity."""
    words = sum(graph.value(n.weight).size for n in graph.weighted())
    rate = 1.0 if words <= BOARD.patch_capacity else 0.9 * BOARD.patch_capacity / words / 8  # flips of one word are one row
    faults: list[tuple[Fault, ...]] = [(), (WeightBitFlip(rate=rate, seed=1),)]
    if graph.analysis.unit_nodes:
        faults.append(tuple(DeadNeurons(n.name, rate=1.0) for n in graph.analysis.unit_nodes))
    if graph.chaos_layers():
        faults.append((Omission(rate=0.99),))
        if all(n.sampling == "ticks" for n in graph.chaos_layers()):
            faults += [(StuckAtOne(rate=1.0),), (StuckAtOne(rate=0.5, seed=2), Omission(rate=0.01), *faults[1])]
    return [resolve(graph, FaultPlan(f)) for f in faults]


def check(graph: IntegerGraph, elf: Path) -> None:
    """Every inference ends within the bound, frames included, or the device says that it hangs; and the bound means something."""
    most, largest = most_instructions(graph, BOARD.patch_capacity), 0
    with EmulatedDevice(graph, elf) as device:
        for plan in worst_plans(graph):
            device.inject(plan)
            for head in graph.heads:
                instructions = device.infer(busiest(graph, head.name, 3), seed=1, head=head.name).instructions
                assert instructions is not None
                largest = max(largest, int(instructions.max()))
    assert largest < most <= LOOSE * (largest + FRAMES)


def built(graph: IntegerGraph, folder: Path, kernel: Choice = "auto", flags: tuple[str, ...] = ()) -> Path:
    return build(generate(graph, replace(BOARD, flags=flags), kernel=kernel), folder).elf


@settings(max_examples=4, deadline=None)
@given(spec=specs(), kernel=st.sampled_from(["dense", "event"]))
def test_spiking_models(spec: Spec, kernel: Choice) -> None:
    graph = chaos_graph(spec)
    with tempfile.TemporaryDirectory() as folder:
        check(graph, built(graph, Path(folder), kernel))


@settings(max_examples=6, deadline=None)
@given(spec=mixed_specs(), kernel=st.sampled_from(["dense", "event"]))
def test_models_of_every_kind_of_node(spec: Mixed, kernel: Choice) -> None:
    graph = mixed_graph(spec)
    with tempfile.TemporaryDirectory() as folder:
        check(graph, built(graph, Path(folder), kernel))


@pytest.mark.parametrize("flags", [("-O1",), ("-O3", "-fno-unroll-loops")])
def test_other_optimizations(flags: tuple[str, ...], tmp_path: Path) -> None:
    graph = mixed_graph(Mixed("vision", shape=(2, 8, 8), ticks=5))
    check(graph, built(graph, tmp_path, flags=flags))


def test_all_stuck_at_one_is_work_and_no_hang() -> None:
    """A deep network that is silent when clean: its clean count says nothing of what it can take."""
    graph = chaos_graph(sizes=(8, 320, 320, 320, 5), ticks=100, noise=False)
    silent = {f"cortex{k}_threshold": 2**29 for k in range(3)}
    constants = {
        name: replace(c, value=np.full_like(c.value, silent[name])) if name in silent else c for name, c in graph.constants.items()
    }
    graph = replace(graph, constants=constants).validate()
    codes = busiest(graph, graph.head().name, 0)
    plan = resolve(graph, FaultPlan((StuckAtOne(rate=1.0),)))
    with EmulatedDevice(graph, emulated_firmware(graph, "mps2-an386")) as device:
        clean = device.infer(codes)
        device.inject(plan)
        stuck = device.infer(codes)
    assert clean.instructions is not None
    assert stuck.instructions is not None
    np.testing.assert_array_equal(stuck.logits, reference.run(apply(graph, plan), codes).logits)
    assert stuck.instructions.min() > 10 * clean.instructions.max()


def test_a_bound_grows_with_everything_that_costs() -> None:
    least = Spec(sizes=(8, 40, 5), ticks=4)
    one = most_instructions(chaos_graph(least), 0)
    for more in (Spec((16, 40, 5)), Spec((8, 80, 5)), Spec((8, 40, 9)), Spec((8, 40, 5), ticks=8)):
        assert most_instructions(chaos_graph(more), 0) > one
    assert one < most_instructions(chaos_graph(least), 10) < most_instructions(chaos_graph(least), 90)
    larger = replace(BOARD, ram=replace(BOARD.ram, bytes=2 * BOARD.ram.bytes))
    assert most_request_instructions(larger) > most_request_instructions(BOARD)
