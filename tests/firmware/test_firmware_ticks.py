"""All ticks of a neuron at once, on the emulated Cortex-M4: the reference's spikes, clean and under every kind of fault of neurons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.faults.base import Fault
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.generator import GeneratorBiased, GeneratorPeriod, GeneratorRepeated, GeneratorStuck
from edgechaos.faults.kinds.layer_scale import LeakScale, RefractoryScale
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.state import StateFlip, StateSet
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.threshold_scale import ThresholdScale
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.firmware_gen.projects.elf import build
from tests.helpers.emulated import BOARD, portable
from tests.helpers.graphs import Spec, chaos_graph, codes_for

pytestmark = pytest.mark.slow

BOTH: tuple[tuple[Fault, ...], ...] = (
    (),
    (Omission(rate=0.0),),
    (Omission(rate=1.0),),
    (Omission(rate=2.0**-16),),
    (Omission(rate=0.7),),
    (DeadNeurons(rate=0.3, seed=1),),
    (StuckAtOne(rate=0.3, seed=2),),
    (ThresholdScale(factor=0.5),),
    (GeneratorStuck(value=12345),),
    (GeneratorBiased(bits=3),),
    (GeneratorPeriod(period=7),),
    (GeneratorRepeated(seeds=2),),
)
STATEFUL: tuple[tuple[Fault, ...], ...] = (
    (LeakScale(factor=12.0),),
    (RefractoryScale(factor=0.5),),
    (StateFlip(rate=0.5, onset=1, lifespan=0, bit=13),),
    (StateSet(rate=0.5, of="refractoriness", value=32768),),
)
SPECS = {
    "parallel": Spec(sizes=(20, 45, 4), ticks=10, noise=False, pixels=False),
    "parallel, odd": Spec(sizes=(20, 33, 4), ticks=7, noise=False, pixels=False, fail_q=1),
    "parallel, one tick": Spec(sizes=(20, 8, 4), ticks=1, noise=False, pixels=False, fail_q=65535),
    "parallel, noise": Spec(sizes=(20, 45, 4), ticks=6, pixels=False),
    "parallel, deep": Spec(sizes=(20, 17, 9, 4), ticks=5, noise=False, pixels=False),
    "stateful": Spec(sizes=(20, 45, 4), mode="stateful", ticks=10, noise=False, pixels=False),
    "stateful, long": Spec(sizes=(20, 9, 4), mode="stateful", ticks=127, noise=False, pixels=False, fail_q=0),
    "stateful, one tick": Spec(sizes=(20, 1, 4), mode="stateful", ticks=1, noise=False, pixels=False, fail_q=65536),
    "stateful, deep": Spec(sizes=(20, 17, 9, 4), mode="stateful", ticks=5, noise=False, pixels=False),
}


@pytest.mark.parametrize(("name", "form"), [*((name, "assembly") for name in SPECS), ("parallel, noise", "C"), ("stateful", "C")])
def test_spikes_are_the_references(name: str, form: str, tmp_path: Path) -> None:
    graph = chaos_graph(SPECS[name])
    firmware = generate(graph, BOARD)
    assert {"src/ec_deliver_ticks.S", "src/ec_stateful_ticks.S"} <= set(firmware.sources)
    codes = np.concatenate([codes_for(graph, 3, 1, 0.2), codes_for(graph, 1, 2, 0.9)])
    with EmulatedDevice(graph, build(firmware if form == "assembly" else portable(firmware), tmp_path).elf) as device:
        for faults in BOTH + (STATEFUL if name.startswith("stateful") else ()):
            plan = resolve(graph, FaultPlan(faults))
            device.inject(plan)
            wanted = reference.run(apply(graph, plan), codes, seed=9)
            np.testing.assert_array_equal(device.infer(codes, seed=9).logits, wanted.logits, err_msg=str(faults))
