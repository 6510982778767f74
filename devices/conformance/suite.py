"""What every device must do, as one suite: subclass it in a test file, say how to make your device, and pytest runs all of it.

    from edgechaos.devices.conformance import DeviceConformance

    class TestMyDevice(DeviceConformance):
        def make(self, graph: IntegerGraph, holds: IntegerGraph) -> Device:
            return MyDevice(graph, flashed_with=holds)

The definition is `edgechaos.reference`: clean and under every plan the device's integers are the reference's. What is optional is
asked of the device: without the level "model" it must refuse such plans; with the protocol Memory, pokes must end with the plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.conformance.compare import PLANS, drawn_plan, same
from edgechaos.devices.conformance.graphs import GRAPHS, chaos_graph, codes_for
from edgechaos.devices.contract import EXTRAS, Device, Memory
from edgechaos.faults.injections import CLEAN, Poke, ResolvedPlan
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.graph import artifact
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import DeviceRefused, EdgeChaosError, FaultError, LinkError, SeedError, ShapeError, UnsupportedError

SPIKING = [name for name in GRAPHS if name != "heads"]
GRAPH = GRAPHS["parallel"]
"""The one that a device must be able to run."""


class DeviceConformance:
    """Override `make`; where your device does not run every model, name those of GRAPHS that it must refuse."""

    refuses: ClassVar[frozenset[str]] = frozenset()
    """Names in GRAPHS of models that `make` or `open` refuse with UnsupportedError; "parallel" cannot be one of them."""
    ram_address: ClassVar[int | None] = None
    """Of a device that is a Memory: a word of RAM or flash, the same after every start, that a poke may change."""

    def make(self, graph: IntegerGraph, holds: IntegerGraph) -> Device:
        """A device, not open, that is expected to hold `graph` and does hold `holds`."""
        raise NotImplementedError("say how your device is made: override make(graph, holds)")

    @pytest.fixture(scope="class")
    @staticmethod
    def devices(request: pytest.FixtureRequest) -> Iterator[dict[str, Device]]:
        """One open device per graph, for the tests that leave it as they found it."""
        opened: dict[str, Device] = {}
        suite: DeviceConformance = request.cls()
        try:
            for name in GRAPHS.keys() - suite.refuses:
                opened[name] = suite.make(GRAPHS[name], GRAPHS[name])
                opened[name].open()
            yield opened
        finally:
            for device in opened.values():
                device.close()

    @pytest.fixture
    def device(self, devices: dict[str, Device]) -> Device:
        """The one that holds GRAPHS["parallel"]."""
        return devices["parallel"]

    def inject(self, device: Device, plan: ResolvedPlan) -> ResolvedPlan:
        """Load a plan; returns what holds then: the plan, or nothing where the device lacks the level and says so."""
        if plan is CLEAN or "model" in device.open().levels:
            device.inject(plan)
            return plan
        with pytest.raises(FaultError):
            device.inject(plan)
        return CLEAN

    def has(self, name: str, devices: dict[str, Device]) -> bool:
        """Whether the device runs a model; where it is declared that it does not, it must say so."""
        if name in self.refuses:
            with pytest.raises(UnsupportedError):
                self.make(GRAPHS[name], GRAPHS[name]).open()
        return name in devices

    @pytest.mark.parametrize("plan", PLANS)
    @pytest.mark.parametrize("name", SPIKING)
    def test_integers_are_the_references(self, devices: dict[str, Device], name: str, plan: str) -> None:
        """Clean, under a plan, and clean again."""
        if not self.has(name, devices):
            return
        device, graph = devices[name], GRAPHS[name]
        if plan == "stuck_at_1" and name in ("binomial", "expected"):
            with pytest.raises(FaultError):
                device.inject(ResolvedPlan.of(stuck={layer.name: layer.slot_value(graph, "dead") == 0 for layer in graph.chaos_layers()}))
        else:
            same(device, graph, self.inject(device, resolve(graph, PLANS[plan])))
            device.inject(CLEAN)
        same(device, graph)

    @pytest.mark.parametrize("parameters", [{}, {"first_thermal": 0, "second_thermal": 5}])
    @pytest.mark.parametrize("head", ["first", "second"])
    def test_heads_and_parameters(self, devices: dict[str, Device], head: str, parameters: dict[str, int]) -> None:
        """The head that was asked for, at the temperature that was asked for, and the stored one again."""
        if not self.has("heads", devices):
            return
        device, graph = devices["heads"], GRAPHS["heads"]
        plan = self.inject(device, resolve(graph, FaultPlan((DeadNeurons(layer=f"{head}_layer", rate=0.4),))))
        same(device, graph, plan, head=head, parameters=parameters)
        device.inject(CLEAN)
        same(device, graph, head=head)
        for wrong in ({"head": "third"}, {"parameters": {"second_thermal": -1}}, {"parameters": {"absent": 1}}):
            with pytest.raises(EdgeChaosError):
                device.infer(codes_for(graph, 1), **wrong)
        same(device, graph, head=head)

    @pytest.mark.parametrize("seed", range(10))
    def test_drawn_plans(self, device: Device, seed: int) -> None:
        """Several kinds at once, one plan after the other."""
        same(device, GRAPH, self.inject(device, resolve(GRAPH, drawn_plan(seed))), count=3)

    @pytest.mark.parametrize("seed", [-1, 2**32, 2**33 + 5, 1.0, True, None])
    def test_seeds_are_uint32(self, device: Device, seed: Any) -> None:
        """Any other is refused; the largest is a seed."""
        device.inject(CLEAN)
        with pytest.raises(SeedError):
            device.infer(codes_for(GRAPH, 2), seed=seed)
        largest = 2**32 - 1
        wanted = reference.run(GRAPH, codes_for(GRAPH, 2), seed=largest)
        seen = device.infer(codes_for(GRAPH, 2), seed=largest)
        assert np.array_equal(seen.logits, wanted.logits), f"seed {largest} is not the reference's"

    def test_what_the_last_user_left_is_gone_when_it_is_opened(self, device: Device) -> None:
        """A device that has just been opened carries no faults."""
        self.inject(device, resolve(GRAPH, PLANS["stuck_at_1"]))
        device.close()
        device.open()
        same(device, GRAPH)

    def test_a_plan_replaces_the_one_before(self, device: Device) -> None:
        """Plans do not add up."""
        for name in ("stuck_at_1", "weights", "dead", "bias", "omission"):
            same(device, GRAPH, self.inject(device, resolve(GRAPH, PLANS[name])))
        device.inject(CLEAN)
        same(device, GRAPH)

    def test_reset_clears_faults_and_moves_the_boot_counter(self, device: Device) -> None:
        """The same model, no faults, counters at 0."""
        before = device.open()
        self.inject(device, resolve(GRAPH, PLANS["mixed"]))
        after = device.reset()
        assert after.boot_counter != before.boot_counter, f"boot counter {after.boot_counter} did not move"
        assert after.model_hash == before.model_hash, "another model after a restart"
        assert device.counters().inferences == 0, "counters go on after a restart"
        same(device, GRAPH)

    def test_counters_count(self, device: Device) -> None:
        """Items, not calls."""
        device.reset()
        device.infer(codes_for(GRAPH, 5))
        device.infer(codes_for(GRAPH, 2))
        assert device.counters().inferences == 7, f"{device.counters().inferences} inferences counted after 5 + 2"

    def test_instructions_are_those_of_the_inferences(self, device: Device) -> None:
        """Counted per item and per class, to the same sum, or not at all."""
        device.reset()
        seen = device.infer(codes_for(GRAPH, 4))
        classes = device.counters().instructions
        if seen.instructions is None:
            assert not classes, "counters has instruction classes, infer has no instructions"
        else:
            total, by_class = int(seen.instructions.sum()), sum(n for name, n in classes.items() if name not in EXTRAS)
            assert seen.instructions.shape == (4,), f"instructions {seen.instructions.shape}, not one per item"
            assert 0 < total == by_class, f"{total} instructions in 4 inferences, {by_class} by class"

    def test_info_is_true(self, device: Device) -> None:
        """Hashes of 64 hex digits, the model's its own."""
        info = device.open()
        assert info.model_hash == artifact.content_hash(GRAPH), f"model hash {info.model_hash} is not the graph's"
        assert len(info.firmware_hash) == 64, f"firmware hash '{info.firmware_hash}' has not 64 hex digits"
        assert info.name, "a device has a name"
        assert info.uid, "a device has a UID"

    def test_wrong_shapes_are_refused_before_anything_runs(self, device: Device) -> None:
        """ShapeError, and the counter does not move."""
        codes = codes_for(GRAPH, 3)
        counted = device.counters().inferences
        for wrong in (codes[:, :-1], codes.astype(np.int16), codes[0]):
            with pytest.raises(ShapeError):
                device.infer(wrong)
        with pytest.raises(ShapeError):
            device.infer(codes, samples=[1, 2])
        assert device.counters().inferences == counted, "what was refused was counted"

    def test_an_empty_batch_is_a_batch(self, device: Device) -> None:
        """(0, outputs) logits and (0,) classes."""
        seen = device.infer(codes_for(GRAPH, 0))
        assert (seen.logits.shape, seen.labels.shape) == ((0, 5), (0,)), f"{seen.logits.shape}, {seen.labels.shape} for no items"

    @pytest.mark.parametrize("other", [{"sizes": (70, 33, 9, 7, 5)}, {"sizes": (70, 30, 9, 5)}], ids=["other_layers", "other_sizes"])
    def test_a_plan_of_another_graph_is_refused(self, device: Device, other: dict[str, Any]) -> None:
        """FaultError, and the faults from before are gone."""
        strange = resolve(chaos_graph(**other), FaultPlan((DeadNeurons(rate=0.5),)))
        self.inject(device, resolve(GRAPH, PLANS["stuck_at_1"]))
        with pytest.raises(FaultError):
            device.inject(strange)
        same(device, GRAPH)

    def test_plans_as_large_as_it_holds(self, devices: dict[str, Device]) -> None:
        """As many changed words as DeviceInfo states are carried, and one more is refused."""
        if not self.has("wide", devices):
            return
        device, graph = devices["wide"], GRAPHS["wide"]
        words = graph.value("cortex0_weight").size
        capacity = min(device.open().patch_capacity, words)

        def changing(count: int) -> ResolvedPlan:
            bits = tuple((k * words // count, k % 8) for k in range(count))
            return resolve(graph, FaultPlan((WeightBitFlip(node="cortex0_matmul", bits=bits),)))

        if "model" in device.open().levels and capacity:
            most = changing(capacity)
            device.inject(most)
            same(device, graph, most, count=3)
        if capacity < words:
            with pytest.raises(FaultError):
                device.inject(changing(capacity + 1))
        else:
            device.inject(CLEAN)
        same(device, graph, count=3)

    @pytest.mark.parametrize("restore", ["inject", "reset", "open"])
    @pytest.mark.parametrize("by_plan", [False, True])
    def test_pokes_end_with_the_plan(self, device: Device, restore: str, by_plan: bool) -> None:
        """A device whose memory can be poked: the word is read back changed, and is as before once a plan or a restart has come."""
        if not isinstance(device, Memory):
            assert "memory" not in device.open().levels, "states the level 'memory' and is no edgechaos.devices.contract.Memory"
            with pytest.raises(FaultError):
                device.inject(ResolvedPlan(pokes=(Poke(0x20000000, 1),)))
            same(device, GRAPH)
            return
        assert "memory" in device.open().levels, "is an edgechaos.devices.contract.Memory and does not state the level 'memory'"
        assert self.ram_address is not None, "say in `ram_address` where this device's memory may be poked"
        before = device.read_memory(self.ram_address, 4)
        mask = 0x00010004
        if by_plan:
            device.inject(ResolvedPlan(pokes=(Poke(self.ram_address, mask),)))
        else:
            device.poke(self.ram_address, mask, "toggle")
        poked = (int.from_bytes(before, "little") ^ mask).to_bytes(4, "little")
        assert device.read_memory(self.ram_address, 4) == poked, "a poked word is not read back"
        if restore == "inject":
            device.inject(CLEAN)
        elif restore == "reset":
            device.reset()
        else:
            device.close()
            device.open()
        assert device.read_memory(self.ram_address, 4) == before, f"a poke outlives {restore}"
        same(device, GRAPH)

    def test_life_cycle(self) -> None:
        """Nothing works but between open and close; both may be called again."""
        device = self.make(GRAPH, GRAPH)
        device.close()
        uses = (lambda: device.infer(codes_for(GRAPH, 1)), lambda: device.inject(CLEAN), device.counters, device.reset)
        for use in uses:
            with pytest.raises(LinkError):
                use()
        assert device.open() == device.open(), "opening an open device says something else of it"
        same(device, GRAPH)
        device.close()
        device.close()
        for use in uses:
            with pytest.raises(LinkError):
                use()
        with device:
            same(device, GRAPH)

    def test_another_model_is_refused(self) -> None:
        """A device that holds other weights than those expected is not used."""
        device = self.make(GRAPH, chaos_graph(sizes=(70, 33, 9, 5), ticks=5, seed=7))
        with pytest.raises(DeviceRefused):
            device.open()
        device.close()
