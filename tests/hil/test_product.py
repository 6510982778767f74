"""Joules of the clean model are those of the build without fault hooks: counted on it, and only where its integers are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgechaos.devices.conformance import GRAPHS
from edgechaos.devices.contract import Counters, Inference, Product
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.devices.registry import open_device as open_registered
from edgechaos.graph.artifact import to_bytes
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.campaign.plan import plan_campaign
from edgechaos.hil.execute import evaluate
from edgechaos.hil.execute.evaluate import Bench, Fatal, Finished, Setup
from tests.helpers.campaigns import GRAPH, campaign, items
from tests.helpers.graphs import codes_for
from tests.helpers.hil_devices import ReferenceDevice

made: list[ReferenceDevice] = []


class Shipped(ReferenceDevice):
    """Half of the instructions, no hooks; answers what "wrong" in its spec says."""

    def counters(self) -> Counters:
        return Counters(self.count, {"alu": 500 * self.count})

    def infer(self, codes: Any, **options: Any) -> Inference:
        answer = super().infer(codes, **options)
        if "wrong" in self.spec:
            answer.logits[0, 0] += 1
        return answer


class Hooked(ReferenceDevice):
    def product(self) -> Shipped | None:
        if "none" in self.spec:
            return None
        made.append(Shipped(self.spec, self.graph))
        return made[-1]  # type: ignore[return-value]


def open_hooked(spec: str, graph: IntegerGraph) -> Hooked:
    return Hooked(spec, graph)


def events(spec: str) -> list[Any]:
    made.clear()
    bench = Bench(Setup(to_bytes(GRAPH), items(), open_hooked))
    found = [e for group in plan_campaign(campaign(devices=(spec,))).groups for e in bench.evaluate(group)]
    bench.close()
    return [e for e in found if isinstance(e, Finished | Fatal)]


def test_clean_trials_count_the_product_and_faulty_ones_the_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "PRODUCT_ITEMS", 10)
    found = events("counting")
    assert {(e.trial.clean, e.result.counted, e.result.instructions["alu"] // e.result.counted) for e in found} == {
        (True, 10, 500),
        (False, 24, 1000),
    }
    (product,) = made  # opened once, closed with its device
    assert not product.opened


@pytest.mark.parametrize("spec", ["counting none", "plain"])
def test_without_a_product_or_counts_it_is_the_hooked_one(spec: str) -> None:
    found = events(spec)
    assert {(e.trial.clean, e.result.counted) for e in found} == {(clean, 24 if spec != "plain" else 0) for clean in (True, False)}
    assert not made


def test_a_product_that_answers_otherwise_stops_the_campaign() -> None:
    assert "gives other logits than the one with them" in events("counting wrong")[0].message


def test_the_emulated_product_is_smaller_and_exact() -> None:
    graph = GRAPHS["parallel"]
    hooked = open_registered("unicorn", graph)
    assert isinstance(hooked, Product)
    product = hooked.product()
    assert product is not None
    codes = codes_for(graph, 3)
    with hooked, product:
        with_hooks, without = hooked.infer(codes), product.infer(codes)
    assert np.array_equal(with_hooks.logits, without.logits)
    assert with_hooks.instructions is not None
    assert without.instructions is not None
    assert (without.instructions < with_hooks.instructions).all()


def test_firmware_of_ones_own_has_no_product(tmp_path: Path) -> None:
    assert EmulatedDevice(GRAPH, tmp_path / "own.elf").product() is None
