"""What every device must do, as one suite: subclass it, say how to make your device, and pytest runs all of it.

class TestMyDevice(DeviceConformance):
    def make(self, graph: IntegerGraph, holds: IntegerGraph) -> Device:
        return MyDevice(graph, flashed_with=holds)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgechaos import reference
from edgechaos.devices.contract import Device
from edgechaos.faults.base import ALL
from edgechaos.faults.injections import CLEAN, ResolvedPlan
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.graph import artifact
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import DeviceRefused, FaultError, LinkError, SeedError, ShapeError
from tests.helpers.graphs import chaos_graph, codes_for

GRAPHS = {
    "parallel": chaos_graph(sizes=(70, 33, 9, 5), ticks=5, seed=1),
    "stateful": chaos_graph(sizes=(24, 17, 4), mode="stateful", per_channel=True, ticks=6, seed=2),
    "binomial": chaos_graph(sizes=(31, 21, 3), sampling="binomial", noise=False, ticks=9, seed=3),
    "expected": chaos_graph(sizes=(12, 40, 6), sampling="expected", noise=False, pixels=False, seed=4),
    "wide": chaos_graph(sizes=(1500, 6, 600), noise=False, seed=5),
}
PLANS = {
    "clean": FaultPlan(),
    "dead": FaultPlan((DeadNeurons(rate=0.4, seed=1),)),
    "stuck_at_1": FaultPlan((StuckAtOne(rate=0.3, seed=2),)),
    "omission": FaultPlan((Omission(rate=0.7),)),
    "never": FaultPlan((Omission(rate=0.0),)),
    "always": FaultPlan((Omission(rate=1.0),)),
    "weights": FaultPlan((WeightBitFlip(rate=0.002, seed=3),)),
    "bias": FaultPlan((WeightBitFlip(target="bias", bits=((0, 3), (1, 7), (2, 0))),)),
    "mixed": FaultPlan((DeadNeurons(rate=0.2, seed=9), Omission(rate=0.3), WeightBitFlip(node="readout", rate=0.001, seed=4))),
}
SEED = 0xFFFFFFF7


def agrees(device: Device, graph: IntegerGraph, plan: ResolvedPlan = CLEAN, count: int = 12) -> bool:
    """Whether the device's integers are the reference's under a plan that it already carries."""
    codes, samples = codes_for(graph, count, seed=count), np.arange(count)[::-1] * 0x10000001 & 0xFFFFFFFF
    seen = device.infer(codes, seed=SEED, samples=samples)
    wanted = reference.run(apply(graph, plan), codes, seed=SEED, samples=samples)
    return np.array_equal(seen.logits, wanted.logits) and np.array_equal(seen.labels, wanted.labels)


class DeviceConformance:
    """Override `make`; everything else is inherited."""

    @abstractmethod
    def make(self, graph: IntegerGraph, holds: IntegerGraph) -> Device:
        """A device, not open, that is expected to hold `graph` and does hold `holds`."""

    @pytest.fixture(scope="class")
    def devices(self) -> Iterator[dict[str, Device]]:
        """One open device per graph, for the tests that leave it as they found it."""
        opened: dict[str, Device] = {}
        try:
            for name, graph in GRAPHS.items():
                opened[name] = self.make(graph, graph)
                opened[name].open()
            yield opened
        finally:
            for device in opened.values():
                device.close()

    @pytest.fixture
    def device(self, devices: dict[str, Device]) -> Device:
        return devices["parallel"]

    @pytest.mark.parametrize("plan", PLANS)
    @pytest.mark.parametrize("name", GRAPHS)
    def test_integers_are_the_references(self, devices: dict[str, Device], name: str, plan: str) -> None:
        device, graph = devices[name], GRAPHS[name]
        resolved = resolve(graph, PLANS[plan])
        if plan == "stuck_at_1" and name in ("binomial", "expected"):
            with pytest.raises(FaultError, match="sampling"):
                device.inject(resolved)
            assert agrees(device, graph)
            return
        device.inject(resolved)
        assert agrees(device, graph, resolved)
        device.inject(CLEAN)
        assert agrees(device, graph)

    @settings(
        max_examples=10,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(
        dead=st.floats(0, 0.5),
        loss=st.none() | st.floats(0, 1),
        flips=st.floats(0, 0.02),
        node=st.sampled_from([ALL, "cortex1_matmul"]),
        seed=st.integers(0, 2**32 - 1),
    )
    def test_drawn_plans(self, device: Device, dead: float, loss: float | None, flips: float, node: str, seed: int) -> None:
        faults = (DeadNeurons(rate=dead, seed=seed), WeightBitFlip(node=node, rate=flips, seed=seed))
        plan = resolve(GRAPHS["parallel"], FaultPlan((*faults, Omission(rate=loss)) if loss is not None else faults))
        device.inject(plan)
        assert agrees(device, GRAPHS["parallel"], plan, count=3)

    @pytest.mark.parametrize("seed", [-1, 2**32, 2**33 + 5, 1.0, True, None])
    def test_seeds_are_uint32(self, device: Device, seed: Any) -> None:
        with pytest.raises(SeedError, match="is not a uint32"):
            device.infer(codes_for(GRAPHS["parallel"], 2), seed=seed)
        largest = 2**32 - 1
        wanted = reference.run(GRAPHS["parallel"], codes_for(GRAPHS["parallel"], 2), seed=largest)
        assert (device.infer(codes_for(GRAPHS["parallel"], 2), seed=largest).logits == wanted.logits).all()

    def test_what_the_last_user_left_is_gone_when_it_is_opened(self, device: Device) -> None:
        graph = GRAPHS["parallel"]
        device.inject(resolve(graph, PLANS["stuck_at_1"]))
        device.close()
        device.open()
        assert agrees(device, graph)

    def test_a_plan_replaces_the_one_before(self, device: Device) -> None:
        graph = GRAPHS["parallel"]
        for name in ("stuck_at_1", "weights", "dead", "bias", "omission"):
            plan = resolve(graph, PLANS[name])
            device.inject(plan)
            assert agrees(device, graph, plan)
        device.inject(CLEAN)
        assert agrees(device, graph)

    def test_reset_clears_faults_and_moves_the_boot_counter(self, device: Device) -> None:
        before = device.open()
        device.inject(resolve(GRAPHS["parallel"], PLANS["mixed"]))
        after = device.reset()
        assert after.boot_counter != before.boot_counter
        assert after.model_hash == before.model_hash
        assert device.counters().inferences == 0
        assert agrees(device, GRAPHS["parallel"])

    def test_counters_count(self, device: Device) -> None:
        device.reset()
        device.infer(codes_for(GRAPHS["parallel"], 5))
        device.infer(codes_for(GRAPHS["parallel"], 2))
        assert device.counters().inferences == 7

    def test_instructions_are_those_of_the_inferences(self, device: Device) -> None:
        device.reset()
        seen = device.infer(codes_for(GRAPHS["parallel"], 4))
        classes = device.counters().instructions
        if seen.instructions is None:
            assert not classes
        else:
            assert seen.instructions.shape == (4,)
            assert 0 < int(seen.instructions.sum()) == sum(v for k, v in classes.items() if k not in ("multiple_registers", "pc_loads"))

    def test_info_is_true(self, device: Device) -> None:
        info = device.open()
        assert info.model_hash == artifact.content_hash(GRAPHS["parallel"])
        assert info.levels >= {"model"}
        assert len(info.firmware_hash) == 64
        assert len(info.uid) == 32

    def test_wrong_shapes_are_refused_before_anything_runs(self, device: Device) -> None:
        codes = codes_for(GRAPHS["parallel"], 3)
        counted = device.counters().inferences
        for wrong in (codes[:, :-1], codes.astype(np.int16), codes[0]):
            with pytest.raises(ShapeError):
                device.infer(wrong)
        with pytest.raises(ShapeError):
            device.infer(codes, samples=[1, 2])
        assert device.counters().inferences == counted

    def test_an_empty_batch_is_a_batch(self, device: Device) -> None:
        seen = device.infer(codes_for(GRAPHS["parallel"], 0))
        assert seen.logits.shape == (0, 5)
        assert seen.labels.shape == (0,)

    def test_a_plan_of_another_graph_is_refused(self, device: Device) -> None:
        graph = GRAPHS["parallel"]
        strange = ResolvedPlan.of(fail_q={"cortex7": 1})
        misfit = ResolvedPlan.of(dead={"cortex0": np.ones(3, bool)})
        for plan in (strange, misfit):
            device.inject(resolve(graph, PLANS["stuck_at_1"]))
            with pytest.raises(FaultError):
                device.inject(plan)
            assert agrees(device, graph), "refused, and clean"

    def test_more_changed_words_than_it_holds_are_refused(self, device: Device) -> None:
        capacity = device.open().patch_capacity
        rows = np.tile(np.array([[0, 0, 1]], np.int32), (capacity + 1, 1))
        with pytest.raises(FaultError, match=f"holds {capacity}"):
            device.inject(ResolvedPlan.of(patch={"cortex0_matmul": rows}))
        assert agrees(device, GRAPHS["parallel"])

    def test_plans_of_many_frames(self, devices: dict[str, Device]) -> None:
        graph, device = GRAPHS["wide"], devices["wide"]
        words = min(device.open().patch_capacity, 1000)
        plan = resolve(graph, FaultPlan((WeightBitFlip(node="cortex0_matmul", bits=tuple((9 * k, k % 8) for k in range(words))),)))
        device.inject(plan)
        assert agrees(device, graph, plan, count=3)
        device.inject(CLEAN)

    def test_life_cycle(self) -> None:
        graph = GRAPHS["parallel"]
        device = self.make(graph, graph)
        device.close()
        with pytest.raises(LinkError, match="not open"):
            device.infer(codes_for(graph, 1))
        assert device.open() == device.open()
        assert agrees(device, graph)
        device.close()
        device.close()
        for use in (lambda: device.infer(codes_for(graph, 1)), lambda: device.inject(CLEAN), device.counters, device.reset):
            with pytest.raises(LinkError, match="not open"):
                use()
        with device:
            assert agrees(device, graph)

    def test_another_model_is_refused(self) -> None:
        device = self.make(GRAPHS["parallel"], GRAPHS["stateful"])
        with pytest.raises(DeviceRefused, match="holds model"):
            device.open()
        device.close()
